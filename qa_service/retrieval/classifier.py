"""The classifier of questions: a kernel machine over tf-idf terms and sentence vectors, with calibrated probabilities.

Labels are the items of the lecture ("item:9") and the subjects that we do not cover ("overfitting"): out-of-scope
questions are classes that are trained and tested like any other (Zhang et al., arXiv 2106.04564). A second machine over
the same features decides among the entries of one item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.retrieval.embedder import Vectors
from qa_service.retrieval.features import TermIds, tf_vector

RBF_COEFFICIENT = 2.0
"""Of the Gaussian kernel exp(RBF_COEFFICIENT (u·v - 1)) of unit vectors; half of it is the usual gamma."""
Reason = tuple[str, float]
"""(term, its contribution to the score of a label relative to the average label)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorScores:
    """The contribution of a question's vector: its kernel with each phrasing, and from that a score for each label."""

    kernel: NDArray[np.float32]
    label_scores: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained classifier. Scores are linear in the tf-idf terms and in the kernel with each training phrasing.

    Columns of the arrays are `labels`, then `entries`. Dual weights have one row per training phrasing.
    """

    labels: tuple[str, ...]
    """Items and subjects."""
    entries: tuple[str, ...]
    """Ids of entries; those of an item follow each other."""
    entry_items: tuple[str, ...]
    """The label of each entry's item."""
    term_ids: TermIds
    """(terms,), sorted."""
    idf: NDArray[np.float32]
    """(terms,): inverse document frequencies. A text's terms weigh (1 + ln count) · idf, scaled to length 1."""
    term_weights: NDArray[np.float16]
    """(terms, labels + entries)."""
    axes: NDArray[np.float32]
    """(d, axes): the principal axes of the phrasings' vectors."""
    phrasing_vectors: NDArray[np.float32]
    """(phrasings, axes): the phrasings' vectors projected on the axes."""
    label_dual: NDArray[np.float32]
    """(phrasings, labels): dual weights."""
    entry_dual: NDArray[np.float32]
    """(phrasings, most entries of an item): dual weights of the entries of the phrasing's own item, then zeros."""
    item_spans: NDArray[np.int64]
    """(items, 2): the first and the last row of each item's phrasings."""
    bias: NDArray[np.float32]
    """(labels + entries,)."""
    inverse_temperature: NDArray[np.float32]
    """(2,): for labels, and for entries (temperature scaling, Guo et al., arXiv 1706.04599)."""

    def score_vectors(self, vectors: Vectors) -> list[VectorScores]:
        """The vector part of the label scores, for unit vectors of shape (n, d)."""
        with _blas_limit()(limits=1, user_api="blas"):  # more would wait for each other longer than they compute
            cosines = (vectors @ self.axes) @ self.phrasing_vectors.T
            kernel = gaussian_kernel(cosines.astype(np.float32, copy=False))
            label_scores = kernel @ self.label_dual
            return [VectorScores(kernel=k, label_scores=s) for k, s in zip(kernel, label_scores, strict=True)]

    def predict(self, text: str, vector_scores: VectorScores) -> "Prediction":
        """Classify a normalised text by its terms and by the scores of its vector."""
        terms, rows, tfidf = self._known_terms(text)
        term_scores = self.term_weights[rows].astype(np.float32) * tfidf[:, None]
        count = len(self.labels)
        scores = term_scores[:, :count].sum(axis=0) + vector_scores.label_scores + self.bias[:count]
        probabilities = _softmax(self.inverse_temperature[0] * scores)
        return Prediction(
            classifier=self,
            probabilities=dict(zip(self.labels, probabilities, strict=True)),
            terms=terms,
            term_scores=term_scores,
            vector_scores=vector_scores,
        )

    def _known_terms(self, text: str) -> tuple[list[str], NDArray[np.intp], NDArray[np.float32]]:
        """The terms of the text that are in the vocabulary, their rows, and their tf-idf, scaled to length 1."""
        terms, ids, frequencies = tf_vector(text)
        rows = np.minimum(np.searchsorted(self.term_ids, ids), len(self.term_ids) - 1)
        known = np.flatnonzero(self.term_ids[rows] == ids)
        rows = rows[known]
        tfidf = self.idf[rows] * frequencies[known]
        tfidf /= max(float(np.linalg.norm(tfidf)), 1e-9)
        return [terms[index] for index in known], rows, tfidf

    @cached_property
    def item_slices(self) -> dict[str, tuple[slice, slice]]:
        """Label of an item → (the columns of its entries, the rows of its phrasings)."""
        slices = {}
        for label, (first, last) in zip(dict.fromkeys(self.entry_items), self.item_spans.tolist(), strict=True):
            start = len(self.labels) + self.entry_items.index(label)
            slices[label] = slice(start, start + self.entry_items.count(label)), slice(first, last + 1)
        return slices

    def save(self, path: Path) -> None:
        """Write an .npz of plain arrays, no pickles: loading it cannot run code."""
        values = {name: getattr(self, name) for name in self._field_names()}
        arrays: dict[str, Any] = {
            name: _pack_strings(value) if isinstance(value, tuple) else value for name, value in values.items()
        }
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Read what `save` wrote. Raises OSError, ValueError or KeyError for any other file."""
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in cls._field_names()}
        values: dict[str, Any] = {
            name: _unpack_strings(array) if array.dtype == np.uint8 else array for name, array in arrays.items()
        }
        return cls(**values)

    @classmethod
    def _field_names(cls) -> list[str]:
        return [field.name for field in fields(cls)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The classification of one question.

    `probabilities` are of the labels and sum to 1. `terms` are the question's known terms, `term_scores`, of shape
    (terms, labels + entries), their contributions to the scores.
    """

    classifier: Classifier
    probabilities: Mapping[str, float]
    terms: Sequence[str]
    term_scores: NDArray[np.float32]
    vector_scores: VectorScores

    def entry_probabilities(self, label: str) -> dict[str, float]:
        """Entry → its probability given the item with this label; they sum to 1."""
        model = self.classifier
        columns, rows = model.item_slices[label]
        scores = self.term_scores[:, columns].sum(axis=0) + model.bias[columns]
        scores += self.vector_scores.kernel[rows] @ model.entry_dual[rows, : columns.stop - columns.start]
        first = len(model.labels)
        names = model.entries[columns.start - first : columns.stop - first]
        return dict(zip(names, _softmax(model.inverse_temperature[1] * scores), strict=True))

    def reasons(self, labels: Sequence[str], count: int = 6) -> list[list[Reason]]:
        """For each of `labels`, the terms, and "" for the vector, that contribute most to its score.

        A contribution is relative to the average label; largest magnitude first, at most `count`. All contributions to
        a label add up to its score, without its bias, relative to the average label.
        """
        names = self.classifier.labels
        scores = np.concatenate([self.term_scores[:, : len(names)], self.vector_scores.label_scores[None, :]])
        scores = scores[:, [names.index(label) for label in labels]] - scores.mean(axis=1, keepdims=True)
        terms = [*self.terms, ""]
        largest = np.argsort(-np.abs(scores), axis=0)[:count]
        return [
            [(terms[row], float(scores[row, column])) for row in largest[:, column]] for column in range(len(labels))
        ]


@cache
def _blas_limit() -> Any:
    """The context manager that limits BLAS threads; cached, because it takes milliseconds to find the libraries."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().limit


def gaussian_kernel(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian kernel of cosine similarities: exp(RBF_COEFFICIENT * (cos - 1))."""
    kernel: NDArray[np.float32] = np.exp(RBF_COEFFICIENT * (cosines - 1), dtype=np.float32)
    return kernel


def _softmax(scores: NDArray[np.float32]) -> list[float]:
    powers = np.exp(scores - scores.max())
    probabilities: list[float] = (powers / powers.sum()).tolist()
    return probabilities


def _pack_strings(words: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\0".join(words).encode(), dtype=np.uint8)


def _unpack_strings(packed: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(packed.tobytes().decode().split("\0"))
