"""What a question is about, as calibrated probabilities: a kernel machine over terms and vectors.

Labels are the items of the lecture ("item:9") and the subjects that we do not cover ("overfitting"): refusing is a
class of its own that is trained and tested like any other (in-domain out-of-scope, Zhang et al., arXiv 2106.04564).
Among the entries of one item a second machine decides, over the same features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.embedder import Vectors
from qa_service.matching.terms import Keys, counted

WIDTH = 2.0
"""Of the Gaussian bell over vectors u, v of length 1: exp(WIDTH (u·v - 1))."""
Reason = tuple[str, float]
"""A term, and how much it spoke for a label."""
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The terms of a text that we know, what each adds to every score, (terms, columns), and what the vector adds."""

    terms: list[str]
    of_terms: Scores
    of_vector: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Label → probability (they sum to 1), and entry → its share among the entries of its item (they sum to 1)."""

    labels: Mapping[str, float]
    entries: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Scores are linear in the terms and in the bells around the phrasings that it was trained on.

    Columns are the `labels`, then the `entries`, whose item is `item_of` (as a label). Rows of `weights` are terms,
    sorted by `keys`; a text's terms weigh (1 + ln count) · `idf`, scaled to length 1 (tf-idf). Rows of `dual` are
    phrasings; `phrasings` are their vectors along the principal `axes` of them all. `sharpness` makes probabilities
    of the scores (temperature scaling, Guo et al., arXiv 1706.04599), the first of labels, the second of entries.
    """

    labels: tuple[str, ...]
    entries: tuple[str, ...]
    item_of: tuple[str, ...]
    keys: Keys
    idf: NDArray[np.float32]
    weights: NDArray[np.float16]
    axes: NDArray[np.float32]
    phrasings: NDArray[np.float32]
    dual: NDArray[np.float32]
    bias: NDArray[np.float32]
    sharpness: NDArray[np.float32]

    def parts(self, text: str, vector: Vectors, near: Scores | None = None) -> Parts:
        """Of a text and its vector, (d,), of length 1; `near` is its row of `near`, where that is known."""
        terms, keys, counts = counted(text)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = np.flatnonzero(self.keys[rows] == keys)
        rows = rows[known]
        weighed = self.idf[rows] * counts[known]
        weighed /= max(float(np.linalg.norm(weighed)), 1e-9)
        of_terms = self.weights[rows].astype(np.float32) * weighed[:, None]
        of_vector = self.near(vector[None, :])[0] if near is None else near
        return Parts(terms=[terms[at] for at in known], of_terms=of_terms, of_vector=of_vector)

    def near(self, vectors: Vectors) -> Scores:
        """What vectors, (n, d), add to every score, (n, columns): the nearer a phrasing, the more it counts."""
        cosines = ((vectors @ self.axes) @ self.phrasings.T).astype(np.float32, copy=False)
        return (bell(cosines) @ self.dual).astype(np.float32, copy=False)

    def judge(self, parts: Parts) -> Judged:
        """How probable each label is, and each entry among its siblings."""
        of_terms, of_vector = parts.of_terms, parts.of_vector
        scores = of_terms.sum(axis=0) + of_vector + self.bias
        count = len(self.labels)
        shares: dict[str, float] = {}
        for columns in self._siblings:
            shares |= zip((self.entries[at] for at in columns), _softmax(self.sharpness[1] * scores[count:][columns]),
                          strict=True)  # fmt: skip
        return Judged(
            labels=dict(zip(self.labels, _softmax(self.sharpness[0] * scores[:count]), strict=True)), entries=shares
        )

    def reasons(self, parts: Parts, labels: Sequence[str], count: int = 6) -> list[list[Reason]]:
        """For each of `labels` what spoke for it rather than for the average label: terms, and "" for the vector.

        Weightiest first, at most `count`; all of them add up to the label's score but for its bias.
        """
        columns = [self.labels.index(label) for label in labels]
        shares = np.concatenate([parts.of_terms, parts.of_vector[None, :]])[:, : len(self.labels)]
        shares = shares[:, columns] - shares.mean(axis=1, keepdims=True)
        named = [*parts.terms, ""]
        best = np.argsort(-np.abs(shares), axis=0)[:count]
        return [[(named[row], float(shares[row, at])) for row in best[:, at]] for at in range(len(columns))]

    @cached_property
    def _siblings(self) -> list[list[int]]:
        """The entries of each item."""
        items: dict[str, list[int]] = {}
        for at, item in enumerate(self.item_of):
            items.setdefault(item, []).append(at)
        return list(items.values())

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


def bell(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
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
