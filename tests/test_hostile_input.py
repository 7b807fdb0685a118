"""Hostile input to every front: no crash, no 5xx, bounded time, no file access, no injection."""

import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hostile_strings import HOSTILE_BODIES, HOSTILE_STRINGS
from hypothesis import given
from hypothesis import strategies as st

from qa_service import parsing
from qa_service.__main__ import main
from qa_service.app import create_app
from qa_service.errors import BadRequest
from qa_service.experiments.parameters import fill_defaults
from qa_service.parsing.parameters import extract_parameters, single_quantity
from qa_service.schemas import requests
from qa_service.settings import Settings
from qa_service.store import Store

TOYS = Path(__file__).resolve().parent / "toys"
API = "/api/v1"
ALLOWED_STATUSES = {200, 201, 303, 404, 405, 408, 413, 422}
ANSWER = "01K0000000000000000000000A"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The data folder of the service behind `client`."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(new_toy_service, data: Path) -> Iterator[TestClient]:
    """A client of one toy service that all tests share."""
    app = create_app(new_toy_service(), Settings(data=data, cache=data, rate=""))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def assert_no_harm(response, sent: str = "") -> None:
    """No 5xx, no file content, no evaluated template (1337 = 7 · 191), no markup of the input in HTML."""
    assert response.status_code in ALLOWED_STATUSES, (response.status_code, response.text[:300])
    assert "root:x:0" not in response.text
    body = re.sub(r'"request_id":"[0-9a-f]+"|\d+\.\d+', "", response.text)  # these may contain 1337 by chance
    assert "1337" not in body.replace(sent, "")
    if response.headers.get("content-type", "").startswith("text/html"):
        assert "<script>alert" not in response.text
        assert "<img src=x" not in response.text
        assert '" onmouseover="' not in response.text


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", HOSTILE_STRINGS)
def test_hostile_strings_in_the_api(client, name):
    """As question, field name, value, id, reason and language, in the path and in the query."""
    text = HOSTILE_STRINGS[name]
    valid_request = {"question": "counting numbers one", "run": False}
    for body in (
        {"question": text, "run": False},
        {"question": text, "context": {"entry": "counting", "params": {"steps": 3}}, "run": False},
        valid_request | {"params": {"steps": text}},
        valid_request | {"params": {text[:90]: 1}},
        valid_request | {"compare": {"steps": [text]}},
        valid_request | {"compare": [text]},
        valid_request | {"entry": text[:90]},
        valid_request | {"blocks": [text]},
        valid_request | {"lang": text},
        valid_request | {"context": {"entry": text[:90], "params": {text[:90]: text}}},
        valid_request | {text: 1},
    ):
        for route in ("/ask", "/ask/stream"):
            assert_no_harm(client.post(f"{API}{route}", content=json.dumps(body).encode()), text)
    assert_no_harm(
        client.post(f"{API}/experiments/counts/runs", content=json.dumps({"params": {"steps": text}}).encode())
    )
    assert_no_harm(client.post(f"{API}/feedback", content=json.dumps(
        {"answer_id": ANSWER, "helpful": True, "reason": text}).encode()))  # fmt: skip
    encoded = quote(text.encode("utf-8", "surrogatepass"), safe="")
    for path in ("/entries/{}", "/entries/{}/export", "/experiments/{}"):
        assert_no_harm(client.get(API + path.format(encoded[:2000])))
    assert_no_harm(
        client.get(f"{API}/entries/counting/export?form={encoded[:2000]}&seed={encoded[:2000]}&steps={encoded[:2000]}")
    )


@pytest.mark.parametrize("name", HOSTILE_STRINGS)
def test_hostile_strings_in_the_pages(client, name):
    """They are sent in the question, the path and the query; HTML in events contains none of their markup."""
    encoded = quote(HOSTILE_STRINGS[name].encode("utf-8", "surrogatepass"), safe="")[:4000]
    for path in ("/entries/{}", "/e/{}", "/experiments/{}", "/?lang={}", "/entries?lang={}", "/e/counting?steps={}",
                 "/e/counting?seed={}", "/e/counting?{}=1", "/e/counting?block={}", "/experiments/counts?steps={}",
                 "/entries/{}.md", "/static/{}", "/{}", "/assets/{}"):  # fmt: skip
        assert_no_harm(client.get(path.format(encoded)))
    body = {"question": HOSTILE_STRINGS[name], "lang": "en", "run": False}
    response = client.post("/page/ask", content=json.dumps(body).encode())
    assert_no_harm(response, HOSTILE_STRINGS[name])
    for line in response.text.split("\n"):
        if line.startswith("data: "):
            html = "".join(str(value) for key, value in json.loads(line[6:]).items() if key.endswith("html"))
            assert "<script" not in html
            assert "<img" not in html
            assert "javascript:" not in html.replace("[x](javascript:", "")


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_hostile_bodies(client, name):
    """They are sent to every route that takes a body."""
    for route in (f"{API}/ask", f"{API}/ask/stream", f"{API}/experiments/counts/runs", f"{API}/feedback",
                  f"{API}/experiments/counts/runs/stream", "/page/ask", "/page/run"):  # fmt: skip
        assert_no_harm(client.post(route, content=HOSTILE_BODIES[name]))


