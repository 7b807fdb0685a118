"""Retrieval: the classifier against scikit-learn, the default encoder, other encoders, and their caches."""

import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_service.errors import BadField
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, AnswerStatus, Observation, Request, Text
from qa_service.model.observation import Sign
from qa_service.presentation import prose
from qa_service.retrieval.classifier import Classifier
from qa_service.retrieval.embedder import DEFAULT_ENCODER, MultilingualUSE, l2_normalise, load_embedder
from qa_service.retrieval.features import terms
from qa_service.retrieval.index import PhrasingIndex, map_vectors, open_vectors, save_vectors
from qa_service.retrieval.matcher import Matcher
from qa_service.retrieval.training import Phrasings, leave_one_out, train_classifier
from qa_service.schemas.answers import answer_json


def test_an_exact_phrasing_ranks_first(toy_service):
    """The entry is returned with this phrasing, first of three by descending score."""
    matches = toy_service.knowledge.matcher.match("报错丁", 3).matches
    assert [matches[0].entry.id, matches[0].phrasing] == ["raising", "报错丁"]
    assert len(matches) == 3
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_subject_that_is_not_covered_is_named(toy_service):
    """The subject's name is in the answer, its JSON and its text."""
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
    for path in [*tmp_path.glob("*.faiss"), *tmp_path.glob("*.npz")]:
        path.write_bytes(b"rubbish")
    assert [match(), CountingEncoder.calls] == ["counting", 2]


