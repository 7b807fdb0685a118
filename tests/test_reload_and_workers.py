"""What operators do: they reload what changed, and have several workers serve at once."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import ROOT, TIMEOUT_SECONDS, running, status, until

from bench.server import free_port
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.reload import KnowledgeReloader
from qa_service.app import create_app
from qa_service.knowledge.library import Library
from qa_service.model import Request
from qa_service.model.events import AnswerReady, EvidenceReady
from qa_service.server.lifecycle import share_of, worker_index
from qa_service.settings import Settings

TOYS = ROOT / "tests" / "toys"
ASK = "/api/v1/ask"


def copies(folder: Path) -> Settings:
    """Copies of kb and demos to change, and their settings."""
    kb, demos = shutil.copytree(TOYS / "kb", folder / "kb"), shutil.copytree(TOYS / "demos", folder / "demos")
    return Settings(kb=Path(kb), demos=Path(demos), cache=folder / "cache", data=folder / "data")


@pytest.fixture
def own(tmp_path):
    """The same for the toy service."""
    return copies(tmp_path)


def reloader(service, settings, on_result=lambda _succeeded: None, **options):
    """A reloader of the toy service, whose embedder no other process knows: none is asked to train."""
    return KnowledgeReloader(service, settings, on_result, train=lambda _settings: None, **options)


def test_a_reload_renews_library_and_matcher(toy_service, own):
    """A new phrasing is met, a new title read; counts go on."""
    heard: list[bool] = []
    reloading = reloader(toy_service, own, heard.append)
    path = own.kb / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("数数甲", "花花世界怎么数"), "utf-8")
    assert reloading.reload()
    assert heard == [True]
    found = toy_service.knowledge.matcher.match("花花世界怎么数").matches[0]
    assert (found.entry.id, found.phrasing) == ("counting", "花花世界怎么数")
    assert toy_service.knowledge.library["counting"].hash == found.entry.hash


def test_a_broken_entry_keeps_the_older_reading(toy_service, own, log):
    """The operator reads what is wrong with file and line; mended, it is gone."""
    lines = log(log="json")
    heard: list[bool] = []
    reloading = reloader(toy_service, own, heard.append)
    before = toy_service.knowledge.library
    path = own.kb / "counting.toml"
    whole = path.read_text("utf-8")
    path.write_text(whole.replace("item =", "itme ="), "utf-8")
    assert not reloading.reload()
    assert toy_service.knowledge.library is before
    assert "counting.toml" in reloading.problem
    assert any("older reading stays" in line and "counting.toml" in line for line in lines())
    path.write_text(whole, "utf-8")
    assert reloading.reload()
    assert reloading.problem is None
    assert heard == [False, True]


def test_a_reload_trains_elsewhere(settings, service, tmp_path, monkeypatch):
    """Not in the process that answers: that one loads what the other built."""
    own = replace(copies(tmp_path), cache=settings.cache)
    (own.kb / "counting.toml").write_text(
        (own.kb / "counting.toml").read_text("utf-8").replace("数数甲", f"数数{time.time_ns()}"), "utf-8"
    )
    monkeypatch.setattr("qa_service.retrieval.training.train", lambda _corpus: pytest.fail("trained here"))
    reloading = KnowledgeReloader(copy.copy(service), own, lambda _well: None)
    assert reloading.reload(), reloading.problem


def test_an_answer_ends_with_what_it_began_with(toy_service, own):
    """Reloaded between its text and its run: the experiment that runs is the one that was read, whatever is on disk."""
    reloading = reloader(toy_service, own)
    assert reloading.reload()
    events = toy_service.stream(Request(question="数数甲"))
    first = next(events)
    assert isinstance(first, AnswerReady)
    demo = own.demos / "counts.py"
    began_with = toy_service.knowledge.experiment("counts").hash
    demo.write_text(demo.read_text("utf-8").replace("def run(", "# another\ndef run("), "utf-8")
    assert reloading.reload()
    assert toy_service.knowledge.experiment("counts").hash != began_with
    finished = [event.evidence for event in events if isinstance(event, EvidenceReady)]
    assert finished
    assert all(one.experiment.hash == began_with for one in finished if one.experiment.slug == "counts")
    again = toy_service.answer(Request(question="数数甲"))
    assert again.evidence[0].experiment.hash != began_with


def test_a_change_is_seen_once_it_has_settled(toy_service, own):
    """Within seconds, without anybody asking."""
    heard: list[bool] = []
    reloading = reloader(toy_service, own, heard.append, poll_seconds=0.05)
    reloading.watch()
    assert heard == []
    path = own.kb / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("数数甲", "数数子"), "utf-8")
    until(lambda: heard)
    assert heard == [True]
    (own.demos / "theme").mkdir()
    (own.demos / "counts.py").rename(own.demos / "theme" / "counts.py")
    until(lambda: len(heard) == 2)
    assert heard == [True, True]
    assert toy_service.knowledge.experiment("counts").file == "theme/counts.py"
    reloading.close()


@pytest.mark.parametrize(
    ("whole", "workers", "shares"), [(5, 2, [3, 2]), (2, 2, [1, 1]), (1, 2, [1, 1]), (8, 3, [3, 3, 2])]
)
def test_slots_are_shared_out(whole, workers, shares):
    assert [share_of(whole, workers, number) for number in range(workers)] == shares


def test_a_worker_gets_the_number_of_the_dead(tmp_path):
    """Two at once have different numbers; one that ends gives its own back."""
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
    """`numstab serve --workers 2 --reload-kb` on copies of the toys: address, settings' folders, process."""
    shutil.copytree(TOYS / "kb", tmp_path / "kb")
    shutil.copytree(TOYS / "demos", tmp_path / "demos")
    port = free_port()
    env = {**os.environ, "NUMSTAB_KB": str(tmp_path / "kb"), "NUMSTAB_DEMOS": str(tmp_path / "demos"),
           "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_CACHE": str(cache), "NUMSTAB_LOG": "json",
           "NUMSTAB_DEADLINE": "60"}  # fmt: skip
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port), "--workers", "2"]
    with (tmp_path / "log").open("w") as lines, running(command, env=env, stderr=lines, cwd=ROOT) as server:
        yield f"http://127.0.0.1:{port}", tmp_path, server
        server.terminate()
        assert server.wait(TIMEOUT_SECONDS) == 0


