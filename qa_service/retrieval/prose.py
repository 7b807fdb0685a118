"""Full-text search over the prose of the entries: BM25 in both languages (Robertson & Zaragoza 2009).

Phrasings are what people ask; the prose has the words of the answer: names of functions, formulas, causes, remedies.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qa_service.retrieval.array_file import map_arrays, save_arrays

_SATURATION, _LENGTH = 1.2, 0.75  # k1 and b of BM25
_SPARSE_QUESTION = 3.0  # added to the weight of a question's words, so that one word alone does not decide
_RUN = re.compile(r"[a-z][a-z0-9_.]*|[\u3400-\u9fff]+")


@dataclass(frozen=True, kw_only=True)
class ProseIndex:
    """An inverted index: for each term the texts that have it. Term i has the postings starts[i] to starts[i + 1]."""

    term_ids: NDArray[np.uint32]
    """(terms,), sorted: CRC-32 of each term."""
    idf: NDArray[np.float32]
    """(terms,): inverse document frequencies."""
    starts: NDArray[np.int32]
    """(terms + 1,)"""
    texts: NDArray[np.uint16]
    """(postings,): the number of the text."""
    weights: NDArray[np.float32]
    """(postings,): what the term adds to the score of that text."""
    count: NDArray[np.int32]
    """The number of texts, of shape ()."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> "ProseIndex":
        """The index of at most 65,536 texts."""
        counts = [Counter(map(_term_id, _terms(text))) for text in texts]
        lengths = np.array([each.total() for each in counts], dtype=np.float64)
        ids = np.concatenate([np.fromiter(each, np.uint32, len(each)) for each in counts])
        frequencies = np.concatenate([np.fromiter(each.values(), np.float64, len(each)) for each in counts])
        owners = np.repeat(np.arange(len(texts)), [len(each) for each in counts])
        term_ids, terms, occurrences = np.unique(ids, return_inverse=True, return_counts=True)
        idf = np.log1p((len(texts) - occurrences + 0.5) / (occurrences + 0.5))
        relative = lengths[owners] / max(lengths.mean(), 1.0)
        saturated = frequencies / (frequencies + _SATURATION * (1 - _LENGTH + _LENGTH * relative))
        order = np.argsort(terms, kind="stable")
        return cls(
            term_ids=term_ids,
            idf=idf.astype(np.float32),
            starts=np.concatenate([[0], np.cumsum(occurrences)]).astype(np.int32),
            texts=owners[order].astype(np.uint16),
            weights=(idf[terms] * (1 + _SATURATION) * saturated)[order].astype(np.float32),
            count=np.array(len(texts), dtype=np.int32),
        )

    def scores(self, question: str) -> NDArray[np.float32]:
        """(texts,): how well each has the question's words, from 0 to about 2; words that none has do not count."""
        if not len(self.term_ids):
            return np.zeros(int(self.count), dtype=np.float32)
        asked = np.array(sorted(set(map(_term_id, _terms(question)))), dtype=np.uint32)
        rows = np.minimum(np.searchsorted(self.term_ids, asked), len(self.term_ids) - 1)
        rows = rows[self.term_ids[rows] == asked]
        starts, lengths = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        postings = np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        scores = np.bincount(self.texts[postings], self.weights[postings], minlength=int(self.count))
        relative: NDArray[np.float32] = (scores / (self.idf[rows].sum() + _SPARSE_QUESTION)).astype(np.float32)
        return relative

    def save(self, path: Path) -> None:
        """Write an .npz of plain arrays."""
        save_arrays(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "ProseIndex":
        """Map what `save` wrote into memory. Raises OSError, ValueError or KeyError for any other file."""
        arrays = map_arrays(path)
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def _terms(text: str) -> Iterator[str]:
    """Words, and of Chinese text the pairs of neighbouring characters."""
    for run in _RUN.findall(text.lower()):
        if run[0] < "\u3400":
            yield run
        else:
            yield from map("".join, pairwise(run))


def _term_id(term: str) -> int:
    return zlib.crc32(term.encode())
