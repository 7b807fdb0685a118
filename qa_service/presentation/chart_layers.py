"""The layers of a chart over its curves: values off the axis, labels of the series, the marked point of the x axis."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from qa_service.model import Cell
from qa_service.presentation.chart_labels import GAP_PIXELS, LINE_PIXELS, Box, LabelLayout, text_box, width_of

PLOT_WIDTH, PLOT_HEIGHT = 480, 240
"""The default size of a plot in pixels; the page may fit it to its place."""
_SIZES = ((280, 128), (400, 165), (280, 205), (PLOT_WIDTH, PLOT_HEIGHT))
"""(width, height) in pixels for which labels are placed, by height: the proof on a telephone, the proof beside an
answer, any other chart on a telephone, larger ones. A plot has the labels of the highest size not above its own."""
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
_STRIP_ROW = 0.1  # of the plot's height: one line of text on a telephone
_BELOW_STRIP = 0.025  # of the plot's height
_LABEL_OF_MARK = 8  # pixels between a mark off the axis and its label
_ABOVE_EDGE = 18  # pixels from the lower edge to the label of a mark there
_NARROW = 262  # pixels; the narrowest plot, on a telephone with a wide y axis, in which labels have to fit
_MAX_LABEL_SHARE = 0.57  # of the plot's width

Encoding = dict[str, Any]
Points = Sequence[tuple[float, float]]


def headroom(labels: set[str]) -> float:
    """The fraction of the plot's height that the strip for inf and nan takes, if these labels occur; 0 without any."""
    rows = len(labels.intersection(_STRIP))
    return rows * _STRIP_ROW + _BELOW_STRIP if rows else 0.0


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


def nice_domain(heights: Sequence[float], *, log: bool, from_zero: bool) -> tuple[float, float]:
    """The y domain between round numbers; on a log axis that spans less than a power of ten, the domain itself."""
    low, high = padded_domain(heights, log=log, above=0.0, from_zero=from_zero)
    if log:
        first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        return (low, high) if high < 10 * low else (10.0**first, 10.0**last)
    step = _step(low, high)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


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
    step_width = _step(low, high)
    first, last = math.ceil(low / step_width), math.floor(high / step_width)
    return [round(count * step_width, 12) for count in range(first, last + 1)]


class LabelPositions:
    """The positions of labels in a plot, for each of `_SIZES`."""

    def __init__(
        self, encoding: Encoding, curves: Mapping[Cell, Points], points: Sequence[Mapping[str, Cell]], *, log: bool
    ) -> None:
        """`curves` are the series with their points; `points` are those off the axis, as in `nonfinite_layers`."""
        on_axis = encoding["x"].get("type") == "quantitative"
        self._pixels = [in_pixels(encoding, curves, size, log=log) if on_axis and curves else {} for size in _SIZES]
        self._layouts = []
        above = headroom({str(point["word"]) for point in points})
        self._place = _places(encoding, curves, points)
        for (width, height), pixels in zip(_SIZES, self._pixels, strict=True):
            taken = list(self._labels_of_marks(encoding["x"]["field"], points, width, height)) if on_axis else []
            self._layouts.append(LabelLayout(pixels.values(), width, height, top=above * height, taken=taken))

    def offsets_at_ends(self, names: Mapping[Cell, str]) -> dict[Cell, Any]:
        """Series → the offset, in pixels downwards from the end of its curve, of the first line of its label.

        It is a number, or an expression of the plot's height (`by_height`).
        """
        shifts = [
            layout.offsets_at_ends([(name, pixels[key][-1]) for key, name in names.items()])
            for layout, pixels in zip(self._layouts, self._pixels, strict=True)
        ]
        return {
            key: by_height([shift - LINE_PIXELS / 2 * name.count("\n") for shift in of_name])
            for (key, name), of_name in zip(names.items(), zip(*shifts, strict=True), strict=True)
        }

    def place_beside_rule(self, label: str, x: float) -> list[tuple[bool, float, bool]]:
        """For each size, the position of a label beside a vertical rule at `x`.

        (whether it is to the left of the rule, the share of the plot's height above its middle, whether it is free).
        """
        sides = []
        for layout, (width, height) in zip(self._layouts, _SIZES, strict=True):
            left, middle, is_free = layout.place_beside_rule(label, self._place(x) * width)
            sides.append((left, round(middle / height, 3), is_free))
        return sides

    def _labels_of_marks(
        self, x: str, points: Sequence[Mapping[str, Cell]], width: float, height: float
    ) -> Iterator[Box]:
        """The boxes of the labels of points off the axis; `x` is the x column."""
        heights = _heights_of_marks(points)
        for point in points:
            if point["label"]:
                share, up = heights[str(point["word"])]
                left = self._place(point[x]) * width + _LABEL_OF_MARK
                yield text_box(str(point["label"]), left, share * height - up)


