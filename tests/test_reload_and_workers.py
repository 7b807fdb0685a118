"""Operators reload changed entries and demos, and run several worker processes."""

import copy
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import ROOT, TIMEOUT_SECONDS, running, session_processes, status, until

from bench.server import free_port
from qa_service.answering.diagnosing import diagnose_file
from qa_service.answering.diagnosis_runs import run_experiments
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.reload import KnowledgeReloader
from qa_service.answering.service import never_cancelled
from qa_service.app import create_app
from qa_service.fronts.mcp.calls import ToolCall
from qa_service.fronts.mcp.inputs import CheckInput
from qa_service.fronts.mcp.receipts import CompactReceipt
from qa_service.fronts.mcp.resources import read_resource_text
from qa_service.fronts.mcp.tools import TOOLS
from qa_service.fronts.openai_api import routes
from qa_service.knowledge.library import Library
from qa_service.model import Request
from qa_service.model.diagnosis import Reproduction
from qa_service.model.events import AnswerReady, EvidenceReady
from qa_service.server.lifecycle import worker_index, worker_share
from qa_service.settings import Settings

TOYS = ROOT / "tests" / "toys"
ASK = "/api/v1/ask"


def copy_content(folder: Path) -> Settings:
    """Copies kb and demos into the folder; returns settings that name the copies."""
    kb, demos = shutil.copytree(TOYS / "kb", folder / "kb"), shutil.copytree(TOYS / "demos", folder / "demos")
    return Settings(kb=Path(kb), demos=Path(demos), cache=folder / "cache", data=folder / "data")


@pytest.fixture
def own_settings(tmp_path):
    """Settings that name copies of the toy entries and demos."""
    return copy_content(tmp_path)


def toy_reloader(service, settings, on_result=lambda _succeeded: None, **options):
    """A reloader that trains in this process: a training process would not know the toy embedder."""
    return KnowledgeReloader(service, settings, on_result, train=lambda _settings: None, **options)


def test_a_reload_replaces_library_and_matcher(toy_service, own_settings):
    """A phrasing added on disk is matched after the reload."""
    results: list[bool] = []
    reloader = toy_reloader(toy_service, own_settings, results.append)
    path = own_settings.kb / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("数数甲", "花花世界怎么数"), "utf-8")
    assert reloader.reload()
    assert results == [True]
    match = toy_service.knowledge.matcher.match("花花世界怎么数").matches[0]
    assert (match.entry.id, match.phrasing) == ("counting", "花花世界怎么数")
    assert toy_service.knowledge.library["counting"].hash == match.entry.hash


def test_a_reload_of_a_broken_entry_keeps_the_previous_knowledge(toy_service, own_settings, log):
    """The log and `problem` name the file; a reload after it is corrected succeeds."""
    lines = log(log="json")
    results: list[bool] = []
    reloader = toy_reloader(toy_service, own_settings, results.append)
    before = toy_service.knowledge.library
    path = own_settings.kb / "counting.toml"
    original = path.read_text("utf-8")
    path.write_text(original.replace("item =", "itme ="), "utf-8")
    assert not reloader.reload()
    assert toy_service.knowledge.library is before
    assert "counting.toml" in reloader.problem
    assert any("older reading stays" in line and "counting.toml" in line for line in lines())
    path.write_text(original, "utf-8")
    assert reloader.reload()
    assert reloader.problem is None
    assert results == [False, True]


def test_a_reload_trains_in_another_process(settings, service, tmp_path, monkeypatch):
    """The answering process only loads the classifier that the other process has trained."""
    own_settings = replace(copy_content(tmp_path), cache=settings.cache)
    (own_settings.kb / "counting.toml").write_text(
        (own_settings.kb / "counting.toml").read_text("utf-8").replace("数数甲", f"数数{time.time_ns()}"), "utf-8"
    )
    monkeypatch.setattr("qa_service.retrieval.training.train_classifier", lambda _corpus: pytest.fail("trained here"))
    reloader = KnowledgeReloader(copy.copy(service), own_settings, lambda _succeeded: None)
    assert reloader.reload(), reloader.problem


