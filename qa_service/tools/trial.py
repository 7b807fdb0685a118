"""Trials of a user's model (`numstab try`): a child process trains it and writes a report, which is validated here.

The child runs `python -m numstab_watch.trial` in a process group of its own, with a deadline and a memory limit. It is
meant for users' own code on their own machine: it may read files and use the network. No HTTP route starts a trial.
"""

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from qa_service.diagnosis.reading import read_log_text
from qa_service.errors import TrialFailed
from qa_service.model.training_run import Intervention, OperationFault, Phase, Record, TrainingRun
from qa_service.model.values import Value
from qa_service.paths import bundled
from qa_service.tools.trial_budget import DEFAULT_DEADLINE_SECONDS, DEFAULT_MEMORY_MIB, DEFAULT_STEPS

_MAX_REPORT_BYTES = 4 << 20
_MAX_OUTPUT_BYTES = 64 << 10
_CHILD_SHARE = 0.85
"""The share of the deadline that the child plans with; the rest is a reserve for a slow last step and the report."""
_POLL_SECONDS = 0.05
_MARK = "NUMSTAB_TRIAL"
"""Environment variable, inherited by all processes that the child starts, by which they are found and killed."""
_SWEEPS = 20  # attempts to kill them all


def try_model(
    target: str,
    *,
    steps: int = DEFAULT_STEPS,
    deadline: float = DEFAULT_DEADLINE_SECONDS,
    memory: int = DEFAULT_MEMORY_MIB,
    curvature: bool = False,
    push: bool = False,
    python: str = "",
) -> TrainingRun:
    """The run of the model that `target` ("file.py:function") makes: series, fault, interventions, settings.

    `deadline` is in seconds, `memory` in MiB. Raises `TrialFailed`, whose `kind` says why there is no report. All
    processes that the child started have ended afterwards (on Linux; elsewhere those of its process group).
    """
    path, colon, name = target.rpartition(":")
    file = path if colon and not name.endswith(".py") else target
    if not Path(file).is_file():
        raise TrialFailed("no_file", zh=f"没有文件 {file}", en=f"there is no file {file}")
    until = time.time() + deadline * _CHILD_SHARE
    arguments = [target, "--steps", str(steps), "--until", f"{until:.3f}", "--memory", str(memory)]
    arguments += [f"--{name}" for name, asked in (("curvature", curvature), ("push", push)) if asked]
    ended = _run_child(python or sys.executable, arguments, deadline)
    report = _parse_report(ended, deadline, memory)
    if report.error is None:
        return _training_run(report, target)
    stopped = _run_from_error(report.error, target)
    if stopped is None:
        raise _failure(report.error, memory, ended.output)
    return stopped


@dataclass
class _ChildResult:
    """The exit status and the output of a child that has ended."""

    status: int | None
    """Its exit status, negative for a signal; None if it was killed at the deadline."""
    report: bytes
    output: str
    """The end of what it printed."""


@dataclass
class _BoundedBuffer:
    """The last `limit` bytes of a stream if `keeps_end`, else its first `limit + 1` bytes."""

    limit: int
    keeps_end: bool
    data: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > self.limit:
            if self.keeps_end:
                del self.data[: -self.limit]
            else:
                del self.data[self.limit + 1 :]


def _run_child(python: str, arguments: list[str], deadline: float) -> _ChildResult:
    """Runs the child until it ends or the deadline; raises `TrialFailed` if it cannot be started."""
    mark = uuid.uuid4().hex
    paths = [str(bundled("watch")), os.environ.get("PYTHONPATH", "")]
    passive = {"OMP_WAIT_POLICY": "PASSIVE"}  # with few cores, threads that spin make small models slow
    env = {**passive, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), _MARK: mark}
    read_end, write_end = os.pipe()
    command = [python, "-m", "numstab_watch.trial", *arguments, "--report", f"fd:{write_end}"]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            pass_fds=(write_end,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(read_end)
        raise TrialFailed(
            "no_python", zh=f"启动不了 {python}：{error.strerror}", en=f"cannot start {python}: {error.strerror}"
        ) from error
    finally:
        os.close(write_end)
    report = _BoundedBuffer(_MAX_REPORT_BYTES, keeps_end=False)
    output = _BoundedBuffer(_MAX_OUTPUT_BYTES, keeps_end=True)
    assert process.stdout
    with open(read_end, "rb", buffering=0) as pipe, process.stdout as printed, _killed_on_exit(process, mark):
        in_time = _collect(process, {pipe: report, printed: output}, deadline)
    status = process.returncode if in_time else None
    return _ChildResult(status, bytes(report.data), _printable(bytes(output.data).decode(errors="replace")))


def _collect(process: subprocess.Popen[bytes], streams: Mapping[IO[bytes], _BoundedBuffer], deadline: float) -> bool:
    """Reads the streams until the child has ended; False if `deadline` seconds pass before.

    After the child's end it does not wait for the end of the streams, which a grandchild may hold open.
    """
    end = time.monotonic() + deadline
    with selectors.DefaultSelector() as selector:
        for pipe, stream in streams.items():
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, stream)
        while process.poll() is None:
            left = end - time.monotonic()
            if left <= 0:
                return False
            _read_ready(selector, min(left, _POLL_SECONDS))
        for _ in range(_MAX_REPORT_BYTES >> 12):
            if not _read_ready(selector, 0):
                break
    return True


