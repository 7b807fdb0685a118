"""Completes a demo's Vega-Lite chart: data, titles in one language, labels of series, marks for values off the axis.

inf and nan are drawn in a strip of their own above the curves, -inf and, on a log axis, 0 at the lower edge; the first
of each kind in a series has a text label. No value is dropped silently.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from qa_service.model import Cell, Evidence, Experiment, Lang, Row, Text
from qa_service.presentation.chart_labels import without_common_words, wrap_label
from qa_service.presentation.chart_layers import (
    PLOT_HEIGHT,
    PLOT_WIDTH,
    LabelPositions,
    deciding_point,
    end_labels,
    headroom,
    make_room,
    nice_domain,
    nonfinite_layers,
    padded_domain,
    symexp,
    symlog,
    tick_values,
    with_sparse_labels,
)
from qa_service.presentation.numbers import format_in_text, format_unit

VEGA_LITE_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
MAX_LABELLED = 3
"""The greatest number of series that are labelled at their ends; with more there is a legend."""
AXIS_LIMITS = (1e-50, 1e45)
"""Magnitudes beyond which a value is drawn at the edge of its axis: float32 ends at 3.4e38 and 1.4e-45."""
_TOO_LARGE, _TOO_SMALL = ">10⁴⁵", "<10⁻⁵⁰"
_VALUE = Text("数值", "value")
_LOG_AXIS = Text("（对数轴）", " (log scale)")
_GUIDE_BY_CHANNEL = {
    "color": "legend",
    "strokeDash": "legend",
    "x": "axis",
    "y": "axis",
    "column": "header",
    "row": "header",
}


def evidence_spec(evidence: Evidence, lang: Lang) -> dict[str, Any]:
    """The chart of a run, with the series that its entry shows and the metric that it marks on the x axis."""
    marked: tuple[float, str] | None = None
    value = evidence.run.measured.get(evidence.mark) if evidence.mark else None
    if evidence.mark and isinstance(value, int | float) and math.isfinite(value):
        title = evidence.experiment.metrics[evidence.mark].title[lang]
        marked = float(value), wrap_label(f"{title} {format_in_text(value, lang)}")
    return build_spec(evidence.experiment, evidence.run.rows, lang, series=evidence.series, mark=marked)


def build_spec(
    experiment: Experiment,
    rows: Sequence[Row],
    lang: Lang,
    *,
    series: Sequence[str] = (),
    mark: tuple[float, str] | None = None,
) -> dict[str, Any]:
    """The complete Vega-Lite specification. Values off the axis are null in the data and drawn in additional layers.

    `series` are the series to show, all if it is empty; `mark` is a value on the x axis and its label.
    """
    base = copy.deepcopy(dict(experiment.chart))
    log = _is_log(base)
    rows = _keep_series(base, rows, series)
    fields, _ = _y_fields_and_series(base)
    _add_titles(base, experiment, fields, lang)
    on_axis = _is_quantitative(base)
    base["data"] = {"values": [_finite_row(row, fields if on_axis else (), log) for row in rows]}
    with_layers = on_axis and _is_single_plot(base) and rows
    layers = _additional_layers(base, experiment, rows, lang, mark) if with_layers else []
    size = {} if "column" in base.get("encoding", {}) else {"width": PLOT_WIDTH, "height": PLOT_HEIGHT}
    return {"$schema": VEGA_LITE_SCHEMA} | size | ({"layer": [base, *layers]} if layers else base)


def _additional_layers(
    base: dict[str, Any], experiment: Experiment, rows: Sequence[Row], lang: Lang, mark: tuple[float, str] | None
) -> list[dict[str, Any]]:
    """The layers over the curves; extends the axes of `base` to make room for them."""
    log = _is_log(base)
    fields, series = _y_fields_and_series(base)
    encoding = base["encoding"]
    x = encoding["x"]["field"]
    cells = list(_cells(base, rows, fields, series))
    off_axis = _nonfinite_points(x, cells, log)
    curves = _curves(cells, log)
    heights = [float(up) for _, _, up in cells if _is_number(up) and nonfinite_label(up, log) is None]  # type: ignore[arg-type]
    is_named = _is_named_at_ends(base, curves)
    _fix_y_axis(base, heights, headroom({str(point["word"]) for point in off_axis}), is_named)
    across = [float(row[x]) for row in rows if _is_number(row.get(x))]  # type: ignore[arg-type]
    named = _names_at_ends(base, experiment, curves, lang) if is_named else {}
    if named:
        make_room(encoding, across, named.values())
    off_axis = with_sparse_labels(encoding, curves, off_axis)
    plot = LabelPositions(encoding, curves, off_axis, log=log)
    labels: list[dict[str, Any]] = []
    if named:
        labels = end_labels(encoding, named, curves, series or "series", plot)
        encoding["color"] = encoding["color"] | {"legend": None}
        if "strokeDash" in encoding:
            encoding["strokeDash"] = encoding["strokeDash"] | {"legend": None}
    layers = nonfinite_layers(encoding["x"], off_axis, coloured=series is not None, legend=not labels) + labels
    if mark is not None and across and encoding["x"].get("type") == "quantitative":
        layers += deciding_point(encoding, *mark, plot)
    return layers


def _fix_y_axis(base: dict[str, Any], heights: Sequence[float], above: float, is_named: bool) -> None:
    """Sets an explicit y domain where a non-finite strip takes `above` of the plot, no finite value exists, or end
    labels need the domain; else leaves Vega's.
    """
    encoding, log, from_zero = base["encoding"], _is_log(base), _starts_at_zero(base)
    scale, is_symlog = encoding["y"].get("scale", {}), _scale_type(base) == "symlog"
    if above or not heights or (is_named and is_symlog):
        transform, inverse = (symlog, symexp) if is_symlog else (float, float)
        ends = padded_domain([*map(transform, heights)], log=log, above=above, from_zero=from_zero)
        domain = [*map(inverse, ends)]
        if above or not heights:
            encoding["y"]["axis"] = encoding["y"].get("axis", {}) | {"values": tick_values(heights, log=log)}
    elif is_named and "domain" not in scale:
        domain = [*nice_domain(heights, log=log, from_zero=from_zero)]
    else:
        return
    encoding["y"]["scale"] = scale | {"domain": domain, "nice": False}


def _names_at_ends(base: dict[str, Any], experiment: Experiment, curves: Iterable[Cell], lang: Lang) -> dict[Cell, str]:
    """Series → its label, with line breaks. Words that all labels of columns share become the title of their axis."""
    fields, _ = _y_fields_and_series(base)
    titles = _series_labels(experiment, fields, lang)
    names = [titles.get(str(series), str(series)) for series in curves]
    if _fold_transform(base):
        common, names = without_common_words(names)
        if common:
            base["encoding"]["y"]["title"] = common + (_LOG_AXIS[lang] if _is_log(base) else "")
    return dict(zip(curves, map(wrap_label, names), strict=True))


def _keep_series(base: dict[str, Any], rows: Sequence[Row], series: Sequence[str]) -> Sequence[Row]:
    """Restricts a chart to some of its series; returns the remaining rows, or all if that would leave none."""
    if not series:
        return rows
    fold = _fold_transform(base)
    if fold is not None:
        kept = [name for name in fold["fold"] if name in series]
        base["transform"] = [{**step, "fold": kept} if step is fold else step for step in base["transform"]]
        return rows
    field = base.get("encoding", {}).get("color", {}).get("field")
    kept_rows = [row for row in rows if str(row.get(field)) in series]
    return kept_rows or rows


def _cells(
    base: Mapping[str, Any], rows: Sequence[Row], fields: Sequence[str], series: str | None
) -> Iterator[tuple[Cell, Cell, Cell]]:
    """(series, x, y) of every point of the chart, row by row; the series is "" if there is only one."""
    x = base["encoding"]["x"]["field"]
    folded = _fold_transform(base) is not None
    for row in rows:
        for field in fields:
            yield (field if folded else row.get(series, "") if series else ""), row.get(x), row.get(field)


def _curves(cells: Iterable[tuple[Cell, Cell, Cell]], log: bool) -> dict[Cell, list[tuple[float, float]]]:
    """Series → its points (x, y) that have a place on the axes, in the order of the rows; no empty series."""
    curves: dict[Cell, list[tuple[float, float]]] = {}
    for name, x, y in cells:
        points = curves.setdefault(name, [])
        if _is_number(x) and _is_number(y) and nonfinite_label(y, log) is None:
            points.append((float(x), float(y)))  # type: ignore[arg-type]
    return {name: points for name, points in curves.items() if points}


def _is_number(value: Cell) -> bool:
    """Whether a cell is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_named_at_ends(base: Mapping[str, Any], curves: Mapping[Cell, Any]) -> bool:
    """Whether the series are lines, and few enough to be labelled at their ends."""
    mark = base.get("mark", {})
    kind = mark if isinstance(mark, str) else mark.get("type")
    return kind == "line" and 1 < len(curves) <= MAX_LABELLED and "color" in base["encoding"]


