"""A text as the terms that a model weighs: pieces of words, words and pairs of words, in either language."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_LONGEST = 4
_WORD = re.compile(r"[a-z][a-z0-9_.]*|[\u3400-\u9fff]|\d+")

TermIds = NDArray[np.uint32]


def terms(text: str) -> list[str]:
    """Every term of a text, as often as it occurs.

    Pieces are runs of 1 to 4 characters inside a word (marked by a blank at each end), so that a typo, an unknown
    compound or a Chinese word leaves most of its pieces intact; words and pairs of neighbours keep their order.
    """
    lower = text.lower()
    words = _WORD.findall(lower)
    return [*_pieces(lower), *(f"w:{word}" for word in words), *(f"w:{a} {b}" for a, b in pairwise(words))]


def tf_vector(text: str) -> tuple[list[str], TermIds, NDArray[np.float32]]:
    """The different terms of a text, their keys (CRC-32), and 1 + ln of how often each occurs."""
    counts = Counter(terms(text))
    keys = np.fromiter((zlib.crc32(term.encode()) for term in counts), dtype=np.uint32, count=len(counts))
    return list(counts), keys, 1 + np.log(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)))


def _pieces(text: str) -> Iterator[str]:
    for word in text.split():
        padded = f" {word} "
        for length in range(1, _LONGEST + 1):
            for start in range(max(1, len(padded) - length + 1)):
                yield padded[start : start + length]
                if length >= len(padded):
                    break