def _read_ready(selector: selectors.BaseSelector, seconds: float) -> bool:
    """Waits up to `seconds` for data and reads once from each stream that has some; False if none had."""
    if not selector.get_map():
        time.sleep(seconds)
        return False
    found = False
    for key, _ in selector.select(seconds):
        with suppress(BlockingIOError):
            chunk = os.read(key.fd, 1 << 16)
            if chunk:
                key.data.add(chunk)
                found = True
            else:
                selector.unregister(key.fileobj)
    return found


@contextmanager
def _killed_on_exit(process: subprocess.Popen[bytes], mark: str) -> Iterator[None]:
    """Kills the child's process group on exit and, on Linux, the marked processes that have left the group."""
    try:
        yield
    finally:
        for _ in range(_SWEEPS):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            left = _marked_processes(mark)
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(_POLL_SECONDS)
        process.wait()


def _marked_processes(mark: str) -> list[int]:
    """The ids of the processes whose environment has the mark (on Linux; elsewhere none is found)."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes() and not _is_zombie(folder):
                found.append(int(folder.name))
    return found


def _is_zombie(folder: Path) -> bool:
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"


# The report as JSON. It is validated strictly, as the user's code may write to its file descriptor, too.

_Number = Annotated[float, Field(allow_inf_nan=False)] | Literal["Infinity", "-Infinity", "NaN"]
_Text = Annotated[str, Field(max_length=1000), AfterValidator(lambda text: _printable(text).replace("\n", " "))]
_Series = Annotated[list[_Number], Field(max_length=100_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Error(_Part):
    code: Annotated[str, Field(max_length=40, pattern=r"^[a-z_]+$")]
    message: _Text = ""
    exception: _Text = ""
    place: _Text = ""
    line: _Text = ""


class _Fault(_Part):
    operation: _Text
    phase: Phase
    value: _Number
    step: Annotated[int, Field(ge=0)] | None = None
    place: _Text = ""
    code: _Text = ""
    module: _Text = ""
    operands: Annotated[list[_Text], Field(max_length=10)] = []
    dtype: _Text = ""
    hidden: bool = False
    reproduced: bool | None = None


class _Intervention(_Part):
    id: Annotated[str, Field(max_length=40)]
    healthy: bool
    losses: _Series
    detail: _Text = ""


class _Report(_Part):
    schema_: Annotated[Literal[1], Field(alias="schema")]
    error: _Error | None = None
    loss: _Series = []
    grad_norm: _Series = []
    fault: _Fault | None = None
    interventions: Annotated[list[_Intervention], Field(max_length=50)] = []
    settings: Annotated[dict[_Text, bool | int | _Number | _Text], Field(max_length=50)] = {}


def _parse_report(ended: _ChildResult, deadline: float, memory: int) -> _Report:
    """The report of a child, possibly of an error; raises `TrialFailed` if it is missing or malformed."""
    if ended.status is None:
        raise TrialFailed(
            "deadline",
            zh=f"{deadline:g} 秒内没有跑完，已经停掉；可以用 --deadline 放宽，或者换小一点的批次",
            en=f"the trial did not end within {deadline:g} s and was stopped; allow more with --deadline, or give a "
            "smaller batch",
            output=ended.output,
        )
    if not ended.report:
        raise _no_report_error(ended, memory)
    try:
        if len(ended.report) > _MAX_REPORT_BYTES:
            raise ValueError("too long")
        report = _Report.model_validate(json.loads(ended.report, parse_constant=_no_constant))
    except (ValueError, RecursionError) as error:  # ValidationError is a ValueError
        what = "schema" if isinstance(error, ValidationError) else "JSON"
        raise TrialFailed(
            "bad_report",
            zh=f"子进程写回的结果不合格式（{what}）：模型的代码可能写了不属于它的文件描述符",
            en=f"what the trial wrote back is no report ({what}): the model's code may have written to a descriptor "
            "that is not its own",
            output=ended.output,
        ) from error
    return report


def _run_from_error(error: _Error, target: str) -> TrainingRun | None:
    """A run that ended with an exception whose message can be diagnosed, such as batch norm over one value.

    None for any other exception.
    """
    if error.code != "raised":
        return None
    read = read_log_text(f"{error.exception}: {error.message}")
    if not any(event.kind == "message" and event.name for event in read.events):
        return None
    place = f" ({error.place})" if error.place else ""
    events = tuple(replace(event, text=f"{event.text}{place}", line=None) for event in read.events)
    return TrainingRun(source="trial", name=target, format="trial", framework="PyTorch", events=events)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _no_report_error(ended: _ChildResult, memory: int) -> TrialFailed:
    """The error for a child without a report: no torch, out of memory, killed, or an exit of the user's code."""
    status = ended.status or 0
    if "No module named 'torch'" in ended.output or "No module named 'numstab_watch'" in ended.output:
        return TrialFailed(
            "no_torch",
            zh="这个 Python 里没有 torch；用 NUMSTAB_PYTHON 指定装有 torch 的解释器",
            en="this Python has no torch; name one that has in NUMSTAB_PYTHON",
            output=ended.output,
        )
    if "MemoryError" in ended.output or "can't allocate memory" in ended.output:
        return _out_of_memory(memory, ended.output)
    if status < 0:
        name = _signal_name(-status)
        return TrialFailed(
            "killed",
            zh=f"模型的进程被信号 {name} 结束了，没有留下结果",
            en=f"the model's process was ended by the signal {name}, without a report",
            output=ended.output,
        )
    return TrialFailed(
        "exited",
        zh=f"模型的代码自己退出了（状态 {status}），没有留下结果",
        en=f"the model's code ended the process itself (status {status}), without a report",
        output=ended.output,
    )


