"""The layers of a chart over its curves: values that are off the axis, the names of the series, the deciding point."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qa_service.model import Cell
from qa_service.presentation.chart_labels import GAP, LINE, Layout, width_of

PLOT_WIDTH, PLOT_HEIGHT = 480, 240
"""Size of a plot in pixels, where the page does not fit it to its place."""
_SHAPE_BY_LABEL = {
    "inf": "triangle-up",
    ">10⁴⁵": "triangle-up",
    "nan": "cross",
    "-inf": "triangle-down",
    "0": "triangle-down",
    "<0": "triangle-down",
    "<10⁻⁵⁰": "triangle-down",
}
_STRIP = ("inf", ">10⁴⁵", "nan")
_STRIP_ROW = 18  # pixels
_NARROW = 340  # pixels, of a plot on a telephone, where the names have to fit, too
_MAX_LABEL_SHARE = 0.42  # of the plot's width

Encoding = dict[str, Any]
Points = Sequence[tuple[float, float]]


def headroom(labels: set[str]) -> float:
    """The fraction of the plot's height that the strip of these labels takes, 0 for none."""
    rows = len(labels.intersection(_STRIP))
    return (rows * _STRIP_ROW + 6) / PLOT_HEIGHT if rows else 0.0


def padded_domain(heights: Sequence[float], *, log: bool, above: float, from_zero: bool) -> tuple[float, float]:
    """The y domain that leaves the fraction `above` free over the highest of `heights`."""
    if not heights:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(heights), max(heights)
    if log:
        low, high = math.log10(low), math.log10(high)
    elif from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = low + (abs(low) or 1.0)
    low, high = _extended(low, high, above, log=False)
    return (10**low, 10**high) if log else (low, high)


def tick_values(values: Sequence[float], *, log: bool) -> list[float]:
    """At most six round numbers, or powers of ten, between the least and the largest of `values`."""
    if not values:
        return []
    low, high = min(values), max(values)
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        step = max(1, math.ceil((last - first) / 5))
        return [10.0**exponent for exponent in range(first, last + 1, step)] or [low, high]
    low = min(low, 0.0) if low > 0 and low < high / 2 else low
    if low == high:
        return [low]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step_width = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step_width), math.floor(high / step_width)
    return [round(count * step_width, 12) for count in range(first, last + 1)]


def nonfinite_layers(
    x: Encoding, points: Sequence[Mapping[str, Cell]], *, coloured: bool, legend: bool
) -> list[dict[str, Any]]:
    """Marks and labels of values that are off the axis: a row of the strip for each kind, or the lower edge.

    A point has the x column, "series", "word" (its kind), and "label" (its kind where it is the first, else ""). With
    `legend` the curves under the marks keep theirs.
    """
    color = (
        {"color": {"field": "series", "type": "nominal"} | ({} if legend else {"legend": None})}
        if coloured
        else {"color": {"value": "#c2410c"}}
    )
    in_strip = [word for word in _STRIP if any(point["word"] == word for point in points)]
    layers = []
    for word in dict.fromkeys(str(point["word"]) for point in points):
        of_kind = [point for point in points if point["word"] == word]
        top = word in in_strip
        height = {"value": in_strip.index(word) * _STRIP_ROW + 9} if top else {"value": "height"}
        encoding = {"x": x, "y": height} | color
        mark = {
            "type": "point",
            "size": 40,
            "filled": True,
            "shape": _SHAPE_BY_LABEL[word],
            "yOffset": 0 if top else -6,
        }
        text = {"type": "text", "dx": 8, "dy": 0 if top else -18, "align": "left", "fontWeight": "bold"}
        labelled = [point for point in of_kind if point["label"]]
        layers += [
            {"data": {"values": of_kind}, "mark": mark, "encoding": encoding},
            {"data": {"values": labelled}, "mark": text, "encoding": encoding | {"text": {"field": "label"}}},
        ]
    if in_strip:
        divider = {"type": "rule", "strokeDash": [2, 3], "opacity": 0.6}
        y = {"value": len(in_strip) * _STRIP_ROW + 2}
        layers.append({"data": {"values": [{}]}, "mark": divider, "encoding": {"y": y}})
    return layers


