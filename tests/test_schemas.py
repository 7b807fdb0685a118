"""Bodies of every route and event are validated against their OpenAPI description, which allows no other fields."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from checking import check_each
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.errors import BadField, BadRequest
from qa_service.model.events import AnswerReady, Queued
from qa_service.schemas import requests
from qa_service.schemas.events import RowJson
from qa_service.schemas.formula import FormulaBody, read_formula_request
from qa_service.settings import Settings

API = "/api/v1"
TOYS = Path(__file__).resolve().parent / "toys"
REQUESTS = [
    ("POST", f"{API}/diagnose", {}, {"text": "step: 1 loss: 2.3\nstep: 2 loss: nan", "run": False}, 200),
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
    ("POST", f"{API}/formula", {}, {"expression": "1+1"}, 404),
    ("POST", f"{API}/formula", {}, {"expression": "1+"}, 422),
    ("GET", "/livez", {}, None, 200),
]  # fmt: skip
MEASURED_ELSEWHERE = {("POST", f"{API}/formula")}
"""The toys have no such experiment: test_formula_study has the response."""
NOT_JSON = {("GET", f"{API}/entries/{{entry_id}}/export"), ("GET", "/metrics")}
PARSERS: dict[str, Callable[[object], object]] = {
    "AskRequest": requests.read_request,
    "RunRequest": requests.read_run_request,
    "FeedbackRequest": requests.read_feedback,
    "FormulaBody": read_formula_request,
}
EXTERNAL_OBJECTS = {"JsonObject"}
"""Objects that another specification describes."""


@contextmanager
def client_of(service: Service, folder: Path) -> Iterator[TestClient]:
    """A client of an application made of this service, whose data is in this folder."""
    app = create_app(service, Settings(data=folder / "data", cache=folder, rate=""))
    with TestClient(
        app, raise_server_exceptions=False, client=("127.0.0.1", 5000), base_url="http://localhost"
    ) as client:
        yield client


@pytest.fixture(scope="module")
def client(new_toy_service: Callable[[], Service], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a toy service that no test modifies."""
    with client_of(new_toy_service(), tmp_path_factory.mktemp("schemas")) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict:
    """The served OpenAPI description."""
    return client.get("/openapi.json").json()


def validate(document: dict, schema: dict, value: object) -> None:
    """Raises ValidationError where a value does not match a schema of the document."""
    validator_of(document, schema).validate(value)


def validator_of(document: dict, schema: dict) -> Any:
    """A validator for a schema of the document, kept for later, as making it takes much longer than using it."""
    return jsonschema_rs.validator_for({"components": document["components"], **schema})


def parse_strict_json(text: str) -> object:
    """Parses standard JSON: the bare words NaN and Infinity are errors."""

    def reject(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=reject)


