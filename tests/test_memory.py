"""What a server keeps out of its memory: unused modules, code that is not read again, additional fork servers."""

import asyncio
import mmap
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import TIMEOUT_SECONDS, run_async, run_event_loop_turns, until

from qa_service.lab.interpreter import connect_interpreter, server_for_workers
from qa_service.lab.runner import SERVER_PRELOAD, ProcessRunner
from qa_service.model import RunStatus
from qa_service.retrieval.array_file import drop_mapped_files, map_arrays, save_arrays
from qa_service.server import lifecycle
from qa_service.server.lifecycle import trim_memory
from qa_service.server.priority import TextPriority

_STEP = """
import sys
import torch

def run():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.5)
    optimizer.zero_grad()
    weight.sum().backward()
    optimizer.step()
    return {"last": sum("bytecode_transformation" in name for name in sys.modules), "random": weight[0].item()}
"""
_VECTOR = """
import sys
import torch

def run():
    x = torch.ones(3, requires_grad=True)
    try:
        torch.autograd.grad(2 * x, x, torch.ones(4))
    except RuntimeError:
        (gradient,) = torch.autograd.grad(2 * x, x, torch.ones(3))
    return {"last": int("sympy" in sys.modules), "random": gradient.sum().item()}
"""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_an_optimiser_steps_without_the_compiler(fresh_lab, toy_experiments):
    """Adam's first step is the learning rate, and `torch._dynamo`, the compiler, is not imported for it."""
    run = fresh_lab.run(replace(toy_experiments["counts"], source=_STEP), {})
    assert run.status is RunStatus.RAN, run.note
    assert run.measured["last"] == 0
    assert run.measured["random"] == pytest.approx(0.5, abs=1e-6)


def test_the_gradient_of_a_vector_needs_no_algebra(fresh_lab, toy_experiments):
    """Shapes are compared without importing sympy's 486 modules; a cotangent of the wrong shape is still refused."""
    run = fresh_lab.run(replace(toy_experiments["counts"], source=_VECTOR), {})
    assert run.status is RunStatus.RAN, run.note
    assert run.measured == {"last": 0, "random": 6}


@pytest.mark.exhaustive  # imports all of the compiler
def test_the_compiler_is_there_for_who_names_it():
    """It is imported when an experiment's code names it, or uses an attribute that the stub lacks."""
    code = (
        "import torch\n"
        "from qa_service.lab.compiler_stub import import_compiler, stub_compiler, needs_compiler\n"
        "stub_compiler()\n"
        "assert needs_compiler('y = torch.compile(f)') and not needs_compiler('torch.optim.SGD')\n"
        "torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]).step()\n"
        "from torch.fx.experimental.symbolic_shapes import ShapeEnv\n"
        "from torch.fx.experimental.symbolic_shapes import sym_eq\n"
        "assert sym_eq.__module__ == ShapeEnv.__module__\n"
        "assert torch._dynamo.config is import_compiler().config\n"
        "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())\n"
    )
    assert _python(code) == "2.0"


@linux
def test_idle_children_share_what_the_fork_server_has(toy_experiments):
    """Each child has written to few of its memory pages; the server has released the pages of torch's code."""
    runner = ProcessRunner(preload=SERVER_PRELOAD, idle=2)
    runner.warm_up()
    try:
        assert runner.run(toy_experiments["counts"], {"steps": 1}).status is RunStatus.RAN
        until(lambda: runner.ready == 2, TIMEOUT_SECONDS)
        (server,) = (each for each in _children(os.getpid()) if SERVER_PRELOAD[-1].encode() in _command(each))
        child = _children(server)[0]
        own, shared = _kib(child, "Private_Dirty"), _kib(child, "Shared_Dirty")
        assert own < 12 << 10 < 60 << 10 < shared, (own, shared)
        assert _kib(server, "Rss", r" r-xp .*/libtorch_cpu") < 20 << 10  # of 60 MiB
    finally:
        runner.close()


@linux
def test_workers_share_one_fork_server(tmp_path):
    """When a worker ends, its children alone are killed; without the shared server each worker starts its own."""
    preload, address = ("qa_service.lab.worker",), tmp_path / "fork-server"
    with server_for_workers("", preload, address):
        one, other = connect_interpreter("", preload, address), connect_interpreter("", preload, address)
        child, others = one.spawn(), other.spawn()
        server = _parent(child.process.pid)
        assert server == _parent(others.process.pid) != os.getpid()
        del one
        child.process.join(TIMEOUT_SECONDS)
        assert child.process.exitcode is not None
        assert others.process.is_alive()
    others.process.join(TIMEOUT_SECONDS)
    assert not others.process.is_alive()  # as its server has ended
    with suppress(OSError, EOFError):  # the connection has just been lost
        other.spawn().kill()
    alone = other.spawn()
    assert _parent(alone.process.pid) not in (server, os.getpid())
    alone.kill()


@linux
def test_pages_of_mapped_files_are_given_back_and_come_again(tmp_path):
    """The pages are those of libraries' code and read-only data; the data are the same when read again."""
    file = tmp_path / "arrays"
    save_arrays(file, {"numbers": np.arange(1 << 18)})
    numbers = map_arrays(file)["numbers"]
    assert numbers.sum() == sum(range(1 << 18))
    mapping = re.escape(str(file))
    before = _kib(os.getpid(), "Rss", r" r-xp .*/")
    assert _kib(os.getpid(), "Rss", mapping) >= 2 << 10
    trim_memory()
    assert _kib(os.getpid(), "Rss", mapping) < 128
    assert _kib(os.getpid(), "Rss", r" r-xp .*/") < before
    assert numbers[-1] == (1 << 18) - 1


