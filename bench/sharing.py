"""Cost and benefit of sharing runs and rates through Valkey: two services with it, without it, and when it fails."""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from bench.clients import percentile, run_clients
from bench.running import SLUG
from bench.server import Server, run_server
from bench.valkey import ValkeyServer, run_valkey
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.distributed_flight import DistributedRunner
from qa_service.lab.runner import POLL_SECONDS, SERVER_PRELOAD, Cancelled, ProcessRunner, QueuePosition, Runner
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import Experiment, Params, Row, Run
from qa_service.paths import bundled
from qa_service.server.rate_limit import RateLimits
from qa_service.shared_state import SharedState

_QUESTIONS, _ROUNDS, COUNTED_REQUESTS = 1000, 100, 500
_PAUSE = 0.3  # seconds
_QUESTION = {"question": "What happens when 100 factors of 1.5 are multiplied?"}


def sharing() -> None:
    """1,000 equal questions over two services, the latency that sharing adds, and what a server that fails costs."""
    print(f"{os.cpu_count()} cores, load before {Path('/proc/loadavg').read_text().split()[0]}; the clients share them")
    with run_valkey() as valkey:
        for name, env in (("alone", {}), ("shared", {"NUMSTAB_SHARED": valkey.url})):
            _ask_two_services(name, {"NUMSTAB_RATE": "", **env})
        _added_latency(valkey)
        _rates(valkey)
        _losses(valkey)
        _failures(valkey)


