"""The HTTP API as its users rely on it: shapes, streams, words for inf and nan, and errors that never are ours."""

import json
import os
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
        create_app(toy_service, settings), raise_server_exceptions=False, client=("127.0.0.1", 5000)
    ) as client:
        yield client


@pytest.fixture(scope="module")
def same_client(new_toy_service, tmp_path_factory) -> Iterator[TestClient]:
    """A client of one service of the toys, for tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("toys")
    app = create_app(new_toy_service(), Settings(data=folder / "data", cache=folder / "cache"))
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 5000)) as client:
        yield client


@pytest.fixture(scope="module")
def client(service, settings) -> Iterator[TestClient]:
    with TestClient(create_app(service, settings), raise_server_exceptions=False, client=("127.0.0.1", 5000)) as client:
        yield client


def strict(text: str) -> object:
    """JSON as the standard has it: NaN and Infinity as bare words are refused."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def events(response) -> list[tuple[str, dict]]:
    """Server-sent events as (name, data)."""
    found = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], strict(lines["data"])))
    return found


def test_an_answer_has_everything_that_was_promised(same_client):
    """The Answer of the interface, key by key."""
    answer = strict(same_client.post(ASK, json={"question": "数数甲"}).text)
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


def test_a_stream_is_the_same_answer_in_pieces(same_client):
    """answer, started, rows, evidence, done; the last holds what the whole request would."""
    found = events(same_client.post(f"{ASK}/stream", json={"question": "counting numbers two", "seed": 1}))
    assert [name for name, _ in found] == ["answer", "started", *["row"] * 5, "evidence", "done"]
    assert found[0][1]["evidence"] == []
    assert found[-1][1]["evidence"][0] == found[-2][1]
    whole = same_client.post(ASK, json={"question": "counting numbers two", "seed": 1}).json()
    assert whole["evidence"][0]["metrics"] == found[-1][1]["evidence"][0]["metrics"]


@pytest.mark.parametrize("word", ["Infinity", "-Infinity", "NaN"])
def test_nonfinite_numbers_there_and_back(same_client, word):
    """A request may say them, and metrics, rows and events say them as words; None is null."""
    body = {"params": {"given": word}}
    evidence = strict(same_client.post("/api/v1/experiments/nonfinite/runs", json=body).text)
    values = {name: metric["value"] for name, metric in evidence["metrics"].items()}
    assert values == {
        "inf": "Infinity",
        "minus_inf": "-Infinity",
        "nan": "NaN",
        "never": None,
        "zero": 0.0,
        "given": word,
    }
    streamed = events(same_client.post("/api/v1/experiments/nonfinite/runs/stream", json=body))
    assert streamed[0][1]["params"] == {"given": word}
    assert [data["row"]["value"] for name, data in streamed if name == "row"] == [
        1.0, "Infinity", "-Infinity", "NaN", None, 0.0,
    ]  # fmt: skip


def test_lists_hold_both_languages(client):
    """Entries and experiments, one by one and together."""
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


