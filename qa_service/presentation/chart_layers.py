"""The layers of a chart over its curves: values that are off the axis, the names of the series, the deciding point."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qa_service.model import Cell

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
_CHARACTER = 8  # pixels, of a label
_LABEL_GAP = 15  # pixels between two labels
_MAX_LABEL_SHARE = 0.42  # of the plot's width

Encoding = dict[str, Any]
Points = Sequence[tuple[float, float]]


def headroom(labels: set[str]) -> float:
    """The fraction of the plot's height that the strip of these labels takes, 0 for none."""
    rows = len(labels.intersection(_STRIP))
    return (rows * _STRIP_ROW + 6) / PLOT_HEIGHT if rows else 0.0


def is_crowded_below(heights: Sequence[float], *, log: bool) -> bool:
    """Whether more points lie in the lowest quarter of the plot than in the highest."""
    levels = [math.log10(y) for y in heights] if log else list(heights)
    low, high = min(levels, default=0.0), max(levels, default=0.0)
    quarter = (high - low) / 4
    return sum(y < low + quarter for y in levels) > sum(y > high - quarter for y in levels)


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
    encoding: Encoding, curves: Mapping[Cell, tuple[str, Points]], across: Sequence[float], series: str, *, log: bool
) -> list[dict[str, Any]]:
    """A label at the end of each curve (series → its name and points); extends the x axis to make room for them.

    `across` are all places on the x axis where something is drawn.
    """
    longest = max(len(name) + sum(ord(sign) > 0x2E80 for sign in name) for name, _ in curves.values())
    share = min(_MAX_LABEL_SHARE, (longest * _CHARACTER + 12) / PLOT_WIDTH)
    _make_room(encoding, across, share)
    heights = [y for _, points in curves.values() for _, y in points]
    ends = {key: points[-1] for key, (_, points) in curves.items()}
    shifts = _shifts({key: y for key, (_, y) in ends.items()}, min(heights), max(heights), log=log)
    x, y = encoding["x"], encoding["y"]
    layers = []
    for key, (name, _) in curves.items():
        point = {x["field"]: ends[key][0], y["field"]: ends[key][1], series: key, "name": name}
        text = {"type": "text", "align": "left", "dx": 6, "dy": shifts[key], "fontWeight": "bold"}
        color = {"field": series, "type": "nominal", "legend": None}
        layers.append(
            {"data": {"values": [point]}, "mark": text,
             "encoding": {"x": x, "y": y, "text": {"field": "name"}, "color": color}}
        )  # fmt: skip
    return layers


def deciding_point(
    x: Encoding, value: float, label: str, across: Sequence[float], top: float | None
) -> list[dict[str, Any]]:
    """A vertical rule at a place on the x axis; its label is on the side where there is room, at the bottom, or below
    the height `top` (pixels from the upper edge) if it is given.
    """
    left = sum(each < value for each in across) <= len(across) / 2
    data = {"values": [{x["field"]: value, "name": label}]}
    rule = {"type": "rule", "strokeDash": [4, 3]}
    text = {
        "type": "text",
        "align": "left" if left else "right",
        "baseline": "bottom",
        "dx": 5 if left else -5,
        "dy": -6,
    }
    height = {"value": "height" if top is None else top + 14}
    return [
        {"data": data, "mark": rule, "encoding": {"x": x}},
        {"data": data, "mark": text, "encoding": {"x": x, "y": height, "text": {"field": "name"}}},
    ]


def _make_room(encoding: Encoding, across: Sequence[float], share: float) -> None:
    """Extends the x axis to the right, so that `share` of the plot's width is free; its ticks stay where data are."""
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


def _shifts(ends: Mapping[Cell, float], low: float, high: float, *, log: bool) -> dict[Cell, float]:
    """How far each label moves down, in pixels, so that no two overlap."""

    def pixel(y: float) -> float:
        if log:
            return PLOT_HEIGHT * (1 - math.log(y / low) / (math.log(high / low) or 1.0))
        return PLOT_HEIGHT * (1 - (y - low) / ((high - low) or 1.0))

    places = {key: pixel(y) for key, y in ends.items()}
    shifts: dict[Cell, float] = {}
    lowest = -math.inf
    for key in sorted(places, key=lambda each: places[each]):
        place = max(places[key], lowest + _LABEL_GAP)
        shifts[key] = round(place - places[key], 1)
        lowest = place
    overflow = max(0.0, lowest - PLOT_HEIGHT)
    return {key: shift - overflow for key, shift in shifts.items()} if overflow else shifts
