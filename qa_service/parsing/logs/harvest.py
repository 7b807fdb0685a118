"""Reads "key: number" pairs from a line of a log, whatever its format."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from qa_service.patterns import lazy_pattern

NUMBER_PATTERN = r"[-+]?(?:\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?|\.nan|1\.#qnan|1\.#inf)"

# Key → its names in logs, longest first where one begins another.
KEYS: Mapping[str, str] = {
    "val_loss": r"(?:val(?:id(?:ation)?)?|eval|test|dev)[_ /]loss",
    "val_accuracy": r"(?:val(?:id(?:ation)?)?|eval|test|dev)[_ /](?:acc(?:uracy)?|top1)",
    "grad_norm": r"(?:global[_ ])?grad(?:ient)?[_ ]?norm|gnorm",
    "loss_scale": r"(?:loss|grad)[_ ]scale|scaler?(?=[=:])",
    "skipped": r"number of skipped iterations|skipped",
    "nan_iterations": r"number of nan iterations",
    "loss": r"(?:(?:train(?:ing)?|lm|total|avg|mean|running)[_ /])?loss(?:_step|/train)?|cost|objective",
    "lr": r"(?:base[_ ]|initial )?(?:learning[_ ]rate|lr)",
    "accuracy": r"(?:train(?:ing)?[_ ])?(?:acc(?:uracy)?1?|top1|prec1|binary_accuracy|sparse_categorical_accuracy)",
    "epoch": r"epoch|ep",
    "step": r"(?:global[_ ]|current[_ ])?steps?|iteration|iter|it|batch",
    "": r"[a-z]\w{0,20}_loss|loss_[a-z]\w{0,20}|l1|kl|reward",
}  # fmt: skip
"""The key "" stands for a component of the loss or another quantity, whose own name is its key."""
_PAIR = lazy_pattern(
    r"(?<![\w/])(?=[a-z])(?:"
    + "|".join(f"(?P<k{index}>{names})" for index, names in enumerate(KEYS.values()))
    + rf")(?![\w])['\"]?\s*[:=|]?\s*['\"]?(?:tensor\()?(?P<number>{NUMBER_PATTERN})(?!\w|\.\d)",
    re.IGNORECASE,
)
_BY_GROUP = {f"k{index}": key for index, key in enumerate(KEYS)}


class Harvest(NamedTuple):
    """The values of a line: key → value, and key → the part of the line that states it."""

    values: dict[str, float]
    fragments: dict[str, str]


def harvest(line: str) -> Harvest:
    """Every key with its first value on the line."""
    values: dict[str, float] = {}
    fragments: dict[str, str] = {}
    for match in _PAIR.finditer(line):
        group = match.lastgroup if match.lastgroup != "number" else None
        group = group or next(name for name in _BY_GROUP if match[name])
        key = _BY_GROUP[group] or match[group].lower()
        if key not in values:
            values[key] = parse_number(match["number"])
            fragments[key] = match[0]
    return Harvest(values, fragments)


def parse_number(word: str) -> float:
    """The value of a number as logs write it; nan for what is no number."""
    word = word.lower().replace(",", "").rstrip(".")
    try:
        return float(word)
    except ValueError:
        return math.inf if "inf" in word else math.nan


def key_of(name: str) -> str | None:
    """The key of a column's name; None for one that is not known."""
    lower = name.strip().strip("'\"").lower()
    for key, names in KEYS.items():
        if re.fullmatch(names, lower):
            return key or lower
    return None
