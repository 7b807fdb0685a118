"""Retrieval: the classifier against scikit-learn, the default encoder, other encoders, and their caches."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge

from qa_service.errors import BadField
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, AnswerStatus, Request, Text
from qa_service.presentation import prose
from qa_service.retrieval.classifier import Classifier
from qa_service.retrieval.embedder import DEFAULT_ENCODER, MultilingualUSE, l2_normalise, load_embedder
from qa_service.retrieval.features import terms
from qa_service.retrieval.index import Index, build_faiss_index
from qa_service.retrieval.matcher import Matcher
from qa_service.retrieval.training import Phrasings, leave_one_out, train
from qa_service.schemas.answers import answer_json


def test_an_exact_phrasing_ranks_first(toy_service):
    """Its entry comes first, with the phrasing; three entries are returned, by descending score."""
    matches = toy_service.knowledge.matcher.match("报错丁", 3).matches
    assert [matches[0].entry.id, matches[0].phrasing] == ["raising", "报错丁"]
    assert len(matches) == 3
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_subject_that_is_not_covered_is_named(toy_service):
    """The answer, its JSON and its text name it."""
    answer = toy_service.ask(Request(question="will it rain on the weekend, snow or fog?"))
    assert [answer.status, answer.subject.id] == [AnswerStatus.NOT_COVERED, "weather"]
    assert "the weather" in prose.answer_text(answer)
    assert answer_json(answer).to_dict()["subject"] == {"id": "weather", "name": "the weather"}
    assert toy_service.ask(Request(question="报错丁")).subject is None


def test_embeddings_and_classifier_are_cached(toy_service, word_hash, tmp_path):
    """A second matcher reads the cache; damaged files are built again."""
    library = toy_service.knowledge.library

    class CountingEncoder(word_hash):
        calls = 0

        def encode_document(self, sentences):
            CountingEncoder.calls += 1
            return self.encode_query(sentences)

    def match() -> str:
        return Matcher(library, CountingEncoder(), name="counting", cache=tmp_path).match("数数甲").matches[0].entry.id

    assert [match(), match(), CountingEncoder.calls] == ["counting", "counting", 1]
    assert len(list(tmp_path.glob("classifier-*.npz"))) == 1
    for path in [*tmp_path.glob("*.npy"), *tmp_path.glob("*.npz")]:
        path.write_bytes(b"rubbish")
    assert [match(), CountingEncoder.calls] == ["counting", 2]


def test_an_unwritable_cache_is_no_error(toy_service, word_hash, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    matcher = Matcher(toy_service.knowledge.library, word_hash(), name="w", cache=file / "cache")
    assert matcher.match("数数甲").matches[0].entry.id == "counting"


WORDS = {"counting": "alpha beta", "halving": "alpha gamma", "raising": "delta", "rain": "雨 雪"}


def phrasings(count: int = 12, fixed: bool = True) -> Phrasings:
    """Training data: two entries of one item, one entry of another, a subject; random vectors."""
    rows = [(owner, f"{words} {number}") for owner, words in WORDS.items() for number in range(count)]
    items = {"counting": "item:1", "halving": "item:1", "raising": "item:2", "rain": "rain"}
    return Phrasings(
        texts=[text for _, text in rows],
        labels=[items[owner] for owner, _ in rows],
        entries=[owner if owner != "rain" else "" for owner, _ in rows],
        fixed_label=[fixed] * len(rows),
        vectors=l2_normalise(np.random.default_rng(0).normal(size=(len(rows), 8))),
    )


def test_the_classifier_agrees_with_scikit_learn(tmp_path):
    """Our inference gives the probabilities of its kernel ridge regression, before and after saving."""
    data = phrasings()
    trained = train(data)
    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2).fit_transform(data.texts)
    kernel = 1 + 0.5 * (tfidf @ tfidf.T).toarray() + np.exp(2 * (data.vectors @ data.vectors.T - 1))
    labels = np.array(data.labels)
    targets = np.where(labels[:, None] == np.unique(labels), 1.0, -1.0)
    counts = np.array([1 / data.labels.count(label) for label in data.labels])
    oracle = KernelRidge(alpha=0.3, kernel="precomputed").fit(kernel, targets, sample_weight=counts / counts.mean())
    expected = softmax(trained.inverse_temperature[0] * oracle.predict(kernel), axis=1)
    trained.save(tmp_path / "c.npz")
    for model in (trained, Classifier.load(tmp_path / "c.npz")):
        predictions = [model.predict(*each) for each in zip(data.texts, model.score_vectors(data.vectors), strict=True)]
        assert np.allclose([list(each.probabilities.values()) for each in predictions], expected, atol=5e-3)
        assert all(sum(each.probabilities.values()) == pytest.approx(1) for each in predictions)
        assert all(sum(each.entry_probabilities("item:1").values()) == pytest.approx(1) for each in predictions)
        assert all(each.entry_probabilities("item:2") == {"raising": 1} for each in predictions)
        best = [
            max(each.entry_probabilities("item:1"), key=each.entry_probabilities("item:1").get)
            for each in predictions[:24]
        ]
        assert best == data.entries[:24]


def test_leave_one_out_scores_agree_with_retraining():
    """The closed form gives the scores of a model that was trained without the phrasing."""
    data = phrasings(4)
    scores = leave_one_out(data).scores
    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2).fit_transform(data.texts)
    kernel = 1 + 0.5 * (tfidf @ tfidf.T).toarray() + np.exp(2 * (data.vectors @ data.vectors.T - 1))
    labels = np.array(data.labels)
    targets = np.where(labels[:, None] == np.unique(labels), 1.0, -1.0)
    weights = np.array([1 / data.labels.count(label) for label in data.labels])
    weights /= weights.mean()
    for row in range(len(labels)):
        training = np.arange(len(labels)) != row
        oracle = KernelRidge(alpha=0.3, kernel="precomputed")
        oracle.fit(kernel[np.ix_(training, training)], targets[training], sample_weight=weights[training])
        assert np.allclose(scores[row], oracle.predict(kernel[row : row + 1, training])[0], atol=1e-3)


def test_a_phrasing_trains_the_expansion_that_answers_it():
    """A phrasing that the expansion of its entry clearly answers gets the expansion's label, unless fixed."""
    rows = [("source", "alpha beta")] * 8 + [("source", "alpha gamma")] + [("expansion", "alpha gamma")] * 8
    vectors = l2_normalise(np.eye(2)[[0] * 8 + [1] * 9] + 0.01)
    for fixed, expected in ((False, "expansion"), (True, "source")):
        targets = leave_one_out(
            Phrasings(
                texts=[f"{text} {at}" for at, (_, text) in enumerate(rows)],
                labels=["item:1"] * len(rows),
                entries=[owner for owner, _ in rows],
                fixed_label=[fixed] * len(rows),
                vectors=vectors,
            )
        ).target_entries
        assert targets.tolist() == ["source"] * 8 + [expected] + ["expansion"] * 8


