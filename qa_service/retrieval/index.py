"""The index of phrasings: which wording of an entry is nearest to a question. Uses FAISS where brute force is slow."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from qa_service.model import LANGS, Entry
from qa_service.retrieval.embedder import Vectors

FAISS_FROM = 50_000  # phrasings; up to as many, brute force takes too little time to notice
_MAX_NEIGHBOURS = 256  # of one FAISS search; an entry that is not among them is searched by brute force


class Index:
    """Finds the nearest wording of given entries.

    `vectors`, (wordings, d), are unit vectors in the order of the entries' wordings, Chinese before English.
    """

    def __init__(self, library: Mapping[str, Entry], vectors: Vectors) -> None:
        self._vectors = vectors
        self._phrasings: list[str] = []
        self._rows: dict[str, slice] = {}
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [wording for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    def nearest(self, vector: Vectors, entries: Iterable[str]) -> dict[str, str]:
        """Entry → its wording nearest to the unit vector of shape (d,), for each id in `entries`."""
        neighbours = self._search(vector) if len(self._phrasings) > FAISS_FROM else np.empty(0, dtype=np.intp)
        nearest = {}
        for entry in entries:
            rows = self._rows[entry]
            hits = neighbours[(neighbours >= rows.start) & (neighbours < rows.stop)]
            row = hits[0] if hits.size else rows.start + int(np.argmax(self._vectors[rows] @ vector))
            nearest[entry] = self._phrasings[row]
        return nearest

    def _search(self, vector: Vectors) -> Any:
        """The rows of the nearest wordings, nearest first; -1 at the end if there are fewer."""
        _, rows = self._faiss.search(vector.reshape(1, -1), _MAX_NEIGHBOURS)
        return rows[0]

    @cached_property
    def _faiss(self) -> Any:
        return build_faiss_index(self._vectors)


def build_faiss_index(vectors: Vectors) -> Any:
    """A FAISS inner-product index of vectors of shape (n, d).

    Exact up to `FAISS_FROM` vectors. Beyond, an inverted file of about 2 √n cells, of which the nearest 1/32 are
    searched, with 8-bit scalar quantisation: a million vectors of 512 numbers take half a gigabyte instead of two
    (`python -m bench index`).
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