def pids(log: Path) -> set[int]:
    """The workers that have said that they started."""
    started = [json.loads(line)["message"] for line in log.read_text().splitlines() if "Started server process" in line]
    return {int(message.partition("[")[2].rstrip("]")) for message in started}


@pytest.mark.exhaustive
def test_two_workers_add_up_and_reload(two_workers):
    """Whichever is asked counts for both; a SIGHUP reaches both, and a broken file stops neither."""
    address, folder, server = two_workers
    log = folder / "log"  # a worker says that it started before it takes connections
    until(lambda: len(pids(log)) == 2 and status(f"{address}/livez") == 200, why=log.read_text)
    for _ in range(20):  # a client each: the kernel hands connections to either
        assert httpx.post(f"{address}{ASK}", json={"question": "数数甲", "run": False}, timeout=60).status_code == 200
    seen = [httpx.get(f"{address}/metrics", timeout=30).text for _ in range(4)]
    for text in seen:
        assert 'numstab_questions_total{entry="counting",status="answered"} 20.0' in text
        assert "numstab_build_info" in text
    entry = folder / "kb" / "counting.toml"
    entry.write_text(entry.read_text("utf-8").replace("item =", "itme ="), "utf-8")
    server.send_signal(signal.SIGHUP)
    until(lambda: log.read_text().count("older reading stays") >= 2, why=log.read_text)
    assert "numstab_reload_broken 2.0" in httpx.get(f"{address}/metrics", timeout=30).text
    assert "counting.toml" in httpx.get(f"{address}/readyz", timeout=30).json()["reload"]
    assert httpx.post(f"{address}{ASK}", json={"question": "数数甲", "run": False}, timeout=60).status_code == 200


def renamed(knowledge: Knowledge) -> Knowledge:
    """The same knowledge after every experiment has another slug, as a reload would read it."""
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
def test_a_stream_ends_with_the_knowledge_it_began_with(toy_service, tmp_path, path, body):
    """A reload that renames every experiment, between a stream's first event and the next, is not noticed by it."""
    before = toy_service.knowledge
    toy_service.subscribe(lambda _event: toy_service.replace_knowledge(renamed(before)))
    with TestClient(create_app(toy_service, Settings(data=tmp_path, cache=tmp_path))) as client:
        reply = client.post(path, json=body)
    names = re.findall(r"^event: (\w+)$", reply.text, re.MULTILINE)
    assert names[-1] in ("done", "evidence")
    assert "error" not in names
    assert '"experiment":"counts"' in reply.text
    assert "new_counts" not in reply.text
    assert "new_counts" in toy_service.knowledge.experiments