def test_an_unwritable_cache_is_no_error(toy_service, word_hash, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    matcher = Matcher(toy_service.knowledge.library, word_hash(), name="w", cache=file / "cache")
    assert matcher.match("数数甲").matches[0].entry.id == "counting"


WORDS = {"counting": "alpha beta", "halving": "alpha gamma", "rain": "雨 雪", "raising": "delta"}


def phrasings(count: int = 12, movable: bool = False) -> Phrasings:
    """Training data: a source entry and its expansion, an entry of another item, a subject outside; random vectors."""
    rows = [(owner, f"{words} {number}") for owner, words in WORDS.items() for number in range(count)]
    groups = {"counting": "item:1", "halving": "item:1", "raising": "item:2", "rain": "rain"}
    return Phrasings(
        texts=[text for _, text in rows],
        signs=[()] * len(rows),
        classes=[owner for owner, _ in rows],
        groups=[groups[owner] for owner, _ in rows],
        movable=[movable] * len(rows),
        vectors=l2_normalise(np.random.default_rng(0).normal(size=(len(rows), 8))),
    )


def oracle_kernel(data: Phrasings) -> np.ndarray:
    """The kernel matrix of the phrasings, with scikit-learn's tf-idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2).fit_transform(data.texts)
    return 1 + 0.5 * (tfidf @ tfidf.T).toarray() + np.exp(2 * (data.vectors @ data.vectors.T - 1))


def oracle_probabilities(
    data: Phrasings, scores: np.ndarray, scales: np.ndarray, nearest: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Probabilities computed from scores of classes and groups; entries divide theirs by logits and nearest
    phrasings.
    """
    from scipy.special import softmax

    classes, groups = np.unique(data.classes), np.unique(data.groups)
    group_of = np.array([data.groups[data.classes.index(each)] for each in classes])
    entry = classes != group_of
    by_class = scores[:, : len(classes)]
    by_group = scores[:, len(classes) + np.searchsorted(groups, group_of)]
    logits = np.where(entry, scales[0] * by_class + scales[1] * by_group, scales[2] * by_class)
    expected = softmax(logits, axis=1)
    covered = expected[:, entry].sum(axis=1, keepdims=True)
    expected[:, entry] = covered * softmax((factors[0] * logits + factors[1] * nearest)[:, entry], axis=1)
    return expected


def oracle_nearest(data: Phrasings, left_out: bool) -> np.ndarray:
    """The cosine of each phrasing with the nearest one of each class, optionally leaving out the phrasing itself."""
    cosines = data.vectors @ data.vectors.T - 2 * left_out * np.eye(len(data.vectors))
    owners = np.array(data.classes)
    return np.stack([cosines[:, owners == name].max(axis=1) for name in np.unique(owners)], axis=1)


def signs_and_weights(data: Phrasings) -> tuple[np.ndarray, np.ndarray]:
    """Targets ±1 of the classes, then of the groups, and weights of the phrasings, balanced by class with power 0.8."""
    classes, groups = np.array(data.classes), np.array(data.groups)
    signs = [np.where(each[:, None] == np.unique(each), 1.0, -1.0) for each in (classes, groups)]
    weights = np.array([data.classes.count(each) ** -0.8 for each in data.classes])
    return np.concatenate(signs, axis=1), weights / weights.mean()


def fitted_scales(model: Classifier, data: Phrasings, dual: np.ndarray) -> np.ndarray:
    """The factors by which the classifier's dual weights combine those of classes and groups."""
    classes, groups = np.unique(data.classes), np.unique(data.groups)
    item_1 = len(classes) + int(np.searchsorted(groups, "item:1"))
    entry = np.stack([dual[:, classes.tolist().index("counting")], dual[:, item_1]], axis=1)
    own, of_item = np.linalg.lstsq(entry, model.dual[:, model.classes.index("counting")], rcond=None)[0]
    rain = model.classes.index("rain")
    return np.array([own, of_item, model.dual[0, rain] / dual[0, classes.tolist().index("rain")]])


def test_the_classifier_agrees_with_scikit_learn(tmp_path):
    """Our inference gives the probabilities of its kernel ridge regression, before and after saving."""
    from sklearn.kernel_ridge import KernelRidge

    data = phrasings()
    trained = train_classifier(data)
    kernel = oracle_kernel(data)
    targets, weights = signs_and_weights(data)
    oracle = KernelRidge(alpha=0.1, kernel="precomputed").fit(kernel, targets, sample_weight=weights)
    scales = fitted_scales(trained, data, oracle.dual_coef_)
    assert (scales > 0).all()
    assert (trained.rank_factors >= 0).all()
    expected = oracle_probabilities(
        data, oracle.predict(kernel), scales, oracle_nearest(data, False), trained.rank_factors
    )
    trained.save(tmp_path / "c.npz")
    for model in (trained, Classifier.load(tmp_path / "c.npz")):
        predictions = [model.predict(*each) for each in zip(data.texts, model.score_vectors(data.vectors), strict=True)]
        assert np.allclose([list(each.probabilities.values()) for each in predictions], expected, atol=5e-3)
        assert all(sum(each.probabilities.values()) == pytest.approx(1) for each in predictions)
        best = [max(each.probabilities, key=each.probabilities.get) for each in predictions]
        assert best == data.classes


@pytest.mark.parametrize(("count", "step"), [(4, 1), (260, 45)])
def test_leave_one_out_probabilities_agree_with_retraining(count, step):
    """The closed form gives the probabilities of a model trained without the phrasing.

    All of a few phrasings are tested, and some of more than a thousand, whose kernel is computed in blocks of rows.
    """
    from sklearn.kernel_ridge import KernelRidge

    data = phrasings(count)
    texts = [data.texts[(row + count * (row % 3 == 0)) % len(data.texts)] for row in range(len(data.texts))]
    data = replace(data, texts=texts)  # a third have the words of another class, so that few probabilities are 0 or 1
    kernel = oracle_kernel(data)
    targets, weights = signs_and_weights(data)
    model = train_classifier(data)
    scales = fitted_scales(
        model, data, KernelRidge(alpha=0.1, kernel="precomputed").fit(kernel, targets, sample_weight=weights).dual_coef_
    )
    rows, scores = np.r_[0 : len(targets) : step, -1], []
    for row in np.arange(len(targets))[rows]:
        training = np.arange(len(targets)) != row
        oracle = KernelRidge(alpha=0.1, kernel="precomputed")
        oracle.fit(kernel[np.ix_(training, training)], targets[training], sample_weight=weights[training])
        scores.append(oracle.predict(kernel[row : row + 1, training])[0])
    nearest = oracle_nearest(data, True)[rows]
    expected = oracle_probabilities(data, np.array(scores), scales, nearest, model.rank_factors)
    assert np.allclose(leave_one_out(data).probabilities[rows], expected, atol=2e-3)


def test_a_source_entry_is_not_favoured_for_its_many_phrasings():
    """If words do not tell it from its expansion, ten times as many phrasings do not make it more probable."""
    owners = ["source"] * 40 + ["expansion"] * 4
    vectors = l2_normalise(np.ones((44, 2)))
    model = train_classifier(
        Phrasings(
            texts=["alpha"] * 44,
            signs=[()] * 44,
            classes=owners,
            groups=["item:1"] * 44,
            movable=[False] * 44,
            vectors=vectors,
        )
    )
    assert 0.3 < model.predict("alpha", model.score_vectors(vectors[:1])[0]).probabilities["expansion"] < 0.7


def test_a_phrasing_trains_the_entry_that_answers_it():
    """A source entry's phrasing that clearly belongs to another entry is reassigned to it, if it is marked as
    movable.
    """
    rows = [("source", "alpha beta")] * 8 + [("source", "alpha gamma")] + [("expansion", "alpha gamma")] * 8
    vectors = l2_normalise(np.eye(2)[[0] * 8 + [1] * 9] + 0.01)
    for movable, expected in ((True, "expansion"), (False, "source")):
        left_out = leave_one_out(
            Phrasings(
                texts=[f"{text} {at}" for at, (_, text) in enumerate(rows)],
                signs=[()] * len(rows),
                classes=[owner for owner, _ in rows],
                groups=["item:1"] * len(rows),
                movable=[movable] * len(rows),
                vectors=vectors,
            )
        )
        assert left_out.owners.tolist() == [owner for owner, _ in rows]
        assert left_out.targets.tolist() == ["source"] * 8 + [expected] + ["expansion"] * 8


def test_entries_of_one_item_do_not_share_its_confidence(toy_service, word_hash, tmp_path):
    """The best entry gets the item's whole confidence; its twins follow by descending score."""
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
    assert len(among) == 9
    assert [match.score for match in among] == sorted((match.score for match in among), reverse=True)


def test_a_format_in_which_all_is_well_rules_out_its_entries(toy_service, word_hash, tmp_path):
    """The float16 entry comes first, unless the question says that float16 works and another format does not.

    An entry that declares where its problem is absent gains if the question observes that.
    """
    counting = toy_service.knowledge.library["counting"]
    entries = dict(toy_service.knowledge.library)
    for name, wording, signs in (("half", "丙丙丙", "in:float16"), ("quantised", "丙丙", "in:int8 fine:cpu")):
        entries[name] = replace(
            counting,
            id=name,
            expands="counting",
            question=Text(f"{wording}？", f"{name}?"),
            phrasings={"zh": (wording,), "en": (name,)},
            signs=tuple(map(Sign.parse, signs.split())),
            lecture=None,
        )
    matcher = Matcher(Library(entries, toy_service.knowledge.library.subjects), word_hash(), name="w", cache=tmp_path)

    def scores(*signs: str) -> dict[str, float]:
        observed = [Observation(sign=Sign.parse(sign), text="") for sign in signs]
        return {match.entry.id: match.score for match in matcher.match("丙丙丙", 5, observed).matches}

    assert [next(iter(scores(*signs))) for signs in ((), ("fine:float16",), ("in:int8",))] == ["half"] * 3
    assert next(iter(scores("fine:float16", "in:int8"))) != "half"
    plain, singled_out = scores(), scores("fine:cpu")
    assert singled_out["quantised"] / singled_out["half"] == pytest.approx(
        4 * plain["quantised"] / plain["half"], rel=1e-3
    )


def test_reasons_add_up_to_the_score():
    """Contributions of terms and vector sum to a class's logit relative to the mean of all classes."""
    data = phrasings()
    model = train_classifier(data)
    scores = model.score_vectors(data.vectors[-9:-8])[0]
    prediction = model.predict("delta 3", scores)
    reasons = dict(prediction.reasons(["raising"], count=100)[0])
    by_logits = replace(model, rank_factors=np.array([1.0, 0.0]))
    logs = np.log(list(by_logits.predict("delta 3", scores).probabilities.values()))
    column = model.classes.index("raising")
    bias = model.bias[column] - model.bias.mean()
    assert sum(reasons.values()) + bias == pytest.approx(logs[column] - logs.mean(), abs=2e-2)
    assert max((term for term in reasons if term), key=reasons.get).removeprefix("w:").strip() in "delta"


def test_observed_signs_tell_classes_apart():
    """The same words with other signs belong to another class; signs count as much in a long text."""
    owners = ["halving", "raising"] * 8
    vectors = l2_normalise(np.ones((16, 2)))
    model = train_classifier(
        Phrasings(
            texts=["alpha"] * 16,
            signs=[("what:nan", "where:loss") if owner == "halving" else ("what:flat",) for owner in owners],
            classes=owners,
            groups=[f"item:{owner}" for owner in owners],
            movable=[False] * 16,
            vectors=vectors,
        )
    )
    scores = model.score_vectors(vectors[:1])[0]
    for text in ("alpha", " ".join(f"word{number}" for number in range(200))):
        for signs, expected in ((("where:loss", "what:nan"), "halving"), (("what:flat",), "raising")):
            assert model.predict(text, scores, signs).probabilities[expected] > 0.8
    assert model.predict("alpha", scores).probabilities["halving"] == pytest.approx(0.5, abs=0.05)


def test_training_is_deterministic():
    first, second = (train_classifier(phrasings()) for _ in range(2))
    assert np.array_equal(first.term_weights, second.term_weights)
    assert np.array_equal(first.rank_factors, second.rank_factors)


def test_training_samples_at_most_max_phrasings(monkeypatch):
    """The sample limits memory; it has every phrasing of a subject, and equally many of each entry."""
    monkeypatch.setattr("qa_service.retrieval.training.MAX_PHRASINGS", 24)
    model = train_classifier(phrasings())
    trained = np.diff([*model.class_starts, len(model.phrasing_vectors)])
    assert dict(zip(model.classes, trained, strict=True)) == {"counting": 4, "halving": 4, "rain": 12, "raising": 4}


def test_training_samples_every_question_of_an_entry(monkeypatch):
    """The six phrasings marked as questions are kept; without the marks an entry would keep four."""
    monkeypatch.setattr("qa_service.retrieval.training.MAX_PHRASINGS", 24)
    model = train_classifier(replace(phrasings(), questions=[row < 6 for row in range(48)]))
    assert len(model.phrasing_vectors) == 24
    assert model.class_starts[1] - model.class_starts[0] >= 6  # of "counting", the first class


def test_the_nearest_wording_of_each_entry_is_found(toy_service, tmp_path):
    """The result equals FAISS's exhaustive search, with vectors in memory, mapped, read from disk, or with half the
    digits.
    """
    import faiss

    library = toy_service.knowledge.library
    wordings = {entry.id: [each for lang in LANGS for each in entry.wordings(lang)] for entry in library.values()}
    count = sum(map(len, wordings.values()))
    vectors = l2_normalise(np.random.default_rng(3).normal(size=(count + 5, 16)))  # 5 of subjects
    save_vectors(tmp_path / "phrasings.faiss", vectors)
    expected, start = {}, 0
    for name, own in wordings.items():
        flat = faiss.IndexFlatIP(16)
        flat.add(vectors[start : start + len(own)])
        expected[name] = [own[row] for row in flat.search(vectors, 1)[1][:, 0]]
        start += len(own)
    file = tmp_path / "phrasings.faiss"
    for stored in (vectors, map_vectors(file), open_vectors(file), vectors.astype(np.float16)):
        index = PhrasingIndex(library, stored)
        found = [index.nearest(vector, library.values()) for vector in vectors]
        assert {name: [each[row].phrasing for each in found] for row, name in enumerate(wordings)} == expected


def test_faiss_finds_the_same_wordings_in_the_mapped_file(toy_service, tmp_path, monkeypatch):
    """FAISS answers all questions of a process but the first, also without a file; the memory pages that it touched are
    released afterwards.
    """
    import faiss

    library = toy_service.knowledge.library
    entries = list(library.values())
    count = sum(len(entry.wordings(lang)) for entry in entries for lang in LANGS)
    vectors = l2_normalise(np.random.default_rng(4).normal(size=(count, 512)))
    file = tmp_path / "phrasings.faiss"
    save_vectors(file, vectors)
    index, without_file = (
        PhrasingIndex(library, open_vectors(file), file),
        PhrasingIndex(library, vectors.astype(np.float16)),
    )
    calls = Counter[str]()

    def count_calls(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any) -> Any:
            calls[name] += 1
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)

    count_calls(faiss.IndexFlatIP, "compute_distance_subset")
    count_calls(faiss, "pairwise_distances")
    count_calls(faiss, "omp_set_num_threads")
    count_calls(faiss, "read_index")
    found = [index.nearest(vectors[0], entries)]
    for each in (index, without_file):
        each.release()
    assert not calls  # who asks one question does not wait for FAISS
    found += [index.nearest(vector, entries) for vector in vectors[1:]]
    assert calls["compute_distance_subset"] == count - 1
    if sys.platform.startswith("linux"):
        assert _mapped_kib(file) > 4
        index.release()
        assert _mapped_kib(file) <= 8  # the first page has the header, too, and the last may end before its page
    assert found == [without_file.nearest(vector, entries) for vector in vectors]
    assert calls["pairwise_distances"] == count * len(entries)
    monkeypatch.setitem(sys.modules, "faiss", None)  # not installed
    assert found == [PhrasingIndex(library, vectors, file).nearest(vector, entries) for vector in vectors]


