"""What a question is about, as calibrated probabilities: a kernel machine over terms and vectors.

Labels are the items of the lecture ("item:9") and the subjects that we do not cover ("overfitting"): refusing is a
class of its own that is trained and tested like any other (in-domain out-of-scope, Zhang et al., arXiv 2106.04564).
Among the entries of one item a second machine decides, over the same features.
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

WIDTH = 2.0
"""Of the Gaussian bell over vectors u, v of length 1: exp(WIDTH (u·v - 1))."""
Reason = tuple[str, float]
"""A term, and how much it spoke for a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorScores:
    """What a vector says: how near each phrasing is, and what all of them add to the score of each label."""

    near: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Scores are linear in the terms and in the bells around the phrasings that it was trained on.

    Columns are the `labels`, then the `entries`, whose item is `item_of` (as a label). Rows of `weights` are terms,
    sorted by `keys`; a text's terms weigh (1 + ln count) · `idf`, scaled to length 1 (tf-idf). Rows of `dual` are
    phrasings; `phrasings` are their vectors along the principal `axes` of them all. The entries of an item are told
    apart by its own phrasings alone, the rows of `within` from its first to its last of `spans`. `sharpness` makes
    probabilities of the scores (temperature scaling, Guo et al., arXiv 1706.04599), of labels first, then of entries.
    """

    labels: tuple[str, ...]
    entries: tuple[str, ...]
    item_of: tuple[str, ...]
    keys: TermIds
    idf: NDArray[np.float32]
    weights: NDArray[np.float16]
    axes: NDArray[np.float32]
    phrasings: NDArray[np.float32]
    dual: NDArray[np.float32]
    entry_dual: NDArray[np.float32]
    spans: NDArray[np.int64]
    bias: NDArray[np.float32]
    inverse_temperature: NDArray[np.float32]

    def score_vectors(self, vectors: Vectors) -> list[VectorScores]:
        """What vectors, (n, d), of length 1, say, each by itself."""
        with _one_thread()(limits=1, user_api="blas"):  # more would wait for each other longer than they work
            cosines = (vectors @ self.axes) @ self.phrasings.T
            near = gaussian_kernel(cosines.astype(np.float32, copy=False))
            return [VectorScores(near=row, scores=scores) for row, scores in zip(near, near @ self.dual, strict=True)]

    def predict(self, text: str, felt: VectorScores) -> "Prediction":
        """By the text's terms and by what its vector says."""
        terms, rows, weighed = self._known(text)
        of_terms = self.weights[rows].astype(np.float32) * weighed[:, None]
        count = len(self.labels)
        scores = of_terms[:, :count].sum(axis=0) + felt.scores + self.bias[:count]
        probabilities = _softmax(self.inverse_temperature[0] * scores)
        return Prediction(
            classifier=self,
            labels=dict(zip(self.labels, probabilities, strict=True)),
            terms=terms,
            of_terms=of_terms,
            felt=felt,
        )

    def _known(self, text: str) -> tuple[list[str], NDArray[np.intp], NDArray[np.float32]]:
        """The terms of the text that we know, their rows, and their tf-idf, of length 1 (or empty)."""
        terms, keys, counts = tf_vector(text)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = np.flatnonzero(self.keys[rows] == keys)
        rows = rows[known]
        weighed = self.idf[rows] * counts[known]
        weighed /= max(float(np.linalg.norm(weighed)), 1e-9)
        return [terms[at] for at in known], rows, weighed

    @cached_property
    def item_slices(self) -> dict[str, tuple[slice, slice]]:
        """Item, by its label → the columns of its entries, and the rows of its phrasings."""
        found = {}
        for label, (first, last) in zip(dict.fromkeys(self.item_of), self.spans.tolist(), strict=True):
            start = len(self.labels) + self.item_of.index(label)
            found[label] = slice(start, start + self.item_of.count(label)), slice(first, last + 1)
        return found

    def save(self, path: Path) -> None:
        """Numbers only: what is loaded later can run no code."""
        given = {name: getattr(self, name) for name in self._names()}
        arrays: dict[str, Any] = {
            name: _packed(each) if isinstance(each, tuple) else each for name, each in given.items()
        }
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Raises OSError, ValueError or KeyError for a file that `save` did not write."""
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in cls._names()}
        given: dict[str, Any] = {
            name: _unpacked(each) if each.dtype == np.uint8 else each for name, each in arrays.items()
        }
        return cls(**given)

    @classmethod
    def _names(cls) -> list[str]:
        return [field.name for field in fields(cls)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a classifier makes of one question: `labels` with their probabilities, which sum to 1.

    `terms` are those of the question that are known, `of_terms` what they add to every column's score.
    """

    classifier: Classifier
    labels: Mapping[str, float]
    terms: Sequence[str]
    of_terms: NDArray[np.float32]
    felt: VectorScores

    def entries(self, label: str) -> dict[str, float]:
        """Entry → its share among the entries of an item, by its label; they sum to 1."""
        model = self.classifier
        columns, rows = model.item_slices[label]
        scores = self.of_terms[:, columns].sum(axis=0) + model.bias[columns]
        scores += self.felt.near[rows] @ model.entry_dual[rows, : columns.stop - columns.start]
        first = len(model.labels)
        names = model.entries[columns.start - first : columns.stop - first]
        return dict(zip(names, _softmax(model.inverse_temperature[1] * scores), strict=True))

    def reasons(self, labels: Sequence[str], count: int = 6) -> list[list[Reason]]:
        """For each of `labels` what spoke for it rather than for the average label: terms, and "" for the vector.

        Weightiest first, at most `count`; all of them add up to the label's score but for its bias.
        """
        names = self.classifier.labels
        shares = np.concatenate([self.of_terms[:, : len(names)], self.felt.scores[None, :]])
        shares = shares[:, [names.index(label) for label in labels]] - shares.mean(axis=1, keepdims=True)
        terms = [*self.terms, ""]
        best = np.argsort(-np.abs(shares), axis=0)[:count]
        return [[(terms[row], float(shares[row, at])) for row in best[:, at]] for at in range(len(labels))]


@cache
def _one_thread() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().limit


def gaussian_kernel(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """What nearness counts."""
    near: NDArray[np.float32] = np.exp(WIDTH * (cosines - 1), dtype=np.float32)
    return near


def _softmax(scores: NDArray[np.float32]) -> list[float]:
    powers = np.exp(scores - scores.max())
    shares: list[float] = (powers / powers.sum()).tolist()
    return shares


def _packed(words: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\0".join(words).encode(), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(packed.tobytes().decode().split("\0"))
