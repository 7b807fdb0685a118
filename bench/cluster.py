"""A cluster of one and of two machines, both on this one, beside the processes of this machine without a cluster."""

import os
import signal
import statistics
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.ray_cluster import ROOT, Cluster, ClusterNode, cluster, session_processes, wait_until
from bench.running import SLUG
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.cluster import RayRunner
from qa_service.lab.runner import SERVER_PRELOAD, Cancelled, ProcessRunner, QueuePosition, Runner
from qa_service.model import Experiment, Params
from qa_service.paths import bundled

_RANDOM = "shared_coin"
_SEEDS = 300
_ROUNDS, _RUNS, _CANCELS = 30, 60, 10
_SLOW = """import time
def run():
    for step in range(100):
        time.sleep(0.03)
        yield {"step": step}
    return {}
"""


def cluster_figures() -> None:
    """First row, verdict, runs a second, cancellation, recovery after kill -9, and memory."""
    experiment = load_specs(bundled("demos"))[SLUG]
    params = fill_defaults(experiment, {})
    local = _local(1)
    with cluster() as started:
        os.environ |= {"RAY_AUTH_TOKEN": started.token, "PYTHONPATH": str(ROOT)}
        runner = RayRunner.connect(local, started.address)
        try:
            wait_until(lambda: runner.wait_until_connected(1), started.head.log)
            _latency({"local": local, "cluster of one": runner}, experiment, params)
            sessions = {os.getsid(0), started.head.process.pid, runner.driver_session_id()}
            _throughput({"local, 1 slot": local, "cluster of one, 1 slot": runner}, experiment, params, sessions)
            started.add()
            _wait_for_slots(runner, 2, started)
            _latency({"local": local, "cluster of two": runner}, experiment, params)
            two_slots = _local(2)
            sessions.add(started.nodes[1].process.pid)
            _throughput({"local, 2 slots": two_slots, "cluster of two, 2 slots": runner}, experiment, params, sessions)
            _many_seeds({"local, 1 child": local, "cluster of two": runner}, load_specs(bundled("demos"))[_RANDOM])
            two_slots.close()
            _memory(started, runner)
            _cancellation({"local": local, "cluster of two": runner}, _slow(experiment))
            _recoveries(started, runner, _slow(experiment))
        finally:
            runner.close()


def _local(slots: int) -> ProcessRunner:
    runner = ProcessRunner(deadline=30.0, slots=slots, preload=SERVER_PRELOAD, idle=slots)
    runner.warm_up()
    return runner


