"""Every pair of a name and a number in a line, whatever its format: "lr: 1e-3", "loss=nan", "lm loss 8.1 (8.3)".

The line is split at its numbers; what stands before a number is its gap, and names it. The gaps of a log repeat from
line to line, so a cache of them makes a line as cheap as its split.
"""

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache

from qa_service.parsing.logs.names import meaning_of

_SPLIT = re.compile(
    r"(?<![A-Za-z0-9_.@#])"
    r"([-+]?(?:1\.\#(?:qnan|snan|ind|inf)\d*|(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
    r"|\.?nanx*(?:\.0|\(\w*\))?(?!\s+iterations)|\.?inf(?:inity)?(?:\.0)?))"
    r"(?:%|[kmgt]?i?b|m?s|us|it/s|s/it|[kmg])?(?:/[a-z]{1,8})?(?:(?![A-Za-z0-9_]|\.\d)|(?-i:(?=[A-Z][a-z]{2})))",
    re.IGNORECASE,
)
_WRAPPER = re.compile(
    r"(?:[\w.]*(?:tensor|array|float\d*|float|bfloat16|scalar))\($|<tf\.tensor: [^<>]{0,80}numpy=$", re.IGNORECASE
)
_DELIMITER = re.compile(r"[,|;，；。{}()\[\]\t│>]|\s{2,}|\s[-–]+\s|:(?=\s|$)")
_REMARK = re.compile(r"\s*\([\w ]{0,40}\)$")
"""As in "lr(PiecewiseDecay): 0.1"."""
_COPULA = re.compile(r"(?<=[\u4e00-\u9fff])(?:约?为|是|达到|降[到至]|升[到至]|有)(?:了|约)?$")
"""What stands between a name and its number in a Chinese sentence: 损失为 0.37."""
_IS = re.compile(r"^([,;|]\s*(?:train(?:ing)? )?loss) is$", re.IGNORECASE)
"""The same in English, behind a number and a comma only: "step: 10, loss is 2.3"; else it is prose."""
_EDGES = " \t'\"*`•~≈"
_OWN_NAME = re.compile(r"[A-Za-z_\u4e00-\u9fff][\w./@\-]{0,60}")
_MAX_GAP_CHARS = 200
_MAX_WORDS = 5
_LISTED = re.compile(r"loss(?:es)?:\s*[a-z]", re.IGNORECASE)
"""A list of the parts of a loss: "loss: x 0.5, y 0.25"."""
_LISTED_NAME = re.compile(r"(?:^|[,:\[(])\s*([A-Za-z]\w{0,20})\s+$")
_ASIDE = frozenset(
    (
        "a",
        "an",
        "and",
        "at",
        "best",
        "current",
        "final",
        "got",
        "in",
        "initial",
        "is",
        "last",
        "my",
        "new",
        "now",
        "of",
        "old",
        "on",
        "our",
        "per",
        "previous",
        "the",
        "then",
        "this",
        "with",
        "this",
        "step",
        "epoch",
        "iter",
    )
)
"""Words before "loss" that do not make it another loss, as "discriminator" or "box" do."""
_COUNTED = re.compile(r"第\s*(\d+)\s*(?:个\s*)?(轮|步|次迭代|epoch)", re.IGNORECASE)
"""第 3 轮: in Chinese the name stands after the number."""
_DATA_SET = re.compile(r"^(?:valid|eval|val)\w{0,4}_\ds$")
"""LightGBM's "valid_0's", whose apostrophe is gone."""
_OF, _AVERAGE, _NEXT = "/", "(", ","
"""Gaps that name no quantity of their own: the total of a counter, a mean in parentheses, the next of a list."""


@dataclass(slots=True)
class Pairs:
    """What a line says."""

    values: dict[str, float] = field(default_factory=dict)
    """Name, in lower case, words joined by "_" → its first value; a mean in parentheses has the name "NAME_average"."""
    totals: dict[str, float] = field(default_factory=dict)
    """Name → the total after its value, as in "iter 5/100"."""
    counter: tuple[float, float] | None = None
    """The first "n/N" without a name."""
    known: int = 0
    """How many of the names have a meaning."""


