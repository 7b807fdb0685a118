"""The lifespan of an application: nothing starts before it begins, and every thread and child process ends with it."""

import subprocess
import sys
import textwrap
import threading
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from processes import until
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
SERVICE_THREADS = {"answer", "run", "children", "recorder", "ping", "sampling", "watch", "reload", "warm-up"}
"""The names of every thread that the service starts."""


def service_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name in SERVICE_THREADS}


@pytest.fixture
def server_like_service(word_hash: type, tmp_path: Path) -> Service:
    """A toy service with the runner of a server: runs are shared, and two idle children wait."""
    lab = SharedRunner(ProcessRunner(deadline=20.0, memory=1024, slots=2, idle=2))
    settings = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path)
    return Service(Knowledge.read(settings, word_hash()), lab, threshold=0.5)


def questions_counted(client: TestClient) -> float:
    text = client.get("/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("numstab_questions_total{"))


def questions_stored(settings: Settings) -> int:
    store = Store(settings.store_url)
    try:
        return sum(count for *_, count in store.answer_counts(date(2020, 1, 1)))
    finally:
        store.close()


def test_building_an_application_has_no_side_effects(server_like_service, tmp_path):
    """It starts no thread and no subscription: questions before the lifespan are neither counted nor stored."""
    before = service_threads()
    settings = Settings(data=tmp_path / "data", cache=tmp_path)
    apps = [create_app(server_like_service, settings, shared=None, watch_knowledge=True) for _ in range(2)]
    assert not service_threads() - before
    client = TestClient(apps[0], client=("127.0.0.1", 5000), base_url="http://localhost")
    assert client.post(ASK, json=QUESTION | {"run": False}).status_code == 200
    assert questions_counted(client) == 0
    until(lambda: not service_threads() - before)
    assert questions_stored(settings) == 0


def test_two_applications_of_one_service_observe_once_each(server_like_service, tmp_path, log):
    """Each counts, logs and stores an answer once; afterwards no thread is left."""
    lines = log(log="logfmt")
    before = service_threads()
    settings_of_each = [Settings(data=tmp_path / name, cache=tmp_path) for name in ("one", "two")]
    first, second = (
        TestClient(
            create_app(server_like_service, settings, watch_knowledge=True),
            client=("127.0.0.1", 5000),
            base_url="http://localhost",
        )
        for settings in settings_of_each
    )
    with first:
        with second:
            until(lambda: first.get("/readyz").status_code == second.get("/readyz").status_code == 200)
            answer = first.post(ASK, json=QUESTION).json()
            assert questions_counted(first) == 1
        alone = first.post(ASK, json=QUESTION | {"seed": 1}).json()  # still subscribed after the other has ended
        assert alone["evidence"][0]["status"] == "ran"
        assert questions_counted(first) == 2
    until(lambda: not service_threads() - before)
    assert [questions_stored(settings) for settings in settings_of_each] == [2, 1]
    logged = lines()
    for given in (answer, alone):
        assert len([line for line in logged if f"answer={given['id']}" in line]) == 1
    assert server_like_service.runner.ready == 0


def test_service_can_be_used_after_its_application_has_ended(server_like_service, tmp_path):
    """Idle children end with the lifespan; the next run forks new ones."""
    before = service_threads()
    with TestClient(create_app(server_like_service, Settings(data=tmp_path, cache=tmp_path))) as client:
        until(lambda: server_like_service.runner.ready == 2)
        assert client.post("/api/v1/experiments/counts/runs", json={}).json()["status"] == "ran"
    assert server_like_service.runner.ready == 0
    try:
        assert (
            server_like_service.runner.run(server_like_service.knowledge.experiments["counts"], {"steps": 1}).status
            is RunStatus.RAN
        )
        until(lambda: server_like_service.runner.ready == 2)
    finally:
        server_like_service.runner.close()
    assert "children" not in {thread.name for thread in service_threads() - before}


def test_front_may_have_a_lifespan_and_mounts(toy_service, tmp_path, monkeypatch):
    """A front's lifespan runs within the server's, requests see the state it yields, and its mounts are served."""
    lifespan_events: list[str] = []
    front = ModuleType("front")

    @asynccontextmanager
    async def lifespan(service: Service, settings: Settings):
        lifespan_events.append(f"begins with {len(service.knowledge.library)} entries")
        yield {"word": "from the lifespan"}
        lifespan_events.append("ends")

    async def show(http: Request) -> PlainTextResponse:
        return PlainTextResponse(http.state.word)

    front.lifespan = lifespan
    front.mounts = lambda service, settings: {"/mounted": Starlette(routes=[Route("/show", show)])}
    fronts = application.fronts()
    monkeypatch.setattr(application, "fronts", lambda: [*fronts, front])
    with TestClient(create_app(toy_service, Settings(data=tmp_path, cache=tmp_path))) as client:
        assert client.get("/mounted/show").text == "from the lifespan"
        assert client.get("/mounted/show").headers["x-content-type-options"] == "nosniff"
        assert lifespan_events == [f"begins with {len(toy_service.knowledge.library)} entries"]
    assert lifespan_events[1:] == ["ends"]


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize(
    ("idle", "lab", "runs"),
    [(2, "SharedRunner(processes)", 0), (2, "SharedRunner(processes)", 3), (2, "processes", 1), (0, "processes", 1)],
)
def test_process_that_used_the_lab_exits_silently(idle, lab, runs):
    """Nothing is written to standard error, whatever the state of its children."""
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
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
