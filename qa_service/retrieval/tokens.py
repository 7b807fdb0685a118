"""The default encoder's tokens of a text, those of a word cached: most words of a question were asked before.

The package finds the likeliest segmentation of a text, the one whose tokens have the largest sum of scores. No token
begins in one word and ends in another, so the segmentation of a text is that of its words one after the other. Only
where two segmentations of a word are equally likely may rounding, and so the words before, decide: then the package is
asked.
This relies on private names of the package, whose version is pinned.
"""

import re
from functools import lru_cache
from typing import Any

_BLANK = "\u2581"  # with which the package begins a word
_WORD = re.compile(f"{_BLANK}?[^{_BLANK}]+|{_BLANK}")
_KEPT_WORDS = 4096
_KEPT_CHARS = 16  # longer words, such as Chinese sentences, rarely come twice
_MARGIN = 1e-6  # between sums of scores that are not equally likely; rounding moves them by less than 1e-9
_NONE = -1e38


class CachingTokenizer:
    """Gives the tokens that a `UsePureTokenizer` gives, which it takes for its model."""

    def __init__(self, tokenizer: Any) -> None:
        """`tokenizer` needs only the method `encode` for one text, with the tokens of its beginning and end."""
        self._tokenizer = tokenizer
        self._cached_tokens = lru_cache(_KEPT_WORDS)(self._tokens)

    def encode(self, text: str, **_options: Any) -> list[int]:
        """The ids of a text's tokens, with those of its beginning and its end."""
        package = self._tokenizer
        normalized = package._normalizer.normalize(text)  # noqa: SLF001
        ids = [package._bos_id]  # noqa: SLF001
        for word in _WORD.findall(normalized):
            own = self._cached_tokens(word) if len(word) <= _KEPT_CHARS else self._tokens(word)
            if own is None:
                whole: list[int] = package.encode(text, out_type=int, add_bos=True, add_eos=True)
                return whole
            ids += own
        if len(ids) == 1:
            ids.append(package._unk_id)  # noqa: SLF001
        ids.append(package._eos_id)  # noqa: SLF001
        return ids

    def _tokens(self, word: str) -> tuple[int, ...] | None:
        """The tokens of a word; None if others are equally likely. The package's search, with a look at margins."""
        package, length = self._tokenizer, len(word)
        get, scores, longest = package._prefixes.get, package._scores, package._max_len  # noqa: SLF001
        best = [0.0] + [_NONE] * length
        starts, pieces = [0] * (length + 1), [0] * (length + 1)
        for start in range(length):
            base, has_single = best[start], False
            for end in range(start + 1, min(start + longest, length) + 1):
                found = get(word[start:end])
                if found is None:
                    break
                if found:
                    score = base + scores[found - 1]
                    if abs(score - best[end]) < _MARGIN:
                        return None
                    if score > best[end]:
                        best[end], starts[end], pieces[end] = score, start, found - 1
                    has_single = has_single or end == start + 1
            if not has_single:
                score = base + package._unk_score  # noqa: SLF001
                if abs(score - best[start + 1]) < _MARGIN:
                    return None
                if score > best[start + 1]:
                    best[start + 1], starts[start + 1], pieces[start + 1] = score, start, package._unk_id  # noqa: SLF001
        ids, end = [], length
        while end > 0:
            ids.append(pieces[end])
            end = starts[end]
        return tuple(reversed(ids))
