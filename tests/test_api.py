"""The HTTP API: response shapes, event streams, non-finite numbers, and errors as problem+json."""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from qa_service.app import create_app
from qa_service.settings import Settings
from qa_service.store import Store

ASK = "/api/v1/ask"


@pytest.fixture
def toy_client(toy_service, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data=tmp_path / "data", cache=tmp_path / "cache")
    with TestClient(
        create_app(toy_service, settings),
        raise_server_exceptions=False,
        client=("127.0.0.1", 5000),
        base_url="http://localhost",
    ) as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(new_toy_service, tmp_path_factory) -> Iterator[TestClient]:
    """A client of one toy service, for tests that leave no state behind."""
    folder = tmp_path_factory.mktemp("toys")
    app = create_app(new_toy_service(), Settings(data=folder / "data", cache=folder / "cache"))
    with TestClient(
        app, raise_server_exceptions=False, client=("127.0.0.1", 5000), base_url="http://localhost"
    ) as client:
        yield client


@pytest.fixture(scope="module")
def client(service, settings) -> Iterator[TestClient]:
    with TestClient(
        create_app(service, settings),
        raise_server_exceptions=False,
        client=("127.0.0.1", 5000),
        base_url="http://localhost",
    ) as client:
        yield client


def parse_strict_json(text: str) -> object:
    """Parse JSON, rejecting the non-standard literals NaN and Infinity."""

    def reject(literal: str) -> None:
        raise AssertionError(literal)

    return json.loads(text, parse_constant=reject)


def events(response) -> list[tuple[str, dict]]:
    """Server-sent events as (name, data)."""
    parsed = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            parsed.append((lines["event"], parse_strict_json(lines["data"])))
    return parsed


def test_answer_has_every_documented_field(shared_client):
    answer = parse_strict_json(shared_client.post(ASK, json={"question": "数数甲"}).text)
    assert answer["status"] == "answered"
    assert answer["lang"] == "zh"
    assert answer["entry"] == {
        "id": "counting", "item": 1, "expands": None, "question": "怎样数数", "url": "/entries/counting",
    }  # fmt: skip
    assert {"id", "confidence", "matches", "answer", "params", "notes", "related", "context"} <= set(answer)
    assert len(answer["matches"]) >= 3
    evidence = answer["evidence"][0]
    assert evidence["status"] == "ran"
    assert evidence["metrics"]["last"] == {"value": 5.0, "unit": "1", "title": "最后一个"}
    assert evidence["claims"][0]["verdict"] == "holds"
    assert evidence["claims"][0]["value"] == 5.0
    assert evidence["rows"][0] == {"step": 1, "value": 1.0}
    assert evidence["chart"]["$schema"].endswith(".json")
    assert answer["context"] == {"entry": "counting", "params": {}, "lang": "zh"}


def test_stream_gives_the_same_answer_as_a_whole_request(shared_client):
    """Events answer, started, row, evidence, done; `done` has the complete answer."""
    streamed = events(shared_client.post(f"{ASK}/stream", json={"question": "counting numbers two", "seed": 1}))
    assert [name for name, _ in streamed] == ["answer", "started", *["row"] * 5, "evidence", "done"]
    assert streamed[0][1]["evidence"] == []
    assert streamed[-1][1]["evidence"][0] == streamed[-2][1]
    whole = shared_client.post(ASK, json={"question": "counting numbers two", "seed": 1}).json()
    assert whole["evidence"][0]["metrics"] == streamed[-1][1]["evidence"][0]["metrics"]


def test_a_brief_answer_has_the_first_screen_only(shared_client, client):
    """It has no rows, charts or folded parts, and at most 9 KB, also for an entry with much evidence."""
    whole = shared_client.post(ASK, json={"question": "数数甲"}).json()
    brief = shared_client.post(ASK, json={"question": "数数甲", "brief": True}).json()
    assert set(brief) == set(whole)
    for part in ("short", "do", "tell"):
        assert brief["parts"][part] == whole["parts"][part]
    assert brief["parts"]["why"] is None
    assert brief["lecture"] is None
    assert brief["evidence"][0]["metrics"] == whole["evidence"][0]["metrics"]
    assert (brief["evidence"][0]["rows"], brief["evidence"][0]["chart"]) == ([], {})
    asked = shared_client.post(f"{ASK}?brief=1", json={"question": "数数甲"}).json()
    assert (asked["parts"], asked["evidence"][0]["rows"]) == (brief["parts"], [])
    run = shared_client.post("/api/v1/experiments/counts/runs?brief=1", json={}).json()
    assert (run["rows"], run["metrics"]["last"]["value"]) == ([], 3.0)
    real = client.post(ASK, json={"entry": "nan-and-inf", "lang": "en", "brief": True})
    assert len(real.content) <= 9_000
    assert real.json()["parts"]["short"]


