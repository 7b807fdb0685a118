"""Charts of a training run as SVG without scripts: curves, axes, marks, and strips for inf and nan.

Each chart is laid out twice, for a wide and for a narrow screen; lengths are in CSS pixels.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from qa_service.model import Lang, Text
from qa_service.model.diagnosis import CurveMark, Diagnosis
from qa_service.model.training_run import Record
from qa_service.presentation.chart_layers import tick_values
from qa_service.presentation.numbers import format_number

CHARTED_SERIES = ("loss", "loss_scale", "grad_norm", "accuracy", "lr")
"""The series that are drawn, the most important first; others are drawn only if they have a mark."""
MAX_CHARTS = 3
_SAME_CHART: Mapping[str, str] = {"loss": "val_loss", "accuracy": "val_accuracy"}
"""Series → another one that is drawn in the same chart."""
_NAMES: Mapping[str, Text] = {
    "loss": Text("损失", "loss"), "val_loss": Text("验证损失", "validation loss"),
    "loss_scale": Text("损失放大系数", "loss scale"), "grad_norm": Text("梯度范数", "gradient norm"),
    "accuracy": Text("准确率", "accuracy"), "val_accuracy": Text("验证准确率", "validation accuracy"),
    "lr": Text("学习率", "learning rate"),
}  # fmt: skip
_STEP, _RECORD = Text("步", "step"), Text("第几条记录", "record")
_LOG_SCALE = Text("（对数轴）", " (log scale)")
_DECADES = 100.0
"""The ratio of the largest to the smallest value above which the y axis is logarithmic."""
_LEFT, _RIGHT, _BOTTOM, _STRIP, _ABOVE = 52.0, 14.0, 40.0, 17.0, 26.0
_LABEL_WIDTH = 7.0
"""The greatest width of a character of a label."""
_WORDS = ("inf", "-inf", "nan")


class LayoutSize(NamedTuple):
    """The size of a layout, and its CSS class."""

    name: str
    width: int
    height: int


_SIZES = (LayoutSize("wide", 720, 260), LayoutSize("narrow", 340, 220))


@dataclass(frozen=True)
class _Curve:
    """A series as points (x, value)."""

    key: str
    points: tuple[tuple[float, float], ...]

    def finite(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in self.points if math.isfinite(y)]

    def nonfinite(self, word: str) -> list[float]:
        return [x for x, y in self.points if not math.isfinite(y) and _word(y) == word]


class _Axis(NamedTuple):
    """An axis from `low`, at pixel `start`, to `high`, at pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """The position of a value on the axis, in pixels."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:  # halves: the difference of the largest floats would overflow
            share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.start + (self.end - self.start) * share


def run_charts(diagnosis: Diagnosis, lang: Lang) -> list[dict[str, Any]]:
    """The template values of the charts of a run: the loss first, then the series that have a mark."""
    marked = {mark.series for mark in diagnosis.marks}
    series = diagnosis.run.series
    keys = [key for key in CHARTED_SERIES if len(series.get(key, ())) > 1 and (key in marked or key != "lr")]
    keys += [key for key in sorted(marked) if key not in CHARTED_SERIES and len(series.get(key, ())) > 1]
    keys.sort(key=lambda key: (key != "loss", key not in marked))
    return [_chart(diagnosis, key, lang) for key in keys[:MAX_CHARTS]]


def series_name(key: str, lang: Lang) -> str:
    """The name of a series in a language; its key if it has none."""
    return _NAMES[key][lang] if key in _NAMES else key


def _chart(diagnosis: Diagnosis, key: str, lang: Lang) -> dict[str, Any]:
    """The template values of the chart of a series, with the series of `_SAME_CHART` if both have steps."""
    series = diagnosis.run.series
    own = [each for each in (key, _SAME_CHART.get(key, "")) if series.get(each)]
    known = all(record.step is not None for each in own for record in series[each])
    if not known:
        own = own[:1]  # without steps the records of two series have no common x axis
    curves = [_Curve(each, tuple(_points(series[each], known=known))) for each in own]
    marks = [mark for mark in diagnosis.marks if mark.series == key]
    values = [y for curve in curves for _, y in curve.finite()]
    log = _is_log(values)
    across = (_STEP if known else _RECORD)[lang]
    return {
        "key": key,
        "title": series_name(key, lang),
        "marks": [mark.text[lang] for mark in marks],
        "alt": _alt_text(curves, marks, across, lang),
        "curves": [series_name(curve.key, lang) for curve in curves],
        "drawings": [_drawing(size, curves, marks, values, log=log, lang=lang) for size in _SIZES],
        "x_title": across,
        "y_title": series_name(key, lang) + (_LOG_SCALE[lang] if log else ""),
    }


def _points(records: Sequence[Record], *, known: bool) -> Iterator[tuple[float, float]]:
    for index, record in enumerate(records):
        yield float(record.step or 0) if known else float(index), record.value


def _is_log(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > _DECADES


def _word(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _drawing(
    size: LayoutSize,
    curves: Sequence[_Curve],
    marks: Sequence[CurveMark],
    values: Sequence[float],
    *,
    log: bool,
    lang: Lang,
) -> dict[str, Any]:
    """The template values of one layout: paths and positions in pixels."""
    words = [word for word in _WORDS if any(curve.nonfinite(word) for curve in curves)]
    top = _ABOVE + _STRIP * len(words) + (6 if words else 0)
    places = [x for curve in curves for x, _ in curve.points]
    x_axis = _Axis(min(places), max(places), _LEFT, size.width - _RIGHT)
    low, high = _padded(values, log=log)
    y_axis = _Axis(low, high, size.height - _BOTTOM, top, log)
    x_ticks = [x for x in tick_values(places, log=False) if x_axis.low <= x <= x_axis.high]
    every = math.ceil(len(x_ticks) * _LABEL_WIDTH * 8 / (size.width - _LEFT))
    return {
        "size": size,
        "left": _LEFT,
        "right": size.width - _RIGHT,
        "top": top,
        "bottom": size.height - _BOTTOM,
        "lines": [_path(curve, x_axis, y_axis) for curve in curves],
        "y_ticks": [(round(y_axis.place(y), 1), format_number(y, lang, 4)) for y in _ticks(values, y_axis)],
        "x_ticks": [(round(x_axis.place(x), 1), format_number(x, lang, 6)) for x in x_ticks[:: max(every, 1)]],
        "strips": [
            (
                word,
                round(_ABOVE + _STRIP * row + _STRIP / 2, 1),
                _ticks_path(curves, word, x_axis, _ABOVE + _STRIP * row),
            )
            for row, word in enumerate(words)
        ],
        "marks": list(_mark_places(marks, x_axis)),
    }


def _padded(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """The y domain: the range of the values and some room, down to 0 if that is near."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if log:
        return low / 1.3, min(high, 1e300) * 1.3
    if low > 0 and low < high / 2:
        low = 0.0
    if low == high:
        half = abs(low) / 2 or 1.0
        return low - half, high + half
    room = 0.04 * (high - low) if math.isfinite(high - low) else 0.0
    return low - (room if low else 0.0), high + room


