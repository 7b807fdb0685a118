"""Rows from structured files: JSON documents, JSON lines, tables of separated values."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qa_service.parsing.logs.blocks import HeaderTable, is_number
from qa_service.parsing.logs.names import MAX_NAME_CHARS, is_bookkeeping, is_measure, meaning_of
from qa_service.parsing.logs.pairs import parse_value
from qa_service.parsing.logs.prefixes import strip_colours, strip_prefixes
from qa_service.parsing.logs.rows import LogRow

_MAX_DEPTH = 4
_MAX_VALUES = 1_000
_MAX_RECORDS = 200_000
_LISTS = ("log_history", "history", "logs", "log", "records", "metrics", "scalars", "data")
_CONTAINERS = frozenset({*_LISTS, "values", "payload", "extra", "fields", "record", "stats", "message", "data"})
"""Names of containers, which are left out of the names of the values in them."""
_NAMING = ("key", "metric", "name", "tag")
_VALIDATION_MODES = frozenset({"val", "valid", "validation", "eval", "test"})
_TENSORBOARD = ("wall time", "step", "value")
_RUN_PREFIX = re.compile(r"^.{1,120}? - (?=\S)")
_EXTREMES = re.compile(r"__(?:min|max)$", re.IGNORECASE)
_BETWEEN = re.compile(r"(?<=\}),\s*(?=\{)")
_DECODER = json.JSONDecoder()
_MAX_FIELD = 1 << 20
_GLOBAL_STEPS = ("trainer/global_step", "train/global_step", "global_step", "step", "_step", "iteration", "iter")


def rows_of_json(document: Any, tag: str = "", depth: int = 0) -> tuple[str, list[LogRow]]:
    """(format, rows) of a JSON document: records, columns, or curves of TensorBoard; no rows if it is none of these.

    `tag` names the values of a curve that has no name of its own; `depth` is the number of enclosing documents.
    """
    if isinstance(document, dict) and depth < _MAX_DEPTH:
        return _rows_of_mapping(document, tag, depth)
    if isinstance(document, list):
        return (
            ("event_file", _curve(document, tag)) if _is_curve(document) else ("json", list(_records(document, "json")))
        )
    return "json", []


def _rows_of_mapping(document: Mapping[str, Any], tag: str, depth: int) -> tuple[str, list[LogRow]]:
    history = document.get("log_history")
    if isinstance(history, list):
        return "trainer_state", list(_records(history, "trainer_state"))
    for name in _LISTS:
        inner = document.get(name)
        if isinstance(inner, list | dict) and inner:
            form, rows = rows_of_json(inner, tag, depth + 1)
            if rows:
                return form, rows
    if any(_is_curve(value) for value in document.values()):
        return "event_file", [
            row for name, value in document.items() if _is_curve(value) for row in _curve(value, name)
        ]
    if columns := {name: value for name, value in document.items() if isinstance(value, list) and _is_column(value)}:
        records = _rows_of_columns(columns)
        if not any(meaning_of(name) in ("step", "epoch") for name in columns):
            records = [{"epoch": i, **record} for i, record in enumerate(records, start=1)]
        return "json", list(_records(records, "json"))
    lists = [value for value in document.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if lists:
        return "json", list(_records(max(lists, key=len), "json"))
    return "json", list(_records([document], "json"))


def _rows_of_columns(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """A record per row of the longest column; the values of a shorter column are missing in the last ones."""
    records: list[dict[str, Any]] = [{} for _ in range(min(max(map(len, columns.values())), _MAX_RECORDS))]
    for name, values in columns.items():
        for record, value in zip(records, values, strict=False):
            record[name] = value
    return records


def _is_column(values: Sequence[Any]) -> bool:
    return bool(values) and all(_number(value) is not None for value in values[:20])


def _is_curve(value: Any) -> bool:
    """Whether a list is one of (time, step, value), as TensorBoard exports."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(point, list) and len(point) == 3 and _number(point[1]) is not None for point in value[:20])
    )


def _curve(points: Sequence[Any], tag: str) -> list[LogRow]:
    rows = []
    for number, point in enumerate(points[:_MAX_RECORDS], start=1):
        if isinstance(point, list) and len(point) == 3:
            value, step = _number(point[2]), _number(point[1])
            if value is not None:
                rows.append(
                    LogRow(number, "event_file", "", {(tag or "value").lower(): value}, step=step, counter="table")
                )
    return rows


def _records(records: Sequence[Any], form: str) -> Iterator[LogRow]:
    for number, record in enumerate(records[:_MAX_RECORDS], start=1):
        if isinstance(record, dict) and (row := row_of_record(number, form, "", record)):
            yield row


