"""A chart in words, for those who do not see it: what runs along which axis, from where to where, what overflows."""

import math
from collections.abc import Sequence

from qa_service.model import Cell, Experiment, Lang, Row
from qa_service.presentation import chart
from qa_service.presentation.numbers import format_number

_MAX_SERIES = 6


def chart_alt_text(experiment: Experiment, rows: Sequence[Row], lang: Lang) -> str:
    """Title and, for a chart with two axes, each series: first and last value, lowest and highest, first inf or nan."""
    title = f"图：{experiment.title.zh}。" if lang == "zh" else f"Chart: {experiment.title.en}. "
    axes = chart.chart_axes(experiment)
    if axes is None or not rows:
        return title + (f"共 {len(rows)} 行数据。" if lang == "zh" else f"{len(rows)} rows of data.")
    x, fields, by, _ = axes
    along = _axis_sentence(experiment, rows, x, lang)
    told = []
    for name, points in list(_points_by_series(experiment, rows, x, fields, by, lang).items())[:_MAX_SERIES]:
        told.append(_series_sentence(name, points, experiment.columns[x].title[lang], lang))
    return title + along + "".join(told)


def _axis_sentence(experiment: Experiment, rows: Sequence[Row], x: str, lang: Lang) -> str:
    places = [value for row in rows if isinstance(value := row.get(x), int | float) and math.isfinite(value)]
    if not places:
        return ""
    low, high = format_number(min(places), lang), format_number(max(places), lang)
    name = experiment.columns[x].title[lang]
    return f"横轴是{name}，从 {low} 到 {high}。" if lang == "zh" else f"Along {name}, from {low} to {high}. "


def _points_by_series(
    experiment: Experiment, rows: Sequence[Row], x: str, fields: tuple[str, ...], by: str | None, lang: Lang
) -> dict[str, list[tuple[Cell, float]]]:
    found: dict[str, list[tuple[Cell, float]]] = {}
    for row in rows:
        for field in fields:
            value = row.get(field)
            if not isinstance(value, int | float):
                continue
            word = row.get(by) if by else None
            name = experiment.words[word][lang] if isinstance(word, str) and word in experiment.words else word
            label = experiment.columns[field].title[lang] if name is None else str(name)
            found.setdefault(label, []).append((row.get(x), float(value)))
    return found


def _series_sentence(name: str, points: list[tuple[Cell, float]], along: str, lang: Lang) -> str:
    finite = [value for _, value in points if math.isfinite(value)]
    strange = next((point for point in points if not math.isfinite(point[1])), None)
    first, last = format_number(points[0][1], lang), format_number(points[-1][1], lang)
    low, high = (format_number(min(finite), lang), format_number(max(finite), lang)) if finite else ("", "")
    if lang == "zh":
        said = f"{name}：从 {first} 到 {last}" + (f"，最小 {low}，最大 {high}" if finite else "")
        where = f"，在{along} {format_number(strange[0], lang)} 处首次为 " if strange else ""
        return said + where + (f"{format_number(strange[1], lang)}。" if strange else "。")
    said = f"{name}: from {first} to {last}" + (f", lowest {low}, highest {high}" if finite else "")
    return said + (
        f", first {format_number(strange[1], lang)} at {along} {format_number(strange[0], lang)}. " if strange else ". "
    )