def _ticks(values: Sequence[float], axis: _Axis) -> list[float]:
    if not values or not math.isfinite(axis.high - axis.low):
        return []
    return [y for y in tick_values(values, log=axis.log) if axis.low <= y <= axis.high]


def _path(curve: _Curve, x_axis: _Axis, y_axis: _Axis) -> str:
    """The SVG path through the finite values, interrupted at inf and nan, and where the step decreases.

    Of the values in one column of pixels, the first, the smallest, the largest and the last are drawn.
    """
    parts: list[str] = []
    column: list[tuple[float, float]] = []
    pen_up, last = True, -math.inf
    for x, y in curve.points:
        if not math.isfinite(y) or x < last:
            parts += _lines(column, pen_up=pen_up)
            pen_up, column = True, []
        if math.isfinite(y):
            point = round(x_axis.place(x), 1), round(y_axis.place(y), 1)
            if column and int(point[0]) != int(column[0][0]):
                parts += _lines(column, pen_up=pen_up)
                pen_up, column = False, []
            column.append(point)
        last = x
    parts += _lines(column, pen_up=pen_up)
    return "".join(parts)


def _lines(column: Sequence[tuple[float, float]], *, pen_up: bool) -> list[str]:
    """Path commands for the points of a column of pixels; a single point becomes a dot, by its round cap."""
    if not column:
        return []
    places = {0, len(column) - 1}
    places |= {min(range(len(column)), key=lambda i: column[i][1]), max(range(len(column)), key=lambda i: column[i][1])}
    points = [column[index] for index in sorted(places)]
    commands = [f"{'M' if pen_up and index == 0 else 'L'}{x:g},{y:g}" for index, (x, y) in enumerate(points)]
    return [commands[0], "h0", *commands[1:]] if pen_up else commands


def _ticks_path(curves: Iterable[_Curve], word: str, axis: _Axis, top: float) -> str:
    """The SVG path of the strokes in a strip: one for each pixel that has a value of this kind."""
    places = {round(axis.place(x)) for curve in curves for x in curve.nonfinite(word)}
    return "".join(f"M{x},{top + 3:g}v{_STRIP - 6:g}" for x in sorted(places))


def _mark_places(marks: Sequence[CurveMark], axis: _Axis) -> Iterator[tuple[int, float, float]]:
    """(number, x of the line, x of the number) of each mark; the numbers do not overlap."""
    taken: list[float] = []
    for number, mark in enumerate(marks, start=1):
        if axis.low <= mark.step <= axis.high:
            place = axis.place(mark.step)
            shown = place
            while any(abs(shown - other) < 20 for other in taken):
                shown -= 20
            taken.append(shown)
            yield number, round(place, 1), round(max(shown, 10), 1)


def _alt_text(curves: Sequence[_Curve], marks: Sequence[CurveMark], across: str, lang: Lang) -> str:
    """A text alternative: first and last value of each series, its range, its first inf or nan, and the marks."""
    sentences = []
    for curve in curves:
        name = series_name(curve.key, lang)
        first, last = (format_number(curve.points[at][1], lang, 3) for at in (0, -1))
        values = [y for _, y in curve.finite()]
        span = [format_number(each, lang, 3) for each in (min(values), max(values))] if values else []
        bad = next(((x, y) for x, y in curve.points if not math.isfinite(y)), None)
        if lang == "zh":
            told = f"{name}：从 {first} 到 {last}" + (f"，最小 {span[0]}，最大 {span[1]}" if span else "")
            told += f"，在{across} {format_number(bad[0], lang)} 处首次为 {_word(bad[1])}" if bad else ""
            sentences.append(f"{told}。")
        else:
            told = f"{name}: from {first} to {last}" + (f", between {span[0]} and {span[1]}" if span else "")
            told += f", first {_word(bad[1])} at {across} {format_number(bad[0], lang)}" if bad else ""
            sentences.append(f"{told}. ")
    for number, mark in enumerate(marks, start=1):
        at = format_number(mark.step, lang)
        sentences.append(
            f"标记 {number}（{across} {at}）：{mark.text.zh}。"
            if lang == "zh"
            else f"Mark {number} ({across} {at}): {mark.text.en}. "
        )
    return "".join(sentences).strip()
