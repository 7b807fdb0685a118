"""Matching: the default encoder, any sentence-transformers model, and the cache between them."""

import numpy as np
import pytest

from qa_service.embedder import DEFAULT, load_embedder, unit
from qa_service.errors import BadField
from qa_service.index import Index, probability
from qa_service.service import Service


def test_an_exact_phrasing_is_found_first(toy_service):
    """Its entry is best, with the phrasing that was met, and three entries are always named."""
    matches = toy_service.index.search("报错丁", 3)
    assert [matches[0].entry.id, matches[0].phrasing] == ["raising", "报错丁"]
    assert len(matches) == 3
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_probability_is_calibrated_monotone():
    """A nearer phrasing is never less likely to answer."""
    values = [probability(cosine) for cosine in np.linspace(-1, 1, 50)]
    assert values == sorted(values)
    assert 0 <= values[0] < 0.5 < values[-1] <= 1


def test_vectors_are_cached_by_what_they_are_made_of(toy_service, word_hash, tmp_path):
    """A second index reads the cache; a damaged one is built again; other phrasings have another key."""
    library = toy_service.library

    class Counting(word_hash):
        calls = 0

        def encode_document(self, sentences):
            Counting.calls += 1
            return self.encode_query(sentences)

    def search() -> str:
        return Index(library, Counting(), name="counting", cache=tmp_path).search("数数甲")[0].entry.id

    assert [search(), search(), Counting.calls] == ["counting", "counting", 1]
    for path in tmp_path.glob("*.npy"):
        path.write_bytes(b"rubbish")
    assert [search(), Counting.calls] == ["counting", 2]


def test_a_cache_that_cannot_be_written_is_no_error(toy_service, word_hash, tmp_path):
    """A read-only home still gets an answer."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert Index(toy_service.library, word_hash(), name="w", cache=blocked / "cache").search("数数甲")[0].score > 0.5


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A real sentence-transformers model, built here: a word-level tokenizer and random static embeddings."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "counting", "numbers", "raising", "errors", "hanging", "forever", "one", "two", "three"]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("model") / "tiny"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=32)], device="cpu").save(str(folder))
    return folder


@pytest.mark.filterwarnings("ignore")
def test_any_sentence_transformers_model_by_folder(toy_service, tiny_model, tmp_path):
    """The Protocol is sentence-transformers' own: a folder in the settings is enough."""
    embedder = load_embedder(str(tiny_model))
    index = Index(toy_service.library, embedder, name=str(tiny_model), cache=tmp_path)
    service = Service(toy_service.library, index, toy_service.lab, threshold=0.5)
    assert service.index.search("raising errors two")[0].entry.id == "raising"
    assert np.allclose(np.linalg.norm(unit(embedder.encode_query(["hanging"])), axis=1), 1)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_not_there_is_said_so(tmp_path):
    """No traceback: the operator reads which encoder and why."""
    with pytest.raises(BadField, match="cannot be loaded"):
        load_embedder(str(tmp_path / "nowhere"))


def test_the_default_encoder_puts_both_languages_in_one_space():
    """A sentence is nearer to its translation than to another sentence."""
    vectors = unit(
        load_embedder(DEFAULT).encode_query(["梯度爆炸了怎么办", "my gradient explodes", "the cat is asleep"])
    )
    assert vectors.shape == (3, 512)
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.1