BAD = [
    ({}, "bad_field", "question"),
    ([], "bad_field", "body"),
    ({"question": ""}, "empty_question", "question"),
    ({"question": " \n"}, "empty_question", "question"),
    ({"question": 5}, "bad_field", "question"),
    ({"question": "a\0b"}, "bad_text", "question"),
    ({"question": "x" * 200_001}, "question_too_long", "question"),
    ({"question": "数数甲", "lang": "fr"}, "bad_field", "lang"),
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
@pytest.mark.parametrize(("body", "code", "field"), BAD)
def test_bad_input_is_named_in_the_readers_language(same_client, where, body, code, field):
    """problem+json with a stable code, the field, and a sentence in each language; the same for whole and streamed."""
    details = set()
    for lang in ("zh", "en"):
        response = same_client.post(where, json=body, headers={"accept-language": lang})
        problem = strict(response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.status_code == problem["status"] in (404, 422)
        assert (problem["code"], problem["field"]) == (code, field)
        details.add(problem["detail"])
    asked_in = isinstance(body, dict) and isinstance(body.get("question"), str)
    assert len(details) == (1 if asked_in else 2)  # the question's own language wins over the browser's


@pytest.mark.parametrize(
    ("raw", "code"),
    [(b"", "bad_field"), (b"{", "bad_field"), (b"\xff\xfe", "bad_text"), (b"[" * 5000, "bad_field"),
     (b'{"question": "\\ud800"}', "bad_text"), (b'{"question": NaN}', "bad_field")],
)  # fmt: skip
def test_bytes_that_are_no_question(same_client, raw, code):
    """Broken JSON, binary, depth, lone surrogates."""
    response = same_client.post(ASK, content=raw)
    assert (response.status_code, response.json()["code"]) == (422, code)


def test_what_is_not_there(same_client):
    """404, 405 and 413 are problems like every other."""
    for response, status in (
        (same_client.get("/api/v1/entries/nope"), 404),
        (same_client.get("/api/v1/experiments/nope"), 404),
        (same_client.get("/api/v1/nowhere"), 404),
        (same_client.get(ASK), 405),
        (same_client.post(ASK, content=b"x" * (2 << 20)), 413),
        (same_client.post("/api/v1/experiments/counts/runs", json={"params": {"steps": 0}}), 422),
        (same_client.post("/api/v1/experiments/counts/runs", json={"oops": 1}), 422),
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
def test_no_body_breaks_the_server(same_client, body):
    """Whatever a client sends gets an answer or a problem, never a 500."""
    body = {"run": False} | body
    response = same_client.post(ASK, content=json.dumps(body).encode())
    assert response.status_code in (200, 404, 422), (body, response.text)


def test_feedback_is_on_disk_when_it_is_acknowledged(toy_client, tmp_path):
    """201, and another process can read it."""
    answer_id = toy_client.post(ASK, json={"question": "数数甲", "run": False}).json()["id"]
    body = {"answer_id": answer_id, "helpful": False, "reason": "没看懂"}
    assert toy_client.post("/api/v1/feedback", json=body).status_code == 201
    assert Store(Settings(data=tmp_path / "data").store_url).feedback() == [(answer_id, False, "没看懂")]
    for wrong in ({}, {"answer_id": "x", "helpful": True}, body | {"helpful": 1}, body | {"reason": "x" * 2001}):
        assert toy_client.post("/api/v1/feedback", json=wrong).status_code == 422


def test_operators_see_life_readiness_and_counts(toy_client):
    """At the root; a question moves the counters."""
    assert toy_client.get("/livez").status_code == 200
    assert toy_client.get("/readyz").status_code in (200, 503)
    toy_client.post(ASK, json={"question": "数数甲"})
    counted = toy_client.get("/metrics").text
    assert 'numstab_questions_total{entry="counting",status="answered"} 1.0' in counted
    assert 'numstab_runs_total{experiment="counts",status="ran"} 1.0' in counted


def test_a_full_queue_refuses_the_next_run(toy_service, toy_client):
    """503 that says when to come again; a text is still given."""
    toy_service.queue = 0
    refused = toy_client.post(ASK, json={"question": "数数甲"})
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert toy_client.post(ASK, json={"question": "数数甲", "run": False}).status_code == 200


def test_openapi_describes_every_promised_route(same_client):
    """What is documented is what there is."""
    paths = strict(same_client.get("/openapi.json").text)["paths"]
    for path in ("/ask", "/ask/stream", "/entries", "/entries/{entry_id}", "/experiments", "/experiments/{slug}",
                 "/experiments/{slug}/runs", "/experiments/{slug}/runs/stream", "/feedback"):  # fmt: skip
        assert f"/api/v1{path}" in paths
    assert {"/livez", "/readyz", "/metrics"} <= set(paths)


def test_an_error_of_ours_shows_nothing_of_our_insides(toy_client, monkeypatch, toy_service):
    """500 as a problem in the reader's language, without a traceback."""
    monkeypatch.setattr(toy_service.knowledge.matcher, "match", lambda *_: 1 / 0)
    response = toy_client.post(ASK, json={"question": "数数甲"})
    assert response.status_code == 500
    assert response.json()["code"] == "error"
    assert "内部错误" in response.json()["detail"]
    assert "ZeroDivision" not in response.text
    assert os.sep + "qa_service" not in response.text
