"""The index of phrasings: which wording of an entry is nearest to a question.

It is a FAISS index (`IndexFlatIP`) of every wording, in a file that FAISS maps. A question is compared with the ranges
of its nearest entries, whose pages are released afterwards: only the kernel's cache has them, once for all processes.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.model import LANGS, Entry
from qa_service.retrieval.array_file import RowsOnDisk, drop_pages
from qa_service.retrieval.embedder import Vectors

ASPECT_MARGIN = 0.04
"""Cosine by which a wording of an aspect must be nearer than those of the entry's own question: to answer another one
outright is worse than to answer the general one.
"""
_HEADER = struct.Struct("<4s i q 2q ? i Q")
"""Magic number, width, vectors, two unused fields, whether it is trained, metric, floats; then the floats."""
_FLOAT = "<f4"
_MAGIC, _INNER_PRODUCT, _UNUSED = b"IxFI", 0, 1 << 20


@dataclass(frozen=True, slots=True)
class NearestWording:
    """The wording of an entry that is nearest to a question, and its aspect."""

    phrasing: str
    """The nearest of its wordings."""
    aspect: str
    """Its aspect that the question asks; "" for its own question."""


class PhrasingIndex:
    """Finds the nearest wording of given entries.

    `vectors`, (wordings, d), are unit vectors, or a multiple of them: those of the entries' wordings, Chinese before
    English, then any others. A question is compared with the wordings of a few entries: some hundred, whatever the size
    of the library (`python -m bench index`).
    """

    def __init__(
        self, library: Mapping[str, Entry], vectors: Vectors | NDArray[np.int8] | RowsOnDisk, file: Path | None = None
    ) -> None:
        """`file` is the one that has these vectors, for FAISS to map, if there is one."""
        self._vectors = (
            vectors if isinstance(vectors, RowsOnDisk) else np.asarray(vectors)
        )  # a memmap's slices take long
        self._file = file
        self._has_answered = False
        self._own: dict[str, _Wordings] = {}
        self._phrasings: list[str] = []
        self._rows: dict[str, slice] = {}
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [wording for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    def nearest(self, vector: Vectors, entries: Iterable[Entry]) -> list[NearestWording]:
        """For each of the entries, its wording and aspect nearest to the unit vector of shape (d,)."""
        ranked = list(entries)
        return [
            NearestWording(
                phrasing=self._phrasings[self._rows[entry.id].start + int(products.argmax())],
                aspect=self._wordings_of(entry).aspect_asked(products) if entry.aspects else "",
            )
            for entry, products in zip(ranked, self._products(vector, [entry.id for entry in ranked]), strict=True)
        ]

    def left_out_aspects(self, entry: Entry) -> list[tuple[str, str]]:
        """(its aspect, the aspect that it asks by the other wordings) of each wording of an entry."""
        vectors, wordings = self._read_vectors(entry.id), self._wordings_of(entry)
        rows = vectors / wordings.lengths[:, None]
        products = rows @ vectors.T
        np.fill_diagonal(products, -np.inf)
        return [(own, wordings.aspect_asked(row)) for own, row in zip(wordings.aspects, products, strict=True)]

    def release(self) -> None:
        """Release the pages that were searched; to be called after a question or a batch of them.

        A page that is touched brings its fifteen neighbours: after 200 questions most of the file would be mapped.
        """
        self._has_answered = True
        if (mapped := vars(self).get("_mapped")) is not None:  # else nothing was: the first question maps no file
            drop_pages(mapped[1])

    def _products(self, vector: Vectors, entries: Sequence[str]) -> list[NDArray[np.float32]]:
        """For each of the entries, the inner products of its wordings with the vector of shape (d,).

        The first question of a process may be the only one, and does not wait for FAISS to be imported.
        """
        if not self._has_answered or self._faiss is None:
            return [self._read_vectors(entry) @ vector for entry in entries]
        if self._mapped is None:
            query, metric = vector[None], self._faiss.METRIC_INNER_PRODUCT
            return [self._faiss.pairwise_distances(query, self._read_vectors(each), metric)[0] for each in entries]
        rows = [self._rows[entry] for entry in entries]
        numbers = np.concatenate([np.arange(each.start, each.stop) for each in rows])
        products = np.empty(len(numbers), dtype=np.float32)
        pointers = map(self._faiss.swig_ptr, (products, numbers))
        self._mapped[0].compute_distance_subset(1, self._faiss.swig_ptr(vector), len(numbers), *pointers)
        ends = [*accumulate(each.stop - each.start for each in rows)]
        return [products[start:end] for start, end in pairwise([0, *ends])]

    def _wordings_of(self, entry: Entry) -> "_Wordings":
        """The aspects and vector lengths of the wordings of an entry that has aspects; computed once."""
        if entry.id not in self._own:
            wordings = [each for lang in LANGS for each in entry.wordings(lang)]
            first = {each: one.id for one in reversed(entry.aspects) for lang in LANGS for each in one.wordings(lang)}
            self._own[entry.id] = _Wordings.of(
                [first.get(each, "") for each in wordings], np.linalg.norm(self._read_vectors(entry.id), axis=1)
            )
        return self._own[entry.id]

    @cached_property
    def _mapped(self) -> tuple[Any, NDArray[np.float32]] | None:
        """The index, which FAISS maps, and its vectors where they lie; None without a file, or before FAISS is used."""
        if self._file is None or self._faiss is None:
            return None
        index = self._faiss.read_index(str(self._file), self._faiss.IO_FLAG_MMAP_IFC)
        return index, self._faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)

    @cached_property
    def _faiss(self) -> Any:
        """FAISS, in one thread; None where it is not installed, as `numstab-core` leaves it out."""
        with suppress(ImportError):
            faiss = import_module("faiss")
            faiss.omp_set_num_threads(1)  # others would wait for each other longer than they compute
            return faiss
        return None

    def _read_vectors(self, entry: str) -> Vectors:
        """(wordings, d): the vectors of its wordings."""
        return self._vectors[self._rows[entry]].astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class _Wordings:
    """The wordings of an entry: the aspect of each, "" for its own question, and the length of its vector."""

    aspects: Sequence[str]
    lengths: Vectors
    handicaps: NDArray[np.float64]
    """By how much the cosine of each must be larger."""

    @classmethod
    def of(cls, aspects: Sequence[str], lengths: Vectors) -> "_Wordings":
        return cls(aspects, lengths, ASPECT_MARGIN * np.array([aspect != "" for aspect in aspects]))

    def aspect_asked(self, products: NDArray[np.float32]) -> str:
        """The aspect asked by a question whose unit vector has these inner products with theirs."""
        return self.aspects[int((products / self.lengths - self.handicaps).argmax())]


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Writes vectors of shape (n, d) as a FAISS `IndexFlatIP`; raises OSError."""
    count, width = vectors.shape
    header = _HEADER.pack(_MAGIC, width, count, _UNUSED, _UNUSED, True, _INNER_PRODUCT, count * width)
    path.write_bytes(header + np.ascontiguousarray(vectors, dtype=_FLOAT).tobytes())


def map_vectors(path: Path) -> Vectors:
    """The vectors of an `IndexFlatIP`, (n, d), mapped into memory; raises OSError or ValueError for any other file."""
    vectors: Vectors = np.memmap(path, dtype=_FLOAT, mode="r", offset=_HEADER.size, shape=_read_shape(path))
    return vectors


def open_vectors(path: Path) -> RowsOnDisk:
    """The vectors of an `IndexFlatIP`, to be read range by range."""
    return RowsOnDisk(path, _HEADER.size, _read_shape(path), np.dtype(_FLOAT))


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
