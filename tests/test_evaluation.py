"""`numstab eval`: its figures against counts by hand, and the rule that what measures us never trains us."""

import difflib
import json
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest

from qa_service.errors import BadField
from qa_service.model import LANGS, AnswerStatus
from qa_service.parsing import normalise
from qa_service.retrieval.embedder import DEFAULT_ENCODER, l2_normalise, load_embedder
from qa_service.tools.evaluation import (
    EvaluatedQuestion,
    LabelledQuestion,
    evaluation_report,
    parse_labelled_question,
    retrieval_metrics,
)

MEASURING = sorted((Path(__file__).resolve().parents[2] / "shared" / "eval").glob("*.jsonl"))
_SHORTEST, _TOO_ALIKE, _TOO_NEAR = 8, 0.8, 0.86


def outcome(kind, items, found, confidence, *, answered=True, params=None, read=None, lang="en"):
    """One labelled line with the answer it got."""
    line = LabelledQuestion(turns=("q",), lang=lang, kind=kind, items=items, params=params or {}, file="f")
    matches = [SimpleNamespace(entry=SimpleNamespace(item=item)) for item in found]
    status = AnswerStatus.ANSWERED if answered else AnswerStatus.NOT_COVERED
    answer = SimpleNamespace(matches=matches, status=status, confidence=confidence, params=read or {})
    return EvaluatedQuestion(question=line, answer=answer, seconds=0.25)


OUTCOMES = [
    outcome("in", (1, 4), (4, 1, 2), 0.9, lang="zh"),
    outcome("in", (2,), (3, 2, 1), 0.8),
    outcome("in", (3,), (1, 2, 4), 0.3, answered=False, params={"n": 5}, read={"n": 5, "x": 2}),
    outcome("in", (5,), (5, 1, 2), 0.4, answered=False, params={"init": ["a", "b"]}, read={"init": ("a", "b")}),
    outcome("near", (), (1, 2, 3), 0.35, answered=False),
    outcome("near", (), (1, 2, 3), 0.6, params={"n": 5}, read={"n": 6}),
    outcome("out", (), (1, 2, 3), 0.1, answered=False),
]


def test_figures_are_what_one_counts_by_hand():
    """Every figure of the promise, over lines whose result is plain to see."""
    found = retrieval_metrics(OUTCOMES)
    assert found["n"] == 7
    assert found["hit1"] == 2 / 4
    assert found["hit3"] == 3 / 4
    assert found["answered_right"] == 1 / 4
    assert found["answered_wrong"] == 1 / 4
    assert found["false_answers"] == 1 / 3
    assert found["params_right"] == 2 / 3
    assert found["auroc_near"] == (2 + 2 + 0 + 1) / 8
    assert found["auroc_out"] == 1.0
    assert found["ms_per_question"] == 250.0
    for name, (low, high) in found["intervals"].items():
        assert 0 <= low <= found[name] <= high <= 1, name


def test_wilson_interval_of_a_textbook_example():
    """8 of 10: 0.490 to 0.943 (Wilson 1927; Agresti & Coull 1998, table 1)."""
    ten = [outcome("in", (1,), (1 if at < 8 else 2,), 0.5) for at in range(10)]
    assert retrieval_metrics(ten)["intervals"]["hit1"] == pytest.approx([0.4902, 0.9433], abs=1e-3)


def test_parts_are_by_language_item_and_file():
    """The whole and its parts agree, and nothing that no line can give is invented."""
    found = evaluation_report(OUTCOMES)
    assert found["by_lang"]["zh"] == {"n": 1, "hit1": 1.0, "hit3": 1.0}
    assert found["by_item"]["2"]["hit1"] == 0.0
    assert found["by_file"]["f"]["n"] == 7
    assert retrieval_metrics(OUTCOMES[:1])["auroc_near"] is None
    assert retrieval_metrics([])["hit1"] is None


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{}", '{"q": 3}', '{"turns": []}', '{"q": "a", "kind": "maybe"}', '{"q": "a", "kind": "in"}',
     '{"q": "a", "kind": "out", "items": [1]}', '{"q": "a", "kind": "near", "params": 1}'],
)  # fmt: skip
def test_a_line_that_is_no_label_is_named(line):
    """File and line in both languages."""
    with pytest.raises(BadField, match="f:3") as raised:
        parse_labelled_question(line, "f:3")
    assert "f:3" in raised.value["zh"]


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).lower())


def _alike(one: str, other: str) -> bool:
    if min(len(one), len(other)) < 0.7 * max(len(one), len(other)):
        return one == other
    matcher = difflib.SequenceMatcher(None, one, other)
    return matcher.quick_ratio() > _TOO_ALIKE and matcher.ratio() > _TOO_ALIKE


@pytest.mark.skipif(not MEASURING, reason="the labelled questions lie beside a developer's checkout only")
@pytest.mark.exhaustive  # encodes every labelled question
def test_no_question_that_measures_us_trains_us(service):
    """No phrasing is a measuring line or a near copy: by its letters, and by its meaning."""
    lines = [json.loads(line) for path in MEASURING for line in path.read_text("utf-8").splitlines()]
    asked = [turn for line in lines for turn in line.get("turns", [line.get("q")]) if len(turn) >= _SHORTEST]
    owners = [*service.knowledge.library.values(), *service.knowledge.library.subjects]
    phrasings = [each for owner in owners for words in owner.phrasings.values() for each in words]
    bare = [_bare(turn) for turn in asked]
    copies = [phrasing for phrasing in phrasings if any(_alike(_bare(phrasing), turn) for turn in bare)]
    own = {  # the source's own questions are what others are measured by
        normalise(text[lang])
        for entry in service.knowledge.library.values()
        for text in (entry.question, entry.lecture and entry.lecture.question)
        for lang in LANGS
        if text
    }
    corpus = service.knowledge.matcher.corpus
    nearness = (
        corpus.vectors
        @ l2_normalise(load_embedder(DEFAULT_ENCODER).encode_query([normalise(turn) for turn in asked])).T
    ).max(axis=1)
    near = [text for text, each in zip(corpus.texts, nearness, strict=True) if each > _TOO_NEAR and text not in own]
    assert [copies, near] == [[], []]
