"""Finds the lines of a log in a text, and reads them by format."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from qa_service.parsing.logs import rules
from qa_service.parsing.logs.formats import (
    BY_ID,
    PLAIN_FORMAT,
    TABLE_FORMAT,
    ULTRALYTICS,
    LogFormat,
    format_of,
    named_groups,
)
from qa_service.parsing.logs.harvest import harvest, key_of, parse_number
from qa_service.parsing.logs.messages import find_message
from qa_service.parsing.logs.reading import LogLine, LogReading, Point
from qa_service.patterns import lazy_pattern

_MAX_LINE_CHARS = 800
"""Of a longer line, the beginning is read."""
_MAX_LINES = 360
"""Of more lines, the beginning, the end, and the first with a nan or inf are read; all others are only counted."""
_MAX_NONFINITE_LINES = 60
_BEFORE_NONFINITE = 6  # lines that are read before the first nan: did the values rise?
_SHAPE = str.maketrans("", "", "0123456789.+-e ")
_NONFINITE = lazy_pattern(r"(?<![a-z])(?:nan|inf(?:inity)?)(?![a-z])", re.IGNORECASE)
_MIN_PLAIN_LINES = 2
_ANSI = lazy_pattern(r"\x1b\[[0-9;?]*[A-Za-z]")
_RANK = lazy_pattern(r"^\s*(?:\[?(?:rank|default)\s?\d+\]?:?|\d{1,3}:(?= ))\s*", re.IGNORECASE)
_VALUE = lazy_pattern(r"\d|nan|inf", re.IGNORECASE)
_HAN = lazy_pattern(r"[\u3400-\u9fff]")
_WORD = lazy_pattern(r"(?<![\w.])[A-Za-z']{2,}(?![\w.=:])")
_RECORD = lazy_pattern(r"\{[^{}]*\}|\"[^\"]*\"|“[^”]*”|`[^`]*`")
_SENTENCE_HAN, _SENTENCE_WORDS = 8, 6
_MAX_PROSE_CHARS = 5000  # of a line that holds a record
_PLACES = frozenset({"step", "epoch", "of", "scale"})
"""Groups of a format's pattern that are no values."""
_MEASURES = frozenset({"loss", "grad_norm", "val_loss"})
_CELLS = lazy_pattern(r"\s*\|\s*|\s*[,\t]\s*|\s+")
_Piece = tuple[int, str]
"""(number of a line, text)."""


def read_log(text: str) -> LogReading | None:
    """The log in a question; None if it has none. Takes time linear in the text's length."""
    pieces = [piece for piece in _split(text) if len(piece[1]) > 1]
    read = _select(pieces)
    lines, logged = _read_lines(read)
    if not lines or not (logged or "Traceback (most recent call last)" in text):
        return None
    counted = _alike(pieces, read, logged) if len(read) < len(pieces) else {}
    prose = "\n".join(
        words
        for number, text in pieces
        if number not in counted and (words := _words_beside(text) if number in logged else text)
    )
    return _summarise(lines, prose, _unread_lines(counted, lines))


def _words_beside(line: str) -> str:
    """The prose on the line of a record or a quoted message: "it is stuck: {'loss': 2.3} what now?".

    "" for less than a sentence, which is more likely printed by the program.
    """
    words, records = _RECORD.subn(" ", line[:_MAX_PROSE_CHARS])
    if not records:
        return ""
    return words if len(_HAN.findall(words)) >= _SENTENCE_HAN or len(_WORD.findall(words)) >= _SENTENCE_WORDS else ""


