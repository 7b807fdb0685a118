"""What is sent on purpose: no front crashes or answers 5xx, nothing takes long, is read from disk or injected."""

import io
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hostile_strings import BODIES, PIECES
from hypothesis import given
from hypothesis import strategies as st

from qa_service import parsing as reading
from qa_service.__main__ import main
from qa_service.app import create_app
from qa_service.errors import BadRequest
from qa_service.experiments.parameters import fill_defaults
from qa_service.parsing.parameters import extract_parameters, single_number
from qa_service.schemas import requests as incoming
from qa_service.settings import Settings
from qa_service.store import Store

TOYS = Path(__file__).resolve().parent / "toys"
API = "/api/v1"
FINE = {200, 201, 303, 404, 405, 408, 413, 422}
ANSWER = "01K0000000000000000000000A"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Where the client's service keeps what it is told."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(new_toy_service, data: Path) -> Iterator[TestClient]:
    """One service that bears all of it."""
    app = create_app(new_toy_service(), Settings(data=data, cache=data, rate=""))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def sane(reply, piece: str = "") -> None:
    """No fault of ours, nothing read from the disk, no template evaluated, no markup of the reader's."""
    assert reply.status_code in FINE, (reply.status_code, reply.text[:300])
    assert "root:x:0" not in reply.text
    said = re.sub(r'"request_id":"[0-9a-f]+"', "", reply.text)  # drawn by lot, and may hold any digits
    assert "1337" not in said.replace(piece, "")
    if reply.headers.get("content-type", "").startswith("text/html"):
        assert "<script>alert" not in reply.text
        assert "<img src=x" not in reply.text
        assert '" onmouseover="' not in reply.text


@pytest.mark.parametrize("name", PIECES)
def test_a_string_anywhere_in_the_api(client, name):
    """As a question, a name, a value, an id, a reason, a language, in the path and in the query."""
    piece = PIECES[name]
    asked = {"question": "counting numbers one", "run": False}
    for body in (
        {"question": piece, "run": False},
        {"question": piece, "context": {"entry": "counting", "params": {"steps": 3}}, "run": False},
        asked | {"params": {"steps": piece}},
        asked | {"params": {piece[:90]: 1}},
        asked | {"compare": {"steps": [piece]}},
        asked | {"compare": [piece]},
        asked | {"entry": piece[:90]},
        asked | {"blocks": [piece]},
        asked | {"lang": piece},
        asked | {"context": {"entry": piece[:90], "params": {piece[:90]: piece}}},
        asked | {piece: 1},
    ):
        for route in ("/ask", "/ask/stream"):
            sane(client.post(f"{API}{route}", content=json.dumps(body).encode()), piece)
    sane(client.post(f"{API}/experiments/counts/runs", content=json.dumps({"params": {"steps": piece}}).encode()))
    sane(client.post(f"{API}/feedback", content=json.dumps(
        {"answer_id": ANSWER, "helpful": True, "reason": piece}).encode()))  # fmt: skip
    spelled = quote(piece.encode("utf-8", "surrogatepass"), safe="")
    for path in ("/entries/{}", "/entries/{}/export", "/experiments/{}"):
        sane(client.get(API + path.format(spelled[:2000])))
    sane(
        client.get(f"{API}/entries/counting/export?form={spelled[:2000]}&seed={spelled[:2000]}&steps={spelled[:2000]}")
    )


@pytest.mark.parametrize("name", PIECES)
def test_a_string_anywhere_in_the_page(client, name):
    """In the question, the address and the query; whatever is shown of it is text."""
    spelled = quote(PIECES[name].encode("utf-8", "surrogatepass"), safe="")[:4000]
    for path in ("/entries/{}", "/e/{}", "/experiments/{}", "/?lang={}", "/entries?lang={}", "/e/counting?steps={}",
                 "/e/counting?seed={}", "/e/counting?{}=1", "/e/counting?block={}", "/experiments/counts?steps={}",
                 "/entries/{}.md", "/static/{}", "/{}", "/assets/{}"):  # fmt: skip
        sane(client.get(path.format(spelled)))
    asked = {"question": PIECES[name], "lang": "en", "run": False}
    reply = client.post("/page/ask", content=json.dumps(asked).encode())
    sane(reply, PIECES[name])
    for line in reply.text.split("\n"):
        if line.startswith("data: "):
            html = "".join(str(value) for key, value in json.loads(line[6:]).items() if key.endswith("html"))
            assert "<script" not in html
            assert "<img" not in html
            assert "javascript:" not in html.replace("[x](javascript:", "")


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none(client, name):
    """To every route that takes one."""
    for route in (f"{API}/ask", f"{API}/ask/stream", f"{API}/experiments/counts/runs", f"{API}/feedback",
                  f"{API}/experiments/counts/runs/stream", "/page/ask", "/page/run"):  # fmt: skip
        began = time.thread_time()
        sane(client.post(route, content=BODIES[name]))
        assert time.thread_time() - began < 5