def _ask_two_services(name: str, env: dict[str, str]) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(run_server(env)) for _ in range(2)]
        before = sum(map(_runs_executed, servers))
        started = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda server: run_clients(server.port, [_QUESTION] * (_QUESTIONS // 2)), servers)
            results = [result for each in found for result in each]
        seconds = time.perf_counter() - started
        executed = sum(map(_runs_executed, servers)) - before
        kinds = {run[:3] for result in results for run in result.runs}
        errors = [result.error for result in results if result.error]
        print(
            f"two services, {name:7s} {len(results)} equal questions: {executed:.0f} runs executed for {len(kinds)} "
            f"different ones, {len(errors)} errors {sorted(set(errors))[:3] or ''}; evidence p50 "
            f"{percentile([one.done for one in results], 0.5):.2f} s, {seconds:.1f} s in all",
            flush=True,
        )


def _runs_executed(server: Server) -> float:
    text = server.get("/metrics")[1].decode()
    found = re.search(r'^numstab_stage_seconds_count\{stage="run"\} (.*)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@contextmanager
def _service(processes: ProcessRunner, valkey: ValkeyServer) -> Iterator[Runner]:
    with closing(DistributedRunner(processes, SharedState(valkey.url))) as distributed:
        yield SharedRunner(distributed)


def _added_latency(valkey: ValkeyServer) -> None:
    """Runs with a seed each, executed in turn by a service alone and by one that shares; then a follower's lag.

    Each goes first every other time, after a pause in which the children that wait for work are forked anew.
    """
    experiment = load_specs(bundled("demos"))[SLUG]
    with closing(ProcessRunner(preload=SERVER_PRELOAD, idle=2, slots=2)) as processes, ExitStack() as stack:
        sharing_runner = stack.enter_context(_service(processes, valkey))
        runners: dict[str, Runner] = {"alone": SharedRunner(processes), "shared": sharing_runner}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
        for seed in range(_ROUNDS + 3):
            for name in sorted(runners, reverse=bool(seed % 2)):
                time.sleep(_PAUSE)
                times[name].append(_time_run(runners[name], experiment, seed))
        for name, measured in times.items():
            first, end = ([each[index] for each in measured[3:]] for index in (0, 1))
            print(f"a run, {name:22s} first row {_milliseconds(first)}, end {_milliseconds(end)}")
        added = [shared - alone for (alone, _), (shared, _) in zip(times["alone"], times["shared"], strict=True)][3:]
        low, middle, high = statistics.quantiles(added, n=4)
        print(f"first row, shared after alone     quartiles {1e3 * low:.1f}, {1e3 * middle:.1f}, {1e3 * high:.1f} ms")
        kept = [_time_run(stack.enter_context(_service(processes, valkey)), experiment, seed)[1] for seed in range(20)]
        print(f"a run kept by another service    end {_milliseconds(kept)}")
        lags = [_follow(processes, valkey, experiment, 10_000 + seed) for seed in range(30)]
        print(f"a follower's end after the leader's {_milliseconds(lags)}", flush=True)


def _time_run(runner: Runner, experiment: Experiment, seed: int) -> tuple[float, float]:
    started, first = time.perf_counter(), 0.0
    for event in runner.stream(experiment, fill_defaults(experiment, {}), seed):
        if not first and not isinstance(event, QueuePosition):
            first = time.perf_counter() - started
    return first, time.perf_counter() - started


def _follow(processes: ProcessRunner, valkey: ValkeyServer, experiment: Experiment, seed: int) -> float:
    """The seconds between the ends of a run at the service that executes it and at another that shows it."""
    with _service(processes, valkey) as leads, _service(processes, valkey) as follows:
        params, ends = fill_defaults(experiment, {}), {}

        def listen(name: str, events: Iterator[Row | QueuePosition]) -> None:
            for _ in events:
                pass
            ends[name] = time.perf_counter()

        first = leads.stream(experiment, params, seed)
        next(first)
        thread = threading.Thread(target=listen, args=("follows", follows.stream(experiment, params, seed)))
        thread.start()
        listen("leads", first)
        thread.join()
        return ends["follows"] - ends["leads"]


def _rates(valkey: ValkeyServer) -> None:
    """Prints the seconds of counting a request and making the headers of its reply: in memory, and on the server."""

    async def count(limits: RateLimits) -> list[float]:
        seconds = []
        for hit in range(COUNTED_REQUESTS):
            started = time.perf_counter()
            await limits.hit(f"address:{hit % 7}")
            await limits.headers(f"address:{hit % 7}")
            seconds.append(time.perf_counter() - started)
        await limits.close()
        return seconds

    for name, shared in (("in memory", None), ("shared", SharedState(valkey.url))):
        print(f"a request's rate, {name:14s} {_milliseconds(asyncio.run(count(RateLimits('100000/minute', shared))))}")


class SteadyRunner(ProcessRunner):
    """Executes nothing: yields a row every 20 ms until it is cancelled; `ended` is when that was."""

    ended = 0.0

    def stream(
        self,
        experiment: Experiment,  # noqa: ARG002
        params: Params,  # noqa: ARG002
        seed: int,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Row | QueuePosition, None, Run]:
        """As `Runner.stream`."""
        for step in range(100_000):
            if is_cancelled():
                break
            yield {"step": step, "value": float(seed)}
            time.sleep(POLL_SECONDS)
        self.ended = time.perf_counter()
        raise Cancelled


def lead_flight(url: str) -> None:
    """Leads a flight of a `SteadyRunner` for ever, and says so on standard output."""
    experiment = load_specs(bundled("demos"))[SLUG]
    for _ in DistributedRunner(SteadyRunner(), SharedState(url)).stream(experiment, {}, 0):
        print("a row", flush=True)


def _losses(valkey: ValkeyServer) -> None:
    """Prints the gap in a run's rows when the service that executes it is killed, and the delay until it ends once the
    last client has left it at the other service.
    """
    experiment = load_specs(bundled("demos"))[SLUG]
    gaps, delays = [], []
    for _ in range(5):
        command = [sys.executable, "-c", f"from bench.sharing import lead_flight; lead_flight({valkey.url!r})"]
        with (
            closing(DistributedRunner(SteadyRunner(), SharedState(valkey.url))) as follows,
            subprocess.Popen(command, stdout=subprocess.PIPE) as leader,
        ):
            assert leader.stdout is not None
            leader.stdout.readline()
            rows = follows.stream(experiment, {}, 0)
            next(rows)
            leader.kill()
            killed, longest, before = time.perf_counter(), 0.0, time.perf_counter()
            while before < killed + 5:
                next(rows)
                longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
            gaps.append(longest)
            rows.close()
    for seed in range(1, 11):
        here = SteadyRunner()
        with (
            closing(DistributedRunner(here, SharedState(valkey.url))) as leads,
            closing(DistributedRunner(SteadyRunner(), SharedState(valkey.url))) as follows,
        ):
            has_left = threading.Event()
            first = leads.stream(experiment, {}, seed, has_left.is_set)
            next(first)
            thread = threading.Thread(target=_listen, args=(first,))
            thread.start()
            rows = follows.stream(experiment, {}, seed)
            next(rows)
            has_left.set()
            next(rows)
            left = time.perf_counter()
            rows.close()
            thread.join()
            delays.append(here.ended - left)
    print(f"the longest gap between rows when the executing service is killed {_milliseconds(gaps)}")
    print(f"a run's end after its last reader, on another service, has left   {_milliseconds(delays)}", flush=True)


def _listen(events: Iterator[Row | QueuePosition]) -> None:
    with suppress(Cancelled):
        for _ in events:
            pass


def _failures(valkey: ValkeyServer) -> None:
    """Prints how long the first run takes after the server was stopped or killed, and how long later runs take."""
    experiment = load_specs(bundled("demos"))[SLUG]
    faults: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "silent": (valkey.pause, valkey.resume),
        "killed": (valkey.kill, valkey.start),
    }
    with closing(ProcessRunner(preload=SERVER_PRELOAD, idle=2, slots=2)) as processes:
        for name, (break_it, mend_it) in faults.items():
            with _service(processes, valkey) as runner:
                before = [_time_run(runner, experiment, 20_000 + seed)[1] for seed in range(10)]
                break_it()
                after = [_time_run(runner, experiment, 30_000 + seed)[1] for seed in range(10)]
                mend_it()
            extra = after[0] - statistics.median(before)
            print(
                f"server {name}: the first run took {1e3 * extra:.0f} ms longer, the others {_milliseconds(after[1:])}"
            )


def _milliseconds(seconds: list[float]) -> str:
    return f"p50 {1e3 * percentile(seconds, 0.5):6.2f} p95 {1e3 * percentile(seconds, 0.95):6.2f} ms"
