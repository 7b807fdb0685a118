"""The cost of isolation: one experiment in a process of its own, in this process, in a warm process, as a script."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from bench.interleaved import time_interleaved
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.runner import SERVER_PRELOAD, ProcessRunner
from qa_service.model import Experiment, Params
from qa_service.paths import bundled

SLUG = "pow_vs_sum"
SLOTS = 2
_RUNS = 30


def isolation_cost() -> None:
    """A process per run, against this process, a warm process and `python script.py`: wall, CPU, runs/s, memory."""
    runner = ProcessRunner(preload=SERVER_PRELOAD)
    experiment = load_specs(bundled("demos"))[SLUG]
    params = fill_defaults(experiment, {})
    demo = import_demo(experiment.path)
    print(f"{os.cpu_count()} cores, load before {Path('/proc/loadavg').read_text().split()[0]}")

    def in_process() -> None:
        for _ in demo.run(**params):
            pass

    def script() -> None:
        subprocess.run([sys.executable, experiment.path], check=True, capture_output=True)

    with closing(ProcessRunner(preload=SERVER_PRELOAD, slots=SLOTS, idle=SLOTS)) as with_idle:
        for each in (runner, with_idle):
            each.run(experiment, params)
        with WarmProcess(experiment.path) as warm:
            time_interleaved(
                {
                    "in this process": in_process,
                    "in an idle child (aim: x1.3)": lambda: with_idle.run(experiment, params),
                    "in a child forked on demand": lambda: runner.run(experiment, params),
                    "in one warm process, no isolation": lambda: warm.run(params),
                    "python script.py": script,
                },
                rounds=15,
            )
        _print_cpu(in_process, with_idle, experiment, params)
        _print_rate(with_idle, experiment, params)
        _print_memory(with_idle)


def _print_cpu(in_process: Callable[[], None], runner: ProcessRunner, experiment: Experiment, params: Params) -> None:
    """Prints the CPU time of runs in this process and of as many isolated ones, with forking, preparing and ending
    their processes.
    """
    here = isolated = 0.0
    _wait_until_filled(runner)
    before = _cpu_of_fork_servers()
    for _ in range(_RUNS):
        started = time.process_time()
        in_process()
        here += time.process_time() - started
        started = time.process_time()
        runner.run(experiment, params)
        isolated += time.process_time() - started
    _wait_until_filled(runner)
    isolated += _cpu_of_fork_servers() - before
    print(f"CPU of a run: {here / _RUNS * 1e3:.1f} ms in this process, {isolated / _RUNS * 1e3:.1f} ms isolated with "
          f"all that is forked for it, x{isolated / here:.2f} (aim: x1.3)")  # fmt: skip


def _print_rate(runner: ProcessRunner, experiment: Experiment, params: Params, seconds: float = 10.0) -> None:
    """Live runs per second, as many at once as there are slots; each is executed."""
    started = time.perf_counter()

    def run_on() -> int:
        count = 0
        while time.perf_counter() - started < seconds:
            runner.run(experiment, params)
            count += 1
        return count

    with ThreadPoolExecutor(SLOTS) as pool:
        count = sum(pool.map(lambda _: run_on(), range(SLOTS)))
    print(f"{count / (time.perf_counter() - started):.1f} isolated runs/s on {SLOTS} slots (aim: 40)")


def _print_memory(runner: ProcessRunner) -> None:
    """Proportional set size of the fork server and its idle children: what is shared counts once in all."""
    _wait_until_filled(runner)
    sizes = {}
    for pid in [server for parent in _fork_servers() for server in (parent, *_children(parent))]:
        with suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            sizes[pid] = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    print(f"memory (PSS) of the fork server and {len(sizes) - 1} idle children: {sum(sizes.values()) / 1024:.0f} MiB")


def _wait_until_filled(runner: ProcessRunner) -> None:
    while runner.ready < SLOTS:
        time.sleep(0.05)
    time.sleep(0.5)  # they prepare


def _fork_servers() -> list[int]:
    """The fork servers that this process has started."""
    return [pid for pid in _children(os.getpid()) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _children(parent: int) -> list[int]:
    return [pid for pid, fields in _processes() if int(fields[1]) == parent]


def _cpu_of_fork_servers() -> float:
    """CPU seconds of the fork servers, and of their children that have ended or still wait."""
    families = {pid for server in _fork_servers() for pid in (server, *_children(server))}
    ticks = sum(sum(map(int, fields[11:15])) for pid, fields in _processes() if pid in families)
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[tuple[int, list[str]]]:
    """(id, fields of its stat from the state on) of every process."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield int(stat.parent.name), stat.read_text().rpartition(")")[2].split()


class WarmProcess:
    """A process that has the experiment loaded and runs it on request over a pipe, as a notebook kernel would.

    Its runs are not isolated from each other.
    """

    _CODE = (
        "import json, sys\nfrom bench.running import import_demo\ndemo = import_demo(sys.argv[1])\n"
        "for line in sys.stdin:\n    rows = list(demo.run(**json.loads(line)))\n    print(json.dumps(rows), flush=True)"
    )

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, params: dict[str, Any]) -> list[Any]:
        """Runs the experiment; returns its rows."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(params) + "\n")
        self._process.stdin.flush()
        rows: list[Any] = json.loads(self._process.stdout.readline())
        return rows


def import_demo(path: str) -> Any:
    """The experiment at `path` as a module."""
    spec = importlib.util.spec_from_file_location("demo", path)
    assert spec
    assert spec.loader
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo
