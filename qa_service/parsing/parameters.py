"""The parameters that a question names, by the names that all experiments share."""

import math
import re
from collections.abc import Callable
from typing import Any

from qa_service.model import NamedValues, Value
from qa_service.parsing.numbers import numerals_to_digits

_NUMBER = r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)"  # one way only to read each: two make a list of n take 2^n
_COUNT = r"(?<![\d.])(\d{1,6})(?![\d.]*\d|e-)"
_IS = r"\s*(?:=|:|of|is|was|at|to|为|是|设为|设成|取|等于)?\s*"
_DO = (
    r"(?:multiply|multiplying|multiplied|add|adding|sum|summing|accumulate|accumulating"
    r"|乘以?|加上?|连乘|连加|累乘|累加|相乘|相加|求和)"
)
_TIMES = r"(?:次|遍|回|times)"
_IS_DONE = r"(?:(?:is|are|each|becomes?|gets?|when|if|being)\s*)*"
_GROWS = r"(?:scal|multipl|amplif|grow|shrink|stretch|放大|缩小|乘|扩大)[a-z]*"
_DEEP = r"\s*(?:个)?\s*(?:-|\s)?(?:hidden\s*)?(?:layers?|层|steps?|步)"
_UNITS = r"(?:hidden (?:units?|neurons?|nodes?)|neurons?|隐藏单元|隐单元|隐藏神经元|神经元)"
# What may stand between the words "learning rate" and its value.
_LR_TO = (
    r"(?:\s*(?:=|:|≈|~|of|is|at|to|was|from|already|only|just|now|about|down|lowered|reduced|set|been|has"
    r"|已经|已|调|降|设|改|减|小|低|到|成|为|是|用|只有|才|都|了|的|从|大概|约))*\s*"
)

