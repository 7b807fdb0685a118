"""What operators see: readiness, counts, the log, traces, reloads; and what nobody may see."""

import json
import logging
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from processes import until

from qa_service.app import create_app
from qa_service.errors import BadWeights
from qa_service.server.api_keys import ApiKeyStore
from qa_service.settings import Settings
from qa_service.telemetry import logging as logs
from qa_service.telemetry.request_context import request_id

ROOT = Path(__file__).resolve().parent.parent
TOYS = ROOT / "tests" / "toys"
ASK = "/api/v1/ask"


@pytest.fixture
def served(toy_service, tmp_path):
    """Makes a client of the toy service with these settings, on this machine unless it says else."""
    with ExitStack() as lifespans:

        def serve(*, address: str = "127.0.0.1", **settings: object) -> TestClient:
            known = {"data": tmp_path / "data", "cache": tmp_path, "kb": TOYS / "kb", "demos": TOYS / "demos"}
            app = create_app(toy_service, Settings(**(known | settings)))
            client = TestClient(app, client=(address, 5000), raise_server_exceptions=False)
            return lifespans.enter_context(client)

        yield serve


def until_ready(client) -> dict:
    """What /readyz says once it says yes."""
    until(lambda: client.get("/readyz").status_code == 200, why=lambda: client.get("/readyz").text)
    return client.get("/readyz").json()


def test_ready_means_that_every_part_is(served):
    """Library, model, index, a child that has run, the store."""
    body = until_ready(served())
    assert body["parts"] == dict.fromkeys(("library", "model", "index", "child", "store"), True)
    assert body["why"] == {}


def test_what_is_not_ready_is_named_and_why_for_operators_only(served, tmp_path):
    """A store that is no database: 503; the reason is for this machine, not for readers."""
    (tmp_path / "no.sqlite").write_text("this is no database, and long enough to be seen as none " * 20)
    near = served(store=f"sqlite:///{tmp_path / 'no.sqlite'}")
    others = ("model", "index", "child")
    until(lambda: all(near.get("/readyz").json()["parts"][part] for part in others))
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

    monkeypatch.setattr(toy_service.knowledge.matcher, "match", fails)
    broken = client.post(ASK, json={"question": "Geheimnis"}, headers={"X-Request-ID": "q-7"})
    assert (broken.status_code, broken.json()["request_id"], broken.headers["x-request-id"]) == (500, "q-7", "q-7")
    said = [line for line in lines() if '"q-7"' in line]
    assert any(json.loads(line).get("error") == "ValueError" and "fails:" in line for line in said), said
    assert "Geheimnis" not in "".join(said)


def test_the_log_holds_no_secret(served, log, tmp_path):
    """No question unless it is allowed, no key however it comes, no password of the store."""
    secret = ApiKeyStore(tmp_path / "data").add("class", ("ask",))
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
    logs.configure_logging(Settings())
    served(log_questions=1).post(ASK, json={"question": question, "run": False})
    assert "Privatsache" in "\n".join(lines())


def test_nothing_of_telemetry_is_imported_unless_it_is_set():
    code = (
        "import sys\nfrom qa_service.settings import Settings\nfrom qa_service.telemetry import tracing as traces\n"
        "assert traces.tracer_provider(Settings()) is None\n"
        "traces.Tracing()\nassert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
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
    monkeypatch.setattr("qa_service.telemetry.tracing.tracer_provider", lambda _settings: provider)
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


def test_weights_that_are_others_are_refused(tmp_path, monkeypatch):
    """One changed byte, or none at all; with both hashes and what to do."""
    from qa_service.retrieval import embedder

    embedder.check_weights()
    for name in embedder.WEIGHTS_SHA256:
        (tmp_path / name).write_bytes(b"other")
    with pytest.raises(BadWeights, match="from the lock") as refused:
        embedder.check_weights(tmp_path)
    assert embedder.WEIGHTS_SHA256["weights.npz"] in refused.value.zh
    with pytest.raises(BadWeights, match="FileNotFoundError"):
        embedder.check_weights(tmp_path / "none")
