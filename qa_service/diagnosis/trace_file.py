"""Reads a trace, the file of the recorder (docs/trace.md). Traces are uploaded: sizes and types are all checked."""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from qa_service.diagnosis.trace_schema import (
    MAX_MODULES,
    MAX_STATISTICS,
    MAX_TENSORS,
    FirstLine,
    OptimizerGroup,
    TracedFault,
    TraceHeader,
    TraceRow,
    printable,
    read_first_line,
    read_header,
    read_row,
)
from qa_service.errors import BadTrace
from qa_service.model.training_run import LayerRecord, OperationFault, Record, TrainingEvent, TrainingRun
from qa_service.model.values import Value

MAX_COMPRESSED = 5_000_000
MAX_TRACE_BYTES = 60_000_000
_MAX_ROWS = 5_000
_GZIP = b"\x1f\x8b"
_SCHEMA = "numstab-trace/1"
_BITS = {"float64": 64, "float32": 32, "bfloat16": 16, "float16": 16}
_SERIES = ("loss", "grad_norm", "lr", "loss_scale", "input_max")


def read_trace(data: bytes) -> TrainingRun:
    """The run that a trace shows. Rows that are malformed or cut off are left out, and `cut` says so.

    Raises `BadTrace` for what is no trace, and for more than 5 MB, 60 MB when inflated, 5000 rows or 2000 tensors.
    """
    text, cut = _inflate(data)
    lines = text.splitlines()
    first = read_first_line(lines[0]) if lines else FirstLine()
    if first.schema_name is None:
        raise BadTrace(
            zh='这不是 numstab 的记录文件：第一行应是含有 "schema" 的 JSON 对象',
            en='this is not a trace of numstab: its first line must be a JSON object with "schema"',
        )
    if first.schema_name != _SCHEMA:
        raise BadTrace(
            zh=f"不认识这种记录格式：{first.schema_name[:40]!r}；能读的是 {_SCHEMA}",
            en=f"unknown format of trace {first.schema_name[:40]!r}; {_SCHEMA} can be read",
        )
    rows = [line for line in lines[1:] if line.strip()]
    if len(rows) > _MAX_ROWS:
        raise _too_large(f"{len(rows)} 行", f"{len(rows)} rows", f"{_MAX_ROWS} 行", f"{_MAX_ROWS}")
    tensors = len(first.parameters)
    if tensors > MAX_TENSORS:
        raise _too_large(f"{tensors} 个张量", f"{tensors} tensors", f"{MAX_TENSORS} 个", f"{MAX_TENSORS}")
    reader = _Reader(read_header(lines[0]))
    for line in rows:
        row = read_row(line)
        if row.step is None:
            cut = True  # most likely a line that was not written to its end
        else:
            reader.add(row.step, row)
    return reader.run(cut=cut, lines=len(lines))


