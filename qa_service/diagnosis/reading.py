"""Reads a training run from a log, table, JSON, event file or trace; the kind is told by the content.

Compressed files are opened, encodings are found out, and of a long file only a part is read, see `selection.py`.
"""

import gzip
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import BinaryIO, cast

from qa_service.diagnosis.event_file import is_event_file, read_event_file
from qa_service.diagnosis.records import (
    DelimitedTable,
    form_of_record,
    load_record,
    load_records,
    row_of_record,
    rows_of_json,
)
from qa_service.diagnosis.selection import Selection, Transcoded, select_lines
from qa_service.errors import UnreadableRun
from qa_service.model.observation import Observation
from qa_service.model.training_run import Record, TrainingEvent, TrainingRun
from qa_service.model.values import Value
from qa_service.parsing.logs import rules
from qa_service.parsing.logs.formats import BY_ID
from qa_service.parsing.logs.names import meaning_of
from qa_service.parsing.logs.prefixes import strip_colours
from qa_service.parsing.logs.reading import LogLine, Point
from qa_service.parsing.logs.rows import LogRow, RowSeries, canonical_values, make_series
from qa_service.parsing.logs.scan import LogScan, scan_log

MAX_RUN_FILE_BYTES = 1 << 30
"""The size in bytes above which a file is refused."""
MAX_JSON_BYTES = 48 * 1024 * 1024
"""The size in bytes above which a JSON document is read by lines and records, not as a whole."""
_MAX_TRACE_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_MAX_EXCERPT = 400
_MAX_EXCERPT_CHARS = 400
_EXCERPT_ENDS, _EXCERPT_SAMPLES, _BEFORE_NONFINITE = 6, 60, 3
_PER_MESSAGE = 4
_SPIKE = 3.0
_FIRST_INTERVALS = 1.5
"""A log whose first record comes no later than after this many intervals includes the beginning."""
_GZIP = b"\x1f\x8b"
_BINARY: Mapping[bytes, str] = {
    b"PK\x03\x04": "zip / .pt / .npz", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"%PDF": "PDF",
    b"\x80\x02": "pickle",
    b"\x80\x03": "pickle", b"\x80\x04": "pickle", b"\x80\x05": "pickle", b"SQLite format 3": "SQLite", b"BZh": "bzip2",
    b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z", b"\x89HDF": "HDF5", b"PAR1": "Parquet",
    b"Rar!": "RAR", b"\x93NUMPY": "NumPy", b"\x7fELF": "ELF", b"GIF8": "GIF",
}  # fmt: skip
_MAX_CONTROL_SHARE = 0.1
_CONTROL = bytes({*range(32)} - set(b"\t\n\r\b\f\x1b")) + b"\x7f"
_TRACE = re.compile(rb'\s*\{.{0,400}?"schema"\s*:\s*"numstab-trace')
_JSON_BEGINNINGS = frozenset({'{"', "[{", ', "', ",{", "{"})
_TAG = re.compile(r"(?:^|tag-)((?!.*tag-)[\w.\-]*?(?:loss|acc|norm|lr|rate)[\w.\-]*?)\.(?:csv|json)$", re.IGNORECASE)
_RUNNING_MEAN = frozenset({"keras", "metric_logger"})