def test_a_reload_does_not_change_a_running_answer(toy_service, own_settings):
    """The answer's runs use the experiments as they were at its start."""
    reloader = toy_reloader(toy_service, own_settings)
    assert reloader.reload()
    events = toy_service.stream(Request(question="数数甲"))
    first = next(events)
    assert isinstance(first, AnswerReady)
    demo = own_settings.demos / "counts.py"
    original_hash = toy_service.knowledge.experiment("counts").hash
    demo.write_text(demo.read_text("utf-8").replace("def run(", "# another\ndef run("), "utf-8")
    assert reloader.reload()
    assert toy_service.knowledge.experiment("counts").hash != original_hash
    finished = [event.evidence for event in events if isinstance(event, EvidenceReady)]
    assert finished
    assert all(one.experiment.hash == original_hash for one in finished if one.experiment.slug == "counts")
    again = toy_service.answer(Request(question="数数甲"))
    assert again.evidence[0].experiment.hash != original_hash


def test_changed_files_are_reloaded_without_a_request(toy_service, own_settings):
    """The test changes an entry, then moves a demo to another folder."""
    results: list[bool] = []
    reloader = toy_reloader(toy_service, own_settings, results.append, poll_seconds=0.05)
    reloader.watch()
    assert results == []
    path = own_settings.kb / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("数数甲", "数数子"), "utf-8")
    until(lambda: results)
    assert results == [True]
    (own_settings.demos / "theme").mkdir()
    (own_settings.demos / "counts.py").rename(own_settings.demos / "theme" / "counts.py")
    until(lambda: len(results) == 2)
    assert results == [True, True]
    assert toy_service.knowledge.experiment("counts").file == "theme/counts.py"
    reloader.close()


@pytest.mark.parametrize(
    ("slots", "workers", "shares"), [(5, 2, [3, 2]), (2, 2, [1, 1]), (1, 2, [1, 1]), (8, 3, [3, 3, 2])]
)
def test_slots_are_divided_among_workers(slots, workers, shares):
    assert [worker_share(slots, workers, number) for number in range(workers)] == shares


def test_the_index_of_a_terminated_worker_is_reused(tmp_path):
    """Workers that run at the same time have different indices."""
    code = (
        "from pathlib import Path\nfrom qa_service.server.lifecycle import worker_index\n"
        f"index, lock = worker_index(Path({str(tmp_path)!r})); print(index, flush=True)\ninput()"
    )
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with running([sys.executable, "-c", code], **options) as first:
        assert first.stdout.readline() == "0\n"
        assert worker_index(tmp_path)[0] == 1
        first.communicate("\n", timeout=TIMEOUT_SECONDS)
    assert worker_index(tmp_path)[0] == 0


@pytest.fixture
def two_workers(tmp_path, cache):
    """`numstab serve --workers 2` on copies of the toys: its address, the folder of the copies, its process."""
    shutil.copytree(TOYS / "kb", tmp_path / "kb")
    shutil.copytree(TOYS / "demos", tmp_path / "demos")
    port = free_port()
    env = {**os.environ, "NUMSTAB_KB": str(tmp_path / "kb"), "NUMSTAB_DEMOS": str(tmp_path / "demos"),
           "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_CACHE": str(cache), "NUMSTAB_LOG": "json",
           "NUMSTAB_DEADLINE": "240"}  # fmt: skip
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port), "--workers", "2"]
    with (tmp_path / "log").open("w") as lines, running(command, env=env, stderr=lines, cwd=ROOT) as server:
        yield f"http://127.0.0.1:{port}", tmp_path, server
        server.terminate()
        assert server.wait(TIMEOUT_SECONDS) == 0


WORKER = """
from qa_service.server.lifecycle import end_with_supervisor
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
def create():
    end_with_supervisor()
    return app
"""
SUPERVISOR = """
import sys
from qa_service.lab.kernel import PR_GET_DUMPABLE, prctl
from qa_service.server.lifecycle import serve_many
from qa_service.settings import Settings
from uvicorn.supervisors.multiprocess import Multiprocess
if __name__ == "__main__":
    init = Multiprocess.init_processes
    def start(self):
        if sys.platform.startswith("linux"):
            print(prctl(PR_GET_DUMPABLE), flush=True)
        init(self)
    Multiprocess.init_processes = start
    serve_many("worker:create", Settings(), host="127.0.0.1", port=int(sys.argv[1]), workers=2)
"""