def _select(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces to read: all if they are few."""
    if len(pieces) <= _MAX_LINES:
        return pieces
    end = _MAX_LINES // 2
    chosen = {*range(end), *range(len(pieces) - end, len(pieces))}
    bad = [index for index, (_, text) in enumerate(pieces) if _NONFINITE.search(text[:_MAX_LINE_CHARS])]
    for index in bad[:1]:
        chosen.update(range(max(0, index - _BEFORE_NONFINITE), index))
    chosen.update(bad[:_MAX_NONFINITE_LINES])
    return [pieces[index] for index in sorted(chosen)]


def _alike(pieces: list[_Piece], read: list[_Piece], logged: set[int]) -> dict[int, int]:
    """Number of each line that was not read but differs only in its digits from one of the log → that one's number."""
    shapes = {text.translate(_SHAPE): number for number, text in read if number in logged}
    known = {number for number, _ in read}
    unread = ((number, text) for number, text in pieces if number not in known)
    return {number: shapes[shape] for number, text in unread if (shape := text.translate(_SHAPE)) in shapes}


def _unread_lines(alike: Mapping[int, int], lines: list[LogLine]) -> list[LogLine]:
    """For each line that was not read, the line that it resembles; those that resemble a header are left out."""
    by_number = {line.number: line for line in lines}
    return [by_number[number] for number in alike.values() if number in by_number]


def _split(text: str) -> Iterator[_Piece]:
    """The lines, also those that a progress bar has overwritten, without colours and ranks."""
    for number, whole in enumerate(text.split("\n"), start=1):
        for piece in whole.split("\r") if "\r" in whole else (whole,):
            yield number, _ANSI.sub("", piece) if "\x1b" in piece else piece


def _read_lines(pieces: list[_Piece]) -> tuple[list[LogLine], set[int]]:
    """The lines of the log in order, and the numbers of those that are no prose."""
    lines: list[LogLine] = []
    plain: list[LogLine] = []
    table: _Table | None = None
    headers: set[int] = set()
    for number, whole in pieces:
        text = _RANK.sub("", whole[:_MAX_LINE_CHARS])
        if table is not None and (row := table.read(number, text)):
            lines.append(row)
            headers.add(table.number)
            continue
        if header := _Table.of(number, text):
            table = header
            continue
        line = _read_line(number, text)
        if line is not None:
            (plain if line.format == PLAIN_FORMAT.id else lines).append(line)
    lines += _repeated(plain)
    lines.sort(key=lambda each: each.number)
    lines = _merge_state(lines)
    return lines, headers | {line.number for line in lines if line.format}


def _read_line(number: int, text: str) -> LogLine | None:
    """A line of a known format, a known message, or pairs of keys and numbers; None if it is neither."""
    found = format_of(text)
    message = find_message(text)
    if found:
        form, match = found
        values, fragments = harvest(text)
        named = named_groups(match)
        for name in named.keys() - _PLACES:
            values.setdefault(name, parse_number(named[name]))
        if "scale" in named:
            values["loss_scale"], fragments["loss_scale"] = parse_number(named["scale"]), match[0]
        step = _whole(parse_number(named["step"])) if "step" in named else _whole(values.get("step"))
        epoch = parse_number(named["epoch"]) if "epoch" in named else values.get("epoch")
        return LogLine(
            number=number, text=text, format=form.id, step=step, epoch=epoch, values=values, fragments=fragments,
            message=message[0].id if message else "",
        )  # fmt: skip
    if message:
        return LogLine(number=number, text=text, format="", message=message[0].id, fragments={"": message[1]})
    return _read_plain(number, text)


def _read_plain(number: int, text: str) -> LogLine | None:
    """A line of pairs; whether it belongs to a log depends on the lines like it, see `_repeated`."""
    if len(text) < 8 or not _VALUE.search(text) or len(_HAN.findall(text[:200])) > 12:
        return None
    values, fragments = harvest(text)
    if not _MEASURES & values.keys() and "accuracy" not in values:
        return None
    return LogLine(
        number=number, text=text, format=PLAIN_FORMAT.id, step=_whole(values.get("step")), epoch=values.get("epoch"),
        values=values, fragments=fragments,
    )  # fmt: skip


def _repeated(plain: list[LogLine]) -> list[LogLine]:
    """Of lines of pairs those whose keys occur on several lines, and those beside them with a part of the keys."""
    alike = Counter(frozenset(line.values) for line in plain)
    common = {keys for keys, count in alike.items() if count >= _MIN_PLAIN_LINES}
    return [line for line in plain if any(line.values.keys() <= keys or keys <= line.values.keys() for keys in common)]


def _merge_state(lines: list[LogLine]) -> list[LogLine]:
    """The lines, those of an indented trainer_state.json joined to one for each record."""
    merged: list[LogLine] = []
    for line in lines:
        last = merged[-1] if merged else None
        joins = (
            line.format == "trainer_state"
            and last is not None
            and last.format == line.format
            and not last.values.keys() & line.values.keys()
        )
        if last is not None and joins:
            merged[-1] = LogLine(
                number=line.number, text=line.text, format=line.format, step=line.step or last.step,
                epoch=line.epoch if line.epoch is not None else last.epoch, values={**last.values, **line.values},
                fragments={**last.fragments, **line.fragments},
            )  # fmt: skip
        else:
            merged.append(line)
    return merged


class _Table:
    """Rows under a header that names their columns."""

    def __init__(self, number: int, names: list[str], keys: list[str | None], form: LogFormat) -> None:
        self.number = number
        self._names = names
        self._keys = keys
        self._format = form

    @classmethod
    def of(cls, number: int, text: str) -> "_Table | None":
        """The table that a line heads, if it names a loss and at least one other known column, and has no numbers."""
        lower = text.lower()
        if "loss" not in lower or "'" in text or "=" in text:
            return None
        names = [cell for cell in _CELLS.split(text.strip().strip("|").strip()) if cell]
        if not 2 <= len(names) <= 40 or any(_is_number(name) for name in names):
            return None
        ultralytics = bool(ULTRALYTICS.line.search(text))
        keys = [key_of(name) for name in names]
        known = [key for key in keys if key]
        separated = "|" in text or "\t" in text or text.count(",") >= len(names) - 1 or ultralytics
        if not separated or len(known) < 2 or not any("loss" in key for key in known):
            return None
        return cls(number, names, keys, ULTRALYTICS if ultralytics else TABLE_FORMAT)

    def read(self, number: int, text: str) -> LogLine | None:
        """A row with a number in each known column; None for any other line."""
        cells = [cell for cell in _CELLS.split(text.strip().strip("|").strip(), maxsplit=60) if cell]
        if len(cells) < len(self._names):
            return None
        values: dict[str, float] = {}
        fragments: dict[str, str] = {}
        for name, key, cell in zip(self._names, self._keys, cells, strict=False):
            if key is None:
                continue
            word = cell.split("/")[0]
            if not _is_number(word):
                return None
            values[key], fragments[key] = parse_number(word), f"{name} {cell}"
        return LogLine(
            number=number, text=text, format=self._format.id, step=_whole(values.get("step")),
            epoch=values.get("epoch"), values=values, fragments=fragments,
        )  # fmt: skip


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[-+]?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)", word, re.IGNORECASE))