def read_pairs(line: str) -> Pairs:
    """The pairs of a line, in time linear in its length."""
    parts = _SPLIT.split(line)
    pairs = Pairs()
    for number, name in _COUNTED.findall(line) if "第" in line else ():
        pairs.values["epoch" if name in ("轮", "epoch") else "step"] = float(number)
    listed = bool(_LISTED.search(line))
    last, previous = "", math.nan
    for index in range(1, len(parts), 2):
        gap = parts[index - 1][-_MAX_GAP_CHARS:]
        name = _name_of(gap)
        if not name and listed and (word := _LISTED_NAME.search(gap)):
            name = f"loss_{word[1].lower()}"
        value = parse_value(parts[index])
        if name == _OF:
            _set_total(pairs, last, previous, value)
            name = ""
        elif name == _AVERAGE:
            if last and last in pairs.values:
                pairs.values.setdefault(f"{last}_average", value)
            continue
        elif name == _NEXT:
            continue
        elif _follows_step(parts, index, gap) and _is_loss(last):
            pairs.values[last] = value  # "Train loss 120 0.53": the step stands between
            pairs.values.setdefault("step", previous)
        elif name and name not in pairs.values:
            pairs.values[name] = value
            pairs.known += bool(meaning_of(name))
        last, previous = name, value
    return pairs


def _follows_step(parts: list[str], index: int, gap: str) -> bool:
    """Whether a number with decimals stands right behind a whole one, or behind that and a colon."""
    bare = gap.isspace() or gap.strip() == ":"
    return index > 1 and bare and parts[index - 2].isdigit() and "." in parts[index]


def _is_loss(name: str) -> bool:
    return meaning_of(name) in ("loss", "val_loss")


def _set_total(pairs: Pairs, last: str, previous: float, total: float) -> None:
    if last:
        pairs.totals.setdefault(last, total)
    elif pairs.counter is None and math.isfinite(previous) and previous <= total:
        pairs.counter = (previous, total)


def parse_value(word: str) -> float:
    """The value of a number as programs write it: 1,234.5 and nan.0, -nan(ind), 1.#QNAN, .inf, Infinity."""
    try:
        return float(word)
    except ValueError:
        pass
    word = word.lower().replace(",", "")
    if "inf" in word:
        return -math.inf if word.startswith("-") else math.inf
    try:
        return float(word)
    except ValueError:
        return math.nan


@lru_cache(maxsize=20_000)
def _name_of(gap: str) -> str:
    """The name that a gap ends with; "" if it names nothing. One of the marks above for a gap that only joins."""
    gap = gap.rstrip(_EDGES)
    while match := _WRAPPER.search(gap):
        gap = gap[: match.start()].rstrip(_EDGES)
    bare = gap.strip()
    if bare in ("/", "of", "\\"):
        return _OF
    if bare == "(":
        return _AVERAGE
    if bare in (",", ", '", "e"):
        return _NEXT
    gap = gap.rstrip("[({" + _EDGES)
    gap, copulas = _COPULA.subn("", gap)
    if not copulas:
        gap, copulas = _IS.subn(r"\1", gap)
    explicit = copulas > 0 or gap.endswith((":", "=", "：", "->", "→", "\uff1d"))
    return _last_name(gap.rstrip(":=：＝->→" + _EDGES), explicit=explicit)


def _last_name(text: str, *, explicit: bool) -> str:
    """The longest known name at the end of a text; before a colon or an equals sign also one that is not known."""
    text = _REMARK.sub("", text)
    clause = _DELIMITER.split(text)[-1].strip(_EDGES + "=:.#，。、")
    words = [_DATA_SET.sub("valid", word.rstrip(".")) for word in clause.replace("'", "").replace('"', "").split()]
    if not words:
        return ""
    for count in range(min(len(words), _MAX_WORDS), 0, -1):
        name = "_".join(words[-count:]).lower()
        if meaning_of(name):
            return _qualified(name, words[:-count])
    name = "_".join(words).lower() if len(words) <= 2 else words[-1].lower()
    if not _OWN_NAME.fullmatch(name):
        name = words[-1].lower().lstrip("0123456789./-")
    component = "loss" in name or name.startswith(("acc", "top", "nll", "ppl"))
    return name if (explicit or component) and _OWN_NAME.fullmatch(name) else ""


def _qualified(name: str, before: list[str]) -> str:
    """The name of a loss with the word before it, which makes it another one: "D loss", "box loss"."""
    word = before[-1].lower() if before else ""
    if name == "loss" and len(before) <= 2 and re.fullmatch(r"[a-z]\w*", word) and word not in _ASIDE:
        return f"{word}_{name}"
    return name
