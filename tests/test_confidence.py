"""Confidences and scores are probabilities: in [0, 1] whatever the rounding of float32."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qa_service.model import AnswerStatus, Request
from qa_service.retrieval.classifier import Classifier
from qa_service.retrieval.matcher import Matcher, combined_confidence


@given(st.lists(st.floats(-40, 0, width=32), min_size=2, max_size=20))
@hypothesis_settings(deadline=None)
def test_combined_confidence_is_at_most_one(scores):
    """The sum of a float32 softmax can exceed 1, as for the logits 0 and -18."""
    for logits in ([0.0, -18.0], scores):
        exponentials = np.exp(np.array(logits, dtype=np.float32))
        probabilities = (exponentials / exponentials.sum()).tolist()
        confidences = [combined_confidence(single, sum(probabilities)) for single in probabilities]
        assert all(0 <= confidence <= 1 for confidence in confidences), confidences


@pytest.mark.parametrize(
    ("question", "answered"),
    [
        ("all the gradients are zero and the loss stays the same, what did I do wrong with the tutorial code", True),
        ("训练的时候 GPU 利用率一直是 0，数据加载很慢", False),
    ],
)
def test_a_symptom_of_a_run_is_covered_whichever_entry_it_is(service, question, answered):
    """Many entries share the probability of "the gradient norm is 0": together they exceed the threshold, each alone
    has little.
    """
    answer = service.ask(Request(question=question, run=False))
    assert (answer.status is AnswerStatus.ANSWERED) == answered, (answer.confidence, answer.subject)


@pytest.mark.parametrize("sharpness", [1, 2, 3, 30])
def test_scores_are_between_zero_and_one(toy_service, word_hash, tmp_path, sharpness):
    """It holds at any sharpness of the classifier, for every phrasing and for questions outside the subject."""
    library = toy_service.knowledge.library
    Matcher(library, word_hash(), name="word-hash", cache=tmp_path).match("counting")  # trains the classifier
    (path,) = tmp_path.glob("classifier-*.npz")
    trained = Classifier.load(path)
    replace(
        trained,
        term_weights=(sharpness * trained.term_weights).astype(np.float16),
        dual=np.float32(sharpness) * trained.dual,
        bias=np.float32(sharpness) * trained.bias,
    ).save(path)
    matcher = Matcher(library, word_hash(), name="word-hash", cache=tmp_path)
    wordings = [wording for entry in library.values() for lang in ("zh", "en") for wording in entry.wordings(lang)]
    for question in (*wordings, "今晚吃什么", "what is for dinner", "x"):
        scores = [match.score for match in matcher.match(question).matches]
        assert all(0 <= score <= 1 for score in scores), (question, scores)
