"""Records whose values have no known name: bare numbers, names after their numbers, unknown names after a counter."""

import math
import re
from collections.abc import Mapping, Sequence

from qa_service.parsing.logs.formats import PLAIN_FORMAT
from qa_service.parsing.logs.names import meaning_of
from qa_service.parsing.logs.pairs import Pairs, parse_value
from qa_service.parsing.logs.rows import LogRow
from qa_service.patterns import lazy_pattern

_BARE = lazy_pattern(
    r"\s*(?P<count>(?:epoch|step|iter(?:ation)?)\s*[:#]?\s*\d{1,9}\s*[:,]\s*)?(?P<tensor>(?:\w+\.)?(?:tensor|array|devicearray)\()?(?P<number>[-+]?(?:\d{1,12}\.\d{0,20}(?:e[-+]?\d{1,3})?|nan|inf))"
    r"(?(tensor)(?:, ?(?:device|grad_fn|dtype|requires_grad)=[^,()]{1,60}){0,4}\))\s*",
    re.IGNORECASE,
)
_BEHIND = lazy_pattern(
    r"\s*(?:(?:[A-Za-z]{1,10} )?\d{1,9}(?:/\d{1,9})?\s?[:|]\s)?"
    r"(?P<number>[-+]?(?:\d{1,12}\.\d{1,20}(?:e[-+]?\d{1,3})?|nan|inf))\s+(?P<name>[A-Za-z]\w{0,20})\s*"
)
_FEWEST_TENSORS, _FEWEST_NUMBERS = 3, 6
_FEWEST_COUNTED = 2
"""Beside a counter without a name, a line needs more named values than this to be a record."""
_MAX_BARE = 20_000
_RECORD = lazy_pattern(r"\s*(?:[A-Za-z]{1,20}:? |\d{1,9}[:,]? )?\{.*\}\s*")


class BareValues:
    """Lines that hold one number and at most a counter, as `print(loss)` and `print("epoch 3:", loss)` write them."""

    def __init__(self) -> None:
        self._rows: list[LogRow] = []
        self._tensors = 0

    def take(self, number: int, text: str) -> bool:
        """Whether a line is one of them; its value is kept then."""
        match = _BARE.fullmatch(text) if len(text) < 200 and len(self._rows) < _MAX_BARE else None
        if match is None:
            return False
        self._tensors += bool(match["tensor"] or match["count"])
        self._rows.append(LogRow(number, PLAIN_FORMAT.id, text, {"loss": parse_value(match["number"])}, counter="bare"))
        return True

    def rows(self) -> list[LogRow]:
        """The values as losses, if there are 6 or more, or 3 tensors or counted ones; else none."""
        return self._rows if self._tensors >= _FEWEST_TENSORS or len(self._rows) >= _FEWEST_NUMBERS else []


def values_before_names(text: str) -> dict[str, float]:
    """The values of a line that has each number before its name, "2.25 loss, 0.1 lr"; {} for any other."""
    found = [match for part in text[:400].split(",") if (match := _BEHIND.fullmatch(part))]
    known = {
        match["name"].lower(): parse_value(match["number"]) for match in found if meaning_of(match["name"].lower())
    }
    return known if len(known) > 1 and any(meaning_of(name) == "loss" for name in known) else {}


def is_counted_record(pairs: Pairs, values: Mapping[str, float]) -> bool:
    """Whether a counter makes a line a record: it has a step or epoch, and two values or more, not all whole."""
    named = [value for name, value in values.items() if meaning_of(name) != "lr"]
    counts = (
        pairs.leading is not None
        or (pairs.counter is not None and len(named) > _FEWEST_COUNTED)
        or any(meaning_of(name) in ("step", "epoch") for name in pairs.values)
    )
    rated = any(meaning_of(name) == "lr" for name in values)
    return counts and len(named) + rated >= 2 and any(not math.isfinite(v) or v != int(v) for v in named)


def is_record(text: str) -> bool:
    """Whether a line is a dictionary, with one word before it at most: "Losses {'ner': 12.5}"."""
    return bool(_RECORD.fullmatch(text[:2000]))


def rename_objectives_to_loss(rows: Sequence[LogRow]) -> None:
    """Renames values that are called by the part of the data alone to losses, if they fall or become non-finite.

    CatBoost prints "learn" and "test", others "train" and "val".
    """
    for trained, held_out in (("learn", ("test_learn",)), ("train", ("val", "valid", "validation", "test", "dev"))):
        of_training = [row for row in rows if trained in row.values and "loss" not in map(meaning_of, row.values)]
        numbers = [row.values[trained] for row in of_training]
        if not numbers or (numbers[-1] > numbers[0] and all(map(math.isfinite, numbers))):
            continue
        if trained == "train" and not any(name in row.values for row in of_training for name in held_out):
            continue
        names = {trained: "loss", **dict.fromkeys(held_out, "val_loss")}
        for row in of_training:
            row.values = {names.get(name, name): value for name, value in row.values.items()}