def test_workers_end_with_their_supervisor(tmp_path):
    """If the supervisor is killed by SIGKILL, workers end too; they once went on, and the next start found its address
    in use.
    """
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "supervisor.py").write_text(SUPERVISOR)
    port = free_port()
    command = [sys.executable, str(tmp_path / "supervisor.py"), str(port)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    with running(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        if sys.platform == "linux":
            assert server.stdout.readline() == "0\n", "no other process may read the supervisor"
        until(lambda: status(f"http://127.0.0.1:{port}/") == 200)
        server.kill()
        server.wait(TIMEOUT_SECONDS)
        until(lambda: not session_processes(server.pid), 60, why=lambda: session_processes(server.pid))
        with socket.create_server(("127.0.0.1", port)):
            pass


def worker_pids(log: Path) -> set[int]:
    """Process IDs of the workers whose start is in the log."""
    started = [json.loads(line)["message"] for line in log.read_text().splitlines() if "Started server process" in line]
    return {int(message.partition("[")[2].rstrip("]")) for message in started}


@pytest.mark.exhaustive
def test_two_workers_share_counts_and_reload(two_workers):
    """Either worker's metrics count for both; SIGHUP reloads both, and a broken entry stops neither."""
    address, folder, server = two_workers
    log = folder / "log"  # a worker logs its start before it accepts connections
    until(lambda: len(worker_pids(log)) == 2 and status(f"{address}/livez") == 200, why=log.read_text)
    for _ in range(20):  # a connection each: the kernel gives it to either worker
        assert (
            httpx.post(
                f"{address}{ASK}", json={"question": "数数甲", "run": False}, timeout=TIMEOUT_SECONDS
            ).status_code
            == 200
        )
    metrics = [httpx.get(f"{address}/metrics", timeout=TIMEOUT_SECONDS).text for _ in range(4)]
    for text in metrics:
        assert 'numstab_questions_total{entry="counting",status="answered"} 20.0' in text
        assert "numstab_build_info" in text
    entry = folder / "kb" / "counting.toml"
    entry.write_text(entry.read_text("utf-8").replace("item =", "itme ="), "utf-8")
    server.send_signal(signal.SIGHUP)
    until(lambda: log.read_text().count("older reading stays") >= 2, why=log.read_text)
    assert "numstab_reload_broken 2.0" in httpx.get(f"{address}/metrics", timeout=TIMEOUT_SECONDS).text
    assert "counting.toml" in httpx.get(f"{address}/readyz", timeout=TIMEOUT_SECONDS).json()["reload"]
    assert (
        httpx.post(f"{address}{ASK}", json={"question": "数数甲", "run": False}, timeout=TIMEOUT_SECONDS).status_code
        == 200
    )


def with_renamed_experiments(knowledge: Knowledge) -> Knowledge:
    """The same knowledge, with all experiments renamed, as if a reload had read it."""
    experiments = {f"new_{slug}": replace(one, slug=f"new_{slug}") for slug, one in knowledge.experiments.items()}
    entries = {
        entry.id: replace(
            entry,
            evidence=tuple(replace(block, experiment=f"new_{block.experiment}") for block in entry.evidence),
        )
        for entry in knowledge.library.values()
    }
    library = Library(entries, knowledge.library.subjects)
    return replace(knowledge, library=library, experiments=experiments)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/page/ask", {"question": "数数甲"}),
        ("/page/run", {"experiment": "counts"}),
        ("/api/v1/ask/stream", {"question": "数数甲"}),
        ("/api/v1/experiments/counts/runs/stream", {}),
    ],
)
def test_a_stream_uses_one_snapshot_to_its_end(toy_service, tmp_path, path, body):
    """A reload that renames every experiment after the first event has no effect on the stream."""
    before = toy_service.knowledge
    toy_service.subscribe(lambda _event: toy_service.replace_knowledge(with_renamed_experiments(before)))
    with TestClient(create_app(toy_service, Settings(data=tmp_path, cache=tmp_path))) as client:
        response = client.post(path, json=body)
    names = re.findall(r"^event: (\w+)$", response.text, re.MULTILINE)
    assert names[-1] in ("done", "evidence")
    assert "error" not in names
    assert '"experiment":"counts"' in response.text
    assert "new_counts" not in response.text
    assert "new_counts" in toy_service.knowledge.experiments


@pytest.fixture
def reload_at_once(toy_service):
    """A function that replaces the service's knowledge by one in which all experiments are renamed."""
    before = toy_service.knowledge
    return lambda: toy_service.replace_knowledge(with_renamed_experiments(before))


@pytest.fixture
def entry_gone_at_once(toy_service):
    """Removes an entry from the service's knowledge as soon as the first question has been matched."""
    known = toy_service.knowledge
    others = Library({id_: entry for id_, entry in known.library.items() if id_ != "counting"}, known.library.subjects)

    @contextmanager
    def replacing(stage):
        yield
        if stage == "matching":  # not a run by which the server warms up
            toy_service.replace_knowledge(replace(known, library=others))

    unsubscribe = toy_service.timings.subscribe(replacing)
    yield
    unsubscribe()


