"""The classifier of questions: a kernel machine over tf-idf terms and sentence vectors, with calibrated probabilities.

Its classes are all entries and the subjects that we do not cover ("subject:overfitting"), which compete with each
other: out-of-scope questions are classes that are trained and tested like any other (Zhang et al., arXiv 2106.04564).
That competition says how likely a question is to be covered. Which entry it is for is decided in a second step, among
entries alone, by three scores: the same logits, the similarity of each entry's nearest phrasing, and the full-text
score of its prose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.retrieval.array_file import map_arrays, save_arrays
from qa_service.retrieval.embedder import Vectors
from qa_service.retrieval.features import TermCounts, TermIds

RBF_COEFFICIENT = 2.0
"""Of the Gaussian kernel exp(RBF_COEFFICIENT (u·v - 1)) of unit vectors; half of it is the usual gamma."""
PROSE_FACTOR = 5.0
"""Of the score of an entry's prose (`ProseIndex`) among the ranks of entries: at 4 and 6 the accuracy is the same."""
Reason = tuple[str, float]
"""(term, its contribution to the logit of a class relative to the average class)."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained classifier. Logits are linear in the tf-idf terms and in the kernel with each training phrasing."""

    classes: tuple[str, ...]
    """Ids of entries, and labels of subjects."""
    is_entry: NDArray[np.bool_]
    """(classes,): whether the class is an entry, not a subject."""
    rank_factors: NDArray[np.float32]
    """(2,): of the logit and of the nearest phrasing in the rank of an entry (see `ranked_softmax`)."""
    term_ids: TermIds
    """(terms,), sorted."""
    idf: NDArray[np.float32]
    """(terms,): inverse document frequencies (see `TermCounts.weigh`)."""
    term_weights: NDArray[np.float16]
    """(terms, classes)."""
    axes: NDArray[np.float32]
    """(d, axes): the principal axes of the phrasings' vectors."""
    phrasing_vectors: NDArray[np.float32]
    """(phrasings, axes): the phrasings' vectors projected on the axes, ordered by their class."""
    class_starts: NDArray[np.intp]
    """(classes,): the first phrasing of each class."""
    dual: NDArray[np.float32]
    """(phrasings, classes): dual weights."""
    bias: NDArray[np.float32]
    """(classes,)."""

    def score_vectors(self, vectors: Vectors) -> "list[VectorScores]":
        """The scores of each class for unit vectors of shape (n, d), one `VectorScores` for each vector."""
        with _blas_limit()(limits=1, user_api="blas"):  # more would wait for each other longer than they compute
            projected = np.ascontiguousarray((vectors @ self.axes).T)
            cosines = (self.phrasing_vectors @ projected).T.astype(np.float32, order="C", copy=False)
            logits: NDArray[np.float32] = gaussian_kernel(cosines) @ self.dual
        nearest = np.maximum.reduceat(cosines, self.class_starts, axis=1)
        return [VectorScores(logits=one, nearest=other) for one, other in zip(logits, nearest, strict=True)]

    def predict(
        self, text: str, vector: "VectorScores", signs: Iterable[str] = (), prose: NDArray[np.float32] | float = 0.0
    ) -> "Prediction":
        """Classify a normalised text by its terms, its observed signs, and the scores of its vector.

        `prose`, (entries,), are the full-text scores of the entries' prose, in their order among the classes.
        """
        (prediction,) = self.predict_together([(text, signs)], [vector], [prose])
        return prediction

    def predict_together(
        self,
        questions: Iterable[tuple[str, Iterable[str]]],
        vectors: "Sequence[VectorScores]",
        prose: Sequence[NDArray[np.float32] | float],
    ) -> "list[Prediction]":
        """The same for several questions, each a text with its signs."""
        counts = [TermCounts.of(text, signs) for text, signs in questions]
        terms, weights = self._known_terms(counts)
        tfidf = np.zeros((len(counts), len(weights)), dtype=np.float32)
        for row, own in zip(tfidf, terms, strict=True):
            np.add.at(row, own.rows, own.tfidf)  # two terms with one id have one row
        logits = tfidf @ weights + np.stack([each.logits for each in vectors]) + self.bias
        nearest = np.stack([each.nearest for each in vectors])[:, self.is_entry]
        by_logits, by_nearest = self.rank_factors
        ranks = by_logits * logits[:, self.is_entry] + by_nearest * nearest
        ranks += np.float32(PROSE_FACTOR) * np.stack([np.broadcast_to(each, ranks.shape[1]) for each in prose])
        shares = ranked_softmax(logits, ranks, self.is_entry)
        means = weights.mean(axis=1)
        return [
            Prediction(
                classifier=self, shares=own_shares, terms=own, term_weights=weights, term_means=means,
                vector_scores=vector.logits,
            )
            for own_shares, own, vector in zip(shares, terms, vectors, strict=True)
        ]  # fmt: skip

    def _known_terms(self, counts: Sequence[TermCounts]) -> tuple[list["_KnownTerms"], NDArray[np.float32]]:
        """The known terms of each question, and the weights of all, (rows, classes), read and widened once."""
        weighed = [each.weigh(self.term_ids, self.idf) for each in counts]
        known = [np.flatnonzero(columns >= 0) for columns, _ in weighed]
        columns = [columns[own] for (columns, _), own in zip(weighed, known, strict=True)]
        needed, rows = np.unique(np.concatenate(columns), return_inverse=True)
        ends = [*accumulate(map(len, columns))]
        found = [
            _KnownTerms([each.terms[index] for index in own.tolist()], tfidf[own], rows[end - len(own) : end])
            for each, own, (_, tfidf), end in zip(counts, known, weighed, ends, strict=True)
        ]
        return found, _to_float32(self.term_weights[needed])

    @cached_property
    def columns(self) -> Mapping[str, int]:
        """Class → its number."""
        return {name: column for column, name in enumerate(self.classes)}

    def save(self, path: Path) -> None:
        """Write an .npz of plain arrays, no pickles: loading it cannot run code."""
        values = {name: getattr(self, name) for name in self._field_names()}
        arrays: dict[str, Any] = {
            name: _pack_strings(value) if isinstance(value, tuple) else value for name, value in values.items()
        }
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Map what `save` wrote into memory. Raises OSError, ValueError or KeyError for any other file."""
        arrays = map_arrays(path)
        values: dict[str, Any] = {
            name: _unpack_strings(array) if (array := arrays[name]).dtype == np.uint8 else array
            for name in cls._field_names()
        }
        return cls(**values)

    @classmethod
    def _field_names(cls) -> list[str]:
        return [field.name for field in fields(cls)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorScores:
    """The scores of each class for the vector of a question, both of shape (classes,)."""

    logits: NDArray[np.float32]
    """Its contribution to the logits."""
    nearest: NDArray[np.float32]
    """The cosine similarity of the nearest phrasing."""


@dataclass(frozen=True, slots=True)
class _KnownTerms:
    """The terms of a question that the classifier knows, with their tf-idf and the `rows` of their weights."""

    names: Sequence[str]
    tfidf: NDArray[np.float32]
    rows: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The classification of one question.

    `shares`, (classes,), are the probabilities of the classes. `terms` are the question's known terms, whose rows in
    `term_weights`, (rows, classes), times their tf-idf are what they contribute to the logits; `term_means`, (rows,),
    are the means over all classes.
    """

    classifier: Classifier
    shares: NDArray[np.float32]
    terms: _KnownTerms
    term_weights: NDArray[np.float32]
    term_means: NDArray[np.float32]
    vector_scores: NDArray[np.float32]

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Class → its probability."""
        return dict(zip(self.classifier.classes, self.shares.tolist(), strict=True))

    def reasons(self, classes: Sequence[str], count: int = 6) -> list[list[Reason]]:
        """For each of `classes`, the terms, and "" for the vector, that contribute most to its logit.

        A contribution is relative to the average class; largest magnitude first, at most `count`. All contributions to
        a class add up to its logit, without its bias, relative to the average class.
        """
        columns, rows = [self.classifier.columns[name] for name in classes], self.terms.rows
        by_term = self.term_weights[rows[:, None], columns] - self.term_means[rows, None]
        by_vector = self.vector_scores[columns] - self.vector_scores.mean()
        scores = np.vstack([by_term * self.terms.tfidf[:, None], by_vector]).T
        largest = np.argsort(-np.abs(scores), axis=1)[:, :count]
        terms, contributions = [*self.terms.names, ""], scores[np.arange(len(columns))[:, None], largest]
        return [
            [(terms[row], score) for row, score in zip(*one, strict=True)]
            for one in zip(largest.tolist(), contributions.tolist(), strict=True)
        ]


@cache
def _blas_limit() -> Any:
    """The context manager that limits BLAS threads; cached, because it takes milliseconds to find the libraries."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().limit