def row_of_record(number: int, form: str, text: str, record: Mapping[str, Any]) -> LogRow | None:
    """The row of a record, names of nested values joined by "/"; None if no value is left besides step and epoch."""
    values: dict[str, float] = {}
    place: dict[str, float] = {}
    for name, value in [*_named_value(record), *_flatten(record, "", 0)]:
        meaning = meaning_of(name)
        if meaning == "epoch":
            place.setdefault("epoch", value)
        elif meaning == "step":
            place.setdefault(name, value)
        elif not is_bookkeeping(name):
            values.setdefault(name, value)
        if len(values) >= _MAX_VALUES:
            break
    if "train_runtime" in record and "train_loss" in values:
        values["final_train_loss"] = values.pop("train_loss")
    if not values:
        return None
    steps = [name for name in place if name != "epoch"]
    name = min(steps, key=_closeness) if steps else ""
    validation = str(record.get("mode", "")).lower() in _VALIDATION_MODES
    if validation:
        values = {f"val_{name}": value for name, value in values.items()}
    return LogRow(
        number,
        form,
        text,
        values,
        step=place.get(name),
        epoch=place.get("epoch"),
        validation=validation,
        counter=f"record {name}",
    )


def _named_value(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The value of a record with a field for the name of the quantity and a field "value" for the number."""
    value = _number(record.get("value"))
    name = next((record[key] for key in _NAMING if isinstance(record.get(key), str)), "")
    if value is not None and (meaning_of(name.lower()) or is_measure(name)):
        yield name.lower(), value


def _closeness(name: str) -> int:
    return _GLOBAL_STEPS.index(name) if name in _GLOBAL_STEPS else len(_GLOBAL_STEPS)


def _flatten(record: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        name = f"{prefix}{key}".lower()
        if len(name) > MAX_NAME_CHARS:
            continue
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _flatten(value, prefix if key.lower() in _CONTAINERS else f"{name}/", depth + 1)
        elif (number := _number(value)) is not None:
            yield name, number


def _number(value: Any) -> float | None:
    """A JSON value as a number, which may be written as a string; None for any other."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str) and len(value) < 40:
        word = value.strip().split("/")[0]
        return parse_value(word) if is_number(word) else None
    return None


def load_record(text: str) -> Mapping[str, Any] | None:
    """The object in a line of JSON; None if the line is anything else."""
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def load_records(text: str) -> list[Mapping[str, Any]]:
    """The record in a line of JSON, or the flat records of an array, even if the line is cut off."""
    text = text.strip()
    if record := load_record(text):
        return [record]
    found = []
    for part in _BETWEEN.split(text):
        begin = part.rfind("[{") + 1
        try:
            record, _ = _DECODER.raw_decode(part, part.index("{", begin))
        except (ValueError, RecursionError):
            continue
        found.append(record)
    return found


def form_of_record(record: Mapping[str, Any]) -> str:
    """The format of a line of JSON, by its names."""
    return "llama_factory" if "current_steps" in record else "jsonl"


class DelimitedTable:
    """A table of values separated by commas, semicolons or tabs under a header."""

    def __init__(self, names: Sequence[str], separator: str) -> None:
        self._separator = separator
        self._table = HeaderTable(names, separator, "csv")

    @classmethod
    def of(cls, header: str, tag: str = "") -> "DelimitedTable | None":
        """The table whose header is this line: two or more names, one of a loss or metric; None for other lines.

        `tag` names the column "Value" of a curve that TensorBoard exports.
        """
        header = header.lstrip("\ufeff#").strip()
        if (
            header[:1].isdigit() or strip_prefixes(strip_colours(header)).text != header
        ):  # a log, with more before each line
            return None
        for separator in (",", "\t", ";"):
            names = _cells(header, separator)
            lower = tuple(name.strip().lower() for name in names)
            if lower == _TENSORBOARD:
                return cls(["wall_time", "step", tag or "value"], separator)
            if len(names) < 2 or any(is_number(name.strip()) for name in names) or any(len(n) > 200 for n in names):
                continue
            own = [_own_name(name) for name in names]
            if any(name and is_measure(name) for name in own):
                return cls(own, separator)
        return None

    def read(self, number: int, line: str) -> LogRow | None:
        """The row in a line; None if the line is not a row of this table."""
        cells = _cells(line, self._separator)
        if len(cells) < 2 or len(cells) > len(self._table.names) + 1:
            return None
        return self._table.read_cells(number, line, cells)


def _own_name(name: str) -> str:
    """The name of a column without that of the run before it; "" for the extremes that W&B adds to each value."""
    name = name.strip()
    return "" if _EXTREMES.search(name) else _RUN_PREFIX.sub("", name)


def _cells(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.rstrip("\r\n").split(separator)
    if len(line) > _MAX_FIELD // 2:
        return []
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []
