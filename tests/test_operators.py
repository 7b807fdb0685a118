"""What operators see: readiness, counts, the log, traces, reloads; and what nobody may see."""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from qa_service import logs
from qa_service.access import Keys
from qa_service.app import create_app
from qa_service.correlation import request_id
from qa_service.errors import BadWeights
from qa_service.events import Answered, Finished
from qa_service.model import Request
from qa_service.reloading import Reloading
from qa_service.serving import place, share
from qa_service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TOYS = ROOT / "tests" / "toys"
ASK = "/api/v1/ask"


@pytest.fixture
def served(toy_service, tmp_path):
    """Makes a client of the toy service with these settings, on this machine unless it says else."""

    def serve(*, address: str = "127.0.0.1", **settings: object) -> TestClient:
        known = {"data": tmp_path / "data", "cache": tmp_path, "kb": TOYS / "kb", "demos": TOYS / "demos"}
        app = create_app(toy_service, Settings(**(known | settings)))
        return TestClient(app, client=(address, 5000), raise_server_exceptions=False)

    return serve


@pytest.fixture
def log(capsys):
    """Sets the log up as a server does, and gives its lines so far."""
    before = logging.getLogger("numstab").handlers[:]

    def lines(form: str = "json", **more: object) -> list[str]:
        return [line for line in capsys.readouterr().err.splitlines() if line]

    def set_up(**settings: object):
        logs.set_up(Settings(**settings))
        return lines

    yield set_up
    logging.getLogger("numstab").handlers[:] = before
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True


def until_ready(client, *, seconds: float = 60) -> dict:
    """What /readyz says once it says yes."""
    end = time.monotonic() + seconds
    while (reply := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < end, reply.text
        time.sleep(0.1)
    return reply.json()


def test_ready_means_that_every_part_is(served):
    """Library, model, index, a child that has run, the store."""
    body = until_ready(served())
    assert body["parts"] == dict.fromkeys(("library", "model", "index", "child", "store"), True)
    assert body["why"] == {}


def test_what_is_not_ready_is_named_and_why_for_operators_only(served, tmp_path):
    """A store that is no database: 503; the reason is for this machine, not for readers."""
    (tmp_path / "no.sqlite").write_text("this is no database, and long enough to be seen as none " * 20)
    near = served(store=f"sqlite:///{tmp_path / 'no.sqlite'}")
    end = time.monotonic() + 60
    while not all((body := near.get("/readyz").json())["parts"][part] for part in ("model", "index", "child")):
        assert time.monotonic() < end, body
        time.sleep(0.1)
    reply = near.get("/readyz")
    assert (reply.status_code, reply.json()["parts"]["store"]) == (503, False)
    assert "DatabaseError" in reply.json()["why"]["store"]
    far = TestClient(near.app, client=("10.0.0.7", 5000))
    assert set(far.get("/readyz").json()) == {"ready", "parts"}
    assert near.post(ASK, json={"question": "数数甲"}).status_code == 200  # answers do not wait for a store


def test_a_proxy_on_this_machine_is_not_this_machine(served):
    """Whoever comes through one that we were not told of reads no metrics."""
    through = {"X-Forwarded-For": "10.9.9.9"}
    assert served().get("/metrics").status_code == 200
    assert served().get("/metrics", headers=through).status_code == 401
    assert "why" not in served().get("/readyz", headers=through).json()


def test_what_has_been_done_is_counted(served):
    """Questions, confidence, stages, runs, cache, requests, versions."""
    client = served()
    client.post(ASK, json={"question": "数数甲"})
    client.post(ASK, json={"question": "数数甲", "run": False})
    client.post("/api/v1/experiments/raises/runs", json={})
    client.get("/api/v1/entries/nowhere")
    client.request("BREW", "/pot-of-" + "x" * 50)
    text = client.get("/metrics").text
    for line in (
        'numstab_questions_total{entry="counting",status="answered"} 2.0',
        "numstab_confidence_count 2.0",
        'numstab_stage_seconds_count{stage="matching"} 2.0',
        'numstab_stage_seconds_count{stage="text"} 2.0',
        'numstab_runs_total{experiment="counts",status="ran"} 1.0',
        'numstab_runs_total{experiment="raises",status="raised"} 1.0',
        "numstab_cache_hits_total 0.0",
        "numstab_queue_length 0.0",
        "numstab_children_idle 0.0",
        "numstab_store_failures_total 0.0",
        f'numstab_requests_total{{method="POST",route="{ASK}",status="200"}} 2.0',
        'numstab_requests_total{method="GET",route="/api/v1/entries/{entry_id}",status="404"} 1.0',
        'numstab_requests_total{method="other",route="unmatched",status="404"} 1.0',
    ):
        assert line in text, f"{line}\n{text}"
    for stage in ("queue", "run"):
        assert f'numstab_stage_seconds_count{{stage="{stage}"}}' in text
    assert "numstab_build_info{torch=" in text


def test_a_store_that_fails_is_counted(served, tmp_path):
    (tmp_path / "no.sqlite").write_text("no database " * 99)
    client = served(store=f"sqlite:///{tmp_path / 'no.sqlite'}")
    feedback = {"answer_id": "0" * 26, "helpful": True}
    assert client.post("/api/v1/feedback", json=feedback).status_code == 503
    counted = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("numstab_store_fail")
                   and "total" in line)  # fmt: skip
    assert float(counted.split()[-1]) >= 1


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_a_request_is_one_line(served, log, form):
    """Its id is the client's if that is sane; the same stands in the header."""
    lines = log(log=form)
    reply = served(log=form).post(ASK, json={"question": "数数甲", "run": False}, headers={"X-Request-ID": "abc-1"})
    assert reply.headers["x-request-id"] == "abc-1"
    (line,) = [line for line in lines() if "request" in line and ASK in line]
    if form == "json":
        about = json.loads(line)
        assert about["request_id"] == "abc-1"
        assert (about["method"], about["route"], about["status"]) == ("POST", ASK, 200)
        assert (about["answer"], about["entry"], about["answered"]) == (reply.json()["id"], "counting", "answered")
        assert about["ms"] > 0
    else:
        assert f"message=request request_id=abc-1 method=POST route={ASK} status=200 ms=" in line
        assert "entry=counting" in line


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a\nb", "é", '"', "<script>"])
def test_an_id_that_is_not_sane_is_replaced(given):
    assert request_id(given) != given
    assert len(request_id(given)) == 16


def test_an_error_has_the_id_of_its_request(served, log, monkeypatch, toy_service):
    """A reader can quote it; what nobody foresaw has one too, and a place in our code, not a word of the reader's."""
    lines = log(log="json")
    client = served()
    refused = client.post(ASK, json={"question": ""})
    assert refused.json()["request_id"] == refused.headers["x-request-id"]

    def fails(question: str, _k: int) -> None:
        raise ValueError(question)

    monkeypatch.setattr(toy_service.matcher, "match", fails)
    broken = client.post(ASK, json={"question": "Geheimnis"}, headers={"X-Request-ID": "q-7"})
    assert (broken.status_code, broken.json()["request_id"], broken.headers["x-request-id"]) == (500, "q-7", "q-7")
    said = [line for line in lines() if '"q-7"' in line]
    assert any(json.loads(line).get("error") == "ValueError" and "fails:" in line for line in said), said
    assert "Geheimnis" not in "".join(said)


def test_the_log_holds_no_secret(served, log, tmp_path):
    """No question unless it is allowed, no key however it comes, no password of the store."""
    secret = Keys(tmp_path / "data").add("class", ("ask",))
    lines = log(log="logfmt")
    broken = "postgresql+psycopg://me:s3cret@127.0.0.1:9/none"
    client = served(store=broken)
    question = "数数甲 Privatsache"
    client.post(ASK, json={"question": question, "run": False}, headers={"Authorization": f"Bearer {secret}"})
    client.get(f"/entries?key={secret}&q=Privatsache")
    client.post(ASK, content=b'{"question": "Privatsache')
    client.post("/api/v1/feedback", json={"answer_id": "0" * 26, "helpful": False, "reason": "Privatsache"})
    logging.getLogger("numstab").warning("with %s and %s", secret, broken)
    said = "\n".join(lines())
    assert said.count("message=request") >= 4
    for hidden in (secret, secret[8:24], "s3cret", "Privatsache", "数数甲"):
        assert hidden not in said
    logs.set_up(Settings())
    served(log_questions=1).post(ASK, json={"question": question, "run": False})
    assert "Privatsache" in "\n".join(lines())


def test_nothing_of_telemetry_is_imported_unless_it_is_set():
    code = (
        "import sys\nfrom qa_service.settings import Settings\nfrom qa_service import traces\n"
        "assert traces.provider(Settings()) is None\n"
        "traces.Traces(None)\nassert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def test_traces_show_a_request_and_its_stages(served, monkeypatch):
    """Request > text > …: each stage belongs to the request; the client's trace goes on in ours."""
    pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr("qa_service.traces.provider", lambda _settings: provider)
    trace = "0af7651916cd43dd8448eb211c80319c"
    client = served()
    client.post(ASK, json={"question": "数数甲"}, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    named = {span.name: span for span in spans.get_finished_spans() if span.context.trace_id == int(trace, 16)}
    assert set(named) == {f"POST {ASK}", "text", "matching", "queue", "run"} - (
        set() if "run" in named else {"queue", "run"}
    )
    request = named[f"POST {ASK}"]
    assert request.attributes["numstab.entry"] == "counting"
    assert "question" not in " ".join(request.attributes)
    assert all(named[name].parent.span_id == request.context.span_id for name in named if name != request.name)


@pytest.fixture
def own(tmp_path):
    """Copies of kb and demos to change, and their settings."""
    kb, demos = shutil.copytree(TOYS / "kb", tmp_path / "kb"), shutil.copytree(TOYS / "demos", tmp_path / "demos")
    return Settings(kb=Path(kb), demos=Path(demos), cache=tmp_path / "cache", data=tmp_path / "data")


def test_a_reload_renews_library_and_matcher(toy_service, own):
    """A new phrasing is met, a new title read; counts go on."""
    heard: list[bool] = []
    reloading = Reloading(toy_service, own, heard.append)
    path = own.kb / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("数数甲", "花花世界怎么数"), "utf-8")
    assert reloading.once()
    assert heard == [True]
    found = toy_service.matcher.match("花花世界怎么数").matches[0]
    assert (found.entry.id, found.phrasing) == ("counting", "花花世界怎么数")
    assert toy_service.library["counting"].hash == found.entry.hash


def test_a_broken_entry_keeps_the_older_reading(toy_service, own, log):
    """The operator reads what is wrong with file and line; mended, it is gone."""
    lines = log(log="json")
    heard: list[bool] = []
    reloading = Reloading(toy_service, own, heard.append)
    before = toy_service.library
    path = own.kb / "counting.toml"
    whole = path.read_text("utf-8")
    path.write_text(whole.replace("item =", "itme ="), "utf-8")
    assert not reloading.once()
    assert toy_service.library is before
    assert "counting.toml" in reloading.problem
    assert any("older reading stays" in line and "counting.toml" in line for line in lines())
    path.write_text(whole, "utf-8")
    assert reloading.once()
    assert reloading.problem is None
    assert heard == [False, True]


def test_an_answer_ends_with_what_it_began_with(toy_service, own):
    """Reloaded between its text and its run: the experiment that runs is the one that was read, whatever is on disk."""
    reloading = Reloading(toy_service, own, lambda _well: None)
    assert reloading.once()
    events = toy_service.stream(Request(question="数数甲"))
    first = next(events)
    assert isinstance(first, Answered)
    demo = own.demos / "counts.py"
    began_with = toy_service.lab.experiment("counts").hash
    demo.write_text(demo.read_text("utf-8").replace("def run(", "# another\ndef run("), "utf-8")
    assert reloading.once()
    assert toy_service.lab.experiment("counts").hash != began_with
    finished = [event.evidence for event in events if isinstance(event, Finished)]
    assert finished
    assert all(one.experiment.hash == began_with for one in finished if one.experiment.slug == "counts")
    again = toy_service.answer(Request(question="数数甲"))
    assert again.evidence[0].experiment.hash != began_with


def test_a_change_is_seen_once_it_has_settled(toy_service, own, monkeypatch):
    """Within seconds, without anybody asking."""
    monkeypatch.setattr("qa_service.reloading._EVERY", 0.05)
    heard: list[bool] = []
    reloading = Reloading(toy_service, own, heard.append)
    reloading.watch()
    time.sleep(0.2)
    assert heard == []
    path = own.kb / "counting.toml"
    path.write_text(path.read_text("utf-8").replace("数数甲", "数数子"), "utf-8")
    end = time.monotonic() + 60
    while not heard and time.monotonic() < end:
        time.sleep(0.05)
    assert heard == [True]


@pytest.mark.parametrize(
    ("whole", "workers", "shares"), [(5, 2, [3, 2]), (2, 2, [1, 1]), (1, 2, [1, 1]), (8, 3, [3, 3, 2])]
)
def test_slots_are_shared_out(whole, workers, shares):
    assert [share(whole, workers, number) for number in range(workers)] == shares


def test_a_worker_gets_the_number_of_the_dead(tmp_path):
    """Two at once have different numbers; one that ends gives its own back."""
    code = (
        "from pathlib import Path\nfrom qa_service.serving import place\n"
        f"print(place(Path({str(tmp_path)!r})), flush=True)\ninput()"
    )
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([sys.executable, "-c", code], **options) as first:
        assert first.stdout.readline() == "0\n"
        assert place(tmp_path) == 1
        first.communicate("\n", timeout=30)
    assert place(tmp_path) == 0


def test_weights_that_are_others_are_refused(tmp_path, monkeypatch):
    """One changed byte, or none at all; with both hashes and what to do."""
    from qa_service import embedder

    embedder.check_weights()
    for name in embedder.WEIGHTS:
        (tmp_path / name).write_bytes(b"other")
    with pytest.raises(BadWeights, match="from the lock") as refused:
        embedder.check_weights(tmp_path)
    assert embedder.WEIGHTS["weights.npz"] in refused.value.zh
    with pytest.raises(BadWeights, match="FileNotFoundError"):
        embedder.check_weights(tmp_path / "none")


@pytest.fixture
def two_workers(tmp_path, cache):
    """`numstab serve --workers 2 --reload-kb` on copies of the toys: address, settings' folders, process."""
    shutil.copytree(TOYS / "kb", tmp_path / "kb")
    shutil.copytree(TOYS / "demos", tmp_path / "demos")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "NUMSTAB_KB": str(tmp_path / "kb"), "NUMSTAB_DEMOS": str(tmp_path / "demos"),
           "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_CACHE": str(cache), "NUMSTAB_LOG": "json",
           "NUMSTAB_DEADLINE": "60"}  # fmt: skip
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port), "--workers", "2"]
    with (tmp_path / "log").open("w") as lines, subprocess.Popen(command, env=env, stderr=lines, cwd=ROOT) as server:
        yield f"http://127.0.0.1:{port}", tmp_path, server
        server.terminate()
        assert server.wait(60) == 0


def pids(log: Path) -> set[int]:
    """The workers that have said that they started."""
    started = [json.loads(line)["message"] for line in log.read_text().splitlines() if "Started server process" in line]
    return {int(message.partition("[")[2].rstrip("]")) for message in started}


def test_two_workers_add_up_and_reload(two_workers):
    """Whichever is asked counts for both; a SIGHUP reaches both, and a broken file stops neither."""
    address, folder, server = two_workers
    end = time.monotonic() + 120
    while len(pids(folder / "log")) < 2:
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.2)
    for _ in range(20):  # a client each: the kernel hands connections to either
        assert httpx.post(f"{address}{ASK}", json={"question": "数数甲", "run": False}, timeout=60).status_code == 200
    seen = [httpx.get(f"{address}/metrics", timeout=30).text for _ in range(4)]
    for text in seen:
        assert 'numstab_questions_total{entry="counting",status="answered"} 20.0' in text
        assert "numstab_build_info" in text
    entry = folder / "kb" / "counting.toml"
    entry.write_text(entry.read_text("utf-8").replace("item =", "itme ="), "utf-8")
    server.send_signal(signal.SIGHUP)
    end = time.monotonic() + 60
    while (folder / "log").read_text().count("older reading stays") < 2:
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.2)
    assert "numstab_reload_broken 2.0" in httpx.get(f"{address}/metrics", timeout=30).text
    assert "counting.toml" in httpx.get(f"{address}/readyz", timeout=30).json()["reload"]
    assert httpx.post(f"{address}{ASK}", json={"question": "数数甲", "run": False}, timeout=60).status_code == 200