def test_feedback_is_kept_as_it_was_said(client, data):
    """SQL in it is text."""
    body = {"answer_id": ANSWER, "helpful": False, "reason": PIECES["sql"]}
    assert client.post(f"{API}/feedback", json=body).status_code == 201
    with closing(Store(Settings(data=data).store_url)) as store:
        assert store.feedback()[-1] == (ANSWER, False, PIECES["sql"])


def test_strings_and_bodies_at_the_terminal(cache, tmp_path, capsys, monkeypatch):
    """A batch of all of them, by file and by standard input: a line out for each, no traceback, no escape sequence."""
    env = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
           "NUMSTAB_DATA": str(tmp_path)}  # fmt: skip
    lines = [json.dumps({"q": piece, "run": False}).encode() for piece in PIECES.values()]
    lines += [body.replace(b"\n", b" ").replace(b"\r", b" ") for body in BODIES.values() if body.strip()]
    file = tmp_path / "batch.jsonl"
    file.write_bytes(b"\n".join(lines))
    assert main(["ask", "--batch", str(file), "--json"], env) in (0, 1, 2, 3)
    out, err = capsys.readouterr()
    assert out.count("\n") == len(lines)
    assert "Traceback" not in out + err
    assert "\x1b]" not in out + err
    for piece in PIECES.values():
        if "\0" not in piece and not piece.startswith("\ud800"):  # no shell can pass these
            assert main(["ask", piece, "--no-run"], env) in (0, 1, 2, 3)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00\n")))
    assert main(["ask", "--batch", "-", "--json"], env) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "\x1b]0;title" not in out


@pytest.mark.parametrize(
    "unit", ["9", "91,", ",999", "1.", "0.9 和 ", "个", "十万", "1/", "learning rate is ", "乘９", "a ", "。", "? ",
             "twenty-", "\u0301", "\ufdfa", "\n9", "9" * 39 + ",", "10^-5 ", "1e9 and ", "multiply 1 ",
             ", 那 ", ". and what ", " 呢", "9, 9"]
)  # fmt: skip
def test_reading_takes_no_time_without_end(unit):
    """1,800 and 100,000 characters that a careless pattern would try in every way: two seconds on any machine."""
    for size in (1_800, 100_000):
        began = time.thread_time()
        reading.parse_question((unit * size)[:size] + "x")
        assert time.thread_time() - began < 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["question", "lang", "params", "compare", "seed", "seeds", "entry", "blocks", "run", "context"]
) | st.text(max_size=8)


@given(VALUES | st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_json_is_a_request_or_a_bad_request(data):
    for read in (incoming.read_request, incoming.read_run):
        try:
            read(data)
        except BadRequest as error:
            assert error.zh and error.en


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=5))
def test_any_link_is_a_request_or_a_bad_request(entry, query):
    try:
        incoming.read_query(entry, query)
    except BadRequest as error:
        assert error.field


@given(st.dictionaries(st.sampled_from(["steps", "value", "n"]), VALUES, max_size=3))
def test_any_value_is_allowed_or_refused(toy_experiments, values):
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
def test_any_text_is_read_or_refused(text):
    try:
        read = reading.parse_question(text)
    except BadRequest:
        return
    assert len(read.text) < 4000
    for value in (*extract_parameters(text.lower()).values(), single_number(text.lower())):
        assert isinstance(value, int | float | str | bool | tuple | None)
