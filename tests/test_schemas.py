"""What is sent and read is what OpenAPI describes: bodies of every route and event, with other fields forbidden."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qa_service.app import create_app
from qa_service.errors import BadRequest
from qa_service.model.events import AnswerReady, Queued
from qa_service.schemas import requests
from qa_service.schemas.events import RowJson
from qa_service.settings import Settings

API = "/api/v1"
TOYS = Path(__file__).resolve().parent / "toys"
SENT = [
    ("POST", f"{API}/ask", {}, {"question": "数数甲"}, 200),
    ("POST", f"{API}/ask", {}, {"question": "counting numbers one", "seeds": 3, "compare": {"steps": [2, 3]}}, 200),
    ("POST", f"{API}/ask", {}, {"question": "zzz qqq"}, 200),
    ("POST", f"{API}/ask", {}, {"question": "数数甲", "context": {"entry": "counting", "params": {"steps": 3}}}, 200),
    ("POST", f"{API}/ask", {}, {"question": "数数甲", "run": False}, 200),
    ("POST", f"{API}/ask", {}, {"question": 5}, 422),
    ("POST", f"{API}/ask", {}, {"question": "数数甲", "entry": "nope"}, 404),
    ("POST", f"{API}/ask/stream", {}, {"question": "counting numbers one", "seeds": 2, "compare": ["steps"]}, 422),
    ("POST", f"{API}/ask/stream", {}, {"question": "counting numbers one", "compare": {"steps": [2, 3]}}, 200),
    ("GET", f"{API}/entries", {}, None, 200),
    ("GET", f"{API}/entries/{{entry_id}}", {"entry_id": "counting"}, None, 200),
    ("GET", f"{API}/entries/{{entry_id}}", {"entry_id": "nope"}, None, 404),
    ("GET", f"{API}/entries/{{entry_id}}/export", {"entry_id": "nope"}, None, 404),
    ("GET", f"{API}/experiments", {}, None, 200),
    ("GET", f"{API}/experiments/{{slug}}", {"slug": "nonfinite"}, None, 200),
    ("POST", f"{API}/experiments/{{slug}}/runs", {"slug": "nonfinite"}, {"params": {"given": "NaN"}}, 200),
    ("POST", f"{API}/experiments/{{slug}}/runs", {"slug": "raises"}, {}, 200),
    ("POST", f"{API}/experiments/{{slug}}/runs", {"slug": "exits"}, {"lang": "zh"}, 200),
    ("POST", f"{API}/experiments/{{slug}}/runs", {"slug": "counts"}, {"oops": 1}, 422),
    ("POST", f"{API}/experiments/{{slug}}/runs/stream", {"slug": "nonfinite"}, {"params": {"given": "-Infinity"}}, 200),
    ("POST", f"{API}/feedback", {}, {"answer_id": "01K0000000000000000000000A", "helpful": True}, 201),
    ("POST", f"{API}/feedback", {}, {"answer_id": "01K0000000000000000000000A", "helpful": 1}, 422),
    ("GET", "/livez", {}, None, 200),
]  # fmt: skip
OTHER_MEDIA = {("GET", f"{API}/entries/{{entry_id}}/export"), ("GET", "/metrics")}
READERS: dict[str, Callable[[object], object]] = {
    "AskRequest": requests.read_request,
    "RunRequest": requests.read_run,
    "FeedbackRequest": requests.read_feedback,
}
MAPS = {"JsonObject"}
"""Objects that another specification describes."""


@pytest.fixture
def client(toy_service, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data=tmp_path / "data", cache=tmp_path, rate="")
    app = create_app(toy_service, settings)
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 5000)) as client:
        yield client


@pytest.fixture
def document(client) -> dict:
    """OpenAPI as it is served."""
    return client.get("/openapi.json").json()


def valid(document: dict, schema: dict, value: object) -> None:
    """Raises where a value is not what a schema of the document says."""
    jsonschema_rs.validate({"components": document["components"], **schema}, value)


def strict(text: str) -> object:
    """JSON as the standard has it: NaN and Infinity as bare words are refused."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def events(text: str) -> list[dict]:
    """Server-sent events as the document describes them."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [{"event": name[7:], "data": strict(data[6:])} for name, data in blocks]


def check(document: dict, method: str, path: str, reply) -> list[dict]:
    """Holds a reply to what the document says of its route, status and media type; gives the bodies."""
    described = document["paths"][path][method.lower()]["responses"][str(reply.status_code)]["content"]
    media = reply.headers["content-type"].partition(";")[0]
    bodies, schema = (
        (events(reply.text), described[media]["itemSchema"])
        if media == "text/event-stream"
        else ([strict(reply.text)], described[media]["schema"])
    )
    assert bodies
    for body in bodies:
        valid(document, schema, body)
    return bodies


def test_every_route_sends_what_is_described(client, document):
    """Answers, streams, lists, runs of every kind and problems; no route of JSON is left out."""
    seen = set()
    names = set()
    for method, path, place, body, status in SENT:
        reply = client.request(method, path.format(**place), json=body)
        assert reply.status_code == status, (path, body, reply.text)
        found = check(document, method, path, reply)
        names |= {each["event"] for each in found if isinstance(each, dict) and "event" in each}
        if status < 400:
            seen.add((method, path))
    check(document, "GET", "/readyz", client.get("/readyz"))
    there = {(method.upper(), path) for path, routes in document["paths"].items() for method in routes}
    assert there == seen | OTHER_MEDIA | {("GET", "/readyz")}
    assert names == {"answer", "started", "row", "evidence", "done"}


def test_what_goes_wrong_in_a_stream_is_described(client, document, toy_service, monkeypatch):
    """A run that waits, and an error after the stream has begun."""
    answer = toy_service.ask(requests.read_request({"question": "数数甲"}))

    def broken(*_: object) -> Iterator[object]:
        yield AnswerReady(answer)
        yield Queued("counting", 2)
        raise ZeroDivisionError

    monkeypatch.setattr(toy_service, "stream", broken)
    reply = client.post(f"{API}/ask/stream", json={"question": "数数甲"})
    found = check(document, "POST", f"{API}/ask/stream", reply)
    assert [each["event"] for each in found] == ["answer", "queued", "error"]
    assert found[1]["data"] == {"id": "counting", "before": 2}


def test_an_answer_with_everything_is_described(service, settings, document):
    """The real knowledge: a comparison of number formats over seeds, whose rows and claims hold nan and inf."""
    client = TestClient(create_app(service, settings), client=("127.0.0.1", 5000))
    body = {"entry": "inf-turns-into-nan", "compare": {"dtype": ["float64", "float16"]}, "seeds": 2, "lang": "zh"}
    reply = client.post(f"{API}/ask/stream", json=body)
    found = check(document, "POST", f"{API}/ask/stream", reply)
    answer = found[-1]["data"]
    assert '"NaN"' in reply.text
    assert '"Infinity"' in reply.text
    assert any(claim["spread"]["seeds"] == 2 for each in answer["evidence"] for claim in each["claims"])
    assert answer["ladder"]
    assert answer["lecture"] or answer["references"]
    check(document, "GET", f"{API}/entries", client.get(f"{API}/entries"))
    check(document, "GET", f"{API}/experiments", client.get(f"{API}/experiments"))


def test_a_reply_with_a_field_more_or_less_is_seen(client, document):
    """The schemas above can fail: in each of an answer's objects nothing may be added, little left out."""
    body = client.post(f"{API}/ask", json={"question": "数数甲"}).json()
    schema = document["paths"][f"{API}/ask"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    valid(document, schema, body)
    for place in (body, body["entry"], body["matches"][0], body["evidence"][0], body["evidence"][0]["claims"][0],
                  body["evidence"][0]["receipt"], body["context"]):  # fmt: skip
        place["other"] = 1
        with pytest.raises(jsonschema_rs.ValidationError):
            valid(document, schema, body)
        del place["other"]
    for place in (body, body["entry"], body["evidence"][0], body["evidence"][0]["claims"][0]):
        taken = place.popitem()
        with pytest.raises(jsonschema_rs.ValidationError):
            valid(document, schema, body)
        place.update([taken])
    valid(document, schema, body)


def test_nothing_is_described_as_any_object(document):
    """Every object has its fields, or says of what it is a map."""
    vague = []

    def walk(node: object, place: str) -> None:
        if isinstance(node, dict):
            mapped = node.get("additionalProperties") not in (None, True)
            if node.get("type") == "object" and "properties" not in node and not mapped:
                vague.append(place)
            for name, each in node.items():
                walk(each, f"{place}/{name}")
        elif isinstance(node, list):
            for each in node:
                walk(each, place)

    walk(document["components"]["schemas"], "")
    walk(document["paths"], "")
    assert vague == [f"/{name}" for name in MAPS]


def test_every_reference_is_there(document):
    """What a route refers to is among the components, and is referred to."""
    used = {part.partition('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert used == set(document["components"]["schemas"])


def test_every_example_is_read(document):
    """And every request has one."""
    for name, read in READERS.items():
        schema = document["components"]["schemas"][name]
        assert schema["examples"]
        for example in schema["examples"]:
            valid(document, schema, example)
            read(example)


@pytest.mark.parametrize("question", ["数数甲", "zzz qqq", "那呢"])
def test_a_context_can_be_sent_back(client, document, question):
    """As it came, whatever the answer's status."""
    context = client.post(f"{API}/ask", json={"question": question, "run": False}).json()["context"]
    valid(document, document["components"]["schemas"]["AskRequest"], {"question": "x", "context": context})
    assert requests.read_request({"question": "x", "context": context}).context is not None


MANY = [str(name) for name in range(21)]
VALUES = st.sampled_from([
    None, True, 0, 1, 20, 21, -1, 2**63 - 1, 2**63, 0.5, "", "zh", "fr", "Infinity", "x" * 100, "x" * 101, [], [1],
    ["a"], [None], MANY, {}, {"n": 1}, {"n": [1, 2]}, {"n": None}, {"n": MANY}, {"n": {}}, {"x" * 101: 1},
    dict.fromkeys(map(str, range(50)), 1), dict.fromkeys(map(str, range(51)), 1), {"entry": "a"}, {"entry": None},
    {"candidates": ["a"]}, {"candidates": []}, {"entry": "a", "params": {"n": [1, "x"]}, "lang": "en"},
    {"entry": "a", "lang": "fr"}, {"entry": "a", "params": {"n": MANY}}, {"entry": "a", "other": 1},
    "01K0000000000000000000000A", "01K0000000000000000000000é", "x" * 2000, "x" * 2001, "a\0",
])  # fmt: skip
FIELDS = sorted({name for model in (requests.AskRequest, requests.RunRequest, requests.FeedbackRequest)
                 for name in model.model_fields} | {"other"})  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_what_is_allowed_is_what_is_read(document, name):
    """A body is read if and only if OpenAPI allows it: types, limits, what is needed, what is unknown."""
    schema = jsonschema_rs.validator_for(
        {"components": document["components"], **document["components"]["schemas"][name]}
    )
    fields = [field for field in FIELDS if field in document["components"]["schemas"][name]["properties"]]
    sensible = {"AskRequest": {"question": "x"}, "RunRequest": {},
                "FeedbackRequest": {"answer_id": "01K0000000000000000000000A", "helpful": True}}[name]  # fmt: skip
    outcomes = set()

    @given(st.dictionaries(st.sampled_from([*fields, "other"]), VALUES, max_size=2), st.booleans())
    @hypothesis_settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def agree(body: dict, whole: bool) -> None:
        body = (sensible | body) if whole else body
        try:
            READERS[name](body)
            read = True
        except BadRequest as error:
            assert error.zh != error.en
            assert error.field
            read = False
        outcomes.add(read)
        assert schema.is_valid(body) is read, body

    agree()
    assert outcomes == {True, False}


@pytest.mark.parametrize("place", ["params", "compare", "context", "blocks", ""])
def test_many_wrong_names_take_no_time(place):
    """A hundred thousand in one body: an error of each of them would take seconds."""
    many = dict.fromkeys(map(str, range(100_000)))
    began = time.thread_time()
    with pytest.raises(BadRequest):
        requests.read_request({"question": "x", place: many} if place else many)
    assert time.thread_time() - began < 0.2


def test_numbers_that_json_cannot_say_are_words():
    """At any depth; half a character is an escape."""
    row = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": None, "e": 1e-7, "f": 3, "g": True}
    sent = strict(RowJson(id="x", row=row).to_json().decode())
    assert sent["row"] == row | {"a": "Infinity", "b": "-Infinity", "c": "NaN"}
    assert strict(RowJson(id="x", row={"a": "\udc80", "b": math.nan}).to_json().decode()) == {
        "id": "x", "row": {"a": "\udc80", "b": "NaN"},
    }  # fmt: skip


def test_the_terminal_does_not_wait_for_pydantic(cache, tmp_path):
    """Its import takes longer than everything else of a cold start without a run."""
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_KB": str(TOYS / "kb"),
           "NUMSTAB_DEMOS": str(TOYS / "demos")}  # fmt: skip
    code = (
        "import sys; from qa_service.__main__ import main\n"
        f"status = main(['ask', '--no-run', '--entry', 'counting'], {env!r})\n"
        "heavy = {'pydantic', 'pydantic_core', 'fastapi', 'starlette'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
