"""The child process: the only code that executes a demo or imports torch.

A child is forked ahead of need, waits for a job, closes the sandbox, then loads and runs the demo; after that it is
killed, or runs it again, with other parameters or another seed. Both directions of its pipe carry JSON, never pickles:
a demo must not be able to run code in the parent. Python's JSON writes and reads inf and nan as Infinity and NaN.
"""

import binascii
import contextlib
import json
import marshal
import os
import platform
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from functools import cache, lru_cache
from importlib.util import MAGIC_NUMBER
from multiprocessing.connection import Connection
from types import CodeType, ModuleType
from typing import Any

from qa_service import __version__
from qa_service.lab.compiler_stub import import_compiler, needs_compiler, stub_compiler
from qa_service.lab.messages import read_poller
from qa_service.lab.sandbox import CannotConfine, Sandbox, die_with_parent, limit_resources, sandbox_descriptors

_SEND_INTERVAL_SECONDS = 0.04  # rows are sent in batches, often enough for a progress bar that moves
OLDEST_TORCH = (2, 4)
_MAX_BATCH = 500  # rows; a larger message could exceed what a run may send before its rows are counted
BYTECODE_FORMAT = MAGIC_NUMBER.hex()
"""The format of this Python's compiled code."""
_PACKED_SOURCES = 64  # whose code is kept; ten kilobytes each


def encode_job(
    path: str, source: str, params: Mapping[str, Any], seed: int, deadline: float, mebibytes: int, *, confined: bool
) -> bytes:
    """A job as JSON for `child_main`; `source` was read from `path`, `deadline` is in seconds, memory in MiB.

    Unless `confined`, only the limits of resources hold. The source is compiled here, once for all its runs; a child
    whose Python has another format of code compiles it itself.
    """
    code = [BYTECODE_FORMAT, _packed(path, source)]
    return json.dumps([path, source, code, dict(params), seed, deadline, mebibytes, confined]).encode()


def encode_again(params: Mapping[str, Any], seed: int) -> bytes:
    """The message, as JSON, that has a child run the demo of its last job again with these parameters and this seed."""
    return json.dumps([dict(params), seed]).encode()


def child_main(pipe: Connection) -> None:
    """Wait for a job, run it and send messages: started, rows…, then ran, raised or out_of_memory.

    After ran it waits for other parameters and another seed, with which all of that follows again, until the pipe is
    closed.
    Where the job is to be confined and cannot be, the only message is unconfined; where this Python has no torch, or
    one that is too old, it is no_torch.
    """
    die_with_parent()
    os.setpgid(0, 0)  # a process group, so that whatever a demo forks is killed with it
    _close_other_fds(pipe)
    try:
        if found := _prepare():
            _send(pipe, "no_torch", found)
            return
        sandbox = Sandbox()
        if not read_poller(pipe).poll(0):
            warm_up_run()
        try:
            path, source, code, params, seed, deadline, mebibytes, confined = json.loads(pipe.recv_bytes())
        except EOFError:  # the parent has exited
            return
        if needs_compiler(source):  # 800 modules: before time and memory are measured
            import_compiler()
        limit_resources(deadline, mebibytes)
        if confined:
            sandbox.confine(readable=(path,))
        while True:
            _run_job(pipe, path, source, code, params, seed)
            try:
                params, seed = json.loads(pipe.recv_bytes())
            except EOFError:
                return
    except CannotConfine as error:
        _send(pipe, "unconfined", str(error))
    except MemoryError:
        _send(pipe, "out_of_memory", None)
    except Exception as error:
        exhausted = "can't allocate memory" in str(error) or "not enough memory" in str(error)
        _send(pipe, "out_of_memory" if exhausted else "raised", f"{type(error).__name__}: {error}"[:500])


