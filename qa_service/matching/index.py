"""FAISS over the phrasings of the entries: which wording of an entry comes nearest to a question."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from qa_service.embedder import Vectors
from qa_service.model import LANGS, Entry

_NEAREST = 3
_SEARCHED = 256
_EXACT = 50_000


class Index:
    """`vectors` are those of the entries' wordings, Chinese before English, each of length 1."""

    def __init__(self, library: Mapping[str, Entry], vectors: Vectors) -> None:
        self._vectors = vectors
        self._phrasings: list[tuple[str, str]] = []
        self._rows: dict[str, slice] = {}
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [(entry.id, wording) for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    @cached_property
    def _faiss(self) -> Any:
        return build(self._vectors)

    def nearest(self, vector: Vectors) -> dict[str, tuple[float, str]]:
        """Entry → its nearness (the mean cosine of its nearest three phrasings) and the nearest phrasing."""
        cosines, rows = self._faiss.search(vector.reshape(1, -1), min(_SEARCHED, len(self._phrasings)))
        near: dict[str, list[float]] = {}
        met: dict[str, str] = {}
        for cosine, row in zip(cosines[0].tolist(), rows[0].tolist(), strict=True):  # best first; -1: found no more
            entry_id, phrasing = self._phrasings[row]
            if row >= 0 and len(of_entry := near.setdefault(entry_id, [])) < _NEAREST:
                met.setdefault(entry_id, phrasing)
                of_entry.append(cosine)
        for entry_id, its in self._rows.items():
            if len(near.get(entry_id, ())) < min(_NEAREST, its.stop - its.start):  # too far for the search
                cosines = self._vectors[its] @ vector
                best = np.argsort(-cosines)[:_NEAREST]
                near[entry_id], met[entry_id] = cosines[best].tolist(), self._phrasings[its.start + int(best[0])][1]
        return {entry_id: (sum(of_entry) / len(of_entry), met[entry_id]) for entry_id, of_entry in near.items()}


def build(vectors: Vectors) -> Any:
    """Exact up to 50,000 vectors; beyond, √n-sized cells with 8 bits a number, of which the nearest 1/32 are searched.

    A million of 512 numbers then take half a gigabyte instead of two (`python -m bench index`).
    """
    import faiss

    count, width = vectors.shape
    index: Any = faiss.IndexFlatIP(width)
    if count > _EXACT:
        cells = 1 << round(np.log2(2 * count**0.5))
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = 64
        index.nprobe = max(8, cells // 32)
        index.train(vectors)
    index.add(vectors)
    return index
