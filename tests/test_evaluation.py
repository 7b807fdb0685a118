"""`numstab eval`: its metrics against values counted by hand; evaluation questions are never training data."""

import difflib
import json
import math
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checking import each_case

from qa_service.errors import BadField
from qa_service.model import LANGS, AnswerStatus
from qa_service.parsing import normalise
from qa_service.retrieval.embedder import l2_normalise
from qa_service.retrieval.training import LeaveOneOut
from qa_service.tools.evaluation import (
    EvaluatedQuestion,
    LabelledQuestion,
    evaluation_report,
    left_out_report,
    parse_labelled_question,
    retrieval_metrics,
)

EVALUATION_FILES = sorted((Path(__file__).resolve().parents[2] / "shared" / "eval").glob("*.jsonl"))
_MIN_LENGTH, _MAX_TEXT_SIMILARITY, _MAX_COSINE = 8, 0.8, 0.86


def outcome(kind, items, found, confidence, *, answered=True, params=None, read=None, lang="en", entries=()):
    """A labelled question with its answer. The entry of item 1 is "source-1"; entries of other items expand it."""
    line = LabelledQuestion(
        turns=("q",), lang=lang, kind=kind, items=items, entries=entries, params=params or {}, file="f"
    )
    matches = [
        SimpleNamespace(entry=SimpleNamespace(item=1, id="source-1", expands=None))
        if item == 1
        else SimpleNamespace(entry=SimpleNamespace(item=item, id=f"entry-{item}", expands="source-1"))
        for item in found
    ]
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


def test_metrics_equal_counts_by_hand():
    metrics = retrieval_metrics(OUTCOMES)
    assert metrics["n"] == 7
    assert metrics["hit1"] == 2 / 4
    assert metrics["hit3"] == 3 / 4
    assert metrics["answered_right"] == 1 / 4
    assert metrics["answered_wrong"] == 1 / 4
    assert metrics["false_answers"] == 1 / 3
    assert metrics["params_right"] == 2 / 3
    assert metrics["auroc_near"] == (2 + 2 + 0 + 1) / 8
    assert metrics["auroc_out"] == 1.0
    assert metrics["ms_per_question"] == 250.0
    assert metrics["entry1"] is metrics["intervals"]["entry1"] is None
    for name, (low, high) in ((name, each) for name, each in metrics["intervals"].items() if each):
        assert 0 <= low <= metrics[name] <= high <= 1, name


def test_entry_metrics_count_the_questions_that_name_entries():
    """The best match, the best three, and the share of source entries among the answers to covered questions."""
    outcomes = [
        *OUTCOMES,
        outcome("in", (1,), (1, 2, 3), 0.9, entries=("source-1",)),
        outcome("in", (1,), (1, 2, 3), 0.9, entries=("entry-3", "entry-9")),
        outcome("in", (4,), (4, 2, 3, 5), 0.9, entries=("entry-5",)),
        outcome("in", (1,), (1, 2, 3), 0.2, entries=("entry-1",), answered=False),
    ]
    metrics = retrieval_metrics(outcomes)
    assert metrics["entry1"] == 1 / 4
    assert metrics["entry3"] == 2 / 4
    assert metrics["source_share"] == 2 / 5
    assert set(metrics["intervals"]) >= {"entry1", "entry3", "source_share"}
    assert retrieval_metrics(OUTCOMES)["entry1"] is None
    assert evaluation_report(outcomes)["by_file"]["f"]["entry3"] == 2 / 4


def test_a_line_names_the_entries_that_serve_it():
    """A line's labels are read, including required words of an answer and a subject that has no entry yet."""
    line = {"q": "a", "kind": "in", "items": [1], "entries": ["one", "two"], "want": "w", "missing": "m"}
    question = parse_labelled_question(json.dumps(line), "f:1")
    assert [question.entries, question.want, question.missing] == [("one", "two"), "w", "m"]


def test_left_out_phrasings_are_counted_by_entry():
    """Ranks count entries only; each phrasing that was left out of training counts for the entry that owns it."""
    library = {
        "one": SimpleNamespace(expands=None),
        "two": SimpleNamespace(expands="one"),
        "three": SimpleNamespace(expands="one"),
        "four": SimpleNamespace(expands="one"),
    }
    left_out = LeaveOneOut(
        classes=np.array(["four", "one", "subject:s", "three", "two"]),
        groups=np.array(["item:1"] * 5),
        owners=np.array(["one", "one", "two", "four", "subject:s"]),
        targets=np.array(["two", "one", "two", "four", "subject:s"]),
        probabilities=np.array(
            [
                [0.0, 0.1, 0.6, 0.1, 0.2],
                [0.0, 0.9, 0.0, 0.1, 0.0],
                [0.1, 0.0, 0.5, 0.1, 0.3],
                [0.1, 0.3, 0.2, 0.2, 0.2],
                [0.0, 0.0, 1.0, 0.0, 0.0],
            ]
        ),
    )
    report = left_out_report(library, left_out)
    assert [report["source"][name] for name in ("n", "first", "first3")] == [2, 0.5, 1.0]
    assert [report["expansion"][name] for name in ("n", "first", "first3")] == [2, 0.5, 0.5]
    assert list(report["by_entry"]) == ["four", "one", "two"]
    assert report["by_entry"]["four"]["first3"] == 0