# Each pattern names the parameters it captures. The first that matches a parameter wins.
_PATTERNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (rf"(?<![a-z_])(n|k|layers|hidden|width|batch|classes|layer|epochs|d|grid|trials)\s*=\s*{_COUNT}", ("", "")),
    (rf"(?<![a-z_])(x|lr|std|var|mean|rho|clip|lo|hi|lam|noise|forget_bias|span|balance)\s*=\s*{_NUMBER}", ("", "")),
    (rf"{_COUNT}\s*个\s*{_NUMBER}", ("n", "x")),
    (rf"{_COUNT}\s*(?:factors?|copies|terms|numbers|multiples)\s*of\s*{_NUMBER}", ("n", "x")),
    (rf"{_NUMBER}\s*(?:\^|\*\*)\s*{_COUNT}", ("x", "n")),
    (rf"{_NUMBER}\s*的\s*{_COUNT}\s*次[方幂]", ("x", "n")),
    (rf"{_NUMBER}\s*(?:raised\s*)?to the (?:power(?: of)?\s*{_COUNT}|{_COUNT}(?:th|st|nd|rd))", ("x", "n", "n")),
    (rf"{_COUNT}(?:th|st|nd|rd) power of\s*{_NUMBER}", ("n", "x")),
    (rf"{_COUNT}\s+{_NUMBER}'?s(?![a-z])", ("n", "x")),
    (
        rf"{_NUMBER}\s*,?\s*(?:(?:各自?|分别|都)\s*)?(?:连乘|连加|累乘|累加|自乘|自加|相乘|相加|乘|加|一直乘|一直加)\D{{0,6}}{_COUNT}\s*{_TIMES}?",
        ("x", "n"),
    ),
    (
        rf"{_NUMBER}\s*,?\s*{_IS_DONE}(?:multiplied|added|summed)\D{{1,16}}?{_COUNT}\s*{_TIMES}",
        ("x", "n"),
    ),
    (rf"{_DO}\s*(?:up\s*)?{_NUMBER}\s*(?:by itself|to itself|together)?\D{{1,12}}?{_COUNT}\s*{_TIMES}", ("x", "n")),
    (rf"{_DO}\s*(?:up\s*|together\s*)?{_COUNT}\s*(?:of|个)?\s*(?:times\s*)?{_NUMBER}'?s?", ("n", "x")),
    (rf"{_NUMBER}\s*,?\s*{_COUNT}\s*{_TIMES}", ("x", "n")),
    (rf"{_NUMBER}\s*,?\s*各\s*{_COUNT}\s*(?:个|次|遍)", ("x", "n")),
    (rf"{_COUNT}\s*{_TIMES}\s*{_NUMBER}", ("n", "x")),
    (rf"{_GROWS}\D{{0,30}}?{_NUMBER}.{{0,30}}?{_COUNT}{_DEEP}", ("x", "n")),
    (rf"{_COUNT}{_DEEP}.{{0,40}}?{_GROWS}\D{{0,20}}?{_NUMBER}", ("n", "x")),
    (rf"^\D{{0,6}}{_COUNT}\s*(?:个|次|times)\s*(?:的话)?\s*呢?\s*[?？]?$", ("n",)),
    (rf"{_COUNT}\s*(?:time[ -]?steps?|个?时间步)", ("n",)),
    (rf"(?:unroll\w*|展开|seq\w*[ _-]?len\w*|序列长度?|sequences? of(?: length)?)\D{{0,12}}?{_COUNT}", ("n",)),
    (rf"第\s*{_COUNT}\s*(?:个)?\s*(?:隐藏|卷积|全连接)?层", ("layer",)),
    (rf"(?<![a-z])(?:layer|block)\s*(?:#|no\.?|number)?\s*{_COUNT}", ("layer",)),
    (rf"{_COUNT}(?:th|st|nd|rd)\s*(?:\w+\s)?layer", ("layer",)),
    (rf"(?<!第)(?<!第 ){_COUNT}\s*(?:个)?\s*(?:-|\s)?(?:[a-z]+[ -])?(?:layers?|层|deep)(?![a-z])", ("layers",)),
    (rf"(?:depth|(?<![a-z])layers|深度|层数){_IS}{_COUNT}", ("layers",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:units?|neurons?|神经元|单元)\s*(?:per layer|each|wide)", ("width",)),
    (rf"(?:每层|各层)\s*(?:有|都是)?\s*{_COUNT}\s*个?\s*(?:神经元|单元)", ("width",)),
    (rf"(?:width|宽度?){_IS}{_COUNT}", ("width",)),
    (rf"{_COUNT}[ -](?:units?[ -])?wide", ("width",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:relu\s*)?{_UNITS}", ("hidden",)),
    (rf"(?:hidden(?:[ _-]?(?:size|dim|units?))?|隐藏层?(?:大小|维度|单元)){_IS}{_COUNT}", ("hidden",)),
    (rf"(?:(?<![a-z])lr|learning[ _-]?rate|学习率|步长){_LR_TO}{_NUMBER}(?!\s*(?:个|次|轮|epoch))", ("lr",)),
    (rf"{_NUMBER}\s*(?:的|as)?\s*(?:the\s*)?(?:学习率|learning[ _-]?rate|lr(?![a-z]))", ("lr",)),
    (rf"(?:batch(?:[ _-]?size)?|(?<![a-z])bs|批量(?:大小)?|批大小){_IS}{_COUNT}", ("batch",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:-?\s?class(?:es)?|分类|个?类别|类(?!似|型))", ("classes",)),
    (rf"(?:(?<![a-z])std(?:dev)?|sigma|standard deviation|σ|标准差){_IS}{_NUMBER}", ("std",)),
    (rf"normal_?\(\s*(?:0|0\.0)?\s*,\s*(?:std\s*=\s*)?{_NUMBER}\s*\)", ("std",)),
    (rf"(?:(?<![a-z])mean|均值){_IS}{_NUMBER}", ("mean",)),
    (rf"(?:(?<![a-z])var|variance|方差){_IS}{_NUMBER}", ("var",)),
    (rf"(?:(?<![a-z])rho|correlation|相关系数){_IS}{_NUMBER}", ("rho",)),
    (rf"(?:clip\w*(?:\s*(?:norm|value|the gradients?))?|裁剪(?:阈值)?){_IS}(?:到)?\s*{_NUMBER}", ("clip",)),
    (rf"(?:forget[ _-]?(?:gate[ _-]?)?bias|遗忘门(?:的)?偏置){_IS}{_NUMBER}", ("forget_bias",)),
    (rf"(?:\[|(?:on|in|over|interval|区间|在)\s*\()\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[\])]", ("lo", "hi")),
    (
        rf"(?:between|from|在|从|区间)\s*{_NUMBER}\s*(?:and|to|到|至|~)\s*{_NUMBER}(?!\s*(?:%|epoch|轮|次|个))",
        ("lo", "hi"),
    ),
)
# "0.9 和 1.1", "0.5, 1 or 2": values to compare; an interval is none.
_AND = (
    r"(?:或者?|或是|和|与|跟|以及|还是|对比|、|&"
    r"|,?\s*(?:and|or|vs\.?|versus|against|compared (?:with|to))(?: of)?(?![a-z]))"
)
_LIST = re.compile(
    rf"(?<![a-z\d_.\[(^-])(?<!between )(?<!from )(?<!在 )(?<!在)(?P<first>{_NUMBER}(?:'?s(?![a-z]))?)"
    rf"(?:\s*(?:,|{_AND})\s*{_NUMBER}(?:'?s(?![a-z]))?)*\s*{_AND}\s*{_NUMBER}(?:'?s(?![a-z]))?"
    r"(?![a-z\d.^])(?!\s*(?:之间|[\])]))"
)
# In "100 个 1.5 和 200 个 0.9" or "lr 0.1 and 50 layers" each number has a word of its own: that is no list.
_WORD_BEFORE = re.compile(
    r"(?:个|=|:|(?:factors|copies|terms|numbers|multiples) of"
    r"|(?:lr|rate|std|mean|variance|size|norm|bias)(?: of| is| at)?"
    r"|率|标准差|均值|方差|大小|偏置)\s*(?:为|是|取|等于)?\s*$"
)
_WORD_AFTER = re.compile(
    r"[\s-]*(?:个|次|遍|层|步|轮|类"
    r"|(?:factors|copies|terms|numbers|multiples|times|layers?|steps?|epochs?|class(?:es)?|units?|neurons?)(?![a-z]))"
)
# "100 个 1.5 连乘，0.5 呢？", "… by 0.9 a hundred times, and what about 1.1?": one more value of what was said before.
_TRAILING_VALUE = re.compile(
    r"(?:[,;:!?。；]|\.(?!\d))"  # the end of a clause, not the point of 0.5
    rf"(?:\s*(?:(?:and|or|but|then|what|how|about|if|with|for|at)\s+)+{_NUMBER}\s*(?:instead)?"
    rf"|(?:那么?|而|再|换成?|改成?|用|要是|如果|是|若|\s)*{_NUMBER}(?:的话|又|会怎样|怎么样|\s)*呢)\s*[?？。.!]*$"
)
_INTERVAL = frozenset({"lo", "hi"})

# Words that name a value. Several values of one parameter are a comparison: all of them, in the order of the question.
_WORDS: dict[str, dict[str, str]] = {
    "dtype": {
        "float16": r"(?<!b)(?:fp|float|f)\s?16(?!\d)|half[ -]precision|半精度|float\s?half",
        "bfloat16": r"(?<![a-z])bf\s?16|bfloat\s?16",
        "float32": r"(?:fp|float)\s?32|single[ -]precision|单精度",
        "float64": r"(?:fp|float)\s?64|double[ -]precision|双精度",
    },
    "act": {name: rf"(?<![a-z]){name}(?![a-z0-9])" for name in ("tanh", "relu", "gelu", "selu")}
    | {"sigmoid": r"(?<![a-z])(?:sigmoid|sigmod|simoid)(?![a-z0-9])|s\s?[形型]"},
    "init": {
        "xavier": r"xavier|glorot",
        "kaiming": r"kaiming|何凯明|何恺明|(?<![a-z])he[ -]?(?:et al|init|normal|uniform|初始)"
        r"|(?<=xavier)\s*(?:vs\.?|or|and|versus|/|,|、|和|与|还是|跟)\s*he(?![a-z])"
        r"|(?<![a-z])he\s*(?:vs\.?|or|and|versus|/|、|和|与|还是|跟)\s*(?=xavier|glorot)",
        "orthogonal": r"orthogonal|正交初始",
    },
    "op": {
        "add": r"连加|累加|相加|加法|加起来|求和|(?<![a-z])(?:sum|add|adding|added|addition)(?![a-z])",
        "multiply": r"连乘|累乘|相乘|乘法|乘起来|(?<![a-z])(?:product|multipl(?:y|ying|ied|ication))(?![a-z])",
    },
    "target": {f"x^{degree}": rf"x\s?(?:\^|\*\*)\s?{degree}(?!\d)" for degree in range(6, 11)} | {
        "x^4": r"x\s?(?:\^|\*\*)\s?4(?!\d)|quartic|四次(?:曲线|函数|多项式)",
        "x^5": r"x\s?(?:\^|\*\*)\s?5(?!\d)|quintic|五次(?:曲线|函数|多项式)",
        "x^2": r"x\s?(?:\^|\*\*)\s?2(?!\d)|x\s?的?平方|x squared|quadratic|parabola|二次(?:曲线|函数)|抛物线",
        "x^3": r"x\s?(?:\^|\*\*)\s?3(?!\d)|x\s?的?立方|x cubed|(?<![a-z])cubic|三次(?:曲线|函数|多项式)",
        "sin": r"(?<![a-z])(?:sin|sine)(?![a-z])|正弦",
        "sqrt": r"(?<![a-z])sqrt|square root|√\s?x|根号",
        "abs": r"\|x\||(?<![a-z])abs\(|absolute value|绝对值函数",
    },
}  # fmt: skip
_REALS = frozenset(
    {"x", "lr", "std", "mean", "var", "rho", "clip", "forget_bias", "lo", "hi", "lam", "noise", "span", "balance"}
)


def extract_parameters(text: str) -> NamedValues:
    """What is named, unclamped; a tuple where the question compares several values of one parameter."""
    text = numerals_to_digits(text)
    found: dict[str, Value | tuple[Value, ...]] = {}
    for name, values in _WORDS.items():
        named = sorted(
            (match.start(), value) for value, pattern in values.items() if (match := re.search(pattern, text))
        )
        if named:
            found[name] = named[0][1] if len(named) == 1 else tuple(value for _, value in named)
    text, listed = _first_of_lists(*_afterthought(text))
    for pattern, names in _PATTERNS:
        read = [_captured(match, names) for match in re.finditer(pattern, text)]
        if not read or read[0].keys() & found.keys():
            continue
        if read[0].keys() == _INTERVAL and float(read[0]["lo"]) >= float(read[0]["hi"]):
            continue
        several = names[0] and names != ("lo", "hi")
        together = [one for one in read if one.keys() == read[0].keys()] if several else read[:1]
        for name in read[0]:
            all_of_it = tuple(one[name] for one in together)
            listing = listed.get(float(all_of_it[0]))
            if listing and len(together) == 1:
                all_of_it = tuple(_cast(name, word) for word in listing)
            found[name] = all_of_it[0] if len(set(all_of_it)) == 1 else all_of_it
    return found


def _captured(match: re.Match[str], names: tuple[str, ...]) -> dict[str, Value]:
    pairs: Any = [match.groups()] if names[0] == "" else zip(names, match.groups(), strict=True)
    return {name: _cast(name, word) for name, word in pairs if word is not None}


def _afterthought(text: str) -> tuple[str, dict[float, list[str]]]:
    """The text without ", 0.5 呢？" at its end, and that number with the one before it that is nearest in magnitude."""
    found = _TRAILING_VALUE.search(text)
    if found is None:
        return text, {}
    before, word = text[: found.start()], found[1] or found[2]
    others = re.findall(rf"(?<![a-z\d._^]){_NUMBER}(?![a-z\d])", before)
    if not others or not float(word):
        return text, {}
    nearest = min(reversed(others), key=lambda other: _apart(float(other), float(word)))
    return before, {float(nearest): [nearest, word]}


def _apart(one: float, other: float) -> float:
    """How far two numbers are from each other in order of magnitude; a sign is no magnitude."""
    return abs(math.log10(abs(one) / abs(other))) if one else math.inf


def _first_of_lists(text: str, lists: dict[float, list[str]]) -> tuple[str, dict[float, list[str]]]:
    """The text with "0.9 and 1.1" as "0.9", and what each such first number stands for, besides those known."""

    def first(found: re.Match[str]) -> str:
        words = re.findall(_NUMBER, found[0])
        if _WORD_AFTER.match(text, found.end()):
            before = text[max(0, found.start() - 24) : found.start()]
            if _WORD_BEFORE.search(before) or not all(word.isdigit() for word in words):
                return found[0]
        lists[float(words[0])] = words + [more for word in words for more in lists.pop(float(word), [])[1:]]
        return found["first"]

    text = re.sub(rf"\(\s*({_AND}\s*{_NUMBER})\s*\)|\b(?:either|both) (?=[\d.-])", r" \1 ", text)
    return _LIST.sub(first, text), lists


def single_number(text: str) -> float | None:
    """The only number of a text, such as "what about 0.9?"; None where there is none or several."""
    numbers = re.findall(rf"(?<![a-z\d.]){_NUMBER}(?![a-z\d.])", numerals_to_digits(text))
    return float(numbers[0]) if len(numbers) == 1 else None


def _cast(name: str, word: str) -> Value:
    cast: Callable[[str], Any] = float if name in _REALS or not word.lstrip("+-").isdigit() else int
    value: Value = cast(word)
    return value
