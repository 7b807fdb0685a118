"""Matching: the classifier against its library, the default encoder, any other model, and the cache between them."""

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


def test_an_exact_phrasing_is_found_first(toy_service):
    """Its entry is best, with the phrasing that was met, and three entries are always named."""
    matches = toy_service.knowledge.matcher.match("报错丁", 3).matches
    assert [matches[0].entry.id, matches[0].phrasing] == ["raising", "报错丁"]
    assert len(matches) == 3
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_subject_we_do_not_cover_is_named(toy_service):
    """In the answer, on the wire and in the sentence that declines."""
    answer = toy_service.ask(Request(question="will it rain on the weekend, snow or fog?"))
    assert [answer.status, answer.subject.id] == [AnswerStatus.NOT_COVERED, "weather"]
    assert "the weather" in prose.answer_text(answer)
    assert answer_json(answer).to_dict()["subject"] == {"id": "weather", "name": "the weather"}
    assert toy_service.ask(Request(question="报错丁")).subject is None


def test_everything_is_cached_by_what_it_is_made_of(toy_service, word_hash, tmp_path):
    """A second matcher reads the cache; a damaged one is built again; other phrasings have another key."""
    library = toy_service.knowledge.library

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
    matcher = Matcher(toy_service.knowledge.library, word_hash(), name="w", cache=blocked / "cache")
    assert matcher.match("数数甲").matches[0].entry.id == "counting"


WORDS = {"counting": "alpha beta", "halving": "alpha gamma", "raising": "delta", "rain": "雨 雪"}


def phrasings(count: int = 12, fixed: bool = True) -> Phrasings:
    """Two entries of one item, one of another, a subject; vectors without a meaning."""
    rows = [(owner, f"{words} {number}") for owner, words in WORDS.items() for number in range(count)]
    items = {"counting": "item:1", "halving": "item:1", "raising": "item:2", "rain": "rain"}
    return Phrasings(
        texts=[text for _, text in rows],
        labels=[items[owner] for owner, _ in rows],
        entries=[owner if owner != "rain" else "" for owner, _ in rows],
        fixed_label=[fixed] * len(rows),
        vectors=l2_normalise(np.random.default_rng(0).normal(size=(len(rows), 8))),
    )


def test_the_classifier_is_what_scikit_learn_trained(tmp_path):
    """Our few lines of inference give the scores of the library's own pipeline, before and after the file."""
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
        judged = [model.predict(*each) for each in zip(data.texts, model.score_vectors(data.vectors), strict=True)]
        assert np.allclose([list(each.probabilities.values()) for each in judged], expected, atol=5e-3)
        assert all(sum(each.probabilities.values()) == pytest.approx(1) for each in judged)
        assert all(sum(each.entry_probabilities("item:1").values()) == pytest.approx(1) for each in judged)
        assert all(each.entry_probabilities("item:2") == {"raising": 1} for each in judged)
        best = [
            max(each.entry_probabilities("item:1"), key=each.entry_probabilities("item:1").get) for each in judged[:24]
        ]
        assert best == data.entries[:24]


def test_what_is_left_out_was_not_seen():
    """The closed form gives what a model scores that was trained without the phrasing."""
    data = phrasings(4)
    scores = leave_one_out(data).scores
    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2).fit_transform(data.texts)
    kernel = 1 + 0.5 * (tfidf @ tfidf.T).toarray() + np.exp(2 * (data.vectors @ data.vectors.T - 1))
    labels = np.array(data.labels)
    targets = np.where(labels[:, None] == np.unique(labels), 1.0, -1.0)
    weights = np.array([1 / data.labels.count(label) for label in data.labels])
    weights /= weights.mean()
    for row in range(len(labels)):
        seen = np.arange(len(labels)) != row
        oracle = KernelRidge(alpha=0.3, kernel="precomputed")
        oracle.fit(kernel[np.ix_(seen, seen)], targets[seen], sample_weight=weights[seen])
        assert np.allclose(scores[row], oracle.predict(kernel[row : row + 1, seen])[0], atol=1e-3)