def by_height(values: Sequence[Any]) -> Any:
    """The value, if those for all `_SIZES` are equal; else a Vega expression that selects one by the plot's height."""
    *lower, expression = [json.dumps(value) for value in values]
    if {*lower} <= {expression}:
        return values[-1]
    for value, (_, height) in zip(reversed(lower), reversed(_SIZES[1:]), strict=True):
        expression = f"height < {height} ? {value} : {expression}"
    return {"expr": expression}


def with_sparse_labels(
    encoding: Encoding, curves: Mapping[Cell, Points], points: Sequence[dict[str, Cell]]
) -> list[dict[str, Cell]]:
    """The points off the axis, without labels that would overlap another of their kind in the narrowest plot."""
    if encoding["x"].get("type") != "quantitative":
        return [*points]
    x, place = encoding["x"]["field"], _places(encoding, curves, points)
    labelled: dict[Cell, list[float]] = {}
    sparse = []
    for point in points:
        left, others = place(point[x]) * _NARROW, labelled.setdefault(point["word"], [])
        room = width_of(str(point["word"])) + _LABEL_OF_MARK
        has_label = bool(point["label"]) and all(abs(left - other) >= room for other in others)
        others += [left] * has_label
        sparse.append({**point, "label": point["label"] if has_label else ""})
    return sparse


def _places(
    encoding: Encoding, curves: Mapping[Cell, Points], points: Sequence[Mapping[str, Cell]]
) -> Callable[[Any], float]:
    """A function from a value to its position on the x axis, 0 to 1; always 0 if the axis is not quantitative."""
    x = encoding["x"]["field"]
    across = [place for shown in curves.values() for place, _ in shown]
    across += [float(point[x]) for point in points if isinstance(point[x], int | float)]  # type: ignore[arg-type]
    if encoding["x"].get("type") != "quantitative" or not across:
        return lambda _: 0.0
    domain, log = x_domain(encoding, across)
    return lambda value: _fraction(value, domain, log=log)


def _heights_of_marks(points: Sequence[Mapping[str, Cell]]) -> dict[str, tuple[float, float]]:
    """Kind of a value off the axis → the position of its label: (share of the plot's height, pixels above that).

    The kinds in the strip have a row each, and so have those at the lower edge.
    """
    words = dict.fromkeys(str(point["word"]) for point in points)
    strip = [word for word in _STRIP if word in words]
    edge = [word for word in words if word not in _STRIP]
    return {word: ((row + 0.5) * _STRIP_ROW, 0.0) for row, word in enumerate(strip)} | {
        word: (1.0, _ABOVE_EDGE + row * LINE_PIXELS) for row, word in enumerate(edge)
    }


def _step(low: float, high: float) -> float:
    """The distance between ticks: a round number by which at most six ticks lie between `low` and `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def nonfinite_layers(
    x: Encoding, points: Sequence[Mapping[str, Cell]], *, coloured: bool, legend: bool
) -> list[dict[str, Any]]:
    """Marks and labels of values off the axis: in a row of the strip for each kind, or at the lower edge.

    A point has the x column, "series", "word" (its kind), and "label" (its kind if it is the first of a sequence, else
    ""). With `coloured` a mark has the colour of its series, with `legend` the chart has a legend of the colours.
    """
    color = (
        {"color": {"field": "series", "type": "nominal"} | ({} if legend else {"legend": None})}
        if coloured
        else {"color": {"value": "#c2410c"}}
    )
    layers = []
    heights = _heights_of_marks(points)
    for word, (share, up) in heights.items():
        of_kind = [point for point in points if point["word"] == word]
        encoding = {"x": x, "y": _at_share(share)} | color
        mark = {
            "type": "point",
            "size": 40,
            "filled": True,
            "shape": _SHAPE_BY_LABEL[word],
            "yOffset": 0 if word in _STRIP else -6,
        }
        text = {"type": "text", "dx": _LABEL_OF_MARK, "dy": -up, "align": "left", "fontWeight": "bold"}
        labelled = [point for point in of_kind if point["label"]]
        layers += [
            {"data": {"values": of_kind}, "mark": mark, "encoding": encoding},
            {"data": {"values": labelled}, "mark": text, "encoding": encoding | {"text": {"field": "label"}}},
        ]
    if rows := sum(word in _STRIP for word in heights):
        divider = {"type": "rule", "strokeDash": [2, 3], "opacity": 0.6}
        layers.append({"data": {"values": [{}]}, "mark": divider, "encoding": {"y": _at_share(rows * _STRIP_ROW)}})
    return layers


def _at_share(share: float) -> Encoding:
    """A y position as a share of the plot's height, which the page may change."""
    return {"value": "height" if share == 1 else {"expr": f"height * {share:.3f}"}}


