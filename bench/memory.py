"""Memory of a server by process and kind of mapping, and what further workers add."""

import os
import re
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from bench.clients import run_clients
from bench.load import distinct_questions
from bench.server import Server, run_server
from qa_service.store import Store

_QUESTIONS = int(os.environ.get("BENCH_QUESTIONS", "200"))
_RUNS = 20
_REST_SECONDS = 8.0  # a worker gives memory back when no question comes
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")


def memory_use() -> None:
    """Proportional set size (PSS) after questions and runs, and at rest: one, two and four workers, by process.

    A page that n processes share counts as an nth for each, also where the others are not the server's: beside other
    programs that use torch a server looks up to 40 MiB smaller. The store is one that an earlier start has made.
    """
    asked = distinct_questions()
    with tempfile.TemporaryDirectory(prefix="numstab-store-") as folder:
        store = f"sqlite:///{folder}/store.db"
        Store(store).ping()
        for workers in (1, 2, 4):
            with run_server({"NUMSTAB_RATE": "", "NUMSTAB_STORE": store}, workers=workers) as server:
                run_clients(server.port, [{"question": each, "run": False} for each in asked[:_QUESTIONS]])
                for each in asked[_QUESTIONS : _QUESTIONS + _RUNS]:
                    run_clients(server.port, [{"question": each}])
                _print_memory("at once", workers, server)
                time.sleep(_REST_SECONDS)
                _print_memory("at rest", workers, server)


def _print_memory(when: str, workers: int, server: Server) -> None:
    sizes = {pid: mapped_mib(pid) for pid in server.processes()}
    total = sum(each.total() for each in sizes.values())
    print(
        f"{workers} worker{'s'[: workers - 1]}, {_QUESTIONS} questions, {_RUNS} runs, {when}: "
        f"{total:.0f} MiB (PSS) in all, {total / workers:.0f} a worker"
    )
    for pid, command in server.processes().items():
        largest = ", ".join(f"{name} {mib:.0f}" for name, mib in sizes[pid].most_common(6) if mib >= 1)
        print(f"  {sizes[pid].total():6.0f} MiB  {command[-60:].strip():60s} {largest}", flush=True)


def mapped_mib(pid: int) -> Counter[str]:
    """File, or "its own" for anonymous memory → MiB of the process's proportional set size (Linux)."""
    sizes: Counter[str] = Counter()
    name = ""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if mapping := _MAPPING.match(line):
                path = mapping[1]
                name = Path(path).name if path.startswith("/") else "its own"
            elif line.startswith("Pss:"):
                sizes[name] += int(line.split()[1]) / 1024  # type: ignore[assignment]
    return sizes
