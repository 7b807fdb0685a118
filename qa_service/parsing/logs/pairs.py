"""Reads every pair of a name and a number in a line, whatever its format: "lr: 1e-3", "loss=nan", "lm loss 8.1 (8.3)".

The line is split at its numbers; the text before a number, its gap, has its name. The gaps of a log repeat from line to
line and are cached, so that most lines cost no more than the split.
"""

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache

from qa_service.parsing.logs.morphemes import kinds_of
from qa_service.parsing.logs.names import is_bookkeeping, is_measure, meaning_of
from qa_service.parsing.logs.notation import normalise_notation
from qa_service.patterns import lazy_pattern

_SPLIT = lazy_pattern(
    r"(?<![A-Za-z0-9_.@#])"
    r"([-+]?(?:1\.\#(?:qnan|snan|ind|inf)\d*|(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:[ef][-+]?\d+)?"
    r"|\.?nanx*(?:\.0|\(\w*\))?(?!\s+iterations)|\.?inf(?:inity)?(?:\.0)?))"
    r"(?:%|[kmgt]?i?b|m?s|us|it/s|s/it|[kmg]|nats?|bits?|db)?(?:/[a-z]{1,8})?(?:(?![A-Za-z0-9_]|\.\d)|(?-i:(?=[A-Z][a-z]{2})))",
    re.IGNORECASE,
)
_WRAPPER = lazy_pattern(
    r"(?:[\w.]*(?:tensor|array|float\d*|float|bfloat16|scalar))\($|<tf\.tensor: [^<>]{0,80}numpy=$", re.IGNORECASE
)
_DELIMITER = lazy_pattern(r"[,|;，；。：{}()\[\]\t│>]|\s{2,}|\s[-–]+\s|:(?=\s|$)")
_REMARK = lazy_pattern(r"\s*\([\w ]{0,40}\)$")
"""As in "lr(PiecewiseDecay): 0.1"."""
_COPULA = lazy_pattern(r"(?<=[\u4e00-\u9fff])(?:约?为|是|达到|降[到至]|升[到至]|有)(?:了|约)?$")
"""The copula between a name and its number in a Chinese sentence: 损失为 0.37."""
_COPULA_EN = lazy_pattern(
    r"^(?:\s?[a-z]{1,10})?([,;|]\s*(?:train(?:ing)? )?(?:loss|accuracy)) is$"
    r"|^(.{0,40}\b(?:learning rate|lr)) (?:set )?to$",
    re.IGNORECASE,
)
"""The same in English, behind a number, with its unit, and a comma only: "step: 10, loss is 2.3"; else it is prose."""
_EDGES = " \t'\"*`•~≈↓↑▸"
_BRACKETED = lazy_pattern(r"(?:^|(?<=[\s,;|\])}]))\[([A-Za-z][\w /.\-]{0,40})\]$")
"""A name in brackets before its colon: [loss]: 0.4."""
_CELL = lazy_pattern(r"\s*[|│┃║]$")
"""A line of a table between a name and its number."""
_OF_NAME = lazy_pattern(r"([A-Za-z]\w{0,20})-$")
"""Before a number that belongs to a name: top-5."""
_LEADING = lazy_pattern(r"\s*(?:[\])]\s*[:|,\-]?|[|,]|:(?=\s)|\s(?=\{['\"]))\s*[\[({|]?\s*['\"]?[^\W\d]")
"""Behind a number that a line begins with, if it counts: "[200] loss", "200 | loss", "200: loss"."""
_PART = lazy_pattern(
    r"(?<![A-Za-z])(?:(?P<held>val(?:i|id(?:ation)?)?|va|dev|te?st(?:ing)?|te|eval(?:uation)?)|tr(?:ai?n(?:ing)?)?)(?![A-Za-z])"
    r"|(?P<held2>验证|测试|検証|검증)|训练|訓練|훈련",
    re.IGNORECASE,
)
_SHORT = {"l": "loss", "a": "acc"}
"""Letters behind a part of the data: "Tr L: 0.5 A: 0.8"."""
_TRAINED, _HELD_OUT = ("train", "training", "tr"), ("val", "valid", "validation", "dev")
_PARTS_ALONE = frozenset({"train", "val", "valid"})
_OWN_NAME = lazy_pattern(r"(?:[^\W\d]|_)[\w./@\-]{0,60}")
_TAGGED = lazy_pattern(
    r"(?:^|[\s,{])(?:tag|key|metric|name)['\"]?\s*[:=]\s*['\"]?([A-Za-z][\w./\-]{0,80})", re.IGNORECASE
)
"""The name of the quantity whose number is called a value: "tag: train/loss step: 3 value: 0.5"."""
_NAMED_VALUE = lazy_pattern(r"([A-Za-z_][\w./\-]{0,60})['\"]?\s?[:=]\s?\{\s?['\"]value['\"]?\s?[:=]")
"""The same as a dictionary: train_loss: {"value": 0.5}."""
_LONE_WORD = lazy_pattern(r"[)\]]?\s+([A-Za-z_][\w-]{0,30})\s+")
_CAMEL = lazy_pattern(r"(?<=[a-z]{2})(?=[A-Z][a-z])")
"""Between the words of a name like lossAverage."""
_OF_JULIA = lazy_pattern(r"(?<=\d)f(?=[-+]?\d)")
"""0.5f0, a number of single precision."""
_TWO_COUNTERS = lazy_pattern(r"epoch/(?:iter\w*|step|batch)")
"""Names that two numbers share: "epoch/iter: 20/5399"."""
_PLACE = lazy_pattern(r"(?:epoch|ep|step|iter(?:ation)?|it|batch)_?\d")
"""Epoch15, which makes no other quantity of the loss behind it."""
_OF_TWO_WORDS = lazy_pattern(r"coef\w{0,9}|index|distance|rate|ratio|gap")
"""Words that only make a measure together with the one before them."""
_PER = lazy_pattern(
    r"(?<=\w) per(?: \w{1,20}){0,2} (?:episode|epoch|step|iteration|batch|sample|frame|token|game|update)$",
    re.IGNORECASE,
)
"""The unit that a quantity is divided by: "return per training episode"."""
_IN_CELL = lazy_pattern(r".*[\[+|│]\s?([A-Za-z][\w ]{0,24}?)\s+", re.DOTALL)
"""A cell or summand that holds a name and its number: "| drift 0.5 |", "[rec 0.5 + kl 0.25]"."""
_UNICODE = lazy_pattern(r"(?<![\w])u(?=['\"])")
"""The mark of Python 2 before a string: {u'loss': 0.5}."""
_TOTALS = frozenset({"t", "total", "sum", "all"})
_FEWEST_PARTS = 3
_MAX_GAP_CHARS = 200
_MAX_WORDS = 5
_LISTED = lazy_pattern(r"\b(loss|iou|acc|accuracy|dice|ap|f1|precision|recall|error)(?:e?s)?:\s*[a-z]", re.IGNORECASE)
"""A list of the parts of a measure: "loss: x 0.5, y 0.25"."""
_LISTED_NAME = lazy_pattern(r"(?:^|[,:\[(])\s*([A-Za-z]\w{0,20})\s+$")
_NO_QUALIFIERS = frozenset(
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
_COUNTED = lazy_pattern(r"第\s*(\d+)\s*(?:个\s*)?(轮|步|次迭代|epoch|回合|批次?|个?batch)", re.IGNORECASE)
"""第 3 轮: in Chinese the name stands after the number."""
_DATA_SET = lazy_pattern(r"^(?:valid|eval|val)\w{0,4}_\ds$")
"""LightGBM's "valid_0's", whose apostrophe is gone."""
_SECTION = lazy_pattern(r"([A-Za-z]\w{0,30})['\"]?\s*[:=]?\s*[\[{(]\s*['\"]?(?=[A-Za-z])")
"""The word before a bracket with names in it."""
_MAX_SECTIONED = 60
_OF_ANY_PART = frozenset({"step", "epoch", "lr", "grad_norm", "loss_scale"})
"""Meanings of which a validation has no value of its own."""
_RATE = lazy_pattern(r"\s?[A-Za-z]{1,12}/[A-Za-z]{1,8}\s?\)")
"""Behind a number in parentheses that is no mean: (120.5 ex/s)."""
_OPENS, _MAY_OPEN, _WITHIN_LIST, _MAX_LIST = frozenset("[("), frozenset("[('\""), " ,;\t\"'", 24
"""What opens a list of values after a name, what separates them, and how many are kept."""
_QUOTED = lazy_pattern(r"""['"]([^\W\d][^'",]{0,60})['"]\s*,\s*$""")
"""A name in a printed tuple: ('loss', 0.5)."""
_OF, _AVERAGE, _NEXT, _TIMES = "/", "(", ",", "*"
"""Gaps that name no quantity of their own: the total of a counter, a mean in parentheses, the next of a list,
and a weight, as in "(* 1 = 0.5 loss)"."""


@dataclass(slots=True)
class Pairs:
    """The names and numbers of a line."""

    values: dict[str, float] = field(default_factory=dict)
    """Name, in lower case, words joined by "_" → its first value; a mean in parentheses has the name "NAME_average"."""
    totals: dict[str, float] = field(default_factory=dict)
    """Name → the total after its value, as in "iter 5/100"."""
    counter: tuple[float, float] | None = None
    """The first "n/N" without a name."""
    leading: float | None = None
    """The whole number that the line begins with, if it seems to count."""
    parts: dict[str, str] = field(default_factory=dict)
    """Name → the part of the data that its first value is of; "" if the line names none before it."""
    known: int = 0
    """How many of the names have a meaning."""


def read_pairs(line: str) -> Pairs:
    """The pairs of a line, in time linear in its length."""
    line = normalise_notation(line)
    parts = _SPLIT.split(line)
    pairs = Pairs()
    for number, name in _COUNTED.findall(line) if "第" in line else ():
        pairs.values["epoch" if name.lower() in ("轮", "epoch") else "step"] = float(number)
    listed = match[1].lower() if (match := _LISTED.search(line)) else ""
    last, previous, part = "", math.nan, ""
    prefix, listing = "", _Listing()
    for index in range(1, len(parts), 2):
        gap = parts[index - 1][-_MAX_GAP_CHARS:]
        part = _part_of(gap) or part
        if gap.endswith("-") and (begins := _begins_name(gap, parts, index)):
            prefix = begins
            continue
        whole, prefix = prefix, ""
        name = whole or _name_in_part(_name_of(gap), part, pairs) or (_listed_name(gap, listed) if listed else "")
        name = name or _name_like_the_last(gap, last, parts[index]) or _unmarked_name(gap, parts[index])
        value = parse_value(parts[index])
        if gap.isspace() and "." in parts[index] and "." in parts[max(1, index - 2)] and is_measure(last):
            listing.follows(last, value, pairs)
            continue
        if (listing.name or gap[-1:] in _MAY_OPEN) and listing.takes(gap, name, value, pairs):
            last, previous = "", value
            continue
        if (index in (1, 3) or gap[-1:] == "[") and not pairs.known and _counts(name, gap, parts, index):
            name, pairs.leading = "", value
        if name == _OF:
            _set_total(pairs, last, previous, value)
            name = ""
        elif name in (_AVERAGE, _TIMES, _NEXT):
            if last in pairs.values and name != _NEXT and not _RATE.match(parts[index + 1]):
                pairs.values.setdefault(f"{last}_average" if name == _AVERAGE else "weight", value)
            continue
        elif not whole and _follows_step(parts, index, gap) and _is_loss(last):
            pairs.values[last] = value  # "Train loss 120 0.53": the step stands between
            pairs.values.setdefault("step", previous)
        elif name:
            name = name if name not in pairs.values else _distinct_name(name, parts, index, pairs)
            pairs.values.setdefault(name, value)
            pairs.parts.setdefault(name, part)
            pairs.known += bool(meaning_of(name))
        last, previous = name, value
    _name_parts(pairs)
    _name_total(pairs)
    _name_tagged(pairs, line)
    return pairs


@dataclass(slots=True)
class _Listing:
    """The values behind a name and a bracket: "acc: [0.2 0.3]"; those after the first are "acc.1" and so on."""

    name: str = ""
    place: int = 0
    run: int = 0
    """Values that have followed one that has a name, without any bracket."""

    def follows(self, name: str, value: float, pairs: Pairs) -> None:
        """Keeps a value that stands right behind one with a name: "loss: 0.5 0.25"."""
        self.run += 1
        if self.run < _MAX_LIST:
            pairs.values.setdefault(f"{name}.{self.run}", value)

    def takes(self, gap: str, name: str, value: float, pairs: Pairs) -> bool:
        """Whether a value is a further one of the list; else a list may begin with it."""
        if not self.name and gap.isspace():
            return False
        if self.name and not gap.strip(_WITHIN_LIST):
            self.place += 1
            if self.place < _MAX_LIST:
                pairs.values.setdefault(f"{self.name}.{self.place}", value)
            return True
        self.run = 0
        self.name, self.place = (name if gap.rstrip("'\"")[-1:] in _OPENS and is_measure(name) else ""), 0
        return False


def _name_tagged(pairs: Pairs, line: str) -> None:
    """Names a value by the tag beside it: "tag: train/loss value: 0.5"."""
    if "value" in pairs.values and (tag := _TAGGED.search(line) or _NAMED_VALUE.search(line)):
        pairs.values[tag[1].lower()] = pairs.values.pop("value")
        pairs.known += bool(meaning_of(tag[1]))


def _distinct_name(name: str, parts: list[str], index: int, pairs: Pairs) -> str:
    """A distinct name for a measure whose name is taken: with the word before its bracket, as in "tot[loss=0.5]"."""
    if not is_measure(name) or len(pairs.values) > _MAX_SECTIONED:
        return name
    before = "".join(parts[max(0, index - 9) : index])[-_MAX_GAP_CHARS:]
    sections = _SECTION.findall(before)
    return f"{sections[-1].lower()}.{name}" if sections else name


def _name_total(pairs: Pairs) -> None:
    """Names a total of parts that all have short names of their own, "B: 1.5 | C: 2.25 | T: 3.75": it is the loss."""
    if pairs.known or not pairs.values.keys() & _TOTALS or len(pairs.values) < _FEWEST_PARTS:
        return
    name = next(name for name in pairs.values if name in _TOTALS)
    before = list(pairs.values)[: list(pairs.values).index(name)]
    total, parts = pairs.values[name], [pairs.values[part] for part in before]
    if len(parts) > 1 and (math.isnan(total) or math.isclose(sum(parts), total, rel_tol=2e-3)):
        pairs.values["loss"] = pairs.values.pop(name)
        pairs.known += 1


def _unmarked_name(gap: str, number: str) -> str:
    """The name of a number with decimals that is a part of the data alone, or the words of its cell; else "".

    "train 0.5  val 0.6", "| drift 0.5 |".
    """
    if "." not in number and not number[-1:].isalpha():
        return ""
    word = gap.strip().lower()
    match = _IN_CELL.fullmatch(gap)
    return word if word in _PARTS_ALONE else "_".join(match[1].lower().split()) if match else ""


def _name_like_the_last(gap: str, last: str, number: str) -> str:
    """The word between a value that has a name and a number with decimals, as in "g_loss 0.5 flat 0.25"; else ""."""
    match = _LONE_WORD.fullmatch(gap) if last and ("." in number or number[-1:].isalpha()) else None
    word = match[1].lower() if match else ""
    return word if is_measure(last) and word not in _NO_QUALIFIERS else ""


@lru_cache(maxsize=20_000)
def _part_of(gap: str) -> str:
    """The part of the data that the next values are of, if a word of a gap says so: held out or train; else ""."""
    found = ""
    for match in _PART.finditer(gap):
        found = "held out" if match["held"] or match["held2"] else "train"
    return found


def _listed_name(gap: str, measure: str) -> str:
    """The name of a part of a measure in a list of them."""
    match = _LISTED_NAME.search(gap)
    return f"{measure}_{match[1].lower()}" if match else ""


def _begins_name(gap: str, parts: list[str], index: int) -> str:
    """The name that a number belongs to, such as top-5, if a colon and another number follow it; else ""."""
    if index + 2 >= len(parts) or not parts[index].isdigit() or parts[index + 1].strip() not in (":", "="):
        return ""
    match = _OF_NAME.search(gap)
    return f"{match[1]}-{parts[index]}".lower() if match and not meaning_of(match[1].lower()) else ""


def _name_in_part(name: str, part: str, pairs: Pairs) -> str:
    """The name of a value in a part of the data: a name that occurs again belongs to the part that was named last."""
    if part and (len(name) == 1 or name[-2:-1] == "_"):
        name = _SHORT.get(name.rsplit("_", 1)[-1], name)
    meaning = meaning_of(name)
    again = name in pairs.values and meaning in ("loss", "accuracy")
    losses = {meaning_of(other) for other in pairs.values}
    if part == "held out" and (again or (meaning == "accuracy" and "val_loss" in losses and "loss" not in losses)):
        return f"val_{meaning}"
    other = name in pairs.values and pairs.parts.get(name) != part
    if part == "held out" and other and len(pairs.values) <= _MAX_SECTIONED and _may_be_held_out(name):
        return f"val_{name}"
    return name


def _may_be_held_out(name: str) -> bool:
    """Whether a name that stands in a line again may be that of the same quantity on data that is held out."""
    said = name.startswith(("val", "test", "eval", "dev"))
    return not said and meaning_of(name) not in _OF_ANY_PART and not is_bookkeeping(name)


def _counts(name: str, gap: str, parts: list[str], index: int) -> bool:
    """Whether a whole number without a known name is a counter: it begins the line, or is alone in brackets."""
    if meaning_of(name) or not parts[index].isdigit():
        return False
    if index == 1 and parts[0].strip() in ("", "[", "(", "#", "|"):
        return bool(_LEADING.match(parts[2]))
    if index == 3 and parts[0].strip() == "[" and parts[2].strip() == "]":  # [epoch] step ||
        return parts[4].strip().startswith("|")
    return gap.endswith((" [", "\t[")) and parts[index + 1].startswith("]")


def _name_parts(pairs: Pairs) -> None:
    """Renames values by the others of the line: "L", and those called by their part of the data alone."""
    loss = next((name for name in pairs.values if meaning_of(name) in ("loss", "val_loss")), "")
    if not loss and pairs.known and not pairs.values.get("l", 0.0).is_integer():
        pairs.values["loss"] = pairs.values.pop("l")
    if "learn" in pairs.values and "test" in pairs.values:
        pairs.values["test_learn"] = pairs.values.pop("test")
    held_out = next((name for name in _HELD_OUT if name in pairs.values), "")
    trained = next((name for name in _TRAINED if name in pairs.values), "")
    if trained and meaning_of(loss) == "val_loss" and not pairs.values[trained].is_integer():
        pairs.values["loss"] = pairs.values.pop(trained)
    if not loss or not held_out:
        return
    if trained and all(0 <= pairs.values[name] <= 100 for name in (trained, held_out)):
        pairs.values["train_acc"] = pairs.values.pop(trained)
        pairs.values["val_acc"] = pairs.values.pop(held_out)
    elif not trained and (loss.startswith("loss") or _is_of_training(loss)):
        pairs.values["val_loss"] = pairs.values.pop(held_out)


def _is_of_training(name: str) -> bool:
    return meaning_of(name) == "loss" and "train" in kinds_of(name)


def _follows_step(parts: list[str], index: int, gap: str) -> bool:
    """Whether a number with decimals stands right behind a whole one, or behind that and a colon."""
    bare = gap.isspace() or gap.strip() == ":"
    return index > 1 and bare and parts[index - 2].isdigit() and "." in parts[index]


def _is_loss(name: str) -> bool:
    return meaning_of(name) in ("loss", "val_loss")


def _set_total(pairs: Pairs, last: str, previous: float, total: float) -> None:
    if last and _TWO_COUNTERS.fullmatch(last):
        pairs.values["epoch"] = pairs.values.pop(last, math.nan)
        pairs.values.setdefault("iter", total)
    elif last:
        pairs.totals.setdefault(last, total)
    elif pairs.counter is None and math.isfinite(previous) and previous <= total:
        pairs.counter = (previous, total)


def parse_value(word: str) -> float:
    """The value of a number as programs write it: 1,234.5 and nan.0, -nan(ind), 1.#QNAN, .inf, Infinity."""
    try:
        return float(word)
    except ValueError:
        pass
    word = _OF_JULIA.sub("e", word.lower().replace(",", ""))
    if "inf" in word:
        return -math.inf if word.startswith("-") else math.inf
    try:
        return float(word)
    except ValueError:
        return math.nan


@lru_cache(maxsize=20_000)
def _name_of(gap: str) -> str:
    """The name that a gap ends with; "" if there is none; `_OF`, `_AVERAGE`, `_NEXT` or `_TIMES` for a mere mark."""
    starred = gap.rstrip().endswith("*")
    if listed := _QUOTED.search(gap):
        return _last_name(listed[1], explicit=True)
    gap = gap.rstrip(_EDGES)
    while match := _WRAPPER.search(gap):
        gap = gap[: match.start()].rstrip(_EDGES)
    bare = gap.strip()
    if gap.endswith("(") and starred:
        return _TIMES
    if bare in ("/", "of", "\\"):
        return _OF
    if bare == "(":
        return _AVERAGE
    if bare in (",", ", '", "e"):
        return _NEXT
    gap, cells = _CELL.subn("", gap)
    if cells:
        name = _last_name(gap.rstrip(_EDGES), explicit=True)
        return name if is_measure(name) or meaning_of(name) else ""
    gap = gap.rstrip("[({" + _EDGES)
    gap, copulas = _COPULA.subn("", gap)
    if not copulas:
        gap, copulas = _COPULA_EN.subn(r"\1\2", gap)
    explicit = copulas > 0 or gap.endswith((":", "=", "：", "->", "→", "\uff1d"))
    gap = gap.rstrip(":=：＝->→" + _EDGES)
    return _last_name(_BRACKETED.sub(r"\1", gap) if explicit else gap, explicit=explicit)


def _last_name(text: str, *, explicit: bool) -> str:
    """The longest known name at the end of a text; if `explicit`, before a colon or "=", also an unknown one."""
    text = _UNICODE.sub("", _REMARK.sub("", text))
    if explicit and " per " in text:
        text = _PER.sub("", text)
    clause = _DELIMITER.split(text)[-1].strip(_EDGES + "=:.#，。、")
    words = [_DATA_SET.sub("valid", word.rstrip(".")) for word in clause.replace("'", "").replace('"', "").split()]
    if not words:
        return ""
    for count in range(min(len(words), _MAX_WORDS), 0, -1):
        name = "_".join(words[-count:]).lower()
        if meaning_of(name):
            return _qualified(name, words[:-count])
    name = _CAMEL.sub("_", words[-1]).lower()
    if meaning_of(name):
        return name
    name = "_".join(words).lower() if len(words) <= 2 else _last_measure(words)
    if ":" in name:  # postfix:loss=3.4
        return _last_name(name.rsplit(":", 1)[1], explicit=explicit)
    if not _OWN_NAME.fullmatch(name):
        name = words[-1].lower().lstrip("0123456789./-")
    component = "loss" in name or name.startswith(("acc", "top", "nll", "ppl")) or _is_component(name)
    return name if (explicit or component) and _OWN_NAME.fullmatch(name) else ""


def _last_measure(words: list[str]) -> str:
    """The last word, or of several the last two, if only they are a measure: "dice coeff"."""
    last = words[-1].lower()
    two = f"{words[-2].lower()}_{last}"
    return two if _OF_TWO_WORDS.fullmatch(last) and is_measure(two) else last


def _is_component(name: str) -> bool:
    """Whether a name without a colon is that of a measure.

    A name in Chinese must have a loss or accuracy in it or be known in all its parts: it may be any part of a sentence.
    """
    if not is_measure(name) or name.isascii():
        return is_measure(name)
    kinds = kinds_of(name)
    return "" not in kinds or "loss" in kinds or "accuracy" in kinds


def _qualified(name: str, before: list[str]) -> str:
    """The name of a loss with the word before it, which makes it another one: "D loss", "box loss"."""
    word = before[-1].lower() if before else ""
    if name == "cost" and word in ("time", "times"):
        return "time_cost"
    if name == "loss" and len(before) <= 2 and re.fullmatch(r"[a-z][\w-]*", word) and word not in _NO_QUALIFIERS:
        return name if _PLACE.match(word) else f"{word}_{name}"
    return name
