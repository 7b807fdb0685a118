"""What a question says besides its meaning: its language, and the numbers and names that are parameters."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qa_service.errors import BadText, EmptyQuestion, QuestionTooLong
from qa_service.model import Lang, Value

LONGEST = 20_000
"""Characters of a question that we accept."""
_ELLIPTIC = re.compile(
    r"^(?:那|換成|换成|改成|改用|再|还有|如果|and\b|what about|how about|what if|but\b|with\b|in\b|now\b)"
    r"|呢\s*[?？]?$|\binstead\b"
)
_HEAD, _TAIL = 600, 300
"""Characters of a long paste that are matched: the encoder's time grows with length, and people ask first or last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A question, read: normalised text, language, and parameters by their shared names."""

    text: str
    lang: Lang
    params: dict[str, Value]

    @property
    def elliptic(self) -> bool:
        """Whether it only makes sense after another question: "and in float16?", "那换成加法呢"."""
        return bool(_ELLIPTIC.search(self.text.lower()))

    @property
    def short(self) -> bool:
        """A remark rather than a question of its own."""
        return len(re.findall(r"[\u3400-\u9fff]|[\w.^-]+", self.text)) <= 8


def read(question: str, lang: Lang | None = None) -> Reading:
    """Raises `EmptyQuestion`, `QuestionTooLong` or `BadText`."""
    check_text(question)
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", question)).strip()
    return Reading(text=_salient(text), lang=lang or language(text), params=parameters(text))


def check_text(question: str) -> None:
    """Refuses what is no question at all."""
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
    """Chinese as soon as Chinese characters carry the sentence, among whatever English terms."""
    han = len(re.findall(r"[\u3400-\u9fff]", text))
    words = len(re.findall(r"[A-Za-z]{2,}", text))
    return "zh" if han > 1 and han >= words else "en"


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_COUNT = r"(\d{1,6})"
_DO = (
    r"(?:multiply|multiplying|multiplied|add|adding|sum|summing|accumulate"
    r"|乘以?|加上?|连乘|连加|累乘|累加|相乘|相加|求和)"
)
_TIMES = r"(?:次|遍|回|times)"

# Each pattern names the parameters it captures. The first that matches a parameter wins.
_PATTERNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (rf"{_COUNT}\s*个\s*({_NUMBER})", ("n", "x")),
    (rf"{_COUNT}\s*(?:factors?|copies|terms|numbers|multiples)\s*of\s*({_NUMBER})", ("n", "x")),
    (rf"({_NUMBER})\s*(?:\^|\*\*)\s*{_COUNT}", ("x", "n")),
    (rf"({_NUMBER})\s*的\s*{_COUNT}\s*次[方幂]", ("x", "n")),
    (rf"({_NUMBER})\s*to the (?:power(?: of)?\s*{_COUNT}|{_COUNT}(?:th|st|nd|rd))", ("x", "n", "n")),
    (
        rf"({_NUMBER})\s*(?:连乘|连加|累乘|累加|自乘|自加|相乘|相加|乘|加|一直乘|一直加)\D{{0,6}}{_COUNT}\s*{_TIMES}?",
        ("x", "n"),
    ),
    (rf"({_NUMBER})\s*(?:is\s*)?(?:multiplied|added|summed)\D{{1,16}}?{_COUNT}\s*{_TIMES}", ("x", "n")),
    (
        rf"{_DO}\s*({_NUMBER})\s*(?:by itself)?\D{{1,12}}?{_COUNT}\s*{_TIMES}",
        ("x", "n"),
    ),
    (rf"{_COUNT}\s*{_TIMES}\s*({_NUMBER})", ("n", "x")),
    (rf"^\D{{0,6}}{_COUNT}\s*(?:个|次)\s*(?:的话)?\s*呢?\s*[?？]?$", ("n",)),
    (rf"{_COUNT}\s*(?:-|\s)?(?:hidden\s*)?(?:layers?|层)", ("layers",)),
    (rf"(?:depth|layers?|深度|层数)\s*(?:=|:|of|is|为|是)?\s*{_COUNT}", ("layers",)),
    (rf"(?:width|宽度?)\s*(?:=|:|of|is|为|是)?\s*{_COUNT}", ("width",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:hidden (?:units?|neurons?)|neurons?|隐藏单元|隐单元|神经元)", ("hidden",)),
    (rf"(?:lr|learning[ _-]?rate|学习率)\D{{0,8}}?({_NUMBER})", ("lr",)),
    (rf"(?:batch(?:[ _-]?size)?|批量(?:大小)?|批大小)\s*(?:=|:|of|is|为|是)?\s*{_COUNT}", ("batch",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:-?\s?class(?:es)?|分类|个?类别)", ("classes",)),
    (rf"(?:std|sigma|标准差)\s*(?:=|:|of|is|为|是)?\s*({_NUMBER})", ("std",)),
    (rf"(?:mean|均值)\s*(?:=|:|of|is|为|是)\s*({_NUMBER})", ("mean",)),
    (rf"(?:var|variance|方差)\s*(?:=|:|of|is|为|是)\s*({_NUMBER})", ("var",)),
)

# Words that name a value. A parameter that is named in two ways at once stays open: the question compares them.
_WORDS: dict[str, dict[str, str]] = {
    "dtype": {
        "float16": r"(?<!b)(?:fp|float)\s?16|half precision|半精度",
        "bfloat16": r"bf16|bfloat\s?16",
        "float32": r"(?:fp|float)\s?32|single precision|单精度",
        "float64": r"(?:fp|float)\s?64|double precision|双精度",
    },
    "act": {name: rf"(?<![a-z]){name}(?![a-z0-9])" for name in ("sigmoid", "tanh", "relu", "gelu", "selu")},
    "init": {"xavier": r"xavier|glorot", "kaiming": r"kaiming|(?<![a-z])he[ -]init|何凯明|何恺明"},
    "op": {
        "add": r"连加|累加|相加|加法|加起来|求和|(?<![a-z])(?:sum|add|adding|added|addition)(?![a-z])",
        "multiply": r"连乘|累乘|相乘|乘法|乘起来|(?<![a-z])(?:product|multipl(?:y|ying|ied|ication))(?![a-z])",
    },
    "target": {f"x^{degree}": rf"x\s?(?:\^|\*\*)\s?{degree}(?!\d)" for degree in range(4, 11)}
    | {
        "x^2": r"x\s?(?:\^|\*\*)\s?2(?!\d)|x²|x平方",
        "x^3": r"x\s?(?:\^|\*\*)\s?3(?!\d)|x³|x立方",
        "sin": r"(?<![a-z])sin(?![a-z])",
    },
}  # fmt: skip
_CASTS: dict[str, Callable[[str], Any]] = {"x": float, "lr": float, "std": float, "mean": float, "var": float}


def parameters(text: str) -> dict[str, Value]:
    """Parameters named in a question, by the names that all experiments share. Numbers as they stand, unclamped."""
    text = unicodedata.normalize("NFKC", text).lower()
    found: dict[str, Value] = {}
    for name, values in _WORDS.items():
        named = [value for value, pattern in values.items() if re.search(pattern, text)]
        if len(named) == 1:
            found[name] = named[0]
    for pattern, names in _PATTERNS:
        match = re.search(pattern, text)
        if match and not any(name in found for name in names):
            for name, word in zip(names, match.groups(), strict=True):
                if word is not None:
                    found[name] = _CASTS.get(name, int)(word)
    return found


def _salient(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} … {text[-_TAIL:]}"
