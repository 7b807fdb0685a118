"""Load test: 300 clients ask at once. Errors, latency of texts and of evidence, number of runs, CPU seconds."""

import os
import random
import time
from pathlib import Path
from typing import Any

from bench.clients import ClientResult, percentile, run_clients
from bench.server import Server, run_server
from qa_service.experiments.spec import load_specs
from qa_service.knowledge.library import Library
from qa_service.settings import Settings

_CLIENTS = 300


def load_test() -> None:
    """300 clients at once over the streaming API, with one and two workers; a new server for every workload."""
    print(f"{os.cpu_count()} cores, load before {Path('/proc/loadavg').read_text().split()[0]}; the clients share them")
    for workers in (1, 2):
        for name, bodies in workloads().items():
            with run_server({"NUMSTAB_RATE": ""}, workers=workers) as server:
                run_clients(server.port, [{"question": "why is my loss nan"}] * 2)
                _measure_workload(f"{workers} worker{'s'[: workers - 1]}, {name}", server, bodies)


def workloads() -> dict[str, list[dict[str, Any]]]:
    """Workload → request bodies: texts only, the same question, a question each, a run each."""
    wordings = distinct_questions()
    questions = wordings[:: max(1, len(wordings) // _CLIENTS)][:_CLIENTS]
    same = "What happens when 100 factors of 1.5 are multiplied?"
    return {
        "no runs": [{"question": question, "run": False} for question in questions],
        "the same": [{"question": same}] * _CLIENTS,
        "one each": [{"question": question} for question in questions],
        "own seed": [{"question": same, "blocks": None, "seed": seed} for seed in range(_CLIENTS)],
    }


def distinct_questions() -> list[str]:
    """The phrasings of all entries, each once, entries and languages mixed."""
    settings = Settings.from_env(os.environ)
    library = Library.read(settings.kb, load_specs(settings.demos))
    wordings = [wording for entry in library.values() for wording in (*entry.phrasings["zh"], *entry.phrasings["en"])]
    distinct = list(dict.fromkeys(wordings))
    random.Random(0).shuffle(distinct)
    return distinct


def _measure_workload(name: str, server: Server, bodies: list[dict[str, Any]]) -> None:
    cpu, started = server.cpu_seconds(), time.perf_counter()
    results = run_clients(server.port, bodies)
    seconds, cpu = time.perf_counter() - started, server.cpu_seconds() - cpu
    print(f"{name:24s} {format_results(results)}; {seconds:5.1f} s, {cpu:5.1f} CPU s", flush=True)


def format_results(results: list[ClientResult]) -> str:
    """The results as one line: errors, latency percentiles in seconds, numbers of runs, rows and queued events."""
    errors = [one.error for one in results if one.error]
    text, done = [one.text for one in results if not one.error], [one.done for one in results if not one.error]
    runs = [run for one in results for run in one.runs]
    return (
        f"{len(errors)} errors {sorted(set(errors))[:3] or ''}; text p50 {percentile(text, 0.5):.2f} "
        f"p95 {percentile(text, 0.95):.2f} s; evidence p95 {percentile(done, 0.95):.2f} s; "
        f"{len(runs)} evidence of {len({run[:3] for run in runs})} kinds from {len(set(runs))} runs; "
        f"rows {sum(one.rows for one in results)}, queued {sum(one.queued for one in results)}"
    )