def _to_float32(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers, all finite. NumPy converts one at a time, which takes three times as long.

    A float16 whose exponent and fraction are moved to their places in a float32 is 2**112 times too small, as the
    exponents are biased by 15 and 127.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(~0x7000_0000)  # copies of the sign
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide


def gaussian_kernel(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian kernel of cosine similarities: exp(RBF_COEFFICIENT * (cos - 1))."""
    kernel: NDArray[np.float32] = np.subtract(cosines, 1, dtype=np.float32)  # one array: of a batch it has 1.4 MiB
    kernel *= np.float32(RBF_COEFFICIENT)
    return np.exp(kernel, out=kernel)


def ranked_softmax(
    logits: NDArray[np.float32], ranks: NDArray[np.float32], is_entry: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Probabilities from logits, (…, classes), and from the ranks of the entries among them, (…, entries).

    All classes compete by their logits; what the entries win together they share by the softmax of their ranks.
    """
    probabilities = _softmax(logits)
    covered = probabilities[..., is_entry].sum(axis=-1, keepdims=True)
    probabilities[..., is_entry] = covered * _softmax(ranks)
    return probabilities


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers: NDArray[np.float32] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def _pack_strings(words: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\0".join(words).encode(), dtype=np.uint8)


def _unpack_strings(packed: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(packed.tobytes().decode().split("\0"))