def read_run_file(path: Path) -> TrainingRun:
    """The run in a file; of a large one, the ends, samples and unusual lines.

    Raises `UnreadableRun` for a file that cannot be opened, is empty, too large or damaged, or is not a log.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream, path.stat().st_size, path.name)
    except OSError as error:
        raise UnreadableRun(
            zh=f"打不开文件 {path.name}：{error.strerror}。",
            en=f"{path.name} cannot be opened: {error.strerror}.",
        ) from None


def read_training_run(data: bytes, name: str = "") -> TrainingRun:
    """The run in the bytes of a file. Raises `UnreadableRun` if they are empty, too many, damaged, or not a log."""
    return _read(io.BytesIO(data), len(data), name)


def read_log_text(text: str) -> TrainingRun:
    """The run in the text of a log; a run without series if the text has none."""
    data = text.encode("utf-8", "replace")
    selection = select_lines(cast("BinaryIO", io.BytesIO(data)))
    return _read_lines(selection, "utf-8", "")


def _read(stream: BinaryIO, size: int, name: str) -> TrainingRun:
    if size > MAX_RUN_FILE_BYTES:
        raise UnreadableRun(
            zh=f"文件有 {size / 1e6:.0f} MB，最多 {MAX_RUN_FILE_BYTES / 1e6:.0f} MB。请只给出关键的一段。",
            en=f"The file has {size / 1e6:.0f} MB; at most {MAX_RUN_FILE_BYTES / 1e6:.0f} MB. "
            "Give the part that matters.",
        )
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    opened = stream
    if head.startswith(_GZIP):
        opened, head = _open_gzip(stream)
    if not head.strip(b"\0 \t\r\n"):
        raise UnreadableRun(
            zh="文件是空的。请给出训练日志、事件文件或表格。",
            en="The file is empty. Give a training log, an event file or a table.",
        )
    if _TRACE.match(head):
        return _read_trace(stream, name)
    if is_event_file(head):
        return _read_events(opened, name)
    encoding = _encoding(head)
    if encoding.startswith("utf-16"):
        opened, encoding = cast("BinaryIO", Transcoded(opened, encoding)), "utf-8"
        head = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le", "replace").encode()
    _refuse_binary(head)
    return _read_text(opened, head, encoding, name)


def _open_gzip(stream: BinaryIO) -> tuple[BinaryIO, bytes]:
    opened = gzip.GzipFile(fileobj=stream)
    try:
        head = opened.read1(_HEAD_BYTES)
        opened.seek(0)
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(error) from None
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise _damaged(error) from None
    return cast("BinaryIO", _Inflated(opened)), head


@dataclass(slots=True)
class _Inflated:
    """A gzip stream that returns all bytes before a damaged place; the read after that raises the error."""

    stream: gzip.GzipFile
    _error: Exception | None = None

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if self._error:
            raise self._error
        parts: list[bytes] = []
        missing = size
        while missing > 0:
            try:
                part = self.stream.read1(missing)
            except Exception as error:  # raised by the next read: first the bytes before the damage are returned
                if not parts:
                    raise
                self._error = error
                break
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _damaged(error: Exception) -> UnreadableRun:
    return UnreadableRun(
        zh=f"压缩文件已损坏（{error}）。请重新压缩，或直接给出解压后的文件。",
        en=f"The compressed file is damaged ({error}). Compress it again, or give the file itself.",
    )


def _read_trace(stream: BinaryIO, name: str) -> TrainingRun:
    """The run in a trace of the recorder, whose reader checks its limits; a name in the trace has priority."""
    from qa_service.diagnosis.trace_file import read_trace  # imports pydantic, which a log does not need

    stream.seek(0)
    run = read_trace(stream.read(_MAX_TRACE_BYTES + 1))
    return replace(run, name=run.name or name)


# encodings


def _encoding(head: bytes) -> str:
    """The encoding of a text, by its first bytes: UTF-16 and UTF-8 with or without a mark, GBK, else Latin-1."""
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(head) > 16:
        even, odd = head[0:2000:2], head[1:2000:2]
        if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.05 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.05 * len(odd):
            return "utf-16-be"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return _legacy_encoding(head)
    return "utf-8"


def _legacy_encoding(head: bytes) -> str:
    """GB 18030 if bytes above 0x7F mostly come in pairs, as Chinese characters do; UTF-8 if few are bad; else Latin-1.

    U+FFFD in the text says that it once was UTF-8, and so excludes GB 18030.
    """
    high = sum(1 for byte in head if byte > 0x7F)
    paired = 2 * len(re.findall(rb"[\xa1-\xf7][\xa1-\xfe]", head))
    replaced = head.count(b"\xef\xbf\xbd")
    if replaced == 0 and paired >= 0.8 * high:
        return "gb18030"
    broken = head.decode("utf-8", "replace").count("\ufffd")
    return "utf-8" if broken < 0.1 * high else "latin-1"


def _refuse_binary(head: bytes) -> None:
    kind = next((kind for magic, kind in _BINARY.items() if head.startswith(magic)), "")
    if not kind and head[257:262] == b"ustar":
        kind = "tar"
    control = len(head) - len(head.translate(None, _CONTROL))
    if kind or control > _MAX_CONTROL_SHARE * len(head):
        what_zh = f"这是 {kind} 文件，不是训练日志。" if kind else "这是二进制文件，不是训练日志。"
        what_en = (
            f"This is a file of the kind {kind}, no training log."
            if kind
            else "This is a binary file, no training log."
        )
        raise UnreadableRun(
            zh=f"{what_zh}能读的有：日志文本、CSV、JSON、trainer_state.json、TensorBoard 事件文件、numstab 记录，"
            "以及它们的 gzip。",
            en=f"{what_en} What can be read: text of a log, CSV, JSON, trainer_state.json, TensorBoard event files, "
            "traces of numstab, and gzip of these.",
        )


# kinds of content


def _read_text(stream: BinaryIO, head: bytes, encoding: str, name: str) -> TrainingRun:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"[") and not _is_lines_of_json(head):
        data = _read_bounded(stream)
        if len(data) <= MAX_JSON_BYTES and (run := _read_json(data, encoding, name)):
            return run
        stream = cast("BinaryIO", _Chained(data, stream))
    return _read_lines(select_lines(stream), encoding, name)


def _is_lines_of_json(head: bytes) -> bool:
    first = head.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
    return b"\n" in head.strip() and load_record(first.decode("utf-8", "replace").strip()) is not None


def _read_bounded(stream: BinaryIO) -> bytes:
    parts, size = [], 0
    while size <= MAX_JSON_BYTES:
        try:
            part = stream.read(1 << 20)
        except Exception as error:  # a damaged compressed file ends here; the bytes before are used
            if not isinstance(error, EOFError | OSError | ValueError) and type(error).__module__ != "zlib":
                raise
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


@dataclass(slots=True)
class _Chained:
    """A stream of bytes that were read already, followed by the rest of the stream they came from."""

    data: bytes
    rest: BinaryIO
    _position: int = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if self._position < len(self.data):
            part = self.data[self._position : self._position + size]
            self._position += len(part)
            return part
        return self.rest.read(size)


def _read_json(data: bytes, encoding: str, name: str) -> TrainingRun | None:
    """The run in a JSON document; None if it is not valid JSON or holds no records."""
    try:
        document = json.loads(data.decode(encoding, "replace"))
    except (ValueError, RecursionError):
        return None
    form, rows = rows_of_json(document, _tag_of(name))
    if not rows:
        return None
    settings = _settings_of_document(document)
    found = _Found(form, rows, settings=settings, lines=len(rows), lines_read=len(rows))
    return _make_run(found, name, has_lines=False)


def _settings_of_document(document: object) -> dict[str, Value]:
    if not isinstance(document, dict):
        return {}
    settings: dict[str, Value] = {}
    for key, own in (
        ("train_batch_size", "batch_size"),
        ("logging_steps", "logging_steps"),
        ("max_steps", "max_steps"),
    ):
        value = document.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            settings[own] = value
    return settings


def _tag_of(name: str) -> str:
    match = _TAG.search(name)
    return match[1].strip("-._").lower() if match else ""


def _read_events(stream: BinaryIO, name: str) -> TrainingRun:
    file = read_event_file(stream)
    validation = bool(re.search(r"(?<![a-z])val|eval|test", name.lower()))
    rows: list[LogRow] = []
    for scalar in file.scalars:
        tag = scalar.tag.lower()
        tag = f"val_{tag}" if validation and not re.match(r"val|eval|test", tag) else tag
        last = rows[-1] if rows else None
        if last is not None and last.step == scalar.step and tag not in last.values:
            last.values[tag] = scalar.value
        else:
            rows.append(LogRow(len(rows) + 1, "event_file", "", {tag: scalar.value}, step=scalar.step, counter="event"))
    found = _Found("event_file", rows, lines=len(rows), lines_read=len(rows), cut=file.cut)
    return _make_run(found, name, has_lines=False)


def _read_lines(selection: Selection, encoding: str, name: str) -> TrainingRun:
    """The run in lines: a table, lines of JSON, or a log; lines of the first two kinds may stand in a log too."""
    lines = [(number, _decode(piece, encoding)) for number, piece in selection.pieces]
    first = next((index for index, (_, text) in enumerate(lines) if text.strip()), 0)
    table = DelimitedTable.of(lines[first][1], _tag_of(name)) if lines else None
    if table is not None and (rows := list(_rows_of_table(table, lines[first + 1 :]))):
        found = _Found(
            "csv", rows, lines=selection.total, lines_read=len({row.number for row in rows}) + 1, cut=selection.cut
        )
        return _make_run(found, name)
    rows, rest = _take_records(lines)
    scan = scan_log(rest)
    rows = sorted([*rows, *scan.rows], key=lambda row: row.number)
    losses = [row for row in rows if any(meaning_of(name) == "loss" for name in row.values)] or rows
    form = Counter(row.form for row in losses).most_common(1)[0][0] if rows else ""
    lines_read = scan.lines_read + len(lines) - len(rest)
    found = _Found(form, rows, scan, scan.settings, selection.total, lines_read, selection.cut)
    return _make_run(found, name)


def _decode(piece: bytes, encoding: str) -> str:
    text = piece.decode("utf-8" if encoding == "utf-8-sig" else encoding, "replace")
    return text.lstrip("\ufeff").replace("\0", "")


def _rows_of_table(table: DelimitedTable, lines: Iterable[tuple[int, str]]) -> Iterator[LogRow]:
    for number, text in lines:
        if row := table.read(number, text):
            yield row


def _take_records(lines: list[tuple[int, str]]) -> tuple[list[LogRow], list[tuple[int, str]]]:
    """The rows of the lines that are records of JSON, and the other lines."""
    rows, rest = [], []
    for number, text in lines:
        records = load_records(text) if text.lstrip()[:2] in _JSON_BEGINNINGS and '"log":' not in text[:8] else []
        found = [row for record in records if (row := row_of_record(number, form_of_record(record), text, record))]
        rows += found
        if not found:
            rest.append((number, text))
    return rows, rest


# the run


@dataclass(slots=True)
class _Found:
    """The contents of a file: rows, messages and settings, and how much of the file was read."""

    form: str
    rows: Sequence[LogRow]
    scan: LogScan = field(default_factory=LogScan)
    settings: dict[str, Value] = field(default_factory=dict)
    lines: int = 0
    lines_read: int = 0
    cut: bool = False


def _make_run(found: _Found, name: str, *, has_lines: bool = True) -> TrainingRun:
    rows = found.rows
    _count_by_interval(rows, found.settings.get("logging_steps"))
    made = make_series(rows, has_lines=has_lines)
    series = {key: tuple(records) for key, records in made.series.items()}
    lines = _log_lines(rows, made, found.scan)
    form = BY_ID.get(found.form)
    points = {key: [Point(at.number, at.step, at.values[key]) for at in lines if key in at.values] for key in series}
    return TrainingRun(
        source="log",
        name=name,
        format=found.form,
        framework=form.name if form else "",
        series=series,
        events=_events(found, made, has_lines=has_lines),
        settings=_settings(found, series, made),
        observations=_observations(lines, points, in_bits=bool(form and form.in_bits)),
        lines=found.lines,
        lines_read=min(found.lines_read, found.lines),
        from_start=_from_start(lines, made),
        cut=found.cut,
        excerpt=_excerpt(found, made, lines) if has_lines else {},
    )


def _count_by_interval(rows: Sequence[LogRow], interval: Value | None) -> None:
    """Sets the steps of Hugging Face trainer records, which print none, by their order, if the log has the first."""
    records = [row for row in rows if row.form == "hf_trainer" and "loss" in row.values]
    if not isinstance(interval, int) or len(records) < 2 or any(row.step is not None for row in records):
        return
    first, second = records[0].epoch, records[1].epoch
    if first is not None and second is not None and 0 < first <= _FIRST_INTERVALS * (second - first):
        for place, row in enumerate(records, start=1):
            row.step = float(place * interval)


def _log_lines(rows: Sequence[LogRow], made: RowSeries, scan: LogScan) -> list[LogLine]:
    """The rows and messages as lines, in order, from which `rules` derives signs."""
    lines = [
        LogLine(
            number=row.number,
            text=row.text,
            format=row.form,
            step=step,
            epoch=row.epoch,
            values=canonical_values(row, made.keys),
            message=scan.messages.get(row.number, ""),
        )
        for row, step in zip(rows, made.steps, strict=True)
    ]
    numbers = {row.number for row in rows}
    lines += [
        LogLine(number=number, text=scan.texts.get(number, ""), format="", message=message)
        for number, message in scan.messages.items()
        if number not in numbers
    ]
    return sorted(lines, key=lambda line: line.number)


def _observations(
    lines: Sequence[LogLine], points: Mapping[str, Sequence[Point]], *, in_bits: bool
) -> tuple[Observation, ...]:
    known = {key: values for key, values in points.items() if values}
    classes = rules.classes_if_flat_at_chance(known.get("loss", ()), in_bits=in_bits)
    return tuple(
        Observation(sign=each.sign, text=_fragment(each.text)) for each in rules.observe_log(lines, known, classes)
    )


def _fragment(text: str) -> str:
    return " ".join(strip_colours(text).split())


def _from_start(lines: Sequence[LogLine], made: RowSeries) -> bool:
    records = [
        line for line in lines if line.values.keys() & {"loss", "grad_norm", "val_loss"} or "loss" in str(line.values)
    ]
    if not records:
        return False
    if made.by_epoch:
        return records[0].step is not None and records[0].step <= 1
    return rules.begins_at_start(records)


def _events(found: _Found, made: RowSeries, *, has_lines: bool) -> tuple[TrainingEvent, ...]:
    restarts = [
        TrainingEvent(
            kind="restart",
            text=" ".join(found.rows[index].text.split())[:_MAX_EXCERPT_CHARS],
            step=made.steps[index],
            line=found.rows[index].number if has_lines else None,
        )
        for index in made.restarts[:100]
    ]
    return tuple(sorted([*found.scan.events, *restarts], key=lambda event: event.line or 0))


def _settings(found: _Found, series: Mapping[str, Sequence[Record]], made: RowSeries) -> dict[str, Value]:
    settings = dict(found.settings)
    rates = {record.value for record in series.get("lr", ()) if math.isfinite(record.value)}
    if len(rates) == 1 and (rate := rates.pop()) > 0:
        settings["lr"] = rate
    elif rates:
        settings.pop("lr", None)
    for name in ("global_batch_size", "global batch size"):
        if (records := series.get(name)) and math.isfinite(records[-1].value):
            settings.setdefault("batch_size", int(records[-1].value))
    if found.form in _RUNNING_MEAN:
        settings["running_mean"] = True
    if made.by_epoch:
        settings["step_unit"] = "epoch"
    if _hides_nan(found.rows, made.keys):
        settings["hidden_nan"] = True
    return settings


def _hides_nan(rows: Sequence[LogRow], keys: Mapping[str, str]) -> bool:
    """Whether the logger prints a loss of 0.0 where every loss was nan, as that of Hugging Face does."""
    for row in rows:
        values = {keys.get(name, name): value for name, value in row.values.items()}
        if values.get("loss") == 0 and math.isnan(values.get("grad_norm", 0.0)):
            return True
    return False


# the lines that a finding may cite


def _excerpt(found: _Found, made: RowSeries, lines: Sequence[LogLine]) -> dict[int, str]:
    texts = found.scan.texts | {row.number: row.text for row in found.rows}
    numbers = [row.number for row in found.rows]
    chosen: list[int] = [*numbers[:_EXCERPT_ENDS], *numbers[-_EXCERPT_ENDS:]]
    chosen += _around_nonfinite(lines)
    counts: Counter[str] = Counter()
    for event in found.scan.events:
        counts[event.kind + event.name] += 1
        if event.line is not None and counts[event.kind + event.name] <= _PER_MESSAGE:
            chosen.append(event.line)
    last = {event.kind + event.name: event.line for event in found.scan.events if event.line is not None}
    chosen += [*last.values(), *(numbers[index] for index in made.restarts)]
    for key in ("loss", "grad_norm", "val_loss", "loss_scale", "lr"):
        chosen += _extremes([line for line in lines if key in line.values], key)
    chosen += numbers[:: max(1, len(numbers) // _EXCERPT_SAMPLES)]
    kept = list(dict.fromkeys(chosen))[:_MAX_EXCERPT]
    return {number: strip_colours(texts.get(number, ""))[:_MAX_EXCERPT_CHARS].strip() for number in sorted(kept)}


def _around_nonfinite(lines: Sequence[LogLine]) -> list[int]:
    """The first line with a non-finite value of each key, the three before it and the one after."""
    chosen: list[int] = []
    seen: set[str] = set()
    for index, line in enumerate(lines):
        bad = {key for key, value in line.values.items() if rules.is_bad(key, value)}
        if bad - seen:
            seen |= bad
            chosen += [each.number for each in lines[max(0, index - _BEFORE_NONFINITE) : index + 2]]
    return chosen


def _extremes(lines: Sequence[LogLine], key: str) -> list[int]:
    """The lines with the first, last, least and largest value of a key, and those about its jumps."""
    finite = [line for line in lines if math.isfinite(line.values[key])]
    if not finite:
        return [line.number for line in lines[:2]]
    chosen = [
        finite[0],
        finite[-1],
        min(finite, key=lambda at: at.values[key]),
        max(finite, key=lambda at: at.values[key]),
    ]
    if key != "lr":
        chosen += _jumps(finite, key)
    return [line.number for line in chosen]


def _jumps(lines: Sequence[LogLine], key: str) -> list[LogLine]:
    """The lines with a value above `_SPIKE` times the median of up to nine before, with their neighbours."""
    found: list[LogLine] = []
    for index in range(3, len(lines)):
        usual = median(line.values[key] for line in lines[max(0, index - 9) : index])
        if usual > 0 and lines[index].values[key] > _SPIKE * usual:
            found += lines[index - 1 : index + 2]
        if len(found) > 60:
            break
    return found
