"""A linear model over terms and vectors: what a question is about, as calibrated probabilities.

Labels are the items of the lecture ("item:9") and the subjects that we do not cover ("overfitting"): refusing is a
class of its own that is trained and tested like any other (in-domain out-of-scope, Zhang et al., arXiv 2106.04564).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qa_service.embedder import Vectors
from qa_service.matching.terms import terms

Reason = tuple[str, float]
"""A term, and how much it spoke for a label."""


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One row of `weights` per term and per dimension of the vector, one column per label.

    Terms weigh (1 + ln count) · idf, scaled to length 1 (tf-idf); `sharpness` makes probabilities of the scores
    (temperature scaling, Guo et al., arXiv 1706.04599).
    """

    labels: tuple[str, ...]
    vocabulary: tuple[str, ...]
    idf: NDArray[np.float32]
    weights: NDArray[np.float16]
    bias: NDArray[np.float32]
    sharpness: float

    def probabilities(self, text: str, vector: Vectors) -> dict[str, float]:
        """Label → probability; they sum to 1. `vector` is the text's, (d,), of length 1."""
        scores = self.sharpness * (self._of_terms(text) + vector @ self._dense[1] + self.bias)
        powers = np.exp(scores - scores.max())
        return dict(zip(self.labels, (powers / powers.sum()).tolist(), strict=True))

    def reasons(self, text: str, vector: Vectors, labels: Sequence[str], count: int = 6) -> list[list[Reason]]:
        """For each of `labels` what spoke for it rather than for the average label: terms, and "" for the vector.

        Weightiest first, at most `count`; all of them add up to the label's score but for its bias.
        """
        columns = [self.labels.index(label) for label in labels]
        rows, weighed = self._weighed(text)
        of_terms = self._dense[0][rows].astype(np.float32) * weighed[:, None]
        of_vector = (vector @ self._dense[1])[None, :]
        shares = np.concatenate([of_terms, of_vector])
        shares = shares[:, columns] - shares.mean(axis=1, keepdims=True)
        terms = [*(self.vocabulary[row] for row in rows), ""]
        best = np.argsort(-np.abs(shares), axis=0)[:count]
        return [[(terms[row], float(shares[row, at])) for row in best[:, at]] for at in range(len(columns))]

    def _of_terms(self, text: str) -> NDArray[np.float32]:
        rows, weighed = self._weighed(text)
        scores: NDArray[np.float32] = weighed @ self._dense[0][rows].astype(np.float32)
        return scores

    def _weighed(self, text: str) -> tuple[list[int], NDArray[np.float32]]:
        """The rows of the terms we know and their tf-idf, of length 1 (or empty)."""
        counted = Counter(term for term in terms(text) if term in self._row)
        rows = [self._row[term] for term in counted]
        weighed = self.idf[rows] * np.array([1 + math.log(count) for count in counted.values()], dtype=np.float32)
        return rows, (weighed / np.linalg.norm(weighed)).astype(np.float32) if rows else weighed

    @cached_property
    def _row(self) -> dict[str, int]:
        return {term: row for row, term in enumerate(self.vocabulary)}

    @cached_property
    def _dense(self) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        size = len(self.vocabulary)
        return self.weights[:size], self.weights[size:].astype(np.float32)

    def save(self, path: Path) -> None:
        """Numbers only: what is loaded later can run no code."""
        np.savez(
            path,
            labels=_packed(self.labels),
            vocabulary=_packed(self.vocabulary),
            idf=self.idf,
            weights=self.weights,
            bias=self.bias,
            sharpness=np.array(self.sharpness),
        )

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Raises OSError, ValueError or KeyError for a file that `save` did not write."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                labels=_unpacked(file["labels"]),
                vocabulary=_unpacked(file["vocabulary"]),
                idf=file["idf"],
                weights=file["weights"],
                bias=file["bias"],
                sharpness=float(file["sharpness"]),
            )


def _packed(words: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\0".join(words).encode(), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(packed.tobytes().decode().split("\0"))
