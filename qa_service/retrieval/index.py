"""The index of phrasings: which wording of an entry is nearest to a question, by FAISS.

The file is a FAISS index (`IndexFlatIP`), so that FAISS searches it as it is; its vectors can also be mapped into
memory without FAISS, which takes longer to import than a single question needs.
"""

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.model import LANGS, Entry
from qa_service.retrieval.embedder import Vectors

EXACT_UP_TO = 50_000  # phrasings; up to as many, an exhaustive search takes two milliseconds
_MAX_NEIGHBOURS = 256  # of one search; an entry that is not among them is searched by itself
_HEADER = struct.Struct("<4s i q 2q ? i Q")
"""Magic number, width, vectors, two unused fields, whether it is trained, metric, floats; then the floats."""
_MAGIC, _INNER_PRODUCT, _UNUSED = b"IxFI", 0, 1 << 20


class Index:
    """Finds the nearest wording of given entries.

    `vectors`, (wordings, d), are unit vectors, or a multiple of them: those of the entries' wordings, Chinese before
    English, then any others.
    """

    def __init__(
        self, library: Mapping[str, Entry], vectors: Vectors | NDArray[np.int8], path: Path | None = None
    ) -> None:
        """`path` is the file of the vectors, if there is one."""
        self._vectors = vectors
        self._path = path
        self._phrasings: list[str] = []
        self._rows: dict[str, slice] = {}
        self._has_searched = False
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [wording for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    def nearest(self, vector: Vectors, entries: Iterable[str]) -> dict[str, str]:
        """Entry → its wording nearest to the unit vector of shape (d,), for each id in `entries`.

        The first question of a process is compared with the wordings of these entries alone: it may be the only one,
        and must not wait for FAISS.
        """
        neighbours = self._search(vector) if self._has_searched else np.empty(0, dtype=np.intp)
        self._has_searched = True
        nearest = {}
        for entry in entries:
            rows = self._rows[entry]
            hits = neighbours[(neighbours >= rows.start) & (neighbours < rows.stop)]
            row = (
                hits[0]
                if hits.size
                else rows.start + int(np.argmax(self._vectors[rows].astype(np.float32, copy=False) @ vector))
            )
            nearest[entry] = self._phrasings[row]
        return nearest

    def _search(self, vector: Vectors) -> Any:
        """The rows of the nearest wordings, nearest first; -1 at the end if there are fewer. None without FAISS."""
        if self._faiss is None:
            return np.empty(0, dtype=np.intp)
        _, rows = self._faiss.search(vector.reshape(1, -1), _MAX_NEIGHBOURS)
        return rows[0]

    @cached_property
    def _faiss(self) -> Any:
        """The index in FAISS; None where that is not installed: then the wordings of few entries are compared."""
        try:
            import faiss
        except ImportError:
            return None
        if self._path and len(self._vectors) <= EXACT_UP_TO:
            with suppress(RuntimeError):  # the file has gone since
                return faiss.read_index(str(self._path))
        return build_faiss_index(np.ascontiguousarray(self._vectors, dtype=np.float32))


def build_faiss_index(vectors: Vectors) -> Any:
    """A FAISS inner-product index of vectors of shape (n, d).

    Exact up to `EXACT_UP_TO` vectors. Beyond, an inverted file of about 2 √n cells, of which the nearest 1/32 are
    searched, with 8-bit scalar quantisation: a million vectors of 512 numbers take half a gigabyte instead of two
    (`python -m bench index`).
    """
    import faiss

    count, width = vectors.shape
    index: Any = faiss.IndexFlatIP(width)
    if count > EXACT_UP_TO:
        cells = 1 << round(np.log2(2 * count**0.5))
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = 64
        index.nprobe = max(8, cells // 32)
        index.train(vectors)
    index.add(vectors)
    return index


def save_vectors(path: Path, vectors: Vectors) -> None:
    """Writes vectors of shape (n, d) as a FAISS `IndexFlatIP`; raises OSError."""
    count, width = vectors.shape
    header = _HEADER.pack(_MAGIC, width, count, _UNUSED, _UNUSED, True, _INNER_PRODUCT, count * width)
    path.write_bytes(header + np.ascontiguousarray(vectors, dtype="<f4").tobytes())


def map_vectors(path: Path) -> Vectors:
    """The vectors of an `IndexFlatIP`, (n, d), mapped into memory; raises OSError or ValueError for any other file."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise ValueError(f"{path} is no FAISS index")
    magic, width, count, _, _, _, metric, floats = _HEADER.unpack(header)
    if (magic, metric, floats) != (_MAGIC, _INNER_PRODUCT, count * width):
        raise ValueError(f"{path} is no flat FAISS index of inner products")
    vectors: Vectors = np.memmap(path, dtype="<f4", mode="r", offset=_HEADER.size, shape=(count, width))
    return vectors
