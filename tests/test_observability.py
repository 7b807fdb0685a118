"""What operators observe: readiness, metrics, logs and traces; and what logs must not contain."""

import json
import logging
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from checking import each_case
from fastapi.testclient import TestClient
from processes import TIMEOUT_SECONDS, until

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
def new_client(toy_service, tmp_path):
    """Creates clients of the toy service with the given settings; `address` is the client's IP address."""
    with ExitStack() as lifespans:

        def create(*, address: str = "127.0.0.1", **settings: object) -> TestClient:
            defaults = {"data": tmp_path / "data", "cache": tmp_path, "kb": TOYS / "kb", "demos": TOYS / "demos"}
            app = create_app(toy_service, Settings(**(defaults | settings)))
            client = TestClient(app, client=(address, 5000), raise_server_exceptions=False, base_url="http://localhost")
            return lifespans.enter_context(client)

        yield create


def wait_until_ready(client) -> dict:
    """The body of /readyz once its status is 200."""
    until(lambda: client.get("/readyz").status_code == 200, why=lambda: client.get("/readyz").text)
    return client.get("/readyz").json()


def test_readyz_lists_every_part(new_client):
    """The parts are the entries, the encoder, the index, a child process and the store."""
    body = wait_until_ready(new_client())
    assert body["parts"] == dict.fromkeys(("library", "model", "index", "child", "store"), True)
    assert body["why"] == {}


def test_readyz_names_the_failed_part_and_tells_only_operators_why(new_client, tmp_path):
    """A store that is no database is named, and takes no service out; only operators receive the reason."""
    (tmp_path / "no.sqlite").write_text("this is no database, and long enough to be seen as none " * 20)
    local = new_client(store=f"sqlite:///{tmp_path / 'no.sqlite'}")
    others = ("model", "index", "child")
    until(lambda: all(local.get("/readyz").json()["parts"][part] for part in others))
    response = local.get("/readyz")
    assert (response.status_code, response.json()["ready"], response.json()["parts"]["store"]) == (200, True, False)
    assert "DatabaseError" in response.json()["why"]["store"]
    remote = TestClient(local.app, client=("10.0.0.7", 5000), base_url="http://localhost")
    assert set(remote.get("/readyz").json()) == {"ready", "parts"}
    assert local.post(ASK, json={"question": "数数甲"}).status_code == 200  # answers do not depend on the store


def test_requests_through_an_untrusted_proxy_are_not_local(new_client):
    """They get neither metrics nor reasons."""
    forwarded = {"X-Forwarded-For": "10.9.9.9"}
    assert new_client().get("/metrics").status_code == 200
    assert new_client().get("/metrics", headers=forwarded).status_code == 401
    assert "why" not in new_client().get("/readyz", headers=forwarded).json()


def test_metrics_count_questions_runs_and_requests(new_client):
    """The metrics cover questions, confidence, stages, runs, cache hits, requests and versions."""
    client = new_client()
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


def test_store_failures_are_counted(new_client, tmp_path):
    (tmp_path / "no.sqlite").write_text("no database " * 99)
    client = new_client(store=f"sqlite:///{tmp_path / 'no.sqlite'}")
    feedback = {"answer_id": "0" * 26, "helpful": True}
    assert client.post("/api/v1/feedback", json=feedback).status_code == 503
    failures = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("numstab_store_fail")
                   and "total" in line)  # fmt: skip
    assert float(failures.split()[-1]) >= 1


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_each_request_is_one_log_line(new_client, log, form):
    """The line has the client's request ID, which the response repeats in a header."""
    lines = log(log=form)
    response = new_client(log=form).post(
        ASK, json={"question": "数数甲", "run": False}, headers={"X-Request-ID": "abc-1"}
    )
    assert response.headers["x-request-id"] == "abc-1"
    (line,) = [line for line in lines() if "request" in line and ASK in line]
    if form == "json":
        fields = json.loads(line)
        assert fields["request_id"] == "abc-1"
        assert (fields["method"], fields["route"], fields["status"]) == ("POST", ASK, 200)
        assert (fields["answer"], fields["entry"], fields["answered"]) == (
            response.json()["id"],
            "counting",
            "answered",
        )
        assert fields["ms"] > 0
    else:
        assert f"message=request request_id=abc-1 method=POST route={ASK} status=200 ms=" in line
        assert "entry=counting" in line


