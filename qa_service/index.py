"""A question → the entries whose phrasings come nearest, each with a calibrated probability that it answers."""

import hashlib
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from qa_service.embedder import Embedder, Vectors, unit
from qa_service.model import Entry, Match

# The nearness of an entry is a third of the cosine to its nearest phrasing plus two thirds of the mean over its
# nearest three: one lucky wording counts less than three that agree. A logistic curve makes a probability of it; its
# middle lets 19 of 20 phrasings through, each scored with itself left out (`python -m bench calibrate`). Default
# encoder only.
SLOPE, MIDDLE = 14.0, 0.50
_NEAREST = 3


class Index:
    """FAISS over the phrasings of a library. Vectors are cached by what they were made of."""

    def __init__(self, library: Mapping[str, Entry], embedder: Embedder, *, name: str, cache: Path) -> None:
        """`name` of the embedder and the phrasings make the cache's key. Nothing is built before the first search."""
        self._embedder = embedder
        self._name = name
        self._cache = cache
        self._entries = [entry for entry in library.values() for lang in entry.phrasings for _ in entry.phrasings[lang]]
        self._phrasings = [
            phrasing for entry in library.values() for lang in entry.phrasings for phrasing in entry.phrasings[lang]
        ]

    @cached_property
    def _faiss(self) -> Any:
        import faiss

        vectors = self._vectors()
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index

    def search(self, question: str, k: int = 5) -> tuple[Match, ...]:
        """The best k entries, best first, each with the phrasing that was met."""
        vector = unit(self._embedder.encode_query([question]))
        cosines, rows = self._faiss.search(vector, len(self._phrasings))
        nearest: dict[str, list[float]] = {}
        met: dict[str, int] = {}
        for cosine, row in zip(cosines[0].tolist(), rows[0].tolist(), strict=True):  # best first
            entry_id = self._entries[row].id
            of_entry = nearest.setdefault(entry_id, [])
            met.setdefault(entry_id, row)
            if len(of_entry) < _NEAREST:
                of_entry.append(cosine)
        near = {entry_id: nearness(of_entry) for entry_id, of_entry in nearest.items()}
        best = sorted(near, key=lambda entry_id: near[entry_id], reverse=True)[:k]
        return tuple(
            Match(
                entry=self._entries[met[entry_id]],
                score=probability(near[entry_id]),
                phrasing=self._phrasings[met[entry_id]],
            )
            for entry_id in best
        )

    def _vectors(self) -> Vectors:
        key = hashlib.sha256("\0".join([self._name, *self._phrasings]).encode()).hexdigest()[:32]
        path = self._cache / f"index-{key}.npy"
        with suppress(OSError, ValueError, EOFError):
            cached: Vectors = np.load(path, allow_pickle=False)
            if cached.dtype == np.float32 and cached.ndim == 2 and len(cached) == len(self._phrasings):
                return cached
        vectors = unit(self._embedder.encode_document(self._phrasings))
        with suppress(OSError):  # a cache that cannot be written costs a second, not an answer
            _write(path, vectors)
        return vectors


def nearness(cosines: list[float]) -> float:
    """One number from the cosines to an entry's nearest phrasings, best first."""
    return (cosines[0] + 2 * sum(cosines) / len(cosines)) / 3


def probability(near: float) -> float:
    """The calibrated probability that an entry answers, from its nearness."""
    return 1.0 / (1.0 + math.exp(-SLOPE * (near - MIDDLE)))


def _write(path: Path, vectors: Vectors) -> None:
    """Whole or not at all: two processes may build the same index at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as half:
        np.save(half, vectors)
    os.replace(half.name, path)