def test_entries_of_one_item_do_not_share_its_probability(toy_service, word_hash, tmp_path):
    """The best has all of it; the best of each item come first; scores descend."""
    entries = dict(toy_service.knowledge.library)
    twins = [
        replace(
            entries["counting"],
            id=f"twin-{n}",
            expands="counting",
            question=Text(f"双生{n}？", f"twin {n}?"),
            phrasings={"zh": (f"双生{n}",), "en": (f"twin {n}",)},
            lecture=None,
        )
        for n in range(6)
    ]
    library = Library(entries | {twin.id: twin for twin in twins}, toy_service.knowledge.library.subjects)
    alone = toy_service.knowledge.matcher.match("数数甲", 9).matches
    among = Matcher(library, word_hash(), name="w", cache=tmp_path).match("数数甲", 9).matches
    assert among[0].entry.id == "counting"
    assert among[0].score > alone[0].score - 0.1
    assert {match.entry.item for match in among[:3]} == {entry.item for entry in entries.values()}
    assert len(among) == 9
    assert [match.score for match in among] == sorted((match.score for match in among), reverse=True)


def test_reasons_add_up_to_the_score():
    """Contributions of terms and vector sum to a label's score relative to the mean of all labels."""
    data = phrasings()
    model = train(data)
    prediction = model.predict("alpha 3", model.score_vectors(data.vectors[:1])[0])
    reasons = dict(prediction.reasons(["item:1"], count=100)[0])
    logs = np.log(list(prediction.probabilities.values())) / model.inverse_temperature[0]
    bias = model.bias[0] - model.bias[: len(model.labels)].mean()
    assert sum(reasons.values()) + bias == pytest.approx(logs[0] - logs.mean(), abs=2e-3)
    assert max((term for term in reasons if term), key=reasons.get).removeprefix("w:").strip() in "alpha"