@each_case("received", [None, "", "a b", "x" * 65, "a\nb", "é", '"', "<script>"])
def test_invalid_request_ids_are_replaced(received):
    assert request_id(received) != received
    assert len(request_id(received)) == 16


def test_errors_carry_the_request_id(new_client, log, monkeypatch, toy_service):
    """The log of an unexpected error has its type and the place in our code, but nothing of the question."""
    lines = log(log="json")
    client = new_client()
    rejected = client.post(ASK, json={"question": ""})
    assert rejected.json()["request_id"] == rejected.headers["x-request-id"]

    def fails(question: str, *_: object) -> None:
        raise ValueError(question)

    monkeypatch.setattr(toy_service.knowledge.matcher, "match", fails)
    failed = client.post(ASK, json={"question": "Geheimnis"}, headers={"X-Request-ID": "q-7"})
    assert (failed.status_code, failed.json()["request_id"], failed.headers["x-request-id"]) == (500, "q-7", "q-7")
    logged = [line for line in lines() if '"q-7"' in line]
    assert any(json.loads(line).get("error") == "ValueError" and "fails:" in line for line in logged), logged
    assert "Geheimnis" not in "".join(logged)


def test_logs_contain_no_secrets(new_client, log, tmp_path):
    """Logs contain no question unless the setting allows it, no API key and no password of the store."""
    key = ApiKeyStore(tmp_path / "data").add("class", ("ask",))
    lines = log(log="logfmt")
    store_url = "postgresql+psycopg://me:s3cret@127.0.0.1:9/none"
    client = new_client(store=store_url)
    question = "数数甲 Privatsache"
    client.post(ASK, json={"question": question, "run": False}, headers={"Authorization": f"Bearer {key}"})
    client.get(f"/entries?key={key}&q=Privatsache")
    client.post(ASK, content=b'{"question": "Privatsache')
    client.post("/api/v1/feedback", json={"answer_id": "0" * 26, "helpful": False, "reason": "Privatsache"})
    logging.getLogger("numstab").warning("with %s and %s", key, store_url)
    logged = "\n".join(lines())
    assert logged.count("message=request") >= 4
    for sensitive in (key, key[8:24], "s3cret", "Privatsache", "数数甲"):
        assert sensitive not in logged
    logs.configure_logging(Settings())
    new_client(log_questions=1).post(ASK, json={"question": question, "run": False})
    assert "Privatsache" in "\n".join(lines())


def test_opentelemetry_is_imported_only_if_configured():
    code = (
        "import sys\nfrom qa_service.settings import Settings\nfrom qa_service.telemetry import tracing as traces\n"
        "assert traces.tracer_provider(Settings()) is None\n"
        "traces.Tracing()\nassert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)


def test_traces_show_a_request_and_its_stages(new_client, monkeypatch):
    """Every stage is a child span of its request, which continues the client's trace."""
    pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("qa_service.telemetry.tracing.tracer_provider", lambda _settings: provider)
    trace = "0af7651916cd43dd8448eb211c80319c"
    client = new_client()
    client.post(ASK, json={"question": "数数甲"}, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    spans_by_name = {
        span.name: span for span in exporter.get_finished_spans() if span.context.trace_id == int(trace, 16)
    }
    assert set(spans_by_name) == {f"POST {ASK}", "text", "matching", "queue", "run"} - (
        set() if "run" in spans_by_name else {"queue", "run"}
    )
    request = spans_by_name[f"POST {ASK}"]
    assert request.attributes["numstab.entry"] == "counting"
    assert "question" not in " ".join(request.attributes)
    assert all(
        spans_by_name[name].parent.span_id == request.context.span_id for name in spans_by_name if name != request.name
    )


def test_encoder_weights_with_another_hash_are_rejected(tmp_path, monkeypatch):
    """The error names the expected hash and what to do; missing weights are rejected too."""
    from qa_service.retrieval import embedder

    embedder.check_weights()
    for name in embedder.WEIGHTS_SHA256:
        (tmp_path / name).write_bytes(b"other")
    with pytest.raises(BadWeights, match="from the lock") as rejected:
        embedder.check_weights(tmp_path)
    assert embedder.WEIGHTS_SHA256["weights.npz"] in rejected.value.zh
    with pytest.raises(BadWeights, match="FileNotFoundError"):
        embedder.check_weights(tmp_path / "none")
