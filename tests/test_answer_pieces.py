"""An answer's JSON assembled from pieces equals its schema's bytes; the entry's text is serialised and compressed only
once.
"""

import gzip
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from qa_service.app import create_app
from qa_service.model import Answer, Distinction, Observation, Request, Sign, Text
from qa_service.schemas.answers import AnswerPieces, answer_json, answer_pieces
from qa_service.server.responses import AnswerResponse
from qa_service.settings import Settings

ENTRIES = ("counting", "hanging", "raising")
QUESTIONS = (
    "counting numbers one",
    "数数甲",
    "counting with lr = inf, loss is nan in float16",
    "“quotes” \\ and 引号 ½",
)


NAN, LATER, AMP = Sign("what", "nan"), Sign("when", "later"), Sign("in", "amp")
ROWS = (
    Distinction(see=Text("甲", "one is seen"), means=Text("乙", "it is this"), entry=None, signs=(NAN, LATER)),
    Distinction(see=Text("丙", "two is seen"), means=Text("丁", "it is that"), entry="raising", excluded_by=(NAN,)),
)


@pytest.fixture
def told_apart(toy_service) -> Answer:
    """An answer by an entry with rows, of which the signs in the question can single one out."""
    answer = toy_service.ask(Request(question="anything", entry="counting", run=False))
    return replace(answer, entry=replace(answer.entry, tell=ROWS))


def answers(service, question: str):
    """Answers that name each entry, and one for which the entry was found by the question."""
    requests = [Request(question=question, run=False)]
    requests += [Request(question=question, entry=entry, run=False) for entry in ENTRIES]
    return [service.ask(request) for request in requests]


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_pieces_are_the_bytes_of_the_schema(toy_service, question, brief):
    """Tested in both languages, with and without the folded parts, and with different previous questions."""
    for answer in answers(toy_service, question) * 2:
        for one in (answer, replace(answer, lang="zh"), replace(answer, lang="en")):
            pieces = answer_pieces(one, brief=brief)
            expected = answer_json(one, brief=brief).to_json()
            if one.entry is None:
                assert pieces is None
                continue
            assert pieces.join() == expected
            assert gzip.decompress(AnswerResponse(pieces, gzip=True).body) == expected


def test_observations_that_tell_rows_apart_are_in_the_text(told_apart):
    """Each set of signs has a cached text of its own, which contains no fragment of the question."""
    texts = set()
    for signs in ((), (NAN,), (NAN, LATER)):
        for fragment in ("one", "other"):
            seen = replace(told_apart, observations=tuple(Observation(sign=each, text=fragment) for each in signs))
            pieces = answer_pieces(seen)
            assert pieces.join() == answer_json(seen).to_json()
            texts.add(pieces.text)
    assert len(texts) == 3


def test_a_sign_about_which_the_entry_says_nothing_shares_the_text(told_apart):
    seen = replace(told_apart, observations=(Observation(sign=AMP, text="words"),))
    assert answer_pieces(seen).text is answer_pieces(told_apart).text


def test_another_reading_of_an_entry_has_its_own_text(told_apart):
    """After a reload, an entry with the same id may have another content, and then another text."""
    before = answer_pieces(told_apart).text
    changed = replace(told_apart, entry=replace(told_apart.entry, tell=ROWS[:1]))
    assert answer_pieces(changed).join() == answer_json(changed).to_json()
    assert answer_pieces(changed).text != before


def test_an_answer_with_evidence_has_no_pieces(toy_service):
    assert answer_pieces(toy_service.answer(Request(question="counting numbers one"))) is None


def test_an_answer_is_compressed_for_who_takes_it(toy_service):
    """The response has `Vary: Accept-Encoding`."""
    body = {"question": "counting numbers one", "run": False}
    with TestClient(create_app(toy_service, Settings.from_env({}))) as client:
        packed = client.post("/api/v1/ask", json=body, headers={"Accept-Encoding": "gzip"})
        plain = client.post("/api/v1/ask", json=body, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert {**packed.json(), "id": ""} == {**plain.json(), "id": ""}


def test_whatever_is_compressed_is_read_back():
    """Pieces may be empty, or longer than the compressor's window."""
    for long in (0, 1, 5_000, 200_000):
        pieces = AnswerPieces(bytes(range(256)) * (long // 256 + 1), b"text" * long, b"after" * long)
        assert gzip.decompress(AnswerResponse(pieces, gzip=True).body) == pieces.join()