def test_responses_are_compressed_for_clients_that_accept_it(shared_client):
    """JSON and events; every chunk of a stream can be decompressed when it arrives."""
    plain = shared_client.get("/api/v1/experiments", headers={"Accept-Encoding": "identity"})
    packed = shared_client.get("/api/v1/experiments", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
    ask = {"question": "counting numbers two", "run": False}
    with shared_client.stream("POST", f"{ASK}/stream", json=ask, headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["content-encoding"] == "gzip"
        unpack = zlib.decompressobj(wbits=31)
        texts = [unpack.decompress(chunk).decode() for chunk in response.iter_raw()]
    assert texts[0].startswith("event: answer\n")
    assert texts[0].endswith("\n\n")
    assert "event: done" in "".join(texts)
    streamed = shared_client.post(f"{ASK}/stream", json=ask, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in streamed.headers


@pytest.mark.parametrize("word", ["Infinity", "-Infinity", "NaN"])
def test_nonfinite_numbers_are_strings_in_requests_and_responses(shared_client, word):
    """They are strings in parameters, metrics, rows and events; None is null."""
    body = {"params": {"given": word}}
    evidence = parse_strict_json(shared_client.post("/api/v1/experiments/nonfinite/runs", json=body).text)
    values = {name: metric["value"] for name, metric in evidence["metrics"].items()}
    assert values == {
        "inf": "Infinity",
        "minus_inf": "-Infinity",
        "nan": "NaN",
        "never": None,
        "zero": 0.0,
        "given": word,
    }
    streamed = events(shared_client.post("/api/v1/experiments/nonfinite/runs/stream", json=body))
    assert streamed[0][1]["params"] == {"given": word}
    assert [data["row"]["value"] for name, data in streamed if name == "row"] == [
        1.0, "Infinity", "-Infinity", "NaN", None, 0.0,
    ]  # fmt: skip


def test_entries_and_experiments_are_in_both_languages(client):
    """Both languages are in the lists and in single resources."""
    entries = client.get("/api/v1/entries").json()
    assert {entry["item"] for entry in entries} == set(range(1, 17))
    one = client.get("/api/v1/entries/multiply-vs-add").json()
    assert one in entries
    assert one["question"]["zh"]
    assert one["question"]["en"]
    assert one["evidence"][0]["claims"][0]["control"]
    experiments = client.get("/api/v1/experiments").json()
    assert len(experiments) >= 20
    shown = client.get("/api/v1/experiments/pow_vs_sum").json()
    assert shown in experiments
    assert shown["params"]["properties"]["n"]["maximum"] == 10000
    assert "def run(" in shown["source"]


INVALID_REQUESTS = [
    ({}, "bad_field", "question"),
    ([], "bad_field", "body"),
    ({"question": ""}, "empty_question", "question"),
    ({"question": " \n"}, "empty_question", "question"),
    ({"question": 5}, "bad_field", "question"),
    ({"question": "a\0b"}, "bad_text", "question"),
    ({"question": "x" * 200_001}, "question_too_long", "question"),
    ({"question": "数数甲", "lang": "fr"}, "bad_field", "lang"),
    ({"question": "数数甲", "reader_lang": "fr"}, "bad_field", "reader_lang"),
    ({"question": "数数甲", "seed": -1}, "bad_field", "seed"),
    ({"question": "数数甲", "seed": 2**63}, "bad_field", "seed"),
    ({"question": "数数甲", "seed": True}, "bad_field", "seed"),
    ({"question": "数数甲", "run": "yes"}, "bad_field", "run"),
    ({"question": "数数甲", "params": []}, "bad_field", "params"),
    ({"question": "数数甲", "params": {"steps": None}}, "bad_field", "params"),
    ({"question": "数数甲", "params": {"stepz": 1}}, "unknown_parameter", "params.stepz"),
    ({"question": "数数甲", "params": {"steps": "NaN"}}, "bad_parameter", "params.steps"),
    ({"question": "数数甲", "params": {"steps": 10**30}}, "bad_parameter", "params.steps"),
    ({"question": "数数甲", "entry": "../../etc/passwd"}, "unknown_entry", "entry"),
    ({"question": "数数甲", "entry": 7}, "bad_field", "entry"),
    ({"question": "数数甲", "blocks": ["nope"]}, "bad_field", "blocks"),
    ({"question": "数数甲", "context": {"entry": "nope"}}, "unknown_entry", "entry"),
    ({"question": "数数甲", "context": 5}, "bad_field", "context"),
    ({"question": "数数甲", "questoin": 1}, "bad_field", "questoin"),
]


@pytest.mark.parametrize("where", [ASK, f"{ASK}/stream"])
@pytest.mark.parametrize(("body", "code", "field"), INVALID_REQUESTS)
def test_invalid_requests_are_problems_in_the_users_language(shared_client, where, body, code, field):
    """problem+json with a stable code, the field and a translated detail, on the plain and the streaming route."""
    details = set()
    for lang in ("zh", "en"):
        response = shared_client.post(where, json=body, headers={"accept-language": lang})
        problem = parse_strict_json(response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.status_code == problem["status"] in (404, 422)
        assert (problem["code"], problem["field"]) == (code, field)
        details.add(problem["detail"])
    has_question = isinstance(body, dict) and isinstance(body.get("question"), str)
    assert len(details) == (1 if has_question else 2)  # the language of the question has priority over Accept-Language


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b"", "bad_field"), (b"{", "bad_field"), (b"\xff\xfe", "bad_text"), (b"[" * 5000, "bad_field"),
     (b'{"question": "\\ud800"}', "bad_text"), (b'{"question": NaN}', "bad_field")],
)  # fmt: skip
def test_malformed_bodies_are_422(shared_client, raw, code):
    """Broken JSON, binary data, deep nesting, lone surrogates."""
    response = shared_client.post(ASK, content=raw)
    assert (response.status_code, response.json()["code"]) == (422, code)


def test_every_http_error_is_problem_json(shared_client):
    """404, 405, 413 and 422."""
    for response, status in (
        (shared_client.get("/api/v1/entries/nope"), 404),
        (shared_client.get("/api/v1/experiments/nope"), 404),
        (shared_client.get("/api/v1/nowhere"), 404),
        (shared_client.get(ASK), 405),
        (shared_client.post(ASK, content=b"x" * (2 << 20)), 413),
        (shared_client.post("/api/v1/experiments/counts/runs", json={"params": {"steps": 0}}), 422),
        (shared_client.post("/api/v1/experiments/counts/runs", json={"oops": 1}), 422),
    ):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("question", "lang", "params", "seed", "entry", "blocks", "run", "context", "other")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
def test_any_json_body_is_answered_or_rejected(shared_client, body):
    """Never a 500."""
    body = {"run": False} | body
    response = shared_client.post(ASK, content=json.dumps(body).encode())
    assert response.status_code in (200, 404, 422), (body, response.text)


def test_acknowledged_feedback_is_committed(toy_client, tmp_path):
    """After the 201 another connection can read it; invalid feedback is 422."""
    answer_id = toy_client.post(ASK, json={"question": "数数甲", "run": False}).json()["id"]
    body = {"answer_id": answer_id, "helpful": False, "reason": "没看懂"}
    assert toy_client.post("/api/v1/feedback", json=body).status_code == 201
    assert Store(Settings(data=tmp_path / "data").store_url).feedback() == [(answer_id, False, "没看懂")]
    for invalid in ({}, {"answer_id": "x", "helpful": True}, body | {"helpful": 1}, body | {"reason": "x" * 2001}):
        assert toy_client.post("/api/v1/feedback", json=invalid).status_code == 422


def test_liveness_readiness_and_metrics(toy_client):
    """These routes for operators respond, and a question increments the counters."""
    assert toy_client.get("/livez").status_code == 200
    assert toy_client.get("/readyz").status_code in (200, 503)
    toy_client.post(ASK, json={"question": "数数甲"})
    metrics = toy_client.get("/metrics").text
    assert 'numstab_questions_total{entry="counting",status="answered"} 1.0' in metrics
    assert 'numstab_runs_total{experiment="counts",status="ran"} 1.0' in metrics


def test_full_queue_is_503_with_retry_after(toy_service, toy_client):
    """A request that needs no run is still answered."""
    toy_service.queue = 0
    response = toy_client.post(ASK, json={"question": "数数甲"})
    assert (response.status_code, response.json()["code"]) == (503, "overloaded")
    assert int(response.headers["retry-after"]) >= 1
    assert toy_client.post(ASK, json={"question": "数数甲", "run": False}).status_code == 200


def test_openapi_describes_every_documented_route(shared_client):
    paths = parse_strict_json(shared_client.get("/openapi.json").text)["paths"]
    for path in ("/ask", "/ask/stream", "/entries", "/entries/{entry_id}", "/experiments", "/experiments/{slug}",
                 "/experiments/{slug}/runs", "/experiments/{slug}/runs/stream", "/feedback"):  # fmt: skip
        assert f"/api/v1{path}" in paths
    assert {"/livez", "/readyz", "/metrics"} <= set(paths)


def test_internal_error_reveals_no_details(toy_client, monkeypatch, toy_service):
    """500 as a problem in the user's language, without exception, traceback or path."""
    monkeypatch.setattr(toy_service.knowledge.matcher, "match", lambda *_: 1 / 0)
    response = toy_client.post(ASK, json={"question": "数数甲"})
    assert response.status_code == 500
    assert response.json()["code"] == "error"
    assert "内部错误" in response.json()["detail"]
    assert "ZeroDivision" not in response.text
    assert os.sep + "qa_service" not in response.text
