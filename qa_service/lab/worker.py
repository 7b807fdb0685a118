"""The child's side: the only code that executes a demo or imports torch.

A child is forked ahead of need, waits for its one job, and lives for that run. It speaks JSON over its pipe, never
pickles: what runs in here must not be able to run anything over there. Python's JSON spells inf and nan as Infinity
and NaN, both ways.
"""

import contextlib
import importlib
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Generator, Mapping
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from qa_service import __version__
from qa_service.lab.sandbox import apply_seccomp, die_with_parent

_SEND_EVERY = 0.04  # seconds: rows travel in batches, often enough for a moving progress bar


def job(path: str, source: str, params: Mapping[str, Any], seed: int, deadline: float, mebibytes: int) -> bytes:
    """What the lab sends to `work`: a demo's text, read at `path`; `deadline` in seconds, memory in MiB."""
    return json.dumps([path, source, dict(params), seed, deadline, mebibytes]).encode()


def main(pipe: Connection) -> None:
    """Waits for one job, does it and reports: started, rows…, then ran, raised or out_of_memory."""
    die_with_parent()
    os.setpgid(0, 0)  # so that whatever a demo forks dies with it
    _close_other_fds(pipe)
    try:
        import torch

        torch.set_num_threads(1)
        tempfile.gettempdir()  # found out by writing, so before that is forbidden
        torch.zeros(1).add_(1)  # the first operation costs milliseconds
        try:
            path, source, params, seed, deadline, mebibytes = json.loads(pipe.recv_bytes())
        except EOFError:  # the lab has gone
            return
        demo = _load(path, source)
        _limit(deadline, mebibytes)
        apply_seccomp()
        torch.manual_seed(seed)
        unused = torch.random.get_rng_state()
        _send(
            pipe, "started", {"torch": torch.__version__, "python": platform.python_version(), "numstab": __version__}
        )
        began = time.perf_counter()
        measured = _measure(pipe, demo, params)
        seconds = time.perf_counter() - began
        random = not torch.equal(unused, torch.random.get_rng_state())
        _send(pipe, "ran", {"metrics": measured, "seconds": seconds, "random": random})
    except MemoryError:
        _send(pipe, "out_of_memory", None)
    except Exception as raised:
        exhausted = "can't allocate memory" in str(raised) or "not enough memory" in str(raised)
        _send(pipe, "out_of_memory" if exhausted else "raised", f"{type(raised).__name__}: {raised}"[:500])


def _measure(pipe: Connection, demo: ModuleType, params: Mapping[str, Any]) -> Any:
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
        if time.monotonic() - sent > _SEND_EVERY:
            _send(pipe, "rows", rows)
            rows, sent = [], time.monotonic()


def _load(path: str, source: str) -> ModuleType:
    """Executes the demo's text as it was read, so that the hash in the receipt is of what ran, whatever became of the
    file meanwhile.

    The first step of an optimiser imports 800 modules: a demo that needs them gets them before its time begins.
    """
    demo = ModuleType("demo")
    exec(compile(source, path, "exec"), demo.__dict__)
    if "torch.optim" in source:
        importlib.import_module("torch._dynamo")
    return demo


def _limit(deadline: float, mebibytes: int) -> None:
    memory = mebibytes << 20
    for what, most in (
        (resource.RLIMIT_DATA, memory),  # private memory: what a tensor takes
        (resource.RLIMIT_CPU, int(deadline) + 10),  # ends even a child whose parent was killed
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # no file grows
    ):
        with contextlib.suppress(ValueError, OSError):  # a platform that refuses still has the parent's deadline
            resource.setrlimit(what, (most, most))


def _close_other_fds(pipe: Connection) -> None:
    """Closes every descriptor but the pipe: a demo must not reach the server it was forked from, nor our output."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, 4096)


def _send(pipe: Connection, kind: str, content: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more
        pipe.send_bytes(json.dumps([kind, content], default=str).encode())
