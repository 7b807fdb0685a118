"""Matching: the classifier against its library, the default encoder, any other model, and the cache between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, hstack
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from qa_service import prose, wire
from qa_service.embedder import DEFAULT, load_embedder, unit
from qa_service.errors import BadField
from qa_service.matching import Matcher
from qa_service.matching.classifier import Classifier
from qa_service.matching.terms import terms
from qa_service.matching.training import train
from qa_service.model import AnswerStatus, Request


def test_an_exact_phrasing_is_found_first(toy_service):
    """Its entry is best, with the phrasing that was met, and three entries are always named."""
    matches = toy_service.matcher.match("报错丁", 3).matches
    assert [matches[0].entry.id, matches[0].phrasing] == ["raising", "报错丁"]
    assert len(matches) == 3
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_subject_we_do_not_cover_is_named(toy_service):
    """In the answer, on the wire and in the sentence that declines."""
    answer = toy_service.ask(Request(question="will it rain on the weekend, snow or fog?"))
    assert [answer.status, answer.subject.id] == [AnswerStatus.NOT_COVERED, "weather"]
    assert "the weather" in prose.text(answer)
    assert wire.answer(answer)["subject"] == {"id": "weather", "name": "the weather"}
    assert toy_service.ask(Request(question="报错丁")).subject is None


def test_everything_is_cached_by_what_it_is_made_of(toy_service, word_hash, tmp_path):
    """A second matcher reads the cache; a damaged one is built again; other phrasings have another key."""
    library = toy_service.library

    class Counting(word_hash):
        calls = 0

        def encode_document(self, sentences):
            Counting.calls += 1
            return self.encode_query(sentences)

    def match() -> str:
        return Matcher(library, Counting(), name="counting", cache=tmp_path).match("数数甲").matches[0].entry.id

    assert [match(), match(), Counting.calls] == ["counting", "counting", 1]
    assert len(list(tmp_path.glob("classifier-*.npz"))) == 1
    for path in [*tmp_path.glob("*.npy"), *tmp_path.glob("*.npz")]:
        path.write_bytes(b"rubbish")
    assert [match(), Counting.calls] == ["counting", 2]


def test_a_cache_that_cannot_be_written_is_no_error(toy_service, word_hash, tmp_path):
    """A read-only home still gets an answer."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    matcher = Matcher(toy_service.library, word_hash(), name="w", cache=blocked / "cache")
    assert matcher.match("数数甲").matches[0].entry.id == "counting"


def test_the_classifier_is_what_scikit_learn_trained(tmp_path):
    """Our few lines of inference give the scores of the library's own pipeline, before and after the file."""
    texts = [f"{word} {number}" for word in ("alpha beta", "gamma delta", "雨 雪") for number in range(12)]
    labels = [word for word in ("a", "g", "r") for _ in range(12)]
    vectors = unit(np.random.default_rng(0).normal(size=(36, 8)))
    trained = train(texts, labels, vectors)
    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2)
    features = hstack([tfidf.fit_transform(texts), csr_matrix(vectors)]).tocsr()
    oracle = LinearSVC(C=1.0, random_state=0).fit(features, labels)
    trained.save(tmp_path / "c.npz")
    for model in (trained, Classifier.load(tmp_path / "c.npz")):
        found = [list(model.probabilities(text, vector).values()) for text, vector in zip(texts, vectors, strict=True)]
        expected = softmax(trained.sharpness * oracle.decision_function(features), axis=1)
        assert np.allclose(found, expected, atol=2e-3)
        assert np.allclose(np.sum(found, axis=1), 1)


def test_reasons_add_up_to_the_score():
    """What each term and the vector contributed is the whole difference between a label and the average label."""
    texts, labels = (
        [f"{word} {n}" for word in ("one", "two", "three") for n in range(10)],
        ["x"] * 10 + ["y"] * 10 + ["z"] * 10,
    )
    vectors = unit(np.random.default_rng(1).normal(size=(30, 4)))
    model = train(texts, labels, vectors)
    reasons = dict(model.reasons("two 3", vectors[0], ["y"], count=100)[0])
    logs = np.log(list(model.probabilities("two 3", vectors[0]).values())) / model.sharpness
    bias = model.bias[1] - model.bias.mean()
    assert sum(reasons.values()) + bias == pytest.approx(logs[1] - logs.mean(), abs=1e-3)
    assert max(reasons, key=reasons.get).removeprefix("w:").strip() in "two"


def test_training_twice_gives_the_same_model():
    """Deterministic: what an answer says depends on the knowledge base alone."""
    texts, labels = [f"{word} {n}" for word in ("one", "two") for n in range(10)], ["x"] * 10 + ["y"] * 10
    vectors = unit(np.random.default_rng(1).normal(size=(20, 4)))
    first, second = (train(texts, labels, vectors) for _ in range(2))
    assert np.array_equal(first.weights, second.weights)
    assert first.sharpness == second.sharpness


@given(st.text(max_size=200))
def test_any_text_has_terms(text):
    """Nothing that is typed breaks the model's eyes; a term is never empty."""
    assert all(terms(text))


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
    matcher = Matcher(toy_service.library, embedder, name=str(tiny_model), cache=tmp_path)
    assert matcher.match("raising errors two").matches[0].entry.id == "raising"
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