class _Reader:
    """Collects the rows of a trace into a run."""

    def __init__(self, header: TraceHeader) -> None:
        self._header = header
        self._names = [each.name for each in header.parameters]
        self._series: dict[str, list[Record]] = {}
        self._events: list[TrainingEvent] = []
        self._layers: list[LayerRecord] = []
        self._fault: OperationFault | None = None
        self._carried: list[float] = []
        self._backwards: list[float] = []
        self._first_step: int | None = None
        self._ignored: float | None = None
        self._bad_inputs = self._bad_targets = False

    def add(self, step: int, row: TraceRow) -> None:
        """Takes the next row."""
        if self._first_step is None:
            self._first_step = step
        if row.statistics is not None:
            self._add_step(step, dict(zip(self._header.columns.s, row.statistics, strict=False)))
        elif row.parameters is not None:
            self._add_parameters(step, row.parameters)
        elif row.modules is not None:
            self._add_modules(step, row.modules)
        elif row.logged is not None:
            for key, value in islice(row.logged.items(), MAX_STATISTICS):
                self._record(printable(key), step, value)
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
        if key and value is not None and (key in self._series or len(self._series) < MAX_STATISTICS):
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

    def _add_parameters(self, step: int, matrix: Iterable[list[float | None] | None]) -> None:
        for name, cells in zip(self._names, matrix, strict=False):
            if cells is None:
                continue
            values = _measured(zip(self._header.columns.p, cells, strict=False))
            update, weight = values.get("update_rms"), values.get("weight_rms")
            if update is not None and weight:
                values["update_ratio"] = update / weight
            self._layers.append(LayerRecord(step, name, "parameter", values))

    def _add_modules(self, step: int, modules: Mapping[str, Mapping[str, float | None] | None]) -> None:
        for name, given in islice(modules.items(), MAX_MODULES):
            if given is not None:
                pairs = islice(given.items(), MAX_STATISTICS)
                values = _measured((printable(key), each) for key, each in pairs)
                self._layers.append(LayerRecord(step, printable(name), "module", values))

    def _add_event(self, step: int, row: TraceRow) -> None:
        if row.fault is not None and self._fault is None:
            self._fault = _fault(step, row.fault)
        elif row.alarm is not None:
            text = f"{row.alarm} is {row.value}"
            text += f"; not finite: {', '.join(row.weights)}" if row.weights else ""
            self._event("message", text, step, f"alarm_{row.alarm}")
            if row.bad_state:
                self._event("message", "the optimizer's state is not finite", step, "bad_state")
            self._ignored = row.ignored
            self._bad_inputs |= (row.input_bad or 0.0) > 0
            self._bad_targets |= (row.target_bad or 0.0) > 0
            if self._bad_inputs:
                self._event("message", "the input of the model holds nan or inf", step, "input_not_finite")
            if self._bad_targets:
                self._event("message", "the targets hold nan or inf", step, "target_not_finite")
        elif row.note is not None:
            self._event("message", row.note.replace("_", " "), step, row.note)
        elif row.error is not None:
            self._event("message", row.error, step, "recorder_error")
        elif row.end is not None:
            name = row.end.partition(" ")[2] if row.end.startswith("exception") else ""
            self._event("traceback" if name else "message", row.end, step, name or "end")

    def _event(self, kind: Any, text: str, step: int, name: str) -> None:
        self._events.append(TrainingEvent(kind=kind, text=text, step=step, name=name))

    def _facts(self) -> Iterator[LayerRecord]:
        """The properties of each parameter before the first step, as a record of step −1."""
        for each in self._header.parameters:
            shape = [int(size) for size in each.shape if size and math.isfinite(size)]
            values = {
                "size": math.prod(shape[:8], start=1.0),
                "dimensions": float(len(shape)),
                "fan_out": float(shape[0]) if shape else 1.0,
                "fan_in": math.prod(shape[1:8], start=1.0) if len(shape) > 1 else 0.0,
                "bits": float(_BITS.get(each.dtype, 32)),
                "bfloat16": float(each.dtype == "bfloat16"),
                "trained": float(each.trained),
                "held": float(each.held),
            }
            values |= _measured({"init_rms": each.rms, "init_spread": each.spread, "init_rows": each.rows}.items())
            yield LayerRecord(-1, each.name, "parameter", values)

    def _classes(self) -> dict[str, str]:
        return {each.name: each.module_class for each in self._header.model.modules}

    def _settings(self) -> dict[str, Value]:
        header, loss = self._header, self._header.loss
        optimizer = header.optimizers[0] if header.optimizers else None
        group = optimizer.groups[0] if optimizer and optimizer.groups else OptimizerGroup()
        scaler = header.scaler or {}
        betas = [each for each in group.betas if each is not None]
        dtypes = {each.dtype for each in header.parameters}
        found: dict[str, Any] = {
            "optimizer": (optimizer and optimizer.optimizer_class) or None,
            "optimizers": len(header.optimizers),
            "dtype": next(iter(dtypes)) if len(dtypes) == 1 else None,
            "autocast": header.autocast or None,
            "scaler": bool(scaler),
            "growth_interval": scaler.get("growth_interval"),
            "batch_size": header.batch,
            "device": header.device or None,
            "model": header.model.model_class or None,
            "loss": loss.kind or None,
            "reduction": loss.reduction or None,
            "operations": " ".join(loss.operations) or None,
            "guarded": " ".join(loss.guarded) or None,
            "classes": loss.classes,
            "labels": loss.labels,
            "ignored": self._ignored if self._ignored is not None else loss.ignored,
            "clip": header.clip,
            "steps": header.steps,
            "skipped_steps": header.skipped,
            "training": header.training,
            "bad_inputs": self._bad_inputs or None,
            "bad_targets": self._bad_targets or None,
            "carried": sum(self._carried) / len(self._carried) if self._carried else None,
            "backwards": sorted(self._backwards)[len(self._backwards) // 2] if self._backwards else None,
            "target_rms": loss.target_rms,
            "target_spread": loss.target_spread,
            "error_rms": loss.error_rms,
            "lr": group.lr,
            "momentum": group.momentum,
            "eps": group.eps,
            "weight_decay": group.weight_decay,
        }
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


def _measured(pairs: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    return {key: each for key, each in pairs if each is not None}


def _fault(step: int, fault: TracedFault) -> OperationFault | None:
    if fault.value is None or fault.phase is None:
        return None
    return OperationFault(
        operation=fault.operation,
        phase=fault.phase,
        value=fault.value,
        step=step,
        place=fault.place,
        code=fault.code,
        module=fault.module,
        operands=tuple(fault.operands),
        dtype=fault.dtype,
        reproduced=fault.reproduced,
    )