def end_labels(
    encoding: Encoding,
    names: Mapping[Cell, str],
    curves: Mapping[Cell, Points],
    series: str,
    layout: Layout,
    *,
    log: bool,
) -> list[dict[str, Any]]:
    """A label at the end of each curve: series → its name, and its points."""
    x, y = encoding["x"], encoding["y"]
    pixels = in_pixels(encoding, curves, log=log)
    layers = []
    for key in sorted(curves, key=lambda each: pixels[each][-1][1]):
        end = curves[key][-1]
        point = {x["field"]: end[0], y["field"]: end[1], series: key, "name": names[key]}
        text = {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "dx": GAP,
            "dy": layout.beside(names[key], pixels[key][-1]) - LINE / 2 * names[key].count("\n"),
            "lineBreak": "\n",
            "lineHeight": LINE,
            "fontWeight": "bold",
        }
        color = {"field": series, "type": "nominal", "legend": None}
        layers.append(
            {"data": {"values": [point]}, "mark": text,
             "encoding": {"x": x, "y": y, "text": {"field": "name"}, "color": color}}
        )  # fmt: skip
    return layers


def deciding_point(
    encoding: Encoding, value: float, label: str, across: Sequence[float], layout: Layout, *, highest: float
) -> list[dict[str, Any]]:
    """A vertical rule at a place on the x axis; its label is on the side where there is room, below the height
    `highest` (pixels from the upper edge).

    `across` are all places on the x axis where something is drawn.
    """
    x = encoding["x"]
    domain, log = x_domain(encoding, across)
    place = PLOT_WIDTH * _fraction(value, domain, log=log)
    data = {"values": [{x["field"]: value, "name": label}]}
    rule = {"type": "rule", "strokeDash": [4, 3]}
    left, height = layout.along(label, place, highest=highest)
    align = {"align": "right", "dx": -GAP} if left else {"align": "left", "dx": GAP}
    text = {"type": "text", "baseline": "middle"} | align
    # as a share of the plot, which the page makes higher or lower
    y = {"value": {"expr": f"height * {height / PLOT_HEIGHT:.3f}"}}
    return [
        {"data": data, "mark": rule, "encoding": {"x": x}},
        {"data": data, "mark": text, "encoding": {"x": x, "y": y, "text": {"field": "name"}}},
    ]


def make_room(encoding: Encoding, across: Sequence[float], names: Iterable[str]) -> None:
    """Extends the x axis to the right, so that the names of curves fit there; its ticks stay where data are."""
    share = min(_MAX_LABEL_SHARE, (max(width_of(name) for name in names) + 12) / _NARROW)
    scale = encoding["x"].get("scale", {})
    log = scale.get("type") == "log"
    domain = list(_extended(min(across), max(across), share, log=log))
    encoding["x"] = encoding["x"] | {
        "scale": scale | {"domain": domain, "nice": False} | ({} if log else {"zero": False}),
        "axis": encoding["x"].get("axis", {}) | {"values": tick_values(across, log=log)},
    }


def _extended(low: float, high: float, share: float, *, log: bool) -> tuple[float, float]:
    """The domain from `low` on that leaves the fraction `share` of its length free beyond `high`."""
    if log:
        _, end = _extended(math.log10(low), math.log10(high), share, log=False)
        return low, 10**end
    return low, high + share / (1 - share) * ((high - low) or 1.0)


def in_pixels(encoding: Encoding, curves: Mapping[Cell, Points], *, log: bool) -> dict[Cell, Points]:
    """The curves with their points in pixels from the upper left corner."""
    shown = [y for points in curves.values() for _, y in points]
    shown += [] if log or encoding["y"].get("scale", {}).get("zero", True) is False else [0.0]
    y_domain = encoding["y"].get("scale", {}).get("domain") or (min(shown), max(shown))
    domain, log_x = x_domain(encoding, [x for points in curves.values() for x, _ in points])
    return {
        key: [
            (PLOT_WIDTH * _fraction(x, domain, log=log_x), PLOT_HEIGHT * (1 - _fraction(y, y_domain, log=log)))
            for x, y in points
        ]
        for key, points in curves.items()
    }


def x_domain(encoding: Encoding, across: Sequence[float]) -> tuple[Sequence[float], bool]:
    """(ends of the x axis, whether it is logarithmic)."""
    scale = encoding["x"].get("scale", {})
    return scale.get("domain") or (min(across), max(across)), scale.get("type") == "log"


def _fraction(value: float, domain: Sequence[float], *, log: bool) -> float:
    """Where a value is in a domain, 0 to 1."""
    low, high, value = (math.log10(each) if log else each for each in (*domain, value))
    return (value - low) / ((high - low) or 1.0)