def _mapped_kib(file: Path) -> int:
    """How much of a file is mapped into this process now."""
    kib, is_its = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-", line):
            is_its = line.endswith(str(file))
        elif is_its and line.startswith("Rss:"):
            kib += int(line.split()[1])
    return kib


def test_the_index_file_is_a_faiss_index(tmp_path):
    """FAISS reads the file that we write and we read FAISS's, to the last bit; any other file is refused."""
    import faiss

    vectors = l2_normalise(np.random.default_rng(4).normal(size=(7, 16)))
    ours, theirs, other = tmp_path / "ours.faiss", tmp_path / "theirs.faiss", tmp_path / "other.faiss"
    save_vectors(ours, vectors)
    assert np.array_equal(faiss.read_index(str(ours)).reconstruct_n(0, 7), vectors)
    flat = faiss.IndexFlatIP(16)
    flat.add(vectors)
    faiss.write_index(flat, str(theirs))
    assert ours.read_bytes() == theirs.read_bytes()
    assert np.array_equal(map_vectors(theirs), vectors)
    faiss.write_index(faiss.IndexFlatL2(16), str(other))
    for rubbish in (other.read_bytes(), b"", b"rubbish" * 20, ours.read_bytes()[:100]):
        other.write_bytes(rubbish)
        with pytest.raises(ValueError):
            map_vectors(other)


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
    """Naming the folder in the settings suffices, as the encoder's interface is that of sentence-transformers."""
    embedder = load_embedder(str(tiny_model))
    matcher = Matcher(toy_service.knowledge.library, embedder, name=str(tiny_model), cache=tmp_path)
    assert matcher.match("raising errors two").matches[0].entry.id == "raising"
    assert np.allclose(np.linalg.norm(l2_normalise(embedder.encode_query(["hanging"])), axis=1), 1)


