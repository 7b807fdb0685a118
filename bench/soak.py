"""A server under a bounded rate for minutes: what it holds at the end against what it held at the start."""

import asyncio
import os
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.crowd import Heard, listen, percentile
from bench.load import crowds
from bench.server import Server, served

_RATE = 3.0  # requests a second
_WARM = 60.0  # seconds before the first count: caches fill, children wait


def soak() -> None:
    """Questions, runs, readers who leave, nonsense, at a bounded rate; NUMSTAB_SOAK minutes (default 2)."""
    minutes = float(os.environ.get("NUMSTAB_SOAK", "2"))
    before = _temporary()
    with served({"NUMSTAB_RATE": ""}) as server:
        _say("after warming up", _ask_for(server, _WARM), server)
        every = max(1.0, minutes / 5)
        for at in range(max(1, round(minutes / every))):
            _say(f"after {(at + 1) * every:4.1f} min", _ask_for(server, every * 60), server)
        time.sleep(3)
        _say("at rest", [], server)
    left = _temporary() - before
    print(
        f"left in {tempfile.gettempdir()}: {sorted(left) or 'nothing'}; processes left: {server.processes() or 'none'}"
    )


def holdings(server: Server) -> dict[str, float]:
    """What the server's processes hold: MiB of their own, descriptors, threads, processes."""
    held = {"MiB": 0.0, "descriptors": 0.0, "threads": 0.0, "processes": 0.0}
    for pid in server.processes():
        with suppress(OSError):
            folder = Path(f"/proc/{pid}")
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            rollup = dict(line.split(":", 1) for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
            held["MiB"] += int(rollup["Pss"].split()[0]) / 1024
            held["threads"] += int(status["Threads"])
            held["descriptors"] += len(list((folder / "fd").iterdir()))
            held["processes"] += 1
    return held


def _ask_for(server: Server, seconds: float) -> list[Heard]:
    bodies = crowds()["one each"]
    rng = random.Random(int(time.monotonic()))

    async def reader() -> Heard:
        body: dict[str, Any] = {**rng.choice(bodies), "seed": rng.randrange(1000)}
        match rng.random():
            case kind if kind < 0.6:
                return await listen(server.port, body)
            case kind if kind < 0.7:
                return await listen(server.port, body, "/page/ask")
            case kind if kind < 0.8:
                return await listen(server.port, {**body, "seed": -1})  # refused
            case _:
                with suppress(TimeoutError):  # he leaves
                    await asyncio.wait_for(listen(server.port, body), rng.random() * 2)
                return Heard()

    async def readers() -> list[Heard]:
        async with asyncio.TaskGroup() as group:
            tasks = []
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                tasks.append(group.create_task(reader()))
                await asyncio.sleep(rng.expovariate(_RATE))
        return [task.result() for task in tasks]

    return asyncio.run(readers())


def _say(when: str, heard: list[Heard], server: Server) -> None:
    errors = [one.error for one in heard if one.error and one.error != "status 422"]
    text = [one.text for one in heard if one.text == one.text]
    held = ", ".join(f"{value:.0f} {name}" for name, value in holdings(server).items())
    print(f"{when:18s} {held}; {len(heard)} requests, {len(errors)} errors {sorted(set(errors))[:3] or ''}, "
          f"text p95 {percentile(text, 0.95):.2f} s", flush=True)  # fmt: skip


def _temporary() -> set[str]:
    ours = ("numstab", "pymp", "torch")
    return {path.name for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(ours)}