def _series_labels(experiment: Experiment, fields: Sequence[str], lang: Lang) -> dict[str, str]:
    labels = {name: experiment.columns[name].title[lang] for name in fields if name in experiment.columns}
    return labels | {word: text[lang] for word, text in experiment.words.items()}


def _starts_at_zero(base: Mapping[str, Any]) -> bool:
    """Whether Vega-Lite would include zero in the y axis."""
    return not _is_log(base) and base["encoding"]["y"].get("scale", {}).get("zero", True) is not False


def _is_single_plot(base: Mapping[str, Any]) -> bool:
    """Whether the chart is one plot with an x axis, not faceted."""
    encoding = base.get("encoding", {})
    return "x" in encoding and "column" not in encoding


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
    """The label of a value that has no place on the y axis; None for one that has.

    These are inf, -inf, nan, values above `AXIS_LIMITS` and, on a log axis, 0, negative values and those below.
    """
    if value is None or isinstance(value, str | bool):
        return None
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value > AXIS_LIMITS[1]:
        return _TOO_LARGE
    if not log or value >= AXIS_LIMITS[0]:
        return None
    return "0" if value == 0 else "<0" if value < 0 else _TOO_SMALL


def _fold_transform(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The transform of the chart that makes a series of each of several columns, None if there is none."""
    return next((step for step in spec.get("transform", ()) if "fold" in step), None)


def _y_fields_and_series(spec: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """(columns of the y axis, field that names the series or None)."""
    fold = _fold_transform(spec)
    encoding = spec.get("encoding", {})
    if fold:
        return tuple(fold["fold"]), fold["as"][0]
    y = encoding.get("y", {}).get("field")
    return (y,) if y else (), encoding.get("color", {}).get("field")


def _is_quantitative(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("encoding", {}).get("y", {}).get("type") == "quantitative")


def _is_log(spec: Mapping[str, Any]) -> bool:
    return _scale_type(spec) == "log"


def _scale_type(spec: Mapping[str, Any]) -> str:
    """The scale type of the y axis, such as "log"; "" for the default, a linear one."""
    return str(spec.get("encoding", {}).get("y", {}).get("scale", {}).get("type", ""))


def _add_titles(spec: dict[str, Any], experiment: Experiment, fields: tuple[str, ...], lang: Lang) -> None:
    """Sets the titles of axes and legends, their number format, and the names of series and words in a language."""
    titles = {name: column.title[lang] for name, column in experiment.columns.items()}
    fold = _fold_transform(spec)
    for channel, encoding in spec.get("encoding", {}).items():
        if not isinstance(encoding, dict) or "field" not in encoding:
            continue
        field = encoding["field"]
        if channel in ("x", "y") and encoding.get("type") == "quantitative":
            encoding["axis"] = {"format": ".4~g"} | encoding.get("axis", {})
        if fold and field in fold["as"]:
            encoding["title"] = _fold_title(experiment, fields, lang, log=_is_log(spec)) if channel == "y" else None
        elif field in titles:
            log = channel in ("x", "y") and encoding.get("scale", {}).get("type") == "log"
            encoding["title"] = titles[field] + (_LOG_AXIS[lang] if log else "")
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


def _fold_title(experiment: Experiment, fields: Sequence[str], lang: Lang, *, log: bool) -> str:
    """The title of an axis that several columns share: the only column's, or their unit."""
    columns = [experiment.columns[name] for name in fields if name in experiment.columns]
    units = {format_unit(column.unit, lang, 2) for column in columns}
    title = columns[0].title[lang] if len(columns) == 1 else (units.pop() if len(units) == 1 else "") or _VALUE[lang]
    return title + (_LOG_AXIS[lang] if log else "")


def _escape_quotes(label: str) -> str:
    return label.replace("\\", "\\\\").replace("'", "\\'")


def _finite_row(row: Row, fields: tuple[str, ...], log: bool) -> dict[str, Cell]:
    """The row with null for values off the axis; `fields` are the y columns, whose axis is logarithmic if `log`."""

    def or_null(name: str, value: Cell) -> Cell:
        return None if nonfinite_label(value, log and name in fields) else value

    return {name: or_null(name, value) for name, value in row.items()}


def _nonfinite_points(x_column: str, cells: Iterable[tuple[Cell, Cell, Cell]], log: bool) -> list[dict[str, Cell]]:
    """The points whose y value has no place on the axis, as `nonfinite_layers` takes them."""
    points: list[dict[str, Cell]] = []
    previous: dict[Cell, str | None] = {}
    for name, x, y in cells:
        word = nonfinite_label(y, log)
        if word:
            label = word if previous.get(name) != word else ""
            points.append({x_column: x, "series": name, "word": word, "label": label})
        previous[name] = word
    return points
