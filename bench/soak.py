"""Soak test: a server under a constant request rate for minutes; its memory, descriptors and threads over time."""

import asyncio
import os
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.clients import ClientResult, percentile, stream_answer
from bench.load import workloads
from bench.server import Server, run_server

_REQUESTS_PER_SECOND = 3.0
_WARM_UP_SECONDS = 60.0  # before the first measurement, so that caches are filled and children idle


def soak_test() -> None:
    """Resource usage under questions, runs, disconnects and bad requests, for NUMSTAB_SOAK minutes (default 2)."""
    minutes = float(os.environ.get("NUMSTAB_SOAK", "2"))
    before = _temporary_files()
    with run_server({"NUMSTAB_RATE": ""}) as server:
        _print_usage("after warming up", _send_requests(server, _WARM_UP_SECONDS), server)
        every = max(1.0, minutes / 5)
        for index in range(max(1, round(minutes / every))):
            _print_usage(f"after {(index + 1) * every:4.1f} min", _send_requests(server, every * 60), server)
        time.sleep(3)
        _print_usage("at rest", [], server)
    left = _temporary_files() - before
    print(
        f"left in {tempfile.gettempdir()}: {sorted(left) or 'nothing'}; processes left: {server.processes() or 'none'}"
    )


def resource_usage(server: Server) -> dict[str, float]:
    """Resources of the server's processes together: MiB (proportional set size), descriptors, threads, processes."""
    usage = {"MiB": 0.0, "descriptors": 0.0, "threads": 0.0, "processes": 0.0}
    for pid in server.processes():
        with suppress(OSError):
            folder = Path(f"/proc/{pid}")
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            rollup = dict(line.split(":", 1) for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
            usage["MiB"] += int(rollup["Pss"].split()[0]) / 1024
            usage["threads"] += int(status["Threads"])
            usage["descriptors"] += len(list((folder / "fd").iterdir()))
            usage["processes"] += 1
    return usage


def _send_requests(server: Server, seconds: float) -> list[ClientResult]:
    bodies = workloads()["one each"]
    rng = random.Random(int(time.monotonic()))

    async def client() -> ClientResult:
        body: dict[str, Any] = {**rng.choice(bodies), "seed": rng.randrange(1000)}
        match rng.random():
            case kind if kind < 0.6:
                return await stream_answer(server.port, body)
            case kind if kind < 0.7:
                return await stream_answer(server.port, body, "/page/ask")
            case kind if kind < 0.8:
                return await stream_answer(server.port, {**body, "seed": -1})  # answered with 422
            case _:
                with suppress(TimeoutError):  # the client disconnects
                    await asyncio.wait_for(stream_answer(server.port, body), rng.random() * 2)
                return ClientResult()

    async def clients() -> list[ClientResult]:
        async with asyncio.TaskGroup() as group:
            tasks = []
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                tasks.append(group.create_task(client()))
                await asyncio.sleep(rng.expovariate(_REQUESTS_PER_SECOND))
        return [task.result() for task in tasks]

    return asyncio.run(clients())


def _print_usage(when: str, results: list[ClientResult], server: Server) -> None:
    errors = [one.error for one in results if one.error and one.error != "status 422"]
    text = [one.text for one in results if one.text == one.text]
    usage = ", ".join(f"{value:.0f} {name}" for name, value in resource_usage(server).items())
    print(f"{when:18s} {usage}; {len(results)} requests, {len(errors)} errors {sorted(set(errors))[:3] or ''}, "
          f"text p95 {percentile(text, 0.95):.2f} s", flush=True)  # fmt: skip


def _temporary_files() -> set[str]:
    ours = ("numstab", "pymp", "torch")
    return {path.name for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(ours)}
