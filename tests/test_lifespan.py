"""An application does nothing until its lifespan begins, and nothing of it is left when it ends."""

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Route

from qa_service import app as application
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.lab.runner import ProcessRunner
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import RunStatus
from qa_service.settings import Settings
from qa_service.store import Store

TOYS = Path(__file__).resolve().parent / "toys"
ASK = "/api/v1/ask"
QUESTION = {"question": "counting numbers one"}
OURS = {"answer", "run", "children", "recorder", "ping", "sampling", "watch", "reload", "warm-up"}
"""The names of every thread that the service starts."""


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name in OURS}


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def many_service(word_hash: type, tmp_path: Path) -> Service:
    """The toys as a server has them: runs are shared, and two children wait for work."""
    lab = SharedRunner(ProcessRunner(deadline=20.0, memory=1024, slots=2, idle=2))
    settings = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path)
    return Service(Knowledge.read(settings, word_hash()), lab, threshold=0.5)


def questions_counted(client: TestClient) -> float:
    text = client.get("/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("numstab_questions_total{"))


def questions_stored(settings: Settings) -> int:
    store = Store(settings.store_url)
    try:
        return sum(count for *_, count in store.asked(date(2020, 1, 1)))
    finally:
        store.close()


def test_building_an_application_starts_nothing(many_service, tmp_path):
    """No thread, and nothing that listens: what is asked before the lifespan is neither counted nor stored."""
    before = our_threads()
    settings = Settings(data=tmp_path / "data", cache=tmp_path)
    built = [create_app(many_service, settings, shared=None, watch_knowledge=True) for _ in range(2)]
    assert not our_threads() - before
    client = TestClient(built[0], client=("127.0.0.1", 5000))
    assert client.post(ASK, json=QUESTION | {"run": False}).status_code == 200
    assert questions_counted(client) == 0
    until(lambda: not our_threads() - before)
    assert questions_stored(settings) == 0


def test_two_applications_on_one_service_observe_once_each(many_service, tmp_path, log):
    """An answer is counted once in the metrics, written once to the log, stored once; then no thread is left."""
    lines = log(log="logfmt")
    before = our_threads()
    both = [Settings(data=tmp_path / name, cache=tmp_path) for name in ("one", "two")]
    first, second = (
        TestClient(create_app(many_service, settings, watch_knowledge=True), client=("127.0.0.1", 5000))
        for settings in both
    )
    with first:
        with second:
            until(lambda: first.get("/readyz").status_code == second.get("/readyz").status_code == 200)
            answer = first.post(ASK, json=QUESTION).json()
            assert questions_counted(first) == 1
        alone = first.post(ASK, json=QUESTION | {"seed": 1}).json()  # the other's end takes nothing from this one
        assert alone["evidence"][0]["status"] == "ran"
        assert questions_counted(first) == 2
    until(lambda: not our_threads() - before)
    assert [questions_stored(settings) for settings in both] == [2, 1]
    said = lines()
    for asked in (answer, alone):
        assert len([line for line in said if f"answer={asked['id']}" in line]) == 1
    assert many_service.runner.ready == 0


def test_a_service_whose_application_has_ended_runs_again(many_service, tmp_path):
    """Children that waited are gone with the lifespan; the next run has new ones."""
    before = our_threads()
    with TestClient(create_app(many_service, Settings(data=tmp_path, cache=tmp_path))) as client:
        until(lambda: many_service.runner.ready == 2)
        assert client.post("/api/v1/experiments/counts/runs", json={}).json()["status"] == "ran"
    assert many_service.runner.ready == 0
    try:
        assert (
            many_service.runner.run(many_service.knowledge.experiments["counts"], {"steps": 1}).status is RunStatus.RAN
        )
        until(lambda: many_service.runner.ready == 2)
    finally:
        many_service.runner.close()
    assert "children" not in {thread.name for thread in our_threads() - before}


def test_a_front_may_bring_a_lifespan_and_mounts(toy_service, tmp_path, monkeypatch):
    """Its lifespan is entered and left with the server's, its state is the request's, its mount answers."""
    seen: list[str] = []
    front = ModuleType("front")

    @asynccontextmanager
    async def lifespan(service: Service, settings: Settings):
        seen.append(f"begins with {len(service.knowledge.library)} entries")
        yield {"word": "from the lifespan"}
        seen.append("ends")

    async def said(http: Request) -> PlainTextResponse:
        return PlainTextResponse(http.state.word)

    front.lifespan = lifespan
    front.mounts = lambda service, settings: {"/mounted": Starlette(routes=[Route("/said", said)])}
    found = application.fronts()
    monkeypatch.setattr(application, "fronts", lambda: [*found, front])
    with TestClient(create_app(toy_service, Settings(data=tmp_path, cache=tmp_path))) as client:
        assert client.get("/mounted/said").text == "from the lifespan"
        assert client.get("/mounted/said").headers["x-content-type-options"] == "nosniff"
        assert seen == [f"begins with {len(toy_service.knowledge.library)} entries"]
    assert seen[1:] == ["ends"]


@pytest.mark.parametrize(
    ("idle", "lab", "runs"),
    [(2, "SharedRunner(processes)", 0), (2, "SharedRunner(processes)", 3), (2, "processes", 1), (0, "processes", 1)],
)
def test_a_process_that_used_the_lab_ends_silently(idle, lab, runs):
    """In whatever state its children are when it ends, nothing is written to standard error."""
    code = textwrap.dedent(f"""
        from pathlib import Path
        from qa_service.experiments.spec import load_specs
        from qa_service.lab.runner import ProcessRunner
        from qa_service.lab.single_flight import SharedRunner
        experiment = load_specs(Path({str(TOYS / "demos")!r}))["counts"]
        processes = ProcessRunner(slots=2, idle={idle})
        processes.warm_up()
        lab = {lab}
        for seed in range({runs}):
            for _ in lab.stream(experiment, {{"steps": 3}}, seed):
                pass
    """)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
