"""A demo's Vega-Lite chart, completed: data, titles in the reader's language, and marks for what no axis can carry.

inf sits at the upper edge, -inf and a zero on a log axis at the lower one, nan at the upper edge with a cross; the
first of each kind in a series is labelled with its word. Nothing is dropped silently.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qa_service.model import Cell, Experiment, Lang, Row

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_SHAPE_BY_LABEL = {
    "inf": "triangle-up",
    "-inf": "triangle-down",
    "nan": "cross",
    "0": "triangle-down",
    "<0": "triangle-down",
}
_GUIDE_BY_CHANNEL = {
    "color": "legend",
    "strokeDash": "legend",
    "x": "axis",
    "y": "axis",
    "column": "header",
    "row": "header",
}
_TOP_EDGE_LABELS = ("inf", "nan")


def build_spec(experiment: Experiment, rows: Sequence[Row], lang: Lang) -> dict[str, Any]:
    """A whole Vega-Lite specification, ready to embed; figures that JSON cannot say are null in it and marked apart."""
    plain = copy.deepcopy(dict(experiment.chart))
    log = _is_log(plain)
    fields, series = _y_fields_and_series(plain)
    _add_titles(plain, experiment, fields, lang)
    on_axis = _is_quantitative(plain)
    plain["data"] = {"values": [_finite_row(row, fields if on_axis else (), log) for row in rows]}
    special = _nonfinite_points(plain, rows, fields, series, log) if on_axis else []
    if special:
        spec: dict[str, Any] = {"layer": [plain, *_nonfinite_layers(plain, special, series)]}
        spec["resolve"] = {"scale": {"shape": "independent"}}
    else:
        spec = plain
    size = {} if "column" in plain.get("encoding", {}) else {"width": 480, "height": 240}
    return {"$schema": SCHEMA} | size | spec


def chart_axes(experiment: Experiment) -> tuple[str, tuple[str, ...], str | None, bool] | None:
    """x, the y columns, the column that names a series if any, whether y is logarithmic; None for other pictures."""
    spec = dict(experiment.chart)
    encoding = spec.get("encoding", {})
    if not _is_quantitative(spec) or encoding.get("x", {}).get("type") != "quantitative" or "column" in encoding:
        return None
    fields, series = _y_fields_and_series(spec)
    return encoding["x"]["field"], fields, None if _fold_transform(spec) else series, _is_log(spec)


def nonfinite_label(value: Cell, log: bool) -> str | None:
    """The word for a value that an axis cannot carry, or None for one it can."""
    if value is None or isinstance(value, str | bool):
        return None
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None if value > 0 or not log else "0" if value == 0 else "<0"


def _fold_transform(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((step for step in spec.get("transform", ()) if "fold" in step), None)


def _y_fields_and_series(spec: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    folds = _fold_transform(spec)
    encoding = spec.get("encoding", {})
    if folds:
        return tuple(folds["fold"]), folds["as"][0]
    y = encoding.get("y", {}).get("field")
    return (y,) if y else (), encoding.get("color", {}).get("field")


def _is_quantitative(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("encoding", {}).get("y", {}).get("type") == "quantitative")


def _is_log(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("encoding", {}).get("y", {}).get("scale", {}).get("type") == "log")


def _add_titles(spec: dict[str, Any], experiment: Experiment, fields: tuple[str, ...], lang: Lang) -> None:
    named = {name: quantity.title[lang] for name, quantity in experiment.columns.items()}
    folds = _fold_transform(spec)
    for channel, encoding in spec.get("encoding", {}).items():
        if not isinstance(encoding, dict) or "field" not in encoding:
            continue
        field = encoding["field"]
        if channel in ("x", "y") and encoding.get("type") == "quantitative":
            encoding["axis"] = {"format": ".4~g"} | encoding.get("axis", {})
        if folds and field in folds["as"]:
            encoding["title"] = None
        elif field in named:
            encoding["title"] = named[field]
        labels: dict[str, str] = {}
        if folds and field == folds["as"][0]:
            labels = {name: named.get(name, name) for name in fields}
        elif encoding.get("type") == "nominal":
            labels = {word: text[lang] for word, text in experiment.words.items()}
        if labels and channel in _GUIDE_BY_CHANNEL:
            pairs = ", ".join(f"'{_escape_quotes(name)}': '{_escape_quotes(label)}'" for name, label in labels.items())
            shown = {"labelExpr": f"({{{pairs}}})[datum.label] || (datum.label)"}
            place = _GUIDE_BY_CHANNEL[channel]
            encoding[place] = ({"orient": "top"} if place == "legend" else {}) | (encoding.get(place) or {}) | shown


def _escape_quotes(label: str) -> str:
    return label.replace("\\", "\\\\").replace("'", "\\'")


def _finite_row(row: Row, fields: tuple[str, ...], log: bool) -> dict[str, Cell]:
    def finite(name: str, value: Cell) -> Cell:
        return None if nonfinite_label(value, log and name in fields) else value

    return {name: finite(name, value) for name, value in row.items()}


def _nonfinite_points(
    spec: Mapping[str, Any], rows: Sequence[Row], fields: tuple[str, ...], series: str | None, log: bool
) -> list[dict[str, Cell]]:
    x = spec["encoding"]["x"]["field"]
    folded = _fold_transform(spec) is not None
    marks: list[dict[str, Cell]] = []
    before: dict[Cell, str | None] = {}
    for row in rows:
        for field in fields:
            name = field if folded else row.get(series, "") if series else ""
            said = nonfinite_label(row.get(field), log)
            if said:
                label = said if before.get(name) != said else ""
                marks.append({x: row.get(x), "series": name, "word": said, "label": label})
            before[name] = said
    return marks


def _nonfinite_layers(
    spec: Mapping[str, Any], points: list[dict[str, Cell]], series: str | None
) -> list[dict[str, Any]]:
    x = spec["encoding"]["x"]
    color = {"color": {"field": "series", "type": "nominal"}} if series else {"color": {"value": "#c2410c"}}
    layers = []
    for edge, words in (("top", _TOP_EDGE_LABELS), ("bottom", tuple(set(_SHAPE_BY_LABEL) - set(_TOP_EDGE_LABELS)))):
        values = [mark for mark in points if mark["word"] in words]
        if not values:
            continue
        top = edge == "top"
        encoding = {"x": x, "y": {"value": 0 if top else "height"}} | color
        inwards = 1 if top else -1
        shape = {"field": "word", "type": "nominal", "legend": None,
                 "scale": {"domain": list(_SHAPE_BY_LABEL), "range": list(_SHAPE_BY_LABEL.values())}}  # fmt: skip
        layers += [
            {"data": {"values": values}, "mark": {"type": "point", "size": 40, "filled": True, "yOffset": 6 * inwards},
             "encoding": encoding | {"shape": shape}},
            {"data": {"values": [mark for mark in values if mark["label"]]},
             "mark": {"type": "text", "dy": 18 * inwards, "align": "left", "fontWeight": "bold"},
             "encoding": encoding | {"text": {"field": "label"}}},
        ]  # fmt: skip
    return layers