@linux
def test_only_what_no_thread_can_unmap_meanwhile_is_given_back(tmp_path):
    """Other mappings might be removed by another thread before the call, and a stack might then lie at their
    address.
    """
    file = tmp_path / "file"
    file.write_bytes(bytes(4 << 20))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: 1 << 12]) == 0
        trim_memory()
        assert _kib(os.getpid(), "Rss", re.escape(str(file))) >= 4 << 10


def test_memory_is_given_back_once_when_no_question_comes(monkeypatch):
    """It is released neither while a question is answered, nor again before another one has come."""
    given_back: list[int] = []
    monkeypatch.setattr(lifecycle, "QUIET_SECONDS", 0)  # each turn of the loop is a period without a question
    monkeypatch.setattr(lifecycle, "trim_memory", lambda: given_back.append(priority.texts_begun))
    priority = TextPriority()

    async def scenario() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # calls are made in order
        for asked in (1, 2):
            with priority.pending():
                if asked == 1:
                    watching = asyncio.create_task(lifecycle.trim_memory_when_idle(priority))
                await run_event_loop_turns()
                await asyncio.to_thread(lambda: None)
                assert len(given_back) == asked - 1
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while len(given_back) < asked:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await run_event_loop_turns()
            await asyncio.to_thread(lambda: None)
            assert given_back == [1, 2][:asked]
        watching.cancel()

    run_async(scenario())


@linux
def test_between_texts_the_classifier_is_let_go_of_where_it_comes_back_at_once(tmp_path):
    """Its memory is released only where the page cache holds the file in huge pages, which are restored after the file
    was copied in small pieces.
    """
    written, file = tmp_path / "written", tmp_path / "copied"
    save_arrays(written, {"numbers": np.arange(3 << 20)})
    with written.open("rb") as source, file.open("wb", buffering=0) as target:
        while piece := source.read(4096):
            target.write(piece)
        os.fsync(target.fileno())
    small = tmp_path / "small"
    save_arrays(small, {"numbers": np.arange(1 << 17)})
    with written.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        sum(whole[:: 1 << 12])
        if _kib(os.getpid(), "FilePmdMapped", re.escape(str(written))) < 16 << 10:
            pytest.skip("this kernel or this file system has no huge pages of files, or has none free")
    numbers, few = map_arrays(file)["numbers"], map_arrays(small)["numbers"]
    total = int(numbers.sum() + few.sum())
    assert total > 0
    drop_mapped_files()
    mapping, of_small = (re.escape(str(each)) for each in (file, small))
    assert _kib(os.getpid(), "Rss", of_small) >= 1 << 10, "it is in small pages, which take long to map again"
    assert _kib(os.getpid(), "Rss", mapping) < 128
    assert numbers.sum() + few.sum() == total
    assert _kib(os.getpid(), "FilePmdMapped", mapping) >= 16 << 10


def test_a_pause_between_texts_is_told_once():
    """The callback is not called while a text is pending, nor if the next one begins before the pause is over."""
    called: list[int] = []
    priority = TextPriority()

    async def scenario() -> None:
        priority.call_in_pauses(0, lambda: called.append(priority.texts_begun))
        for _ in range(4):
            with priority.pending():
                await asyncio.sleep(0)
        with priority.pending():
            await run_event_loop_turns()
            assert not called
        await run_event_loop_turns()
        assert called == [5]

    run_async(scenario())


def test_what_few_clients_need_is_not_loaded_with_the_application(tmp_path, cache):
    """MCP is imported by its first request, alembic only if there is something to migrate."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from qa_service.answering.composition import build\n"
        "from qa_service.app import create_app\n"
        "from qa_service.settings import Settings\n"
        "from qa_service.store import Store\n"
        "settings = Settings(kb=Path('tests/toys/kb'), demos=Path('tests/toys/demos'), cache=Path(sys.argv[1]))\n"
        "create_app(build(settings, warm=None), settings)\n"
        "Store('sqlite:///' + sys.argv[2] + '/store.db').ping()\n"
        "print(sorted({'mcp', 'alembic', 'torch', 'sqlalchemy'} & sys.modules.keys()))\n"
    )
    assert _python(code, str(cache), str(tmp_path)) == "['alembic', 'sqlalchemy']"
    assert _python(code, str(cache), str(tmp_path)) == "['sqlalchemy']"


def _python(code: str, *arguments: str) -> str:
    """What the code prints, in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS).stdout.strip()


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if _parent(int(folder.name)) == pid:
                found.append(int(folder.name))
    return found


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _kib(pid: int, field: str, mapping: str = "") -> int:
    """The sum of a field of those mappings of a process whose description matches, in KiB."""
    try:
        smaps = Path(f"/proc/{pid}/smaps").read_text()
    except PermissionError:
        pytest.skip("only root reads the mappings of a process that is closed to others")
    of_mapping = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)[1:]
    chosen = [each for each in of_mapping if re.search(mapping, each.splitlines()[0])]
    return sum(int(re.findall(rf"^{field}: +(\d+) kB", each, re.MULTILINE)[0]) for each in chosen)