@pytest.mark.usefixtures("entry_gone_at_once")
def test_a_conversation_is_read_with_one_snapshot(toy_service):
    """A reload without the entry of the first turn has no effect on the turns after it."""
    request = toy_service.fold_turns(Request(question="数数甲", run=False), ["用两个种子", "用三个种子"])
    assert "counting" not in toy_service.knowledge.library
    assert request.context.entry == "counting"


def chat(service, folder, *questions, model="numstab"):
    """The response to the last question of a chat."""
    turns = [{"role": "user", "content": text} for text in questions]
    with TestClient(create_app(service, Settings(data=folder, cache=folder))) as client:
        return client.post("/v1/chat/completions", json={"model": model, "messages": turns})


@pytest.mark.usefixtures("entry_gone_at_once")
def test_a_chat_is_answered_with_one_snapshot(toy_service, tmp_path):
    response = chat(toy_service, tmp_path, "数数甲", "用两个种子")
    assert "counting" not in toy_service.knowledge.library
    assert response.status_code == 200, response.text
    assert "/entries/counting" in response.text


def test_a_chat_without_runs_has_the_numbers_of_its_snapshot(toy_service, tmp_path, reload_at_once):
    toy_service.subscribe(lambda _event: reload_at_once())
    assert chat(toy_service, tmp_path, "数数甲", model="numstab-text").status_code == 200
    assert "new_counts" in toy_service.knowledge.experiments


def test_the_fingerprint_of_a_chat_is_that_of_the_knowledge_that_answers(
    toy_service, tmp_path, kb_copy, word_hash, monkeypatch
):
    """It is so even if a reload comes between reading the request's body and answering."""
    entry = kb_copy / "counting.toml"
    entry.write_text(entry.read_text("utf-8").replace("数到 [[", "新的数到 [["), "utf-8")
    known = toy_service.knowledge
    reloaded = Knowledge.read(Settings(kb=kb_copy, demos=TOYS / "demos", cache=tmp_path), word_hash())
    monkeypatch.setattr(routes, "housekeeping_reply", lambda *_: toy_service.replace_knowledge(reloaded))
    first, second = (chat(toy_service, tmp_path, "数数甲").json() for _ in range(2))
    for response, library, is_new in ((first, known.library, False), (second, reloaded.library, True)):
        assert response["system_fingerprint"] == f"fp_{library.hash[:10]}"
        assert ("新的数到" in response["choices"][0]["message"]["content"]) is is_new


def test_both_runs_of_a_diagnosis_are_of_one_snapshot(toy_service, reload_at_once):
    """The runs with and without the cure use the same experiment, though a reload renames it after the first run."""
    experiment = Reproduction(experiment="counts", params={"steps": 2}, cured={"steps": 3}, from_run=())
    found = replace(diagnose_file(b"step 1 loss 2.0\nstep 2 loss nan\n"), experiment=experiment)
    evidence = []

    def measured(one):
        evidence.append(one)
        reload_at_once()

    for _ in run_experiments(found, toy_service, measured, never_cancelled):
        pass
    assert [one.experiment.slug for one in evidence] == ["counts", "counts"]


class ReloadingCall(ToolCall):
    """A tool call during which the knowledge is replaced just before its runs begin."""

    def __init__(self, reload):
        super().__init__("en")
        self._reload = reload

    def wait_for_last(self, events):
        """Replaces the knowledge, then waits for the last event."""
        self._reload()
        return super().wait_for_last(events)


def test_a_run_is_repeated_by_the_experiment_that_its_receipt_was_checked_on(toy_service, reload_at_once):
    *_, last = toy_service.run("counts", {})
    uri = f"numstab://runs/{CompactReceipt.of(last.evidence, 'en').encode()}"
    text, _ = read_resource_text(toy_service, uri, ReloadingCall(reload_at_once))
    assert json.loads(text)["experiment"] == "counts"


def test_claims_are_checked_on_the_snapshot_of_their_entry(toy_service, reload_at_once):
    _, entries = TOOLS["check_claim"].serve(
        toy_service, CheckInput(entry="counting", seeds=1), ReloadingCall(reload_at_once)
    )
    assert [entry.id for entry in entries] == ["counting"]


def test_a_snapshot_cannot_be_changed(toy_service):
    """It is read-only, and a copy of the dictionary that it was made from."""
    knowledge = toy_service.knowledge
    given = dict(knowledge.experiments)
    made = replace(knowledge, experiments=given)
    with pytest.raises(TypeError):
        made.experiments["more"] = given["counts"]
    given.clear()
    assert "counts" in made.experiments