def test_wilson_interval_equals_a_textbook_example():
    """8 of 10: 0.490 to 0.943 (Wilson 1927; Agresti & Coull 1998, table 1)."""
    ten = [outcome("in", (1,), (1 if number < 8 else 2,), 0.5) for number in range(10)]
    assert retrieval_metrics(ten)["intervals"]["hit1"] == pytest.approx([0.4902, 0.9433], abs=1e-3)


def test_report_is_by_language_item_and_file():
    """A metric that no question of a group defines is None."""
    report = evaluation_report(OUTCOMES)
    assert report["by_lang"]["zh"] == {"n": 1, "hit1": 1.0, "hit3": 1.0}
    assert report["by_item"]["2"]["hit1"] == 0.0
    assert report["by_file"]["f"]["n"] == 7
    assert retrieval_metrics(OUTCOMES[:1])["auroc_near"] is None
    assert retrieval_metrics([])["hit1"] is None


@each_case(
    "line",
    ["", "[]", "{}", '{"q": 3}', '{"turns": []}', '{"q": "a", "kind": "maybe"}', '{"q": "a", "kind": "in"}',
     '{"q": "a", "kind": "out", "items": [1]}', '{"q": "a", "kind": "near", "params": 1}',
     '{"q": "a", "kind": "in", "items": [1], "entries": "one"}', '{"turns": ["a", 1], "items": [1]}', '{"items": [1]}',
     '{"q": "a", "items": [1.0]}', '{"q": "a", "items": [true]}', '{"q": "a", "items": [NaN]}',
     '{"q": "a", "items": ["1"]}',
     '{"q": NaN, "items": [1]}', '{"turns": null, "items": [1]}', "[" * 100_000],
)  # fmt: skip
def test_invalid_label_is_reported_with_its_line(line):
    """The message has file and line, in both languages."""
    with pytest.raises(BadField, match="f:3") as raised:
        parse_labelled_question(line, "f:3")
    assert "f:3" in raised.value["zh"]


def test_fields_that_a_line_does_not_need_are_ignored():
    line = {"q": "问", "items": [9], "source": ["a thread"], "note": None, "params": {"x": math.inf, "n": [1, 2]}}
    question = parse_labelled_question(json.dumps(line), "f:1")
    assert (question.turns, question.lang, question.kind, question.items) == (("问",), "zh", "in", (9,))
    assert question.params == {"x": math.inf, "n": [1, 2]}


def _letters_only(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).lower())


def _similar_text(one: str, other: str) -> bool:
    if min(len(one), len(other)) < 0.7 * max(len(one), len(other)):
        return one == other
    matcher = difflib.SequenceMatcher(None, one, other)
    return matcher.quick_ratio() > _MAX_TEXT_SIMILARITY and matcher.ratio() > _MAX_TEXT_SIMILARITY


@pytest.mark.skipif(not EVALUATION_FILES, reason="the labelled questions are not part of the repository")
@pytest.mark.exhaustive  # encodes every labelled question
def test_evaluation_questions_are_not_phrasings(service):
    """No phrasing equals an evaluation question or nearly does: by edit similarity, and by cosine of embeddings."""
    lines = [json.loads(line) for path in EVALUATION_FILES for line in path.read_text("utf-8").splitlines()]
    asked = [turn for line in lines for turn in line.get("turns", [line.get("q")]) if len(turn) >= _MIN_LENGTH]
    owners = [*service.knowledge.library.values(), *service.knowledge.library.subjects]
    phrasings = [text for owner in owners for texts in owner.phrasings.values() for text in texts]
    asked_letters = [_letters_only(turn) for turn in asked]
    copies = [
        phrasing
        for phrasing in phrasings
        if any(_similar_text(_letters_only(phrasing), turn) for turn in asked_letters)
    ]
    lecture_questions = {  # the lecture's own questions belong to both
        normalise(text[lang])
        for entry in service.knowledge.library.values()
        for text in (entry.question, entry.lecture and entry.lecture.question)
        for lang in LANGS
        if text
    }
    corpus = service.knowledge.matcher.corpus
    cosines = (
        corpus.vectors
        @ l2_normalise(service.knowledge.matcher.embedder.encode_query([normalise(turn) for turn in asked])).T
    ).max(axis=1)
    near = [
        text
        for text, cosine in zip(corpus.texts, cosines, strict=True)
        if cosine > _MAX_COSINE and text not in lecture_questions
    ]
    assert [copies, near] == [[], []]