def test_a_phrasing_teaches_the_expansion_that_answers_it():
    """A source entry keeps what is its own, and gives what its expansion clearly answers; a fixed label stays."""
    rows = [("source", "alpha beta")] * 8 + [("source", "alpha gamma")] + [("expansion", "alpha gamma")] * 8
    vectors = l2_normalise(np.eye(2)[[0] * 8 + [1] * 9] + 0.01)
    for fixed, wanted in ((False, "expansion"), (True, "source")):
        taught = leave_one_out(
            Phrasings(
                texts=[f"{text} {at}" for at, (_, text) in enumerate(rows)],
                labels=["item:1"] * len(rows),
                entries=[owner for owner, _ in rows],
                fixed_label=[fixed] * len(rows),
                vectors=vectors,
            )
        ).target_entries
        assert taught.tolist() == ["source"] * 8 + [wanted] + ["expansion"] * 8


def test_entries_of_one_item_do_not_share_its_probability(toy_service, word_hash, tmp_path):
    """The best has all of it; the best of each item come first, and no score is above the one before."""
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
    """What each term and the vector contributed is the whole difference between a label and the average label."""
    data = phrasings()
    model = train(data)
    judged = model.predict("alpha 3", model.score_vectors(data.vectors[:1])[0])
    reasons = dict(judged.reasons(["item:1"], count=100)[0])
    logs = np.log(list(judged.probabilities.values())) / model.inverse_temperature[0]
    bias = model.bias[0] - model.bias[: len(model.labels)].mean()
    assert sum(reasons.values()) + bias == pytest.approx(logs[0] - logs.mean(), abs=2e-3)
    assert max((term for term in reasons if term), key=reasons.get).removeprefix("w:").strip() in "alpha"


def test_training_twice_gives_the_same_model():
    """Deterministic: what an answer says depends on the knowledge base alone."""
    first, second = (train(phrasings()) for _ in range(2))
    assert np.array_equal(first.term_weights, second.term_weights)
    assert np.array_equal(first.inverse_temperature, second.inverse_temperature)


def test_half_of_what_is_too_much_is_trained_on(monkeypatch):
    """Memory is bounded: of more phrasings than that an even part teaches, every label among it."""
    monkeypatch.setattr("qa_service.retrieval.training.MAX_PHRASINGS", 24)
    model = train(phrasings())
    assert len(model.phrasing_vectors) == 24
    assert set(model.labels) == {"item:1", "item:2", "rain"}


def test_the_index_beyond_fifty_thousand(toy_service, monkeypatch):
    """Searched or compared with one by one, the nearest wording is the same, also of an entry the search left out."""
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
    matcher = Matcher(toy_service.knowledge.library, embedder, name=str(tiny_model), cache=tmp_path)
    assert matcher.match("raising errors two").matches[0].entry.id == "raising"
    assert np.allclose(np.linalg.norm(l2_normalise(embedder.encode_query(["hanging"])), axis=1), 1)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_not_there_is_said_so(tmp_path):
    """No traceback: the operator reads which encoder and why."""
    with pytest.raises(BadField, match="cannot be loaded"):
        load_embedder(str(tmp_path / "nowhere"))


def test_the_default_encoder_puts_both_languages_in_one_space():
    """A sentence is nearer to its translation than to another sentence."""
    vectors = l2_normalise(
        load_embedder(DEFAULT_ENCODER).encode_query(["梯度爆炸了怎么办", "my gradient explodes", "the cat is asleep"])
    )
    assert vectors.shape == (3, 512)
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.1


def test_the_encoder_from_the_cache_is_the_encoder(tmp_path):
    """To the last bit, for any writing; what is damaged is unpacked again."""
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
    plain = MultilingualUSE().encode_query(texts)
    for _ in range(2):  # writes it, reads it
        assert np.array_equal(MultilingualUSE(tmp_path).encode_query(texts), plain)
    files = list(tmp_path.glob("encoder-*.np[yz]"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(b"rubbish")
    for _ in range(2):
        assert np.array_equal(MultilingualUSE(tmp_path).encode_query(texts), plain)
    assert all(file.stat().st_size > 1e6 for file in files)
