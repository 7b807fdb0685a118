"""Text features in either language: character n-grams, words and word bigrams, with their term frequencies."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_MAX_NGRAM = 4  # characters
_WORD = re.compile(r"[a-z][a-z0-9_.]*|[\u3400-\u9fff]|\d+")

TermIds = NDArray[np.uint32]
"""CRC-32 of each term."""


def terms(text: str) -> list[str]:
    """Every term of a text, as often as it occurs: character n-grams, words ("w:nan") and word bigrams ("w:loss nan").

    N-grams have 1 to 4 characters and stay inside a word, which is padded with a blank at each end: a typo, an unknown
    compound or a Chinese word changes few of them. A Chinese character counts as a word.
    """
    lower = text.lower()
    words = _WORD.findall(lower)
    return [*_char_ngrams(lower), *(f"w:{word}" for word in words), *(f"w:{a} {b}" for a, b in pairwise(words))]


def tf_vector(text: str) -> tuple[list[str], TermIds, NDArray[np.float32]]:
    """The distinct terms of a text, their ids, and their sublinear frequencies 1 + ln(count), all of shape (terms,)."""
    counts = Counter(terms(text))
    ids = np.fromiter((zlib.crc32(term.encode()) for term in counts), dtype=np.uint32, count=len(counts))
    return list(counts), ids, 1 + np.log(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)))


def _char_ngrams(text: str) -> Iterator[str]:
    for word in text.split():
        padded = f" {word} "
        for length in range(1, _MAX_NGRAM + 1):
            for start in range(max(1, len(padded) - length + 1)):
                yield padded[start : start + length]
                if length >= len(padded):
                    break