def _whole(value: float | None) -> int | None:
    return int(value) if value is not None and math.isfinite(value) else None


def _summarise(lines: list[LogLine], prose: str, unread: list[LogLine]) -> LogReading:
    counted = Counter(line.format for line in lines if line.format)
    form = counted.most_common(1)[0][0] if counted else ""
    series = _series(lines)
    bad = next(((line, key) for line in lines for key in line.values if rules.is_bad(key, line.values[key])), None)
    scales = [point.value for point in series.get("loss_scale", ())]
    first = rules.scale_before(lines)
    known = BY_ID.get(form)
    classes = rules.classes_if_flat_at_chance(series.get("loss", ()), in_bits=bool(known and known.in_bits))
    return LogReading(
        format=form,
        framework=known.name if known else "",
        lines=tuple(lines),
        count=len(lines) + len(unread),
        series=series,
        first_nonfinite=bad,
        overflows=sum(1 for line in (*lines, *unread) if rules.is_overflow(line)),
        scale=(first if first is not None else scales[0], scales[-1]) if scales else None,
        classes=classes,
        observations=rules.observe_log(lines, series, classes),
        prose=prose,
    )


def _series(lines: list[LogLine]) -> Mapping[str, tuple[Point, ...]]:
    points: defaultdict[str, list[Point]] = defaultdict(list)
    for line in lines:
        for key, value in line.values.items():
            if key not in ("step", "epoch"):
                points[key].append(Point(line.number, line.step, value))
    return {key: tuple(values) for key, values in points.items()}