def warm_up_torch() -> None:
    """Call what most experiments call, in a process that will fork: its children find it called once already.

    Everything that is drawn or computed here is thrown away, and a run seeds its generator anew.
    """
    if _prepare():
        return
    import torch

    Sandbox()
    warm_up_run()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        values = torch.linspace(-1.0, 1.0, 16, dtype=torch.float32).to(dtype).reshape(4, 4)
        for result in (values + 1, values * values, values / 2, values.exp(), values.abs().log(), values.sum()):
            result.isfinite().all().item()
        (values @ values).max().tolist()
    weights = torch.randn(4, 4, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(torch.relu(torch.randn(4, 4) @ weights), torch.zeros(4, dtype=torch.int64))
    optimizer = torch.optim.Adam([weights])
    loss.backward()
    optimizer.step()


_WARM_UP_SOURCE = """
import math
from collections.abc import Generator

import torch

TABLE = {"n": {"zh": "n", "en": "n", "ge": 1}}

def run(n: int = 4, x: float = 1.5) -> Generator[dict[str, float], None, dict[str, float | None]]:
    value = total = torch.ones(())
    for step in range(1, n + 1):
        value, total = value * x, total + value
        if not value.isfinite() or value == 0:
            break
        yield {"step": step, "value": value.item(), "log": math.log(abs(x))}
    return {"value": value.item()}
"""


def warm_up_run() -> None:
    """Load and run a small experiment, as every run does, so that the shared pages that this touches are copied before
    a job comes.
    """
    rows = list(_load_demo("", _WARM_UP_SOURCE, [BYTECODE_FORMAT, _packed("", _WARM_UP_SOURCE)]).run())
    _MESSAGES.encode(["rows", rows])


@cache
def _prepare() -> list[str]:
    """Imports and sets up torch once, for this process and all that it forks. Returns `_unusable_torch()`."""
    if found := _unusable_torch():
        return found
    import torch

    stub_compiler()
    torch.set_num_threads(1)
    tempfile.gettempdir()  # it tests folders by writing to them, so before writing is forbidden
    torch.zeros(1).add_(1)  # the first operation costs milliseconds
    _versions()
    return []


@cache
def _versions() -> dict[str, str]:
    import torch

    return {"torch": str(torch.__version__), "python": platform.python_version(), "numstab": __version__}


def _unusable_torch() -> list[str]:
    """[path of Python, its version of torch or ""] if it has no torch that can run demos; else empty."""
    try:
        import torch
    except ImportError:
        return [sys.executable, ""]
    known = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return [] if known >= OLDEST_TORCH else [sys.executable, str(torch.__version__)]


def _run_job(pipe: Connection, path: str, source: str, code: list[str], params: Mapping[str, Any], seed: int) -> None:
    """Load the demo and run it with these parameters and this seed; sends started, rows…, ran."""
    import torch

    _send(pipe, "started", _versions())
    demo = _load_demo(path, source, code)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also looks for devices, which takes milliseconds
    initial_rng_state = torch.random.get_rng_state()
    start = time.perf_counter()
    measured = _run_demo(pipe, demo, params)
    seconds = time.perf_counter() - start
    used_rng = not torch.equal(initial_rng_state, torch.random.get_rng_state())
    _send(pipe, "ran", {"metrics": measured, "seconds": seconds, "random": used_rng})


def _run_demo(pipe: Connection, demo: ModuleType, params: Mapping[str, Any]) -> Any:
    """Call the demo's `run`, send the rows it yields, return its metrics."""
    outcome = demo.run(**params)
    if not isinstance(outcome, Generator):
        return outcome
    rows: list[Any] = []
    sent = 0.0
    while True:
        try:
            rows.append(next(outcome))
        except StopIteration as stop:
            _send(pipe, "rows", rows)
            return stop.value
        if len(rows) >= _MAX_BATCH or time.monotonic() - sent > _SEND_INTERVAL_SECONDS:
            _send(pipe, "rows", rows)
            rows, sent = [], time.monotonic()


def _load_demo(path: str, source: str, code: list[str]) -> ModuleType:
    """Execute the demo's source as a module. The source comes with the job, not from the file at `path`, so that the
    hash in the receipt is of what ran even if the file has changed.
    """
    demo = ModuleType("demo")
    exec(_unpacked(path, source, *code), demo.__dict__)
    return demo


@lru_cache(_PACKED_SOURCES)
def _packed(path: str, source: str) -> str:
    """The source, compiled; "" if it cannot be, which the child will report. Nothing of it is executed."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)  # assertions hold, even under python -O
        return binascii.b2a_base64(marshal.dumps(code), newline=False).decode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


@lru_cache(maxsize=1)
def _unpacked(path: str, source: str, bytecode: str, packed: str) -> CodeType:
    """The source as code: as it came, if that is of this Python; else compiled here, once for all runs."""
    if packed and bytecode == BYTECODE_FORMAT:
        code: CodeType = marshal.loads(binascii.a2b_base64(packed))  # noqa: S302  # from the service, and we are confined
        return code
    return compile(source, path, "exec")


def _close_other_fds(pipe: Connection) -> None:
    """Close every descriptor but the pipe, and the places of the sandbox, through which nothing can be read or written:
    a demo must not reach the fork server or our standard streams.
    """
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(devnull, stream)
    first = 3
    for kept in sorted((pipe.fileno(), *sandbox_descriptors())):
        if first < kept:
            os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, 4096)


_MESSAGES = json.JSONEncoder(default=str)


def _send(pipe: Connection, kind: str, content: Any) -> None:
    """Write a message as a line of JSON, which has no line break of its own."""
    unsent = memoryview(_MESSAGES.encode([kind, content]).encode() + b"\n")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent has closed its end
        while unsent:
            unsent = unsent[os.write(pipe.fileno(), unsent) :]