def end_labels(
    encoding: Encoding, names: Mapping[Cell, str], curves: Mapping[Cell, Points], series: str, plot: LabelPositions
) -> list[dict[str, Any]]:
    """A text layer for the label at the end of each curve; `series` is the field that names the series."""
    x, y = encoding["x"], encoding["y"]
    layers = []
    for key, down in plot.offsets_at_ends(names).items():
        end = curves[key][-1]
        point = {x["field"]: end[0], y["field"]: end[1], series: key, "name": names[key]}
        text = {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "dx": GAP_PIXELS,
            "dy": down,
            "lineBreak": "\n",
            "lineHeight": LINE_PIXELS,
            "fontWeight": "bold",
        }
        color = {"field": series, "type": "nominal", "legend": None}
        layers.append(
            {
                "data": {"values": [point]},
                "mark": text,
                "encoding": {"x": x, "y": y, "text": {"field": "name"}, "color": color},
            }
        )
    return layers


def deciding_point(encoding: Encoding, value: float, label: str, plot: LabelPositions) -> list[dict[str, Any]]:
    """A vertical rule at a value of the x axis; its label is on the side that has room, and hidden if neither has."""
    x = encoding["x"]
    data = {"values": [{x["field"]: value, "name": label}]}
    rule = {"type": "rule", "strokeDash": [4, 3]}
    places = plot.place_beside_rule(label, value)
    text = {
        "type": "text",
        "baseline": "middle",
        "lineBreak": "\n",
        "lineHeight": LINE_PIXELS,
        "dy": -LINE_PIXELS / 2 * label.count("\n"),
        "align": by_height(["right" if left else "left" for left, *_ in places]),
        "dx": by_height([-GAP_PIXELS if left else GAP_PIXELS for left, *_ in places]),
        "opacity": by_height([int(is_free) for *_, is_free in places]),
    }
    share = by_height([share for _, share, _ in places])
    # a share of the plot's height, which the page may change
    y = {"value": {"expr": f"height * ({share['expr']})" if isinstance(share, dict) else f"height * {share:.3f}"}}
    return [
        {"data": data, "mark": rule, "encoding": {"x": x}},
        {"data": data, "mark": text, "encoding": {"x": x, "y": y, "text": {"field": "name"}}},
    ]


def make_room(encoding: Encoding, across: Sequence[float], names: Iterable[str]) -> None:
    """Extends the x axis to the right, so that the labels of curves fit there; its ticks stay within the data."""
    share = min(_MAX_LABEL_SHARE, (max(width_of(name) for name in names) + 12) / _NARROW)
    scale = encoding["x"].get("scale", {})
    log = scale.get("type") == "log"
    domain = list(_extended(min(across), max(across), share, log=log))
    encoding["x"] = encoding["x"] | {
        "scale": scale | {"domain": domain, "nice": False} | ({} if log else {"zero": False}),
        "axis": encoding["x"].get("axis", {}) | {"values": tick_values(across, log=log)},
    }


def _extended(low: float, high: float, share: float, *, log: bool) -> tuple[float, float]:
    """The domain that begins at `low` and of which the fraction `share` lies beyond `high`."""
    if log:
        _, end = _extended(math.log10(low), math.log10(high), share, log=False)
        return low, 10**end
    return low, high + share / (1 - share) * ((high - low) or 1.0)


def in_pixels(
    encoding: Encoding, curves: Mapping[Cell, Points], size: tuple[float, float], *, log: bool
) -> dict[Cell, Points]:
    """The curves with their points in pixels from the upper left corner of a plot of this width and height."""
    width, height = size
    transform = symlog if encoding["y"].get("scale", {}).get("type") == "symlog" else float
    shown = [y for points in curves.values() for _, y in points]
    shown += [] if log or encoding["y"].get("scale", {}).get("zero", True) is False else [0.0]
    y_domain = encoding["y"].get("scale", {}).get("domain") or (min(shown), max(shown))
    y_ends = [transform(end) for end in y_domain]
    domain, log_x = x_domain(encoding, [x for points in curves.values() for x, _ in points])
    return {
        key: [
            (width * _fraction(x, domain, log=log_x), height * (1 - _fraction(transform(y), y_ends, log=log)))
            for x, y in points
        ]
        for key, points in curves.items()
    }


def symlog(value: float) -> float:
    """Vega's scale "symlog": sign(value) · log(1 + |value|)."""
    return math.copysign(math.log1p(abs(value)), value)


def symexp(place: float) -> float:
    """The inverse of `symlog`."""
    return math.copysign(math.expm1(abs(place)), place)


def x_domain(encoding: Encoding, across: Sequence[float]) -> tuple[Sequence[float], bool]:
    """(ends of the x axis, whether it is logarithmic); `across` are the x values."""
    scale = encoding["x"].get("scale", {})
    return scale.get("domain") or (min(across), max(across)), scale.get("type") == "log"


def _fraction(value: float, domain: Sequence[float], *, log: bool) -> float:
    """The position of a value in a domain, 0 to 1."""
    low, high, value = (math.log10(each) if log else each for each in (*domain, value))
    return (value - low) / ((high - low) or 1.0)
