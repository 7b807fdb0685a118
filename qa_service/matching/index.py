"""FAISS over the phrasings of the entries: which wording of an entry comes nearest to a question."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from qa_service.embedder import Vectors
from qa_service.model import LANGS, Entry

_NEAREST = 3


class Index:
    """`vectors` are those of the entries' wordings, Chinese before English, each of length 1."""

    def __init__(self, library: Mapping[str, Entry], vectors: Vectors) -> None:
        self._vectors = vectors
        self._phrasings = [
            (entry.id, wording) for entry in library.values() for lang in LANGS for wording in entry.wordings(lang)
        ]

    @cached_property
    def _faiss(self) -> Any:
        import faiss

        index = faiss.IndexFlatIP(self._vectors.shape[1])
        index.add(self._vectors)
        return index

    def nearest(self, vector: Vectors) -> dict[str, tuple[float, str]]:
        """Entry → its nearness (the mean cosine of its nearest three phrasings) and the nearest phrasing."""
        cosines, rows = self._faiss.search(vector.reshape(1, -1), len(self._phrasings))
        near: dict[str, list[float]] = {}
        met: dict[str, str] = {}
        for cosine, row in zip(cosines[0].tolist(), rows[0].tolist(), strict=True):  # best first
            entry_id, phrasing = self._phrasings[row]
            met.setdefault(entry_id, phrasing)
            if len(of_entry := near.setdefault(entry_id, [])) < _NEAREST:
                of_entry.append(cosine)
        return {entry_id: (sum(of_entry) / len(of_entry), met[entry_id]) for entry_id, of_entry in near.items()}
