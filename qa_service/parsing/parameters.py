"""Extracts the parameters that a question names, by the names that all experiments share."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qa_service.model import NamedValues, Value
from qa_service.parsing.numerals import numerals_to_digits
from qa_service.parsing.required import grams
from qa_service.parsing.tables import Table
from qa_service.patterns import lazy_pattern

_NUMBER = r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)"  # unambiguous, or a list of n numbers would take 2^n steps
_COUNT = r"(?<![\d.])(\d{1,6})(?![\d.]*\d|e-)"
_EQUALS = r"\s*(?:=|:|of|is|was|at|to|为|是|设为|设成|取|等于|[调改换变升降加减][成到为]了?)?\s*"
_VERB = (
    r"(?:multiply|multiplying|multiplied|add|adding|sum|summing|accumulate|accumulating"
    r"|乘以?|加上?|连乘|连加|累乘|累加|相乘|相加|求和)"
)
_TIMES = r"(?:次|遍|回|times)"
_AUXILIARY = r"(?:(?:is|are|each|becomes?|gets?|when|if|being)\s*)*"
_SCALES = r"(?:scal|multipl|amplif|grow|shrink|stretch|放大|缩小|乘|扩大)[a-z]*"
_DEPTH = r"\s*(?:个)?\s*(?:-|\s)?(?:hidden\s*)?(?:layers?|层|steps?|步)"
_HIDDEN_UNITS = r"(?:hidden (?:units?|neurons?|nodes?)|neurons?|隐藏单元|隐单元|隐藏神经元|神经元)"
# Words that may stand between "learning rate" and its value.
_LR_FILLER = (
    r"(?:\s*(?:=|:|≈|~|of|is|at|to|was|from|already|only|just|now|about|down|lowered|reduced|set|been|has"
    r"|已经|已|调|降|设|改|减|小|低|到|成|为|是|用|只有|才|都|了|的|从|大概|约))*\s*"
)

# (pattern, names of the parameters that its groups capture; ("", "") where the first group is the name itself). The
# first pattern that matches a parameter wins.
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
        rf"{_NUMBER}\s*,?\s*{_AUXILIARY}(?:multiplied|added|summed)\D{{1,16}}?{_COUNT}\s*{_TIMES}",
        ("x", "n"),
    ),
    (rf"{_VERB}\s*(?:up\s*)?{_NUMBER}\s*(?:by itself|to itself|together)?\D{{1,12}}?{_COUNT}\s*{_TIMES}", ("x", "n")),
    (rf"{_VERB}\s*(?:up\s*|together\s*)?{_COUNT}\s*(?:of|个)?\s*(?:times\s*)?{_NUMBER}'?s?", ("n", "x")),
    (rf"{_NUMBER}\s*,?\s*{_COUNT}\s*{_TIMES}", ("x", "n")),
    (rf"{_NUMBER}\s*,?\s*各\s*{_COUNT}\s*(?:个|次|遍)", ("x", "n")),
    (rf"{_COUNT}\s*{_TIMES}\s*{_NUMBER}", ("n", "x")),
    (rf"{_SCALES}\D{{0,30}}?{_NUMBER}.{{0,30}}?{_COUNT}{_DEPTH}", ("x", "n")),
    (rf"{_COUNT}{_DEPTH}.{{0,40}}?{_SCALES}\D{{0,20}}?{_NUMBER}", ("n", "x")),
    (rf"^\D{{0,6}}{_COUNT}\s*(?:个|次|times)\s*(?:的话)?\s*呢?\s*[?？]?$", ("n",)),
    (rf"{_COUNT}\s*(?:time[ -]?steps?|个?时间步)", ("n",)),
    (rf"(?:unroll\w*|展开|seq\w*[ _-]?len\w*|序列长度?|sequences? of(?: length)?)\D{{0,12}}?{_COUNT}", ("n",)),
    (rf"第\s*{_COUNT}\s*(?:个)?\s*(?:隐藏|卷积|全连接)?层", ("layer",)),
    (rf"(?<![a-z])(?:layer|block)\s*(?:#|no\.?|number)?\s*{_COUNT}", ("layer",)),
    (rf"{_COUNT}(?:th|st|nd|rd)\s*(?:\w+\s)?layer", ("layer",)),
    (rf"(?<!第)(?<!第 ){_COUNT}\s*(?:个)?\s*(?:-|\s)?(?:[a-z]+[ -])?(?:layers?|层|deep)(?![a-z])", ("layers",)),
    (rf"(?:depth|(?<![a-z])layers|深度|层数){_EQUALS}{_COUNT}", ("layers",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:units?|neurons?|神经元|单元)\s*(?:per layer|each|wide)", ("width",)),
    (rf"(?:每层|各层)\s*(?:有|都是)?\s*{_COUNT}\s*个?\s*(?:神经元|单元)", ("width",)),
    (rf"(?:width|宽度?){_EQUALS}{_COUNT}", ("width",)),
    (rf"{_COUNT}[ -](?:units?[ -])?wide", ("width",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:relu\s*)?{_HIDDEN_UNITS}", ("hidden",)),
    (rf"(?:hidden(?:[ _-]?(?:size|dim|units?))?|隐藏层?(?:大小|维度|单元)){_EQUALS}{_COUNT}", ("hidden",)),
    (rf"(?:(?<![a-z])lr|learning[ _-]?rate|学习率|步长){_LR_FILLER}{_NUMBER}(?!\s*(?:个|次|轮|epoch))", ("lr",)),
    (rf"{_NUMBER}\s*(?:的|as)?\s*(?:the\s*)?(?:学习率|learning[ _-]?rate|lr(?![a-z]))", ("lr",)),
    (rf"(?:batch(?:[ _-]?size)?|(?<![a-z])bs|批量(?:大小)?|批大小){_EQUALS}{_COUNT}", ("batch",)),
    (rf"{_COUNT}\s*(?:个)?\s*(?:-?\s?class(?:es)?|分类|个?类别|类(?!似|型))", ("classes",)),
    (rf"(?:(?<![a-z])std(?:dev)?|sigma|standard deviation|σ|标准差){_EQUALS}{_NUMBER}", ("std",)),
    (rf"normal_?\(\s*(?:0|0\.0)?\s*,\s*(?:std\s*=\s*)?{_NUMBER}\s*\)", ("std",)),
    (rf"(?:(?<![a-z])mean|均值){_EQUALS}{_NUMBER}", ("mean",)),
    (rf"(?:(?<![a-z])var|variance|方差){_EQUALS}{_NUMBER}", ("var",)),
    (rf"(?:(?<![a-z])rho|correlation|相关系数){_EQUALS}{_NUMBER}", ("rho",)),
    (
        (
            rf"(?:clip(?!_?(?:frac|ratio))\w*(?:\s*(?:norm|value|the gradients?))?|裁剪(?:阈值)?){_EQUALS}"
            rf"(?:到)?\s*{_NUMBER}"
        ),
        ("clip",),
    ),
    (rf"(?:forget[ _-]?(?:gate[ _-]?)?bias|遗忘门(?:的)?偏置){_EQUALS}{_NUMBER}", ("forget_bias",)),
    (rf"(?:\[|(?:on|in|over|interval|区间|在)\s*\()\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[\])]", ("lo", "hi")),
    (
        rf"(?:between|from|在|从|区间)\s*{_NUMBER}\s*(?:and|to|到|至|~)\s*{_NUMBER}(?!\s*(?:%|epoch|轮|次|个))",
        ("lo", "hi"),
    ),
)
# "0.9 和 1.1", "0.5, 1 or 2": several values to compare; an interval is not.
_CONJUNCTION = (
    r"(?:或者?|或是|和|与|跟|以及|还是|对比|、|&"
    r"|,?\s*(?:and|or|vs\.?|versus|against|compared (?:with|to))(?: of)?(?![a-z]))"
)
_LIST = lazy_pattern(
    rf"(?<![a-z\d_.\[(^-])(?<!between )(?<!from )(?<!在 )(?<!在)(?P<first>{_NUMBER}(?:'?s(?![a-z]))?)"
    rf"(?:\s*(?:,|{_CONJUNCTION})\s*{_NUMBER}(?:'?s(?![a-z]))?)*\s*{_CONJUNCTION}\s*{_NUMBER}(?:'?s(?![a-z]))?"
    r"(?![a-z\d.^])(?!\s*(?:之间|[\])]))"
)
# In "100 个 1.5 和 200 个 0.9" or "lr 0.1 and 50 layers" each number belongs to another noun: that is not a list.
_NOUN_BEFORE = lazy_pattern(
    r"(?:个|=|:|(?:factors|copies|terms|numbers|multiples) of"
    r"|(?:lr|rate|std|mean|variance|size|norm|bias)(?: of| is| at)?"
    r"|率|标准差|均值|方差|大小|偏置)\s*(?:为|是|取|等于)?\s*$"
)
_NOUN_AFTER = lazy_pattern(
    r"[\s-]*(?:个|次|遍|层|步|轮|类"
    r"|(?:factors|copies|terms|numbers|multiples|times|layers?|steps?|epochs?|class(?:es)?|units?|neurons?)(?![a-z]))"
)
# "100 个 1.5 连乘，0.5 呢？", "… by 0.9 a hundred times, and what about 1.1?": another value of a number named before.
_TRAILING_VALUE = lazy_pattern(
    r"(?:[,;:!?。；]|\.(?!\d))"  # the end of a clause, not the point in 0.5
    rf"(?:\s*(?:(?:and|or|but|then|what|how|about|if|with|for|at)\s+)+{_NUMBER}\s*(?:instead)?"
    rf"|(?:那么?|而|再|换成?|改成?|用|要是|如果|是|若|\s)*{_NUMBER}(?:的话|又|会怎样|怎么样|\s)*呢)\s*[?？。.!]*$"
)
_A_NUMBER = lazy_pattern(_NUMBER)
_OTHER_NUMBER = lazy_pattern(rf"(?<![a-z\d._^]){_NUMBER}(?![a-z\d])")
_ASIDE = lazy_pattern(rf"\(\s*({_CONJUNCTION}\s*{_NUMBER})\s*\)|\b(?:either|both) (?=[\d.-])")
_INTERVAL = frozenset({"lo", "hi"})

# Parameter → value → pattern. Several values of one parameter are a comparison, in the order of the question.
_KEYWORDS: dict[str, dict[str, str]] = {
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
_NUMBERED = Table((names, pattern) for pattern, names in _PATTERNS)
"""The patterns, each with the names of the parameters that its groups are."""
_NAMED = tuple((name, Table(values.items())) for name, values in _KEYWORDS.items())
PARAMETER_TABLES: tuple[Table[Any], ...] = (_NUMBERED, *(table for _, table in _NAMED))
_DIGIT = lazy_pattern(r"\d")
# Units of quantities that no experiment has.
_FOREIGN_UNIT = (
    r"(?:[kmgt]i?b|hours?|hrs?|h|minutes?|mins?|seconds?|secs?|s|ms|days?|weeks?|months?|years?|gpus?|cards?"
    r"|watts?|[kc]?m"
    r"|kg|usd|dollars?|小时|分钟|秒|天|周|个?月|年|块钱?|元|美元|张|卡|度|[千公]克|公里|米|瓦)(?![a-z])"
)
_QUANTITY = lazy_pattern(rf"(?<![a-z\d.]){_NUMBER}(?:\s*({_FOREIGN_UNIT}))?(?![a-z\d.])")
_FLOAT_PARAMETERS = frozenset(
    {"x", "lr", "std", "mean", "var", "rho", "clip", "forget_bias", "lo", "hi", "lam", "noise", "span", "balance"}
)


def extract_parameters(text: str) -> NamedValues:
    """Parameter → value, or a tuple where the question compares several. Values are not checked against any bounds.

    Expects lower-case NFKC text.
    """
    text = numerals_to_digits(text)
    found = _keywords(text)
    if not _DIGIT.search(text):
        return found
    text, alternatives = _collapse_lists(*_split_trailing_value(text))
    present = grams(text)
    for row in _NUMBERED:
        if row.needs is not None and row.needs.isdisjoint(present):
            continue
        names = row.value
        captures = [_capture(match, names) for match in row.pattern.finditer(text)]
        if not captures or captures[0].keys() & found.keys():
            continue
        if captures[0].keys() == _INTERVAL and float(captures[0]["lo"]) >= float(captures[0]["hi"]):
            continue
        may_repeat = names[0] and names != ("lo", "hi")
        alike = [each for each in captures if each.keys() == captures[0].keys()] if may_repeat else captures[:1]
        for name in captures[0]:
            compared = tuple(each[name] for each in alike)
            listed = alternatives.get(float(compared[0]))
            if listed and len(alike) == 1:
                compared = tuple(_cast(name, word) for word in listed)
            found[name] = compared[0] if len(set(compared)) == 1 else compared
    return found


def _keywords(text: str) -> dict[str, Value | tuple[Value, ...]]:
    """The parameters whose values are words, in the order of the text."""
    found: dict[str, Value | tuple[Value, ...]] = {}
    present = grams(text)
    for name, values in _NAMED:
        occurrences = sorted(
            (match.start(), row.value)
            for row in values
            if (row.needs is None or not row.needs.isdisjoint(present)) and (match := row.pattern.search(text))
        )
        if occurrences:
            found[name] = occurrences[0][1] if len(occurrences) == 1 else tuple(value for _, value in occurrences)
    return found


def _capture(match: re.Match[str], names: tuple[str, ...]) -> dict[str, Value]:
    pairs: Any = [match.groups()] if names[0] == "" else zip(names, match.groups(), strict=True)
    return {name: _cast(name, word) for name, word in pairs if word is not None}


def _split_trailing_value(text: str) -> tuple[str, dict[float, list[str]]]:
    """The text without a final ", 0.5 呢？", with that value as an alternative to the number nearest in magnitude.

    Alternatives map a number of the text to the values to compare, as words, itself first.
    """
    match = _TRAILING_VALUE.search(text)
    if match is None:
        return text, {}
    before, word = text[: match.start()], match[1] or match[2]
    others = _OTHER_NUMBER.findall(before)
    if not others or not float(word):
        return text, {}
    nearest = min(reversed(others), key=lambda other: _magnitude_distance(float(other), float(word)))
    return before, {float(nearest): [nearest, word]}


def _magnitude_distance(one: float, other: float) -> float:
    """The absolute difference of log10 |x|; inf if the first is 0. The second must not be 0."""
    return abs(math.log10(abs(one) / abs(other))) if one else math.inf


def _collapse_lists(text: str, alternatives: dict[float, list[str]]) -> tuple[str, dict[float, list[str]]]:
    """The text with "0.9 and 1.1" reduced to "0.9", and the alternatives extended by these lists."""

    def keep_first(match: re.Match[str]) -> str:
        words = _A_NUMBER.findall(match[0])
        if _NOUN_AFTER.match(text, match.end()):
            before = text[max(0, match.start() - 24) : match.start()]
            if _NOUN_BEFORE.search(before) or not all(word.isdigit() for word in words):
                return match[0]
        others = [more for word in words for more in alternatives.pop(float(word), [])[1:]]
        alternatives[float(words[0])] = words + others
        return match["first"]

    text = _ASIDE.sub(r" \1 ", text)
    return _LIST.sub(keep_first, text), alternatives


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with the unit after it; the unit is "" where there is none, or one that counts: 个, 层, times."""

    value: float
    unit: str = ""
    words: str = ""
    """As it is written, numerals as digits."""


def single_quantity(text: str) -> Quantity | None:
    """The number in a text such as "what about 0.9?" or "30 GB?"; None if there is none or several.

    Expects lower-case NFKC text.
    """
    numbers = list(_QUANTITY.finditer(numerals_to_digits(text)))
    if len(numbers) != 1:
        return None
    return Quantity(float(numbers[0][1]), unit=numbers[0][2] or "", words=numbers[0][0])


def _cast(name: str, word: str) -> Value:
    cast: Callable[[str], Any] = float if name in _FLOAT_PARAMETERS or not word.lstrip("+-").isdigit() else int
    value: Value = cast(word)
    return value
