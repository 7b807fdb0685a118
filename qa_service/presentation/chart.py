"""Completes a demo's Vega-Lite chart: adds data, titles in one language, and marks for values off the axis.

inf is drawn at the upper edge, -inf and a zero on a log axis at the lower edge, nan at the upper edge as a cross; the
first of each kind in a series has a text label. No value is dropped silently.
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
    """The complete Vega-Lite specification. Values that are no JSON numbers are null and drawn in additional layers."""
    base = copy.deepcopy(dict(experiment.chart))
    log = _is_log(base)
    fields, series = _y_fields_and_series(base)
    _add_titles(base, experiment, fields, lang)
    on_axis = _is_quantitative(base)
    base["data"] = {"values": [_finite_row(row, fields if on_axis else (), log) for row in rows]}
    off_axis = _nonfinite_points(base, rows, fields, series, log) if on_axis else []
    if off_axis:
        spec: dict[str, Any] = {"layer": [base, *_nonfinite_layers(base, off_axis, series)]}
        spec["resolve"] = {"scale": {"shape": "independent"}}
    else:
        spec = base
    size = {} if "column" in base.get("encoding", {}) else {"width": 480, "height": 240}
    return {"$schema": SCHEMA} | size | spec


def chart_axes(experiment: Experiment) -> tuple[str, tuple[str, ...], str | None, bool] | None:
    """(x column, y columns, column that names the series or None, whether y is logarithmic).

    None for a chart without two quantitative axes, and for a faceted one.
    """
    spec = dict(experiment.chart)
    encoding = spec.get("encoding", {})
    if not _is_quantitative(spec) or encoding.get("x", {}).get("type") != "quantitative" or "column" in encoding:
        return None
    fields, series = _y_fields_and_series(spec)
    return encoding["x"]["field"], fields, None if _fold_transform(spec) else series, _is_log(spec)


def nonfinite_label(value: Cell, log: bool) -> str | None:
    """The label of a value that has no place on the axis: inf, -inf, nan and, on a log axis, 0 and <0; else None."""
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
    fold = _fold_transform(spec)
    encoding = spec.get("encoding", {})
    if fold:
        return tuple(fold["fold"]), fold["as"][0]
    y = encoding.get("y", {}).get("field")
    return (y,) if y else (), encoding.get("color", {}).get("field")


def _is_quantitative(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("encoding", {}).get("y", {}).get("type") == "quantitative")


def _is_log(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("encoding", {}).get("y", {}).get("scale", {}).get("type") == "log")


def _add_titles(spec: dict[str, Any], experiment: Experiment, fields: tuple[str, ...], lang: Lang) -> None:
    titles = {name: column.title[lang] for name, column in experiment.columns.items()}
    fold = _fold_transform(spec)
    for channel, encoding in spec.get("encoding", {}).items():
        if not isinstance(encoding, dict) or "field" not in encoding:
            continue
        field = encoding["field"]
        if channel in ("x", "y") and encoding.get("type") == "quantitative":
            encoding["axis"] = {"format": ".4~g"} | encoding.get("axis", {})
        if fold and field in fold["as"]:
            encoding["title"] = None
        elif field in titles:
            encoding["title"] = titles[field]
        labels: dict[str, str] = {}
        if fold and field == fold["as"][0]:
            labels = {name: titles.get(name, name) for name in fields}
        elif encoding.get("type") == "nominal":
            labels = {word: text[lang] for word, text in experiment.words.items()}
        if labels and channel in _GUIDE_BY_CHANNEL:
            pairs = ", ".join(f"'{_escape_quotes(name)}': '{_escape_quotes(label)}'" for name, label in labels.items())
            label_expr = {"labelExpr": f"({{{pairs}}})[datum.label] || (datum.label)"}
            guide = _GUIDE_BY_CHANNEL[channel]
            defaults = {"orient": "top"} if guide == "legend" else {}
            encoding[guide] = defaults | (encoding.get(guide) or {}) | label_expr


def _escape_quotes(label: str) -> str:
    return label.replace("\\", "\\\\").replace("'", "\\'")


def _finite_row(row: Row, fields: tuple[str, ...], log: bool) -> dict[str, Cell]:
    def or_null(name: str, value: Cell) -> Cell:
        return None if nonfinite_label(value, log and name in fields) else value

    return {name: or_null(name, value) for name, value in row.items()}


def _nonfinite_points(
    spec: Mapping[str, Any], rows: Sequence[Row], fields: tuple[str, ...], series: str | None, log: bool
) -> list[dict[str, Cell]]:
    x = spec["encoding"]["x"]["field"]
    folded = _fold_transform(spec) is not None
    points: list[dict[str, Cell]] = []
    previous: dict[Cell, str | None] = {}
    for row in rows:
        for field in fields:
            name = field if folded else row.get(series, "") if series else ""
            word = nonfinite_label(row.get(field), log)
            if word:
                label = word if previous.get(name) != word else ""
                points.append({x: row.get(x), "series": name, "word": word, "label": label})
            previous[name] = word
    return points


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
