"""The child process: the only code that executes a demo or imports torch.

A child is forked ahead of need and waits for a job; after it, it is killed or given the next one of the same demo. Both
directions of its pipe carry JSON, never pickles: a demo must not be able to run code in the parent. Python's JSON
writes and reads inf and nan as Infinity and NaN.
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

_SEND_INTERVAL_SECONDS = 0.04  # rows are sent in batches, often enough for a progress bar that moves


def encode_job(path: str, source: str, params: Mapping[str, Any], seed: int, deadline: float, mebibytes: int) -> bytes:
    """A job as JSON for `child_main`; `source` was read from `path`, `deadline` is in seconds, memory in MiB."""
    return json.dumps([path, source, dict(params), seed, deadline, mebibytes]).encode()


def child_main(pipe: Connection) -> None:
    """Wait for a job, run it and send messages: started, rows…, then ran; and again, until the pipe is closed.

    After raised or out_of_memory it exits.
    """
    die_with_parent()
    os.setpgid(0, 0)  # a process group, so that whatever a demo forks is killed with it
    _close_other_fds(pipe)
    try:
        import torch

        torch.set_num_threads(1)
        tempfile.gettempdir()  # it tests folders by writing to them, so before writing is forbidden
        torch.zeros(1).add_(1)  # the first operation costs milliseconds
        is_confined = False
        while True:
            try:
                path, source, params, seed, deadline, mebibytes = json.loads(pipe.recv_bytes())
            except EOFError:  # the parent has exited, or has no further job
                return
            demo = _load_demo(path, source)
            if not is_confined:
                _set_rlimits(deadline, mebibytes)
                apply_seccomp()
                is_confined = True
            _run_job(pipe, demo, params, seed)
    except MemoryError:
        _send(pipe, "out_of_memory", None)
    except Exception as error:
        exhausted = "can't allocate memory" in str(error) or "not enough memory" in str(error)
        _send(pipe, "out_of_memory" if exhausted else "raised", f"{type(error).__name__}: {error}"[:500])


def _run_job(pipe: Connection, demo: ModuleType, params: Mapping[str, Any], seed: int) -> None:
    """Run the demo with this seed; sends started, rows, ran."""
    import torch

    torch.manual_seed(seed)
    initial_rng_state = torch.random.get_rng_state()
    _send(pipe, "started", {"torch": torch.__version__, "python": platform.python_version(), "numstab": __version__})
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
        if time.monotonic() - sent > _SEND_INTERVAL_SECONDS:
            _send(pipe, "rows", rows)
            rows, sent = [], time.monotonic()


def _load_demo(path: str, source: str) -> ModuleType:
    """Execute the demo's source as a module. The source comes with the job, not from the file at `path`, so that the
    hash in the receipt is of what ran even if the file has changed.

    The first step of an optimiser imports 800 modules: a demo that needs them gets them before its time is measured.
    """
    demo = ModuleType("demo")
    exec(compile(source, path, "exec"), demo.__dict__)
    if "torch.optim" in source:
        importlib.import_module("torch._dynamo")
    return demo


def _set_rlimits(deadline: float, mebibytes: int) -> None:
    """Set resource limits: memory, CPU time, and no core dumps or growing files."""
    memory = mebibytes << 20
    for limit, value in (
        (resource.RLIMIT_DATA, memory),  # private memory: a tensor's
        (resource.RLIMIT_CPU, int(deadline) + 10),  # seconds; ends even a child whose parent was killed
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # no file grows
    ):
        with contextlib.suppress(ValueError, OSError):  # where the platform refuses, the parent's deadline remains
            resource.setrlimit(limit, (value, value))


def _close_other_fds(pipe: Connection) -> None:
    """Close every descriptor but the pipe: a demo must not reach the fork server or our standard streams."""
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(devnull, stream)
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, 4096)


def _send(pipe: Connection, kind: str, content: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent has closed its end
        pipe.send_bytes(json.dumps([kind, content], default=str).encode())