@pytest.mark.filterwarnings("ignore")
def test_a_missing_encoder_is_reported(tmp_path):
    """The operator gets an error that names the encoder, without a traceback."""
    with pytest.raises(BadField, match="cannot be loaded"):
        load_embedder(str(tmp_path / "nowhere"))


def test_the_default_encoder_puts_both_languages_in_one_space(cache):
    """A sentence is nearer to its translation than to another sentence."""
    vectors = l2_normalise(
        load_embedder(DEFAULT_ENCODER, cache).encode_query(
            ["梯度爆炸了怎么办", "my gradient explodes", "the cat is asleep"]
        )
    )
    assert vectors.shape == (3, 512)
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.1


@pytest.mark.exhaustive  # encodes more characters than all other tests together
def test_the_encoder_forgets_tokens_without_forgetting_what_they_mean(tmp_path):
    """Vectors stay the same if texts, or a single text, have more tokens than the encoder's cache can hold."""
    texts = ["".join(map(chr, range(start, start + 300))) for start in range(0x4E00, 0x9000, 300)]
    texts += ["".join(texts), *texts[:2]]
    expected = MultilingualUSE().encode_query(texts)
    MultilingualUSE(tmp_path).encode_query(["x"])  # writes it
    cached = MultilingualUSE(tmp_path)
    for _ in range(2):
        assert np.allclose(cached.encode_query(texts), expected, atol=1e-6)


def test_a_finite_run_is_not_about_nan(service):
    """If a log stays finite and the question does not mention nan, no entry about nan answers, however similar its
    words.
    """
    question = "The loss jumps up at some step, then training continues. What has happened?"
    signs = {name: Observation(sign=Sign("what", name), text="") for name in ("finite", "nan")}
    match = service.knowledge.matcher.match
    about_nan = [
        [
            Sign("what", "nan") in each.entry.signs
            for each in match(question, 1, [signs[name] for name in names]).matches
        ]
        for names in ((), ("finite",), ("finite", "nan"))
    ]
    assert about_nan == [[True], [False], [True]]
