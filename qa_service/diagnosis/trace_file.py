"""Reads a trace, the file of the recorder (docs/trace.md). Traces are uploaded: sizes and types are all checked."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qa_service.errors import BadTrace
from qa_service.model.training_run import LayerRecord, OperationFault, Phase, Record, TrainingEvent, TrainingRun
from qa_service.model.values import Value

MAX_COMPRESSED = 5_000_000
MAX_TRACE_BYTES = 60_000_000
_MAX_ROWS = 5_000
MAX_TENSORS = 2_000
_MAX_MODULES = 2_000
_MAX_TEXT = 300
_MAX_STATISTICS = 64
_GZIP = b"\x1f\x8b"
_SCHEMA = "numstab-trace/1"
_PHASES: tuple[Phase, ...] = ("forward", "backward", "update", "data")
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BITS = {"float64": 64, "float32": 32, "bfloat16": 16, "float16": 16}
_SERIES = ("loss", "grad_norm", "lr", "loss_scale", "input_max")


def read_trace(data: bytes) -> TrainingRun:
    """The run that a trace shows. Rows that are malformed or cut off are left out, and `cut` says so.

    Raises `BadTrace` for what is no trace, and for more than 5 MB, 60 MB when inflated, 5000 rows or 2000 tensors.
    """
    text, cut = _inflate(data)
    lines = text.splitlines()
    header = _parse(lines[0]) if lines else None
    if header is None or not isinstance(header.get("schema"), str):
        raise BadTrace(
            zh='这不是 numstab 的记录文件：第一行应是含有 "schema" 的 JSON 对象',
            en='this is not a trace of numstab: its first line must be a JSON object with "schema"',
        )
    if header["schema"] != _SCHEMA:
        raise BadTrace(
            zh=f"不认识这种记录格式：{header['schema'][:40]!r}；能读的是 {_SCHEMA}",
            en=f"unknown format of trace {header['schema'][:40]!r}; {_SCHEMA} can be read",
        )
    rows = [line for line in lines[1:] if line.strip()]
    if len(rows) > _MAX_ROWS:
        raise _too_large(f"{len(rows)} 行", f"{len(rows)} rows", f"{_MAX_ROWS} 行", f"{_MAX_ROWS}")
    reader = _Reader(header)
    for line in rows:
        row = _parse(line)
        if row is None or _step(row) is None:
            cut = True  # most likely a line that was not written to its end
            continue
        reader.add(row)
    return reader.run(cut=cut, lines=len(lines))


class _Reader:
    """Collects the rows of a trace into a run; values of a wrong type are ignored.

    Raises `BadTrace` for a header with more than 2000 parameters.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._header = header
        self._parameters = [each for each in _list(header.get("parameters")) if isinstance(each, dict)]
        if len(self._parameters) > MAX_TENSORS:
            raise _too_large(
                f"{len(self._parameters)} 个张量",
                f"{len(self._parameters)} tensors",
                f"{MAX_TENSORS} 个",
                f"{MAX_TENSORS}",
            )
        self._names = [_text(each.get("name")) for each in self._parameters]
        columns = _mapping(header.get("columns"))
        self._step_columns = [_text(each) for each in _list(columns.get("s"))[:_MAX_STATISTICS]]
        self._parameter_columns = [_text(each) for each in _list(columns.get("p"))[:_MAX_STATISTICS]]
        self._series: dict[str, list[Record]] = {}
        self._events: list[TrainingEvent] = []
        self._layers: list[LayerRecord] = []
        self._fault: OperationFault | None = None
        self._carried: list[float] = []
        self._backwards: list[float] = []
        self._first_step: int | None = None
        self._ignored: float | None = None
        self._bad_inputs = self._bad_targets = False

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes a row that is an object with a step "t"."""
        step = _step(row)
        assert step is not None
        if self._first_step is None:
            self._first_step = step
        if isinstance(row.get("s"), list):
            self._add_step(step, dict(zip(self._step_columns, map(_number, row["s"]), strict=False)))
        elif isinstance(row.get("p"), list):
            self._add_parameters(step, row["p"])
        elif isinstance(row.get("m"), dict):
            self._add_modules(step, row["m"])
        elif isinstance(row.get("x"), dict):
            for key, value in list(row["x"].items())[:_MAX_STATISTICS]:
                self._record(_text(key), step, _number(value))
        else:
            self._add_event(step, row)

    def run(self, *, cut: bool, lines: int) -> TrainingRun:
        """The run with all rows that were added."""
        for series in self._series.values():
            series.sort(key=lambda record: record.step or 0)
        return TrainingRun(
            source="trace",
            format="trace",
            framework="PyTorch",
            series={key: tuple(records) for key, records in self._series.items()},
            events=tuple(self._events),
            layers=(*self._facts(), *self._layers),
            module_classes=self._classes(),
            fault=self._fault,
            settings=self._settings(),
            lines=lines,
            lines_read=lines - cut,
            from_start=self._first_step == 0,
            cut=cut,
        )

    def _record(self, key: str, step: int, value: float | None) -> None:
        if key and value is not None and (key in self._series or len(self._series) < _MAX_STATISTICS):
            self._series.setdefault(key, []).append(Record(step, None, value))

    def _add_step(self, step: int, values: Mapping[str, float | None]) -> None:
        skipped = bool(values.get("skipped"))
        optimizer = values.get("optimizer")
        suffix = f"/optimizer{int(optimizer)}" if optimizer and math.isfinite(optimizer) else ""
        for key in _SERIES:
            if not (skipped and key == "grad_norm"):
                self._record(key + suffix, step, values.get(key))
        if skipped:
            scale = values.get("loss_scale")
            self._events.append(
                TrainingEvent(
                    kind="skipped_update",
                    text="update skipped" if scale is None else f"update skipped at loss scale {scale:g}",
                    step=step,
                )
            )
        for kept, key in ((self._carried, "carried"), (self._backwards, "backwards")):
            value = values.get(key)
            if value is not None and math.isfinite(value):
                kept.append(value)

    def _add_parameters(self, step: int, matrix: Sequence[Any]) -> None:
        for name, row in zip(self._names, matrix, strict=False):
            if not isinstance(row, list):
                continue
            pairs = zip(self._parameter_columns, map(_number, row), strict=False)
            values = {key: each for key, each in pairs if each is not None}
            update, weight = values.get("update_rms"), values.get("weight_rms")
            if update is not None and weight:
                values["update_ratio"] = update / weight
            self._layers.append(LayerRecord(step, name, "parameter", values))

    def _add_modules(self, step: int, modules: Mapping[str, Any]) -> None:
        for name, given in list(modules.items())[:_MAX_MODULES]:
            if not isinstance(given, dict):
                continue
            pairs = ((_text(key), _number(each)) for key, each in list(given.items())[:_MAX_STATISTICS])
            values = {key: each for key, each in pairs if each is not None}
            self._layers.append(LayerRecord(step, _text(name), "module", values))

    def _add_event(self, step: int, row: Mapping[str, Any]) -> None:
        fault = row.get("fault")
        if isinstance(fault, dict) and self._fault is None:
            self._fault = _fault(step, fault)
        elif isinstance(row.get("alarm"), str):
            value = _number(row.get("value"))
            text = f"{_text(row['alarm'])} is {value}"
            weights = [_text(each) for each in _list(row.get("weights"))[:8]]
            text += f"; not finite: {', '.join(weights)}" if weights else ""
            self._event("message", text, step, f"alarm_{_text(row['alarm'])}")
            if row.get("bad_state") is True:
                self._event("message", "the optimizer's state is not finite", step, "bad_state")
            self._ignored = _number(row.get("ignored"))
            self._bad_inputs |= (_number(row.get("input_bad")) or 0.0) > 0
            self._bad_targets |= (_number(row.get("target_bad")) or 0.0) > 0
            if self._bad_inputs:
                self._event("message", "the input of the model holds nan or inf", step, "input_not_finite")
            if self._bad_targets:
                self._event("message", "the targets hold nan or inf", step, "target_not_finite")
        elif isinstance(row.get("note"), str):
            self._event("message", _text(row["note"]).replace("_", " "), step, _text(row["note"]))
        elif isinstance(row.get("error"), str):
            self._event("message", _text(row["error"]), step, "recorder_error")
        elif isinstance(row.get("end"), str):
            end = _text(row["end"])
            name = end.partition(" ")[2] if end.startswith("exception") else ""
            self._event("traceback" if name else "message", end, step, name or "end")

    def _event(self, kind: Any, text: str, step: int, name: str) -> None:
        self._events.append(TrainingEvent(kind=kind, text=text, step=step, name=name))

    def _facts(self) -> Iterator[LayerRecord]:
        """The properties of each parameter before the first step, as a record of step −1."""
        for name, each in zip(self._names, self._parameters, strict=True):
            shape = [int(size) for size in map(_number, _list(each.get("shape"))) if size and math.isfinite(size)]
            values = {
                "size": math.prod(shape[:8], start=1.0),
                "dimensions": float(len(shape)),
                "fan_out": float(shape[0]) if shape else 1.0,
                "fan_in": math.prod(shape[1:8], start=1.0) if len(shape) > 1 else 0.0,
                "bits": float(_BITS.get(_text(each.get("dtype")), 32)),
                "bfloat16": float(each.get("dtype") == "bfloat16"),
                "trained": float(each.get("trained") is True),
                "held": float(each.get("held") is True),
            }
            for key in ("rms", "spread", "rows"):
                value = _number(each.get(key))
                if value is not None:
                    values[f"init_{key}"] = value
            yield LayerRecord(-1, name, "parameter", values)

    def _classes(self) -> dict[str, str]:
        modules = _list(_mapping(self._header.get("model")).get("modules"))[:_MAX_MODULES]
        return {_text(each.get("name")): _text(each.get("class")) for each in modules if isinstance(each, dict)}

    def _settings(self) -> dict[str, Value]:
        header, loss = self._header, _mapping(self._header.get("loss"))
        optimizers = [each for each in _list(header.get("optimizers")) if isinstance(each, dict)]
        optimizer = optimizers[0] if optimizers else {}
        groups = [each for each in _list(optimizer.get("groups")) if isinstance(each, dict)]
        group = groups[0] if groups else {}
        betas = [each for each in map(_number, _list(group.get("betas"))) if each is not None]
        scaler = _mapping(header.get("scaler"))
        dtypes = {_text(each.get("dtype")) for each in self._parameters}
        found: dict[str, Any] = {
            "optimizer": _text(optimizer.get("class")) or None,
            "optimizers": len(optimizers),
            "dtype": next(iter(dtypes)) if len(dtypes) == 1 else None,
            "autocast": _text(header.get("autocast")) or None,
            "scaler": bool(scaler),
            "growth_interval": _number(scaler.get("growth_interval")),
            "batch_size": _number(header.get("batch")),
            "device": _text(header.get("device")) or None,
            "model": _text(_mapping(header.get("model")).get("class")) or None,
            "loss": _text(loss.get("kind")) or None,
            "reduction": _text(loss.get("reduction")) or None,
            "operations": " ".join(_text(each) for each in _list(loss.get("operations"))[:24]) or None,
            "guarded": " ".join(_text(each) for each in _list(loss.get("guarded"))[:8]) or None,
            "classes": _number(loss.get("classes")),
            "labels": _number(loss.get("labels")),
            "ignored": self._ignored if self._ignored is not None else _number(loss.get("ignored")),
            "clip": _number(header.get("clip")),
            "steps": _number(header.get("steps")),
            "skipped_steps": _number(header.get("skipped")),
            "training": header.get("training") if isinstance(header.get("training"), bool) else None,
            "bad_inputs": self._bad_inputs or None,
            "bad_targets": self._bad_targets or None,
            "carried": sum(self._carried) / len(self._carried) if self._carried else None,
            "backwards": sorted(self._backwards)[len(self._backwards) // 2] if self._backwards else None,
        }
        for key in ("target_rms", "target_spread", "error_rms"):
            found[key] = _number(loss.get(key))
        for key in ("lr", "momentum", "eps", "weight_decay"):
            found[key] = _number(group.get(key))
        for index, beta in enumerate(betas[:2], 1):
            found[f"beta{index}"] = beta
        return {key: each for key, each in found.items() if each is not None}


def _inflate(data: bytes) -> tuple[str, bool]:
    """(text, whether it is cut off) of a trace that may be compressed. Raises `BadTrace` if it is too large."""
    if len(data) > MAX_COMPRESSED and data.startswith(_GZIP):
        raise _too_large(f"{len(data) / 1e6:.1f} MB", f"{len(data) / 1e6:.1f} MB", "5 MB", "5 MB")
    if not data.startswith(_GZIP):
        if len(data) > MAX_TRACE_BYTES:
            raise _too_large(f"{len(data) / 1e6:.0f} MB", f"{len(data) / 1e6:.0f} MB", "60 MB", "60 MB")
        return data.decode("utf-8", "replace"), not data.endswith(b"\n")
    parts: list[bytes] = []
    size, cut = 0, False
    rest = data
    while rest.startswith(_GZIP):
        member = zlib.decompressobj(31)
        try:
            part = member.decompress(rest, MAX_TRACE_BYTES - size + 1)
        except zlib.error:
            cut = True
            break
        parts.append(part)
        size += len(part)
        if size > MAX_TRACE_BYTES:
            raise _too_large("解压后超过 60 MB", "more than 60 MB when inflated", "60 MB", "60 MB")
        if not member.eof:
            cut = True
            break
        rest = member.unused_data
    return b"".join(parts).decode("utf-8", "replace"), cut


def _too_large(zh: str, en: str, limit_zh: str, limit_en: str) -> BadTrace:
    return BadTrace(
        zh=f"记录文件太大：{zh}（最多 {limit_zh}）", en=f"the trace is too large: {en} (at most {limit_en})"
    )


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _step(row: Mapping[str, Any]) -> int | None:
    step = row.get("t")
    return step if type(step) is int and 0 <= step < 2**53 else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _NONFINITE.get(value)
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def _text(value: Any) -> str:
    """A text without control characters and lone surrogates, at most 300 characters."""
    if not isinstance(value, str):
        return ""
    return "".join(each for each in value[:_MAX_TEXT] if each.isprintable())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _fault(step: int, fields: Mapping[str, Any]) -> OperationFault | None:
    value = _number(fields.get("value"))
    phase = fields.get("phase")
    if value is None or phase not in _PHASES:
        return None
    reproduced = fields.get("reproduced")
    return OperationFault(
        operation=_text(fields.get("operation")),
        phase=phase,
        value=value,
        step=step,
        place=_text(fields.get("place")),
        code=_text(fields.get("code")),
        module=_text(fields.get("module")),
        operands=tuple(_text(each) for each in _list(fields.get("operands"))[:16]),
        dtype=_text(fields.get("dtype")),
        reproduced=reproduced if isinstance(reproduced, bool) else None,
    )