_CHINESE = {
    "bad_shape": (
        "make() 的返回值不合要求：应当是 (model, batch, loss_fn)、(model, batch, loss_fn, optimizer) 或含这些键的字典"
    ),
    "bad_loss": "损失应当是一个数（只有一个元素的张量）",
    "no_make": "文件里没有这个函数",
    "no_file": "没有这个文件",
    "exited": "模型的代码自己退出了",
}


def _failure(error: _Error, memory: int, output: str) -> TrialFailed:
    """The error that the child reports about the user's code."""
    if error.code == "raised":
        if error.exception == "MemoryError" or "can't allocate memory" in error.message:
            return _out_of_memory(memory, output)
        where = f"（{error.place}：{error.line}）" if error.place else ""
        at = f" at {error.place}: {error.line}" if error.place else ""
        return TrialFailed(
            "raised",
            zh=f"模型的代码抛出 {error.exception}{where}：{error.message}",
            en=f"the model's code raised {error.exception}{at}: {error.message}",
            output=output,
        )
    known = error.code if error.code in _CHINESE else "bad_report"
    if known == "exited":
        en = f"the model's code ended the process itself ({error.message}), without a report"
    else:
        en = error.message
    return TrialFailed(known, zh=f"{_CHINESE.get(known, '没有结果')}（{error.message}）", en=en, output=output)


def _out_of_memory(memory: int, output: str) -> TrialFailed:
    return TrialFailed(
        "memory",
        zh=f"内存超过了 {memory} MiB；可以用 --memory 放宽，或者换小一点的批次",
        en=f"the trial needed more than {memory} MiB; allow more with --memory, or give a smaller batch",
        output=output,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _printable(text: str) -> str:
    """The text with control characters, which a terminal would interpret, replaced by U+FFFD."""
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


def _training_run(report: _Report, target: str) -> TrainingRun:
    """The run of a report without an error."""
    fault = report.fault
    return TrainingRun(
        source="trial",
        name=_printable(target),
        framework="torch",
        series={
            name: _records(values)
            for name, values in (("loss", report.loss), ("grad_norm", report.grad_norm))
            if values
        },
        fault=None
        if fault is None
        else OperationFault(
            operation=fault.operation,
            phase=fault.phase,
            value=_float(fault.value),
            step=fault.step,
            place=fault.place,
            code=fault.code,
            module=fault.module,
            operands=tuple(fault.operands),
            dtype=fault.dtype,
            reproduced=fault.reproduced,
            hidden=fault.hidden,
        ),
        interventions=tuple(
            Intervention(id=each.id, healthy=each.healthy, losses=tuple(map(_float, each.losses)), detail=each.detail)
            for each in report.interventions
        ),
        settings={name: _value(value) for name, value in report.settings.items()},
        from_start=True,
    )


def _records(values: list[Any]) -> tuple[Record, ...]:
    return tuple(Record(step, None, _float(value)) for step, value in enumerate(values))


def _float(value: float | str) -> float:
    return (
        {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}[value]
        if isinstance(value, str)
        else float(value)
    )


def _value(value: Value) -> Value:
    return _float(value) if value in ("Infinity", "-Infinity", "NaN") else value
