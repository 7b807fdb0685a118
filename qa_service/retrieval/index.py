"""The index of phrasings: which wording of an entry is nearest to a question.

It is a FAISS index (`IndexFlatIP`) of every wording, in a file, of which a question reads the ranges of its nearest
entries: a process has none of the rest in memory, the kernel keeps it once for all.
"""

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.model import LANGS, Entry
from qa_service.retrieval.array_file import Rows
from qa_service.retrieval.embedder import Vectors

ASPECT_LEAD = 0.04
"""Cosine by which a wording of an aspect must be nearer than those of the entry's own question: to answer another one
outright is worse than to answer the general one.
"""
_KEPT_RANGES = 5  # of vectors: those of the entries of one question, 130 kB each
_HEADER = struct.Struct("<4s i q 2q ? i Q")
"""Magic number, width, vectors, two unused fields, whether it is trained, metric, floats; then the floats."""
_FLOAT = "<f4"
_MAGIC, _INNER_PRODUCT, _UNUSED = b"IxFI", 0, 1 << 20


class Index:
    """Finds the nearest wording of given entries.

    `vectors`, (wordings, d), are unit vectors, or a multiple of them: those of the entries' wordings, Chinese before
    English, then any others. A question is compared with the wordings of a few entries: some hundred, whatever the size
    of the library (`python -m bench index`).
    """

    def __init__(self, library: Mapping[str, Entry], vectors: Vectors | NDArray[np.int8] | Rows) -> None:
        self._vectors = vectors if isinstance(vectors, Rows) else np.asarray(vectors)  # a memmap's slices take long
        self._has_searched = False
        self._vectors_of = lru_cache(_KEPT_RANGES)(self._read_vectors)
        self._shard_of = lru_cache(_KEPT_RANGES)(self._build_shard)
        self._aspects: dict[str, NDArray[np.str_]] = {}
        self._lengths: dict[str, Vectors] = {}
        self._phrasings: list[str] = []
        self._rows: dict[str, slice] = {}
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [wording for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    def nearest(self, vector: Vectors, entries: Iterable[str]) -> dict[str, str]:
        """Entry → its wording nearest to the unit vector of shape (d,), for each id in `entries`.

        The first question of a process may be the only one, and does not wait for FAISS to be imported.
        """
        find = self._row_by_faiss if self._has_searched and self._faiss else self._row
        self._has_searched = True
        return {entry: self._phrasings[find(vector, entry)] for entry in entries}

    def aspect(self, vector: Vectors, entry: Entry) -> str:
        """The aspect of the entry that a question with this unit vector, (d,), asks; "" for the own question."""
        return _aspect_asked(self._unit_rows(entry) @ vector, self._aspects_of(entry)) if entry.aspects else ""

    def left_out_aspects(self, entry: Entry) -> list[tuple[str, str]]:
        """(its aspect, the aspect that it asks by the other wordings) of each wording of an entry."""
        rows, aspects = self._unit_rows(entry), self._aspects_of(entry)
        cosines = rows @ rows.T
        np.fill_diagonal(cosines, -np.inf)
        return [(str(own), _aspect_asked(row, aspects)) for own, row in zip(aspects, cosines, strict=True)]

    def _unit_rows(self, entry: Entry) -> Vectors:
        """(wordings, d): the unit vectors of its wordings."""
        rows = self._vectors_of(entry.id)
        if entry.id not in self._lengths:
            self._lengths[entry.id] = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Vectors = rows / self._lengths[entry.id]
        return unit

    def _aspects_of(self, entry: Entry) -> NDArray[np.str_]:
        """The aspect of each of its wordings, as `wordings` has them."""
        if entry.id not in self._aspects:
            wordings = [each for lang in LANGS for each in entry.wordings(lang)]
            first = {each: one.id for one in reversed(entry.aspects) for lang in LANGS for each in one.wordings(lang)}
            self._aspects[entry.id] = np.array([first.get(each, "") for each in wordings])
        return self._aspects[entry.id]

    def _row(self, vector: Vectors, entry: str) -> int:
        """The row of the entry's wording nearest to the vector."""
        nearest: int = self._rows[entry].start + (self._vectors_of(entry) @ vector).argmax().item()
        return nearest

    def _row_by_faiss(self, vector: Vectors, entry: str) -> int:
        """The same, by a search of FAISS."""
        _, found = self._shard_of(entry).search(vector.reshape(1, -1), 1)
        nearest: int = self._rows[entry].start + int(found[0, 0])
        return nearest

    def _build_shard(self, entry: str) -> Any:
        """The part of the index that has the entry's wordings.

        The whole, mapped, answers a search of a range of ids as fast, but most of its pages come into memory with it.
        """
        vectors = self._vectors_of(entry)
        shard = self._faiss.IndexFlatIP(vectors.shape[1])
        shard.add(vectors)
        return shard

    @cached_property
    def _faiss(self) -> Any:
        """FAISS; None where it is not installed, as `numstab-core` leaves it out."""
        with suppress(ImportError):
            return import_module("faiss")
        return None

    def _read_vectors(self, entry: str) -> Vectors:
        """(wordings, d): the vectors of its wordings."""
        return self._vectors[self._rows[entry]].astype(np.float32, copy=False)


def _aspect_asked(cosines: NDArray[np.float32], aspects: NDArray[np.str_]) -> str:
    """The aspect asked by a question with these cosines to an entry's wordings, whose aspects are given."""
    nearest = int((cosines - ASPECT_LEAD * (aspects != "")).argmax())
    return str(aspects[nearest])


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Writes vectors of shape (n, d) as a FAISS `IndexFlatIP`; raises OSError."""
    count, width = vectors.shape
    header = _HEADER.pack(_MAGIC, width, count, _UNUSED, _UNUSED, True, _INNER_PRODUCT, count * width)
    path.write_bytes(header + np.ascontiguousarray(vectors, dtype=_FLOAT).tobytes())


def map_vectors(path: Path) -> Vectors:
    """The vectors of an `IndexFlatIP`, (n, d), mapped into memory; raises OSError or ValueError for any other file."""
    vectors: Vectors = np.memmap(path, dtype=_FLOAT, mode="r", offset=_HEADER.size, shape=_read_shape(path))
    return vectors


def open_vectors(path: Path) -> Rows:
    """The same, to be read range by range."""
    return Rows(path, _HEADER.size, _read_shape(path), np.dtype(_FLOAT))


def _read_shape(path: Path) -> tuple[int, int]:
    """(n, d) of an `IndexFlatIP`; raises OSError or ValueError for any other file."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise ValueError(f"{path} is no FAISS index")
    magic, width, count, _, _, _, metric, floats = _HEADER.unpack(header)
    if (magic, metric, floats) != (_MAGIC, _INNER_PRODUCT, count * width):
        raise ValueError(f"{path} is no flat FAISS index of inner products")
    return count, width
