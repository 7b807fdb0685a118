"""Shipped entries through the OpenAI-compatible endpoint: every number that is sent was measured, and none is
missing.
"""

import json
import re

import pytest
from fastapi.testclient import TestClient

from qa_service.app import create_app
from qa_service.model import PLACEHOLDER, RunStatus
from qa_service.presentation import prose
from qa_service.settings import Settings

ENTRIES = (
    "multiply-vs-add", "nan-and-inf", "gradients-explode", "exploding-gradients", "float16-precision", "best-init",
    "loss-nan-after-a-while", "overflow-step-of-a-product", "sums-stall-in-float16", "residual-jacobian-is-a-product",
)  # fmt: skip
"""Entries, each asked in both languages by one of its own phrasings."""
WAITING = ("…", "[[", "]]", "not measured", "没有测得", "being measured", "还在测")


@pytest.fixture(scope="module")
def client(service, settings):
    app = create_app(service, Settings(data=settings.data, cache=settings.cache, rate=""))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def _streamed(client: TestClient, question: str) -> str:
    body = {"model": "numstab", "stream": True, "messages": [{"role": "user", "content": question}]}
    lines = client.post("/v1/chat/completions", json=body).text.splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert "error" not in chunks[-1]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(
    "entry_id", [*ENTRIES[:3], *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ENTRIES[3:])]
)
def test_what_is_sent_has_the_measured_numbers(client, service, entry_id, lang):
    """The short answer, what to do and how to tell are the entry's texts with the values of the same runs."""
    asked = service.knowledge.library[entry_id]
    body = {"question": asked.question[lang], "lang": lang, "brief": True}
    answer = client.post("/api/v1/ask", json=body).json()
    assert answer["entry"]["id"] == entry_id
    assert {one["status"] for one in answer["evidence"]} == {RunStatus.RAN.value}
    text = _streamed(client, asked.question[lang])
    assert not [word for word in WAITING if word in text and word not in asked.text(lang)]
    assert f"**{answer['parts']['short']}**" in text
    if answer["parts"]["do"]:
        assert answer["parts"]["do"].strip() in text
    for row in answer["parts"]["tell"]:
        assert row["see"] in text
        assert row["means"] in text
    proof = answer["evidence"][0]
    for claim in proof["claims"]:
        if claim["verdict"] == "holds" and claim["says"] in text:
            assert f"`{claim['metric']}` = " in text


def test_every_entry_has_a_first_screen_whose_numbers_come(service):
    """Each number quoted in these parts belongs to a block that a brief answer runs."""
    for entry in service.knowledge.library.values():
        run = {block.id for block in entry.quoted_blocks(("short", "do", "tell"))}
        texts = [entry.part(part, lang) for part in ("short", "do", "tell") for lang in ("zh", "en")]
        assert {found[1] for text in texts for found in PLACEHOLDER.finditer(text)} <= run


@pytest.mark.parametrize(
    ("question", "value"),
    [("float16 里 60000 + 8 等于几", "60000"), ("what is log(1+exp(100)) in float32?", "inf")],
)
def test_formulas_are_computed(client, question, value):
    text = _streamed(client, question)
    assert value in text
    assert "](http://localhost/formula?expression=" in text
    assert not re.search("…|being computed|还在算", text)


def test_signs_of_a_question_single_out_a_row(client):
    """The row that the question's signs single out is said at once, with its link."""
    text = _streamed(client, "loss 第一步就是 nan，输入里有 nan")
    assert prose.NOT_MEASURED_YET not in text
    assert "](http://localhost/entries/" in text
