"""Which wording of an entry comes nearest to a question. FAISS where comparing with all of them would be felt."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from qa_service.model import LANGS, Entry
from qa_service.retrieval.embedder import Vectors

FAISS_FROM = 50_000
_SEARCHED = 256


class Index:
    """`vectors` are those of the entries' wordings, Chinese before English, each of length 1."""

    def __init__(self, library: Mapping[str, Entry], vectors: Vectors) -> None:
        self._vectors = vectors
        self._phrasings: list[str] = []
        self._rows: dict[str, slice] = {}
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [wording for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    def nearest(self, vector: Vectors, entries: Iterable[str]) -> dict[str, str]:
        """Entry → its phrasing that is nearest to the vector, for each of `entries`."""
        found = self._searched(vector) if len(self._phrasings) > FAISS_FROM else np.empty(0, dtype=np.intp)
        met = {}
        for entry in entries:
            its = self._rows[entry]
            hits = found[(found >= its.start) & (found < its.stop)]
            row = hits[0] if hits.size else its.start + int(np.argmax(self._vectors[its] @ vector))
            met[entry] = self._phrasings[row]
        return met

    def _searched(self, vector: Vectors) -> Any:
        return self._faiss.search(vector.reshape(1, -1), _SEARCHED)[1][0]  # rows, nearest first; -1: found no more

    @cached_property
    def _faiss(self) -> Any:
        return build(self._vectors)


def build(vectors: Vectors) -> Any:
    """Exact up to 50,000 vectors; beyond, √n-sized cells with 8 bits a number, of which the nearest 1/32 are searched.

    A million of 512 numbers then take half a gigabyte instead of two (`python -m bench index`).
    """
    import faiss

    count, width = vectors.shape
    index: Any = faiss.IndexFlatIP(width)
    if count > FAISS_FROM:
        cells = 1 << round(np.log2(2 * count**0.5))
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = 64
        index.nprobe = max(8, cells // 32)
        index.train(vectors)
    index.add(vectors)
    return index
