"""A confidence is a probability: never below 0, never above 1, however it was rounded."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qa_service.retrieval.classifier import Classifier
from qa_service.retrieval.matcher import Matcher, combined_confidence


@given(st.lists(st.floats(-40, 0, width=32), min_size=2, max_size=20))
@hypothesis_settings(deadline=None)
def test_rounded_probabilities_give_no_confidence_above_one(scores):
    """Probabilities in float32 may add up to more than 1: exp(-18) beside 1 does."""
    for row in ([0.0, -18.0], scores):
        powers = np.exp(np.array(row, dtype=np.float32))
        probabilities = (powers / powers.sum()).tolist()
        confidences = [combined_confidence(alone, sum(probabilities)) for alone in probabilities]
        assert all(0 <= confidence <= 1 for confidence in confidences), confidences


@pytest.mark.parametrize("sharpness", [1, 2, 3, 30])
def test_every_score_is_within_zero_and_one(toy_service, word_hash, tmp_path, sharpness):
    """However sure the classifier is, for every phrasing and for questions that are near none."""
    library = toy_service.knowledge.library
    Matcher(library, word_hash(), name="word-hash", cache=tmp_path).match("counting")  # trains into the cache
    (path,) = tmp_path.glob("classifier-*.npz")
    trained = Classifier.load(path)
    replace(trained, inverse_temperature=np.float32(sharpness) * trained.inverse_temperature).save(path)
    matcher = Matcher(library, word_hash(), name="word-hash", cache=tmp_path)
    wordings = [word for entry in library.values() for lang in ("zh", "en") for word in entry.wordings(lang)]
    for question in (*wordings, "今晚吃什么", "what is for dinner", "x"):
        scores = [match.score for match in matcher.match(question).matches]
        assert all(0 <= score <= 1 for score in scores), (question, scores)
