"""Text alternatives of charts: the range of the x axis, then the range and the first inf or nan of each series."""

import math
from collections.abc import Sequence

from qa_service.model import Cell, Experiment, Lang, Row
from qa_service.presentation import chart
from qa_service.presentation.numbers import format_number

_MAX_SERIES = 6


def chart_alt_text(experiment: Experiment, rows: Sequence[Row], lang: Lang) -> str:
    """The title and, for a chart with two axes, the range of x and the main values of each series."""
    title = f"图：{experiment.title.zh}。" if lang == "zh" else f"Chart: {experiment.title.en}. "
    axes = chart.chart_axes(experiment)
    if axes is None or not rows:
        return title + (f"共 {len(rows)} 行数据。" if lang == "zh" else f"{len(rows)} rows of data.")
    x, fields, series, _ = axes
    sentences = [_axis_sentence(experiment, rows, x, lang)]
    for name, points in list(_points_by_series(experiment, rows, x, fields, series, lang).items())[:_MAX_SERIES]:
        sentences.append(_series_sentence(name, points, experiment.columns[x].title[lang], lang))
    return title + "".join(sentences)


def _axis_sentence(experiment: Experiment, rows: Sequence[Row], x: str, lang: Lang) -> str:
    values = [value for row in rows if isinstance(value := row.get(x), int | float) and math.isfinite(value)]
    if not values:
        return ""
    low, high = format_number(min(values), lang), format_number(max(values), lang)
    name = experiment.columns[x].title[lang]
    return f"横轴是{name}，从 {low} 到 {high}。" if lang == "zh" else f"Along {name}, from {low} to {high}. "


def _points_by_series(
    experiment: Experiment, rows: Sequence[Row], x: str, fields: tuple[str, ...], series: str | None, lang: Lang
) -> dict[str, list[tuple[Cell, float]]]:
    """Series title → its (x, y) points. `series` is the column whose value names the series of a row."""
    points: dict[str, list[tuple[Cell, float]]] = {}
    for row in rows:
        for field in fields:
            value = row.get(field)
            if not isinstance(value, int | float):
                continue
            word = row.get(series) if series else None
            name = experiment.words[word][lang] if isinstance(word, str) and word in experiment.words else word
            label = experiment.columns[field].title[lang] if name is None else str(name)
            points.setdefault(label, []).append((row.get(x), float(value)))
    return points


def _series_sentence(name: str, points: list[tuple[Cell, float]], x_title: str, lang: Lang) -> str:
    finite = [value for _, value in points if math.isfinite(value)]
    nonfinite = next((point for point in points if not math.isfinite(point[1])), None)
    first, last = format_number(points[0][1], lang), format_number(points[-1][1], lang)
    low, high = (format_number(min(finite), lang), format_number(max(finite), lang)) if finite else ("", "")
    if lang == "zh":
        sentence = f"{name}：从 {first} 到 {last}" + (f"，最小 {low}，最大 {high}" if finite else "")
        where = f"，在{x_title} {format_number(nonfinite[0], lang)} 处首次为 " if nonfinite else ""
        return sentence + where + (f"{format_number(nonfinite[1], lang)}。" if nonfinite else "。")
    sentence = f"{name}: from {first} to {last}" + (f", lowest {low}, highest {high}" if finite else "")
    return sentence + (
        f", first {format_number(nonfinite[1], lang)} at {x_title} {format_number(nonfinite[0], lang)}. "
        if nonfinite
        else ". "
    )
