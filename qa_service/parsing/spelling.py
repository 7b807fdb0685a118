"""Misspelt terms of the field: "xaiver", "bacth norm", 批归一划."""

import re
from functools import lru_cache

from qa_service.patterns import lazy_pattern

_TERMS = (
    "accuracy", "activation", "attention", "backward", "dropout", "gradient", "inference", "initialisation",
    "initialization", "kaiming", "learning", "momentum", "normalisation", "normalization", "overflow", "perplexity",
    "precision", "residual", "sigmoid", "softmax", "transformer", "underflow", "vanishing", "variance", "xavier",
)  # fmt: skip
"""Terms of which no other word of the field differs in one letter (as "explore" from "explode")."""
_SHORT_TERMS = ("batch", "layer", "float")
"""Terms in which two letters may be exchanged, nothing else: "match" and "later" are words."""
_TERMS_ZH = (
    "批归一化", "层归一化", "梯度消失", "梯度爆炸", "反向传播", "混合精度", "损失函数",
    "激活函数", "权重衰减",
)  # fmt: skip
"""Terms whose third or fourth character may be another one that sounds or looks alike."""
_CHARACTER = r"(?![的了吗呢吧在和与是时后前里中上下也都不])[\u4e00-\u9fff]"
_MISSPELT_ZH = tuple(
    (term, lazy_pattern(rf"{term[:2]}(?:{term[2]}{_CHARACTER}|{_CHARACTER}{term[3]})")) for term in _TERMS_ZH
)
_WORD = lazy_pattern(r"(?<![\w.-])[a-z]{5,16}(?![\w.(=-])", re.IGNORECASE)
_KEPT_WORDS = 2048
_MAX_CHARS = 400  # a longer text is a paste, with names of its own


def correct_spelling(text: str) -> tuple[str, dict[str, str]]:
    """The text with misspelt terms corrected, and what was corrected: as written → the term."""
    if len(text) > _MAX_CHARS:
        return text, {}
    found: dict[str, str] = {}
    for word in _WORD.findall(text):
        if term := _meant(word.lower()):
            found[word] = term
    for term, pattern in _MISSPELT_ZH:
        for match in pattern.finditer(text):
            if match[0] != term:
                found[match[0]] = term
    for written, term in found.items():
        text = text.replace(written, term)
    return text, found


@lru_cache(_KEPT_WORDS)
def _meant(word: str) -> str:
    """The term that a word misspells; "" for a word that is none, or a form of one: "gradients"."""
    if any(word.startswith(term) or term.startswith(word) for term in (*_TERMS, *_SHORT_TERMS)):
        return ""
    near = [term for term in _TERMS if term[0] == word[0] and _differs_once(word, term)]
    near += [term for term in _SHORT_TERMS if _is_exchange(word, term)]
    return near[0] if len(near) == 1 else ""


def _differs_once(one: str, other: str) -> bool:
    """Whether one letter is missing, added, replaced or exchanged with its neighbour."""
    if abs(len(one) - len(other)) > 1:
        return False
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1 or _is_exchange(one, other)
    short, long = sorted((one, other), key=len)
    return any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def _is_exchange(one: str, other: str) -> bool:
    """Whether two neighbouring letters are exchanged."""
    if len(one) != len(other):
        return False
    apart = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    return (
        len(apart) == 2
        and apart[1] == apart[0] + 1
        and one[apart[0]] == other[apart[1]]
        and one[apart[1]] == other[apart[0]]
    )