def test_training_is_deterministic():
    first, second = (train(phrasings()) for _ in range(2))
    assert np.array_equal(first.term_weights, second.term_weights)
    assert np.array_equal(first.inverse_temperature, second.inverse_temperature)


def test_training_samples_at_most_max_phrasings(monkeypatch):
    """The sample bounds the memory; it is even, with every label in it."""
    monkeypatch.setattr("qa_service.retrieval.training.MAX_PHRASINGS", 24)
    model = train(phrasings())
    assert len(model.phrasing_vectors) == 24
    assert set(model.labels) == {"item:1", "item:2", "rain"}


def test_the_faiss_index_finds_the_same_phrasings(toy_service, monkeypatch):
    """It agrees with an exhaustive search, also for an entry that the approximate search left out."""
    library = toy_service.knowledge.library
    count = sum(len(entry.wordings(lang)) for entry in library.values() for lang in LANGS)
    vectors = l2_normalise(np.random.default_rng(3).normal(size=(count, 16)))
    exact = [Index(library, vectors).nearest(vector, library) for vector in vectors]
    flat = build_faiss_index(vectors)
    monkeypatch.setattr("qa_service.retrieval.index.FAISS_FROM", count - 1)
    monkeypatch.setattr("qa_service.retrieval.index._MAX_NEIGHBOURS", 2)
    monkeypatch.setattr("qa_service.retrieval.index.build_faiss_index", lambda _: flat)
    assert [Index(library, vectors).nearest(vector, library) for vector in vectors] == exact


@given(st.text(max_size=200))
def test_terms_are_never_empty(text):
    """Any text gives terms of at least one character."""
    assert all(terms(text))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A sentence-transformers model, built here: a word-level tokenizer and random static embeddings."""
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
def test_a_sentence_transformers_folder_can_be_the_encoder(toy_service, tiny_model, tmp_path):
    """The protocol is sentence-transformers' own: naming the folder in the settings is enough."""
    embedder = load_embedder(str(tiny_model))
    matcher = Matcher(toy_service.knowledge.library, embedder, name=str(tiny_model), cache=tmp_path)
    assert matcher.match("raising errors two").matches[0].entry.id == "raising"
    assert np.allclose(np.linalg.norm(l2_normalise(embedder.encode_query(["hanging"])), axis=1), 1)


@pytest.mark.filterwarnings("ignore")
def test_a_missing_encoder_is_reported(tmp_path):
    """The operator gets an error that names the encoder, without a traceback."""
    with pytest.raises(BadField, match="cannot be loaded"):
        load_embedder(str(tmp_path / "nowhere"))


def test_the_default_encoder_puts_both_languages_in_one_space():
    """A sentence is nearer to its translation than to another sentence."""
    vectors = l2_normalise(
        load_embedder(DEFAULT_ENCODER).encode_query(["梯度爆炸了怎么办", "my gradient explodes", "the cat is asleep"])
    )
    assert vectors.shape == (3, 512)
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.1


def test_the_cached_encoder_gives_identical_vectors(tmp_path):
    """Vectors are equal to the last bit in any script; damaged files are unpacked again."""
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
    expected = MultilingualUSE().encode_query(texts)
    for _ in range(2):  # writes it, reads it
        assert np.array_equal(MultilingualUSE(tmp_path).encode_query(texts), expected)
    files = list(tmp_path.glob("encoder-*.np[yz]"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"rubbish")
    for _ in range(2):
        assert np.array_equal(MultilingualUSE(tmp_path).encode_query(texts), expected)
    assert all(file.stat().st_size > 1e6 for file in files)
