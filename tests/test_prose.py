"""The full-text search in the entries' texts, and the second step of ranking, which uses it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from checking import each_case
from scipy.special import softmax

from qa_service.knowledge.library import Library
from qa_service.model import Text
from qa_service.retrieval.classifier import ranked_softmax
from qa_service.retrieval.matcher import Matcher
from qa_service.retrieval.prose import ProseIndex

TEXTS = [
    "torch.exp overflows in float16; subtract the maximum",
    "损失变成 nan：torch.exp 溢出",
    "shuffle the data, shuffle the labels, and split by group",
]


def test_scores_are_bm25():
    """A score is the BM25 sum over the question's distinct words, divided by their total weight; longer texts score
    lower.
    """
    assert ProseIndex.of(TEXTS).scores("Shuffle, shuffle torch.exp!").tolist() == pytest.approx(
        [
            _bm25(occurrences=1, length=7, texts_with=2) / _weight(1, 2),
            _bm25(occurrences=1, length=6, texts_with=2) / _weight(1, 2),
            _bm25(occurrences=2, length=10, texts_with=1) / _weight(1, 2),
        ],
        rel=1e-5,
    )


def _idf(texts_with: int) -> float:
    return math.log(1 + (3 - texts_with + 0.5) / (texts_with + 0.5))


def _weight(*texts_with: int) -> float:
    return 3 + sum(map(_idf, texts_with))


def _bm25(occurrences: int, length: int, texts_with: int) -> float:
    mean = (7 + 6 + 10) / 3
    return _idf(texts_with) * occurrences * 2.2 / (occurrences + 1.2 * (0.25 + 0.75 * length / mean))


def test_chinese_is_found_by_pairs_of_characters():
    """A single character finds nothing; pairs do not extend across other characters such as punctuation."""
    index = ProseIndex.of([*TEXTS, "溢，出"])
    assert index.scores("为什么溢出").argmax() == 1
    assert index.scores("为什么溢出")[3] == 0
    assert not index.scores("溢").any()


@each_case("question", ["", "？！", "zzz unknown words", "x" * 100_000])
def test_a_question_without_a_known_word_scores_nothing(question):
    assert ProseIndex.of(TEXTS).scores(question).tolist() == [0, 0, 0]
    assert ProseIndex.of(["", "。"]).scores(question).tolist() == [0, 0]


def test_the_index_is_the_same_after_saving(tmp_path):
    index = ProseIndex.of(TEXTS)
    index.save(tmp_path / "p.npz")
    assert np.array_equal(
        ProseIndex.load(tmp_path / "p.npz").scores("exp shuffle 溢出"), index.scores("exp shuffle 溢出")
    )


def test_ranks_divide_the_probability_of_all_entries():
    """Logits alone decide the probabilities of each subject and of all entries together; ranks divide the latter among
    entries.
    """
    logits = np.array([[2.0, 0.0, 1.0, 0.0]], dtype=np.float32)
    ranks = np.array([[0.0, 3.0, 1.0]], dtype=np.float32)
    is_entry = np.array([True, True, False, True])
    flat, shared = softmax(logits), softmax(ranks)
    covered = 1 - flat[0, 2]
    expected = [covered * shared[0, 0], covered * shared[0, 1], flat[0, 2], covered * shared[0, 2]]
    assert ranked_softmax(logits, ranks, is_entry)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("whys", [("sqrt of zero", "a gamma law"), ("a gamma law", "sqrt of zero")])
def test_what_an_entry_says_decides_between_entries_that_are_asked_alike(toy_service, word_hash, tmp_path, whys):
    """Of two entries with the same phrasings, the one whose answer has the question's words comes first."""
    library = toy_service.knowledge.library
    twins = {
        why: replace(
            library["counting"],
            id=f"twin-{number}",
            hash=why,
            expands="counting",
            question=Text("同样的词？", "same words?"),
            why=Text(why, why),
            phrasings={"zh": (f"同样的词 {number}",), "en": (f"same words {number}",)},
            lecture=None,
        )
        for number, why in enumerate(whys)
    }
    entries = dict(library) | {twin.id: twin for twin in twins.values()}
    matcher = Matcher(Library(entries, library.subjects), word_hash(), name="w", cache=tmp_path)
    for why in whys:
        ranked = [match.entry.id for match in matcher.match(f"same words: {why}", 9).matches]
        assert min(ranked.index(twin.id) for twin in twins.values()) == ranked.index(twins[why].id)


def test_an_edited_answer_is_searched_without_training_again(toy_service, word_hash, tmp_path):
    """An edited text gives a new index but no new classifier; a damaged index is built again."""
    library = toy_service.knowledge.library

    def match(entries: Library) -> None:
        Matcher(entries, word_hash(), name="w", cache=tmp_path).match("数数甲")

    match(library)
    for path in tmp_path.glob("prose-*.npz"):
        path.write_bytes(b"rubbish")
    match(library)
    edited = replace(library["counting"], why=Text("别的", "other"), hash="edited")
    match(Library(dict(library) | {"counting": edited}, library.subjects))
    assert len(list(tmp_path.glob("classifier-*.npz"))) == 1
    indexes = [ProseIndex.load(path) for path in tmp_path.glob("prose-*.npz")]
    assert [int(index.count) for index in indexes] == [len(library)] * 2