def test_feedback_is_stored_verbatim(client, data):
    """SQL in it is stored as text."""
    body = {"answer_id": ANSWER, "helpful": False, "reason": HOSTILE_STRINGS["sql"]}
    assert client.post(f"{API}/feedback", json=body).status_code == 201
    with closing(Store(Settings(data=data).store_url)) as store:
        assert store.feedback()[-1] == (ANSWER, False, HOSTILE_STRINGS["sql"])


def test_hostile_strings_and_bodies_in_the_terminal(cache, tmp_path, capsys, monkeypatch):
    """Sent as a batch, as arguments and on standard input, they give one output line each, no traceback, no escape
    sequence.
    """
    env = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
           "NUMSTAB_DATA": str(tmp_path)}  # fmt: skip
    lines = [json.dumps({"q": text, "run": False}).encode() for text in HOSTILE_STRINGS.values()]
    lines += [body.replace(b"\n", b" ").replace(b"\r", b" ") for body in HOSTILE_BODIES.values() if body.strip()]
    file = tmp_path / "batch.jsonl"
    file.write_bytes(b"\n".join(lines))
    assert main(["ask", "--batch", str(file), "--json"], env) in (0, 1, 2, 3)
    out, err = capsys.readouterr()
    assert out.count("\n") == len(lines)
    assert "Traceback" not in out + err
    assert "\x1b]" not in out + err
    for text in HOSTILE_STRINGS.values():
        if "\0" not in text and not text.startswith("\ud800"):  # cannot be a command-line argument
            assert main(["ask", text, "--no-run"], env) in (0, 1, 2, 3)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00\n")))
    assert main(["ask", "--batch", "-", "--json"], env) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "\x1b]0;title" not in out


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize(
    "unit", ["9", "91,", ",999", "1.", "0.9 和 ", "个", "十万", "1/", "learning rate is ", "乘９", "a ", "。", "? ",
             "twenty-", "\u0301", "\ufdfa", "\n9", "9" * 39 + ",", "10^-5 ", "1e9 and ", "multiply 1 ",
             ", 那 ", ". and what ", " 呢", "9, 9"]
)  # fmt: skip
def test_repetitive_questions_are_parsed(unit):
    """1,800 and 100,000 characters that might make regular expressions backtrack; if they did, this test would never
    end.

    To measure how long it takes: `python -m bench hostile`.
    """
    for size in (1_800, 100_000):
        parsing.parse_question((unit * size)[:size] + "x")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELD_NAMES = st.sampled_from(
    ["question", "lang", "params", "compare", "seed", "seeds", "entry", "blocks", "run", "context"]
) | st.text(max_size=8)


@given(JSON_VALUES | st.dictionaries(FIELD_NAMES, JSON_VALUES, max_size=6))
def test_any_json_is_a_request_or_rejected(document):
    for read in (requests.read_request, requests.read_run_request, requests.read_page_run, requests.read_feedback):
        try:
            read(document)
        except BadRequest as error:
            assert error.zh and error.en


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=5))
def test_any_permalink_is_a_request_or_rejected(entry, query):
    try:
        requests.read_query(entry, query)
    except BadRequest as error:
        assert error.field


@given(st.dictionaries(st.sampled_from(["steps", "value", "n"]), JSON_VALUES, max_size=3))
def test_any_parameter_value_is_valid_or_rejected(toy_experiments, values):
    try:
        completed = fill_defaults(toy_experiments["counts"], values)
        assert 1 <= completed["steps"] <= 100000
    except BadRequest as error:
        assert error.field.startswith("params.")


FRAGMENTS = st.sampled_from(
    [
        "9",
        "1.5",
        "e",
        "-",
        "个",
        "连乘",
        "times",
        "learning rate",
        " ",
        ",",
        "和",
        "/",
        "^",
        "x",
        "十",
        "万",
        "twenty",
        ".",
    ]
)


@given(st.lists(FRAGMENTS | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_is_parsed_or_rejected(text):
    try:
        parsed = parsing.parse_question(text)
    except BadRequest:
        return
    assert len(parsed.text) < 4000
    assert single_quantity(text.lower()) is None or isinstance(single_quantity(text.lower()).value, float)
    for value in extract_parameters(text.lower()).values():
        assert isinstance(value, int | float | str | bool | tuple)
