"""Text of questions: validation, Unicode normalisation, summaries of long pastes."""

import re
import unicodedata
from functools import cache
from typing import Any

from qa_service.errors import BadText, EmptyQuestion, QuestionTooLong
from qa_service.patterns import lazy_pattern

MAX_QUESTION_CHARS = 200_000  # longer questions are refused
MAX_MATCHED_CHARS = 900  # longer questions are summarised: the encoder's time grows with length
_HAN = lazy_pattern(r"[\u3400-\u9fff]")
_NO_TEXT = lazy_pattern("[\0\ud800-\udfff]")
_SUPERSCRIPTS = str.maketrans(
    {sign: f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
)  # before NFKC, which turns x² into x2
_SYMPTOMS = lazy_pattern(
    r"nan\b|\binf\b|overflow|underflow|explod|vanish|diverg|gradient|loss|accura|float16|fp16|bf16|half"
    r"|梯度|爆炸|消失|溢出|准确率|精度|初始化|损失|学习率"
)
_QUESTION_MARK_OR_WORD = lazy_pattern(
    r"[?？]|\b(?:why|how|what|should|is it|can i)\b"
    r"|[为為]什[么麼]|[为為]何|怎[么麼]|如何|[请請][问問]|是不是|[吗嗎]|原因|解[决決]"
)


def check_text(question: str) -> None:
    """Raises `BadText` for NUL or lone surrogates, `QuestionTooLong`, `EmptyQuestion` if no letter, digit or symbol."""
    if _NO_TEXT.search(question):
        raise BadText(
            zh="问题里有不是文字的字符（NUL 或落单的代理项）。请只发送文本。",
            en="The question holds characters that are no text (NUL or lone surrogates). Send plain text.",
            field="question",
        )
    if len(question) > MAX_QUESTION_CHARS:
        raise QuestionTooLong(
            zh=f"问题有 {len(question)} 个字符，最多 {MAX_QUESTION_CHARS} 个。请只贴出关键的几行。",
            en=f"The question has {len(question)} characters; at most {MAX_QUESTION_CHARS}. "
            "Paste only the lines that matter.",
            field="question",
        )
    if not any(unicodedata.category(character)[0] in "LNS" for character in question):
        raise EmptyQuestion(
            zh="问题是空的。请写下你想问的，例如“loss 变成 nan 怎么办”。",
            en="The question is empty. Write what you want to know, such as “why is my loss nan?”.",
            field="question",
        )


def nfkc(text: str) -> str:
    """Unicode NFKC (full-width forms become ASCII), x² as x^2, single spaces, no blank lines."""
    text = unicodedata.normalize("NFKC", text.translate(_SUPERSCRIPTS))
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def simplify_chinese(text: str) -> str:
    """Converts traditional characters to simplified ones."""
    if not _HAN.search(text) or _traditional().isdisjoint(text):
        return text
    return str(_opencc_converter().convert(text))


def summarise_paste(text: str) -> str:
    """The text as one line. A text of more than 900 characters is reduced to its most important sentences and lines.

    They are those that ask, that name symptoms, and the first and the last. Of lines that differ only in their numbers
    (a training log) the first and the last count. At most 1800 characters result.
    """
    if len(text) > MAX_MATCHED_CHARS:
        text = _select_important(text)
    return text.replace("\n", " ")


def _select_important(text: str) -> str:
    pieces = [piece for piece in re.split(r"\n|(?<=[。！？!?；])|(?<=\.)\s", text) if piece.strip()]
    templates = [re.sub(r"[\d.+-]+", "0", piece) for piece in pieces]
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, template in enumerate(templates):
        first.setdefault(template, index)
        last[template] = index
    candidates = sorted({*first.values(), *last.values()})
    by_importance = sorted(candidates, key=lambda index: (-_importance(pieces[index], index, len(pieces)), index))
    selected, remaining = set(), MAX_MATCHED_CHARS
    for index in by_importance:
        if remaining > 0:
            selected.add(index)
            remaining -= len(pieces[index])
    return "\n".join(pieces[index][:MAX_MATCHED_CHARS] for index in sorted(selected))[: 2 * MAX_MATCHED_CHARS]


def _importance(piece: str, index: int, total: int) -> int:
    """0 to 7: 3 for a question, 2 for a symptom, 2 for the first or last piece, where people usually ask."""
    lower = piece.lower()
    is_end = index == 0 or index == total - 1
    return 3 * bool(_QUESTION_MARK_OR_WORD.search(lower)) + 2 * bool(_SYMPTOMS.search(lower)) + 2 * is_end


@cache
def _traditional() -> frozenset[str]:
    """A set of characters of which every word that the conversion changes has at least one."""
    changed = [
        word
        for _, _, words in _opencc_converter().dict_cache.values()
        for word, simple in words.items()
        if word != simple
    ]
    single = frozenset(word for word in changed if len(word) == 1)
    return single.union(word[0] for word in changed if single.isdisjoint(word))


@cache
def _opencc_converter() -> Any:
    from opencc import OpenCC  # type: ignore[import-untyped]

    return OpenCC("t2s")
