"""Text features in either language: character n-grams, words, word bigrams and observed signs, weighted by tf-idf."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

_MAX_NGRAM = 4  # characters
_CACHED_CHARS = 16  # longer words, such as Chinese sentences, rarely come twice
_CACHED_WORDS = 4096
SIGN_WEIGHT = 0.5
"""Of the kernel of signs beside that of words, which has weight 1."""
_WORD = re.compile(r"[a-z][a-z0-9_.]*|[\u3400-\u9fff]|\d+")

TermIds = NDArray[np.uint32]
"""CRC-32 of each term."""


def terms(text: str) -> list[str]:
    """Every term of a text, as often as it occurs: character n-grams, words ("w:nan") and word bigrams ("w:loss nan").

    N-grams have 1 to 4 characters and stay inside a word, which is padded with a blank at each end: a typo, an unknown
    compound or a Chinese word changes few of them. A Chinese character counts as a word.
    """
    lower = text.lower()
    found: list[str] = []
    for word in lower.split():
        found += _cached_ngrams(word) if len(word) <= _CACHED_CHARS else _char_ngrams(word)
    words = _WORD.findall(lower)
    found += [f"w:{word}" for word in words]
    found += [f"w:{a} {b}" for a, b in pairwise(words)]
    return found


def sign_terms(signs: Iterable[str]) -> list[str]:
    """The terms of observed signs: each ("o:what:nan"), and each pair ("o:what:nan where:loss")."""
    distinct = sorted(set(signs))
    return [*(f"o:{sign}" for sign in distinct), *(f"o:{a} {b}" for a, b in combinations(distinct, 2))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermCounts:
    """The distinct terms of a text: their ids and their sublinear frequencies 1 + ln(count), all of shape (terms,).

    Those of its signs follow those of its words, from `first_sign` on.
    """

    terms: Sequence[str]
    ids: TermIds
    frequencies: NDArray[np.float32]
    first_sign: int

    @classmethod
    def of(cls, text: str, signs: Iterable[str] = ()) -> "TermCounts":
        """Of a normalised text and the signs observed in it, such as "what:nan"."""
        counts = Counter(terms(text))
        first_sign = len(counts)
        counts.update(sign_terms(signs))
        return cls(
            terms=list(counts),
            ids=np.fromiter(map(zlib.crc32, map(str.encode, counts)), dtype=np.uint32, count=len(counts)),
            frequencies=1 + np.log(np.fromiter(counts.values(), dtype=np.float32, count=len(counts))),
            first_sign=first_sign,
        )

    def weigh(self, term_ids: TermIds, idf: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The columns of the terms in a sorted vocabulary, -1 for unknown ones, and their weights.

        The weights of the words have length 1; those of the signs have length √SIGN_WEIGHT: they count the same in a
        long text as in a short one.
        """
        columns = np.minimum(np.searchsorted(term_ids, self.ids), len(term_ids) - 1)
        known = term_ids[columns] == self.ids
        weights = idf[columns] * self.frequencies * known
        for block, length in ((slice(self.first_sign), 1.0), (slice(self.first_sign, None), SIGN_WEIGHT**0.5)):
            part = weights[block]  # a view
            part *= length / max(float(np.sqrt(part @ part)), 1e-9)
        return np.where(known, columns, -1), weights


def _char_ngrams(word: str) -> list[str]:
    padded = f" {word} "
    return [
        padded[start : start + length]
        for length in range(1, _MAX_NGRAM + 1)
        for start in range(max(1, len(padded) - length + 1))
    ]


_cached_ngrams = lru_cache(_CACHED_WORDS)(_char_ngrams)