def parse_events(text: str) -> list[dict]:
    """Server-sent events, converted to the form in which the document describes them."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [{"event": name[7:], "data": parse_strict_json(data[6:])} for name, data in blocks]


def check_response(document: dict, method: str, path: str, response) -> list[dict]:
    """Validates a response against its route, status and media type in the document; returns its bodies."""
    content = document["paths"][path][method.lower()]["responses"][str(response.status_code)]["content"]
    media_type = response.headers["content-type"].partition(";")[0]
    bodies, schema = (
        (parse_events(response.text), content[media_type]["itemSchema"])
        if media_type == "text/event-stream"
        else ([parse_strict_json(response.text)], content[media_type]["schema"])
    )
    assert bodies
    validator = validator_of(document, schema)
    for body in bodies:
        validator.validate(body)
    return bodies


def test_every_route_responds_as_described(client, document):
    """Requests cover answers, streams, lists, runs of every status and problems, on every route with JSON."""
    covered = set()
    event_names = set()
    for method, path, path_params, body, status in REQUESTS:
        response = client.request(method, path.format(**path_params), json=body)
        assert response.status_code == status, (path, body, response.text)
        bodies = check_response(document, method, path, response)
        event_names |= {each["event"] for each in bodies if isinstance(each, dict) and "event" in each}
        if status < 400:
            covered.add((method, path))
    check_response(document, "GET", "/readyz", client.get("/readyz"))
    described = {(method.upper(), path) for path, routes in document["paths"].items() for method in routes}
    assert described == covered | NOT_JSON | MEASURED_ELSEWHERE | {("GET", "/readyz")}
    assert event_names == {"answer", "started", "row", "evidence", "done"}


def test_queueing_and_errors_in_a_stream_are_described(document, toy_service, tmp_path, monkeypatch):
    """A run is queued, and an error occurs after the stream has begun."""
    answer = toy_service.ask(requests.read_request({"question": "数数甲"}))

    def failing_stream(*_: object) -> Iterator[object]:
        yield AnswerReady(answer)
        yield Queued("counting", 2)
        raise ZeroDivisionError

    monkeypatch.setattr(toy_service, "stream", failing_stream)
    with client_of(toy_service, tmp_path) as client:
        response = client.post(f"{API}/ask/stream", json={"question": "数数甲"})
    events = check_response(document, "POST", f"{API}/ask/stream", response)
    assert [each["event"] for each in events] == ["answer", "queued", "error"]
    assert events[1]["data"] == {"id": "counting", "before": 2}


def test_an_answer_with_all_fields_is_described(service, settings, document):
    """The answer compares dtypes over several seeds, with rows and claims that contain nan and inf."""
    client = TestClient(create_app(service, settings), client=("127.0.0.1", 5000), base_url="http://localhost")
    body = {"entry": "inf-turns-into-nan", "compare": {"dtype": ["float64", "float16"]}, "seeds": 2, "lang": "zh"}
    response = client.post(f"{API}/ask/stream", json=body)
    events = check_response(document, "POST", f"{API}/ask/stream", response)
    answer = events[-1]["data"]
    assert '"NaN"' in response.text
    assert '"Infinity"' in response.text
    assert any(claim["spread"]["seeds"] == 2 for each in answer["evidence"] for claim in each["claims"])
    assert answer["ladder"]
    assert answer["lecture"] or answer["references"]
    check_response(document, "GET", f"{API}/entries", client.get(f"{API}/entries"))
    check_response(document, "GET", f"{API}/experiments", client.get(f"{API}/experiments"))


def test_added_and_missing_fields_are_invalid(client, document):
    """Adding or removing a field in any object of an answer makes the validation fail, so it is not vacuous."""
    body = client.post(f"{API}/ask", json={"question": "数数甲"}).json()
    schema = document["paths"][f"{API}/ask"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    validate(document, schema, body)
    for obj in (body, body["entry"], body["matches"][0], body["evidence"][0], body["evidence"][0]["claims"][0],
                  body["evidence"][0]["receipt"], body["context"]):  # fmt: skip
        obj["other"] = 1
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(document, schema, body)
        del obj["other"]
    for obj in (body, body["entry"], body["evidence"][0], body["evidence"][0]["claims"][0]):
        removed = obj.popitem()
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(document, schema, body)
        obj.update([removed])
    validate(document, schema, body)


def test_no_schema_allows_any_object(document):
    """Every object has described properties, or a schema for its values."""
    undescribed = []

    def visit(node: object, path: str) -> None:
        if isinstance(node, dict):
            mapped = node.get("additionalProperties") not in (None, True)
            if node.get("type") == "object" and "properties" not in node and not mapped:
                undescribed.append(path)
            for name, each in node.items():
                visit(each, f"{path}/{name}")
        elif isinstance(node, list):
            for each in node:
                visit(each, path)

    visit(document["components"]["schemas"], "")
    visit(document["paths"], "")
    assert undescribed == [f"/{name}" for name in EXTERNAL_OBJECTS]


def test_components_and_references_match(document):
    """Every referenced schema exists, and every schema is referenced."""
    referenced = {part.partition('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert referenced == set(document["components"]["schemas"])


def test_every_request_has_valid_examples(document):
    """The schema and the parser accept every example."""
    for name, parse in PARSERS.items():
        schema = document["components"]["schemas"][name]
        assert schema["examples"]
        for example in schema["examples"]:
            validate(document, schema, example)
            parse(example)


@pytest.mark.parametrize("question", ["数数甲", "zzz qqq", "那呢"])
def test_a_context_can_be_sent_back(client, document, question):
    """The context in an answer of any status is accepted unchanged by the next request."""
    context = client.post(f"{API}/ask", json={"question": question, "run": False}).json()["context"]
    validate(document, document["components"]["schemas"]["AskRequest"], {"question": "x", "context": context})
    assert requests.read_request({"question": "x", "context": context}).context is not None


def test_an_error_in_the_candidates_of_a_context_asks_for_entries():
    """The message does not ask for evidence blocks, though their ids form a list of the same type."""
    with pytest.raises(BadField) as rejected:
        requests.read_request({"question": "x", "context": {"candidates": [1]}})
    assert rejected.value.field == "context.candidates"
    assert "ids of entries" in rejected.value.en
    assert "词条" in rejected.value.zh


MANY_NAMES = [str(name) for name in range(21)]
VALUES = [
    None, True, 0, 1, 20, 21, -1, 2**63 - 1, 2**63, 0.5, "", "zh", "fr", "Infinity", "x" * 100, "x" * 101, [], [1],
    ["a"], [None], MANY_NAMES, {}, {"n": 1}, {"n": [1, 2]}, {"n": None}, {"n": MANY_NAMES}, {"n": {}}, {"x" * 101: 1},
    dict.fromkeys(map(str, range(50)), 1), dict.fromkeys(map(str, range(51)), 1), {"entry": "a"}, {"entry": None},
    {"candidates": ["a"]}, {"candidates": []}, {"entry": "a", "params": {"n": [1, "x"]}, "lang": "en"},
    {"entry": "a", "lang": "fr"}, {"entry": "a", "params": {"n": MANY_NAMES}}, {"entry": "a", "other": 1},
    "01K0000000000000000000000A", "01K0000000000000000000000é", "x" * 2000, "x" * 2001, "a\0",
]  # fmt: skip
FIELDS = sorted({name for model in (requests.AskRequest, requests.RunRequest, requests.FeedbackRequest, FormulaBody)
                 for name in model.model_fields} | {"other"})  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_requests_are_accepted_if_and_only_if_openapi_allows_them(document, name):
    """The parser and the schema check types, limits, required fields and unknown fields alike."""
    schema = jsonschema_rs.validator_for(
        {"components": document["components"], **document["components"]["schemas"][name]}
    )
    fields = [field for field in FIELDS if field in document["components"]["schemas"][name]["properties"]]
    required = {"AskRequest": {"question": "x"}, "RunRequest": {},
                "FeedbackRequest": {"answer_id": "01K0000000000000000000000A", "helpful": True},
                "FormulaBody": {"expression": "x"}}[name]  # fmt: skip
    outcomes = set()

    def agree(body: dict) -> None:
        try:
            PARSERS[name](body)
            accepted = True
        except BadRequest as error:
            assert error.zh != error.en
            assert error.field
            accepted = False
        outcomes.add(accepted)
        assert schema.is_valid(body) is accepted, body

    single = [{}, *({field: value} for field in (*fields, "other") for value in VALUES)]
    check_each(agree, (body for one in single for body in (one, required | one)))
    assert outcomes == {True, False}

    @given(st.dictionaries(st.sampled_from([*fields, "other"]), st.sampled_from(VALUES), min_size=2, max_size=2))
    def pairs_agree(pair: dict) -> None:
        agree(required | pair)

    pairs_agree()


@pytest.mark.parametrize("field", ["params", "compare", "context", "blocks", ""])
def test_of_many_unknown_names_one_is_reported(field):
    """A message for each of 100,000 names would take seconds."""
    many = dict.fromkeys(map(str, range(100_000)))
    with pytest.raises(BadRequest) as refused:
        requests.read_request({"question": "x", field: many} if field else many)
    assert refused.value.field == (field or "0")
    assert len(str(refused.value)) < 300


def test_nonfinite_numbers_are_sent_as_strings():
    """Strings replace them at any depth; a lone surrogate is sent as an escape."""
    row = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": None, "e": 1e-7, "f": 3, "g": True}
    parsed = parse_strict_json(RowJson(id="x", row=row).to_json().decode())
    assert parsed["row"] == row | {"a": "Infinity", "b": "-Infinity", "c": "NaN"}
    assert parse_strict_json(RowJson(id="x", row={"a": "\udc80", "b": math.nan}).to_json().decode()) == {
        "id": "x", "row": {"a": "\udc80", "b": "NaN"},
    }  # fmt: skip


def test_the_terminal_does_not_import_pydantic(cache, tmp_path):
    """Its import takes longer than the rest of a cold start without a run."""
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
