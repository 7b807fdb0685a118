"""The index of phrasings: which wording of an entry is nearest to a question.

Its vectors are a file that every process maps into memory, read-only: they are in memory once, whatever the number of
workers, and only as far as they are read. The file is a FAISS index (`IndexFlatIP`), which FAISS reads as it is.
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qa_service.model import LANGS, Entry
from qa_service.retrieval.embedder import Vectors

_HEADER = struct.Struct("<4s i q 2q ? i Q")
"""Magic number, width, vectors, two unused fields, whether it is trained, metric, floats; then the floats."""
_MAGIC, _INNER_PRODUCT, _UNUSED = b"IxFI", 0, 1 << 20


class Index:
    """Finds the nearest wording of given entries.

    `vectors`, (wordings, d), are unit vectors, or a multiple of them: those of the entries' wordings, Chinese before
    English, then any others. A question is compared with the wordings of these entries alone: a few hundred, whatever
    the size of the library (`python -m bench index`).
    """

    def __init__(self, library: Mapping[str, Entry], vectors: Vectors | NDArray[np.int8]) -> None:
        self._vectors = np.asarray(vectors)  # slices of a memmap are slow to make
        self._phrasings: list[str] = []
        self._rows: dict[str, slice] = {}
        for entry in library.values():
            start = len(self._phrasings)
            self._phrasings += [wording for lang in LANGS for wording in entry.wordings(lang)]
            self._rows[entry.id] = slice(start, len(self._phrasings))

    def nearest(self, vector: Vectors, entries: Iterable[str]) -> dict[str, str]:
        """Entry → its wording nearest to the unit vector of shape (d,), for each id in `entries`."""
        nearest = {}
        for entry in entries:
            rows = self._rows[entry]
            cosines = self._vectors[rows].astype(np.float32, copy=False) @ vector
            nearest[entry] = self._phrasings[rows.start + int(cosines.argmax())]
        return nearest


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
