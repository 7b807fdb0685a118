"""A question as plain text: what is no text is refused, what is only written differently is made the same."""

import re
import unicodedata
from functools import cache
from typing import Any

from qa_service.errors import BadText, EmptyQuestion, QuestionTooLong
from qa_service.model import Lang

LONGEST = 200_000
"""Characters of a question that we accept."""
MAX_MATCHED_CHARS = 900
"""Characters that are matched: the encoder's time grows with length, and what matters fits."""
_POWERS = str.maketrans({sign: f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})  # NFKC would make x² an x2
_SYMPTOMS = re.compile(
    r"nan\b|\binf\b|overflow|underflow|explod|vanish|diverg|gradient|loss|accura|float16|fp16|bf16|half"
    r"|梯度|爆炸|消失|溢出|准确率|精度|初始化|损失|学习率"
)
_ASKING_ZH = re.compile(r"怎[么麼样樣]|什[么麼]|为何|為何|如何|是不是|请问|請問|[吗嗎呢]\s*[?？]?$|哪[个個里裡]|多少")
_ASKING = re.compile(
    r"[?？]|\b(?:why|how|what|should|is it|can i)\b"
    r"|[为為]什[么麼]|[为為]何|怎[么麼]|如何|[请請][问問]|是不是|[吗嗎]|原因|解[决決]"
)


def check_text(question: str) -> None:
    """Refuses what is no question at all: raises `EmptyQuestion`, `QuestionTooLong` or `BadText`."""
    if "\0" in question or any("\ud800" <= character <= "\udfff" for character in question):
        raise BadText(
            zh="问题里有不是文字的字符（NUL 或落单的代理项）。请只发送文本。",
            en="The question holds characters that are no text (NUL or lone surrogates). Send plain text.",
            field="question",
        )
    if len(question) > LONGEST:
        raise QuestionTooLong(
            zh=f"问题有 {len(question)} 个字符，最多 {LONGEST} 个。请只贴出关键的几行。",
            en=f"The question has {len(question)} characters; at most {LONGEST}. Paste only the lines that matter.",
            field="question",
        )
    if not any(unicodedata.category(character)[0] in "LNS" for character in question):
        raise EmptyQuestion(
            zh="问题是空的。请写下你想问的，例如“loss 变成 nan 怎么办”。",
            en="The question is empty. Write what you want to know, such as “why is my loss nan?”.",
            field="question",
        )


def language(text: str) -> Lang:
    """Chinese as soon as Chinese characters carry the sentence or ask its question, among whatever English terms."""
    han = len(re.findall(r"[\u3400-\u9fff]", text))
    words = len(re.findall(r"[A-Za-z]{2,}", text))
    return "zh" if han > 1 and (han >= words or _ASKING_ZH.search(text)) else "en"


def nfkc(text: str) -> str:
    """NFKC (full-width forms become ASCII), powers as x^2; lines are kept."""
    text = unicodedata.normalize("NFKC", text.translate(_POWERS))
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def simplified(text: str) -> str:
    """Traditional characters as simplified."""
    if not any("\u3400" <= character <= "\u9fff" for character in text):
        return text
    return str(_simplifier().convert(text))


def summarise_paste(text: str) -> str:
    """One line of at most about 900 characters: where people ask, and what their log says.

    Of lines that differ in their numbers only (a training log) the first and the last count.
    """
    if len(text) > MAX_MATCHED_CHARS:
        text = _shortened(text)
    return text.replace("\n", " ")


def _shortened(text: str) -> str:
    pieces = [piece for piece in re.split(r"\n|(?<=[。！？!?；])|(?<=\.)\s", text) if piece.strip()]
    shape = [re.sub(r"[\d.+-]+", "0", piece) for piece in pieces]
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, each in enumerate(shape):
        first.setdefault(each, at)
        last[each] = at
    rows = sorted({*first.values(), *last.values()})
    by_weight = sorted(rows, key=lambda at: (-_weight(pieces[at], at, len(pieces)), at))
    kept, room = set(), MAX_MATCHED_CHARS
    for at in by_weight:
        if room > 0:
            kept.add(at)
            room -= len(pieces[at])
    return "\n".join(pieces[at][:MAX_MATCHED_CHARS] for at in sorted(kept))[: 2 * MAX_MATCHED_CHARS]


def _weight(piece: str, at: int, total: int) -> int:
    """People ask first or last; what they ask, and what went wrong, says most."""
    lower = piece.lower()
    ends = at == 0 or at == total - 1
    return 3 * bool(_ASKING.search(lower)) + 2 * bool(_SYMPTOMS.search(lower)) + 2 * ends


@cache
def _simplifier() -> Any:
    from opencc import OpenCC  # type: ignore[import-untyped]

    return OpenCC("t2s")