def _latency(runners: dict[str, Runner], experiment: Experiment, params: Params) -> None:
    """Prints milliseconds to the first row and to the end of a run; the runners take turns, with a new seed each."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    for seed in range(_ROUNDS + 3):
        for name, runner in runners.items():
            began = time.perf_counter()
            events = runner.stream(experiment, params, seed, lambda: False)
            next(events)
            first = time.perf_counter() - began
            for _ in events:
                pass
            if seed >= 3:
                times[name].append((first, time.perf_counter() - began))
    for name, pairs in times.items():
        firsts, ends = ([pair[which] * 1e3 for pair in pairs] for which in (0, 1))
        print(f"{name:24s} first row {_quantiles(firsts)}   run {_quantiles(ends)} ms (p50 / p95)", flush=True)


def _quantiles(values: list[float]) -> str:
    return f"{statistics.median(values):6.1f} / {statistics.quantiles(values, n=20)[-1]:6.1f}"


def _throughput(runners: dict[str, Runner], experiment: Experiment, params: Params, sessions: set[int]) -> None:
    """Prints runs a second with as many clients as slots, each runner twice, in turn; and CPU time of all processes.

    Where the machine is busy only the CPU time compares: Linux shares cores between sessions, and a cluster has more.
    """
    for _ in range(2):
        for name, runner in runners.items():
            began, cpu = time.perf_counter(), _cpu_seconds(sessions)
            with ThreadPoolExecutor(runner.slots) as pool:
                list(pool.map(partial(runner.run, experiment, params), range(_RUNS)))
            rate = _RUNS / (time.perf_counter() - began)
            cost = (_cpu_seconds(sessions) - cpu) / _RUNS
            print(f"{name:24s} {rate:6.1f} runs/s, {cost * 1e3:6.1f} ms of CPU a run", flush=True)


def _many_seeds(runners: dict[str, Runner], experiment: Experiment) -> None:
    """Prints the seconds that each runner takes for `_SEEDS` seeds of the experiment, as `numstab check` runs them."""
    for name, runner in runners.items():
        began = time.perf_counter()
        runs = runner.run_seeds(experiment, fill_defaults(experiment, {}), range(_SEEDS))
        print(f"{name:24s} {len(runs)} seeds of {experiment.slug} in {time.perf_counter() - began:.1f} s", flush=True)


def _slow(experiment: Experiment) -> Experiment:
    """An experiment of three seconds with a row every 30 ms."""
    return replace(experiment, source=_SLOW, metrics={})


def _cancellation(runners: dict[str, Runner], slow: Experiment) -> None:
    """Prints milliseconds from a cancellation until the runner raises `Cancelled`, and until the next first row."""
    for name, runner in runners.items():
        let_go, next_row = [], []
        for seed in range(_CANCELS):
            left = threading.Event()
            events = runner.stream(slow, {}, seed, left.is_set)
            next(events)
            left.set()
            began = time.perf_counter()
            with suppress(Cancelled):
                for _ in events:
                    pass
            let_go.append((time.perf_counter() - began) * 1e3)
            again = runner.stream(slow, {}, seed, lambda: False)
            next(again)
            next_row.append((time.perf_counter() - began) * 1e3)
            again.close()
        print(f"{name:24s} cancelled after {_quantiles(let_go)}, next row {_quantiles(next_row)} ms", flush=True)


def _recoveries(started: Cluster, runner: RayRunner, slow: Experiment) -> None:
    """Prints the longest pause between two rows of a run during which a process is killed, and its number of rows."""
    second = started.nodes[1]
    for name, node, process in (
        ("nothing", second, "ray::Node"),
        ("actor", second, "ray::Node"),
        ("Ray's node", second, "/raylet"),
        ("head", started.head, "/gcs_server"),
    ):
        events = _on(second if node is second else started.head, runner, slow)
        killing = threading.Timer(1.0, os.kill, (node.pid_of(process), signal.SIGKILL))
        if name != "nothing":
            killing.start()
        longest, rows = _longest_pause(events)
        print(f"{name + ' killed':24s} longest pause {longest:5.2f} s, {rows} rows of 100", flush=True)
        if name == "actor":
            _wait_for_slots(runner, 2, started)


def _on(node: ClusterNode, runner: RayRunner, slow: Experiment) -> Generator[Any, None, Any]:
    """The events of a run that has begun on this node; runs that begin on another are closed."""
    for seed in range(100):
        events = runner.stream(slow, {}, seed, lambda: False)
        next(events)
        if node.id() in runner.busy:
            return events
        events.close()
    raise RuntimeError("no run has begun on that machine")


def _longest_pause(events: Generator[Any, None, Any]) -> tuple[float, int]:
    """(longest pause between two rows in seconds, number of rows) of a run whose first row has been read."""
    last, longest, rows = time.perf_counter(), 0.0, 1
    for event in events:
        if not isinstance(event, QueuePosition):
            now = time.perf_counter()
            longest, last, rows = max(longest, now - last), now, rows + 1
    return max(longest, time.perf_counter() - last), rows


def _wait_for_slots(runner: RayRunner, slots: int, started: Cluster) -> None:
    wait_until(lambda: runner.slots == slots, started.nodes[-1].log)


def _memory(started: Cluster, runner: RayRunner) -> None:
    """Prints the PSS in MiB of each node and of the driver: Ray's own processes, and the runner with its children."""
    processes: list[tuple[str, dict[int, str]]] = [
        ("head", session_processes(started.head.process.pid)),
        ("further machine", session_processes(started.nodes[1].process.pid)),
        ("service's driver", session_processes(runner.driver_session_id())),
    ]
    for name, members in processes:
        ours = {pid for pid, line in members.items() if "forkserver" in line or line.startswith("ray::Node")}
        of_ray = set(members) - ours
        print(f"{name:24s} Ray {sum(map(_pss, of_ray)):5.0f} MiB, runner {sum(map(_pss, ours)):5.0f} MiB", flush=True)


def _cpu_seconds(sessions: set[int]) -> float:
    """CPU seconds of the processes of these sessions, including the ended children that they waited for."""
    ticks = 0
    for leader in sessions:
        for pid in session_processes(leader):
            with suppress(OSError, ValueError, IndexError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> float:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0
