"""Normalises a line for `pairs`: one name before each number, numbers as Python writes them."""

import re

from qa_service.parsing.logs.names import is_bookkeeping, is_measure, meaning_of
from qa_service.patterns import lazy_pattern

_NUM = r"[-+]?(?:\d[\d.]{0,20}(?:e[-+]?\d{1,3})?|nan|inf)"
_SCALER_NUMBER = lazy_pattern(r"(?<=loss scaler) \d{1,3}(?= reducing)")
_FORTRAN = lazy_pattern(r"(?<=\d)[dD](?=[-+]\d\d)")
"""1.5D+00"""
_POWER = lazy_pattern(
    r"(?<=\d)\s?[×x*·⋅]\s?10(?:\s?(?:\^|\*\*)\s?[{(]?([-+]?\d{1,3})[})]?|([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))(?!\w)", re.IGNORECASE
)
"""1.5×10^-3"""
_RAISED = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")
_THOUSANDS = lazy_pattern(r"(?<![\w.])(\d{1,7}(?:\.\d{1,3})?)([kKM])(?![\w/.])")
"""12.5k, 3M"""
_POWERS_OF_TEN = {"k": 1e3, "K": 1e3, "M": 1e6}
_COUNTER = lazy_pattern(r"^(\s*\[\s?\d{1,9})\s?\|\s?(?=\d{1,9}\s?\])")
"""[1|10]"""
_TAG_FIRST = lazy_pattern(
    rf"^\s*(?P<tag>[A-Za-z][\w.-]*(?:/[\w.-]+)+)\s+(?P<value>{_NUM})\s+(?P<step>\d{{1,12}})\s*$", re.IGNORECASE
)
"""A TensorBoard tag, its value and the step."""
_ARGUMENT = lazy_pattern(r"(?<=\w)\((?:k|n|at|top)\s?=\s?(\d{1,4})\)(?=\s?[:=])", re.IGNORECASE)
"""NDCG(k=20)"""
_SPREAD = lazy_pattern(rf"(?<=\d)\s?(?:\+-|\+/-|±)\s?{_NUM}", re.IGNORECASE)
"""The spread of a mean: 0.5 ± 0.1."""
_NORM = lazy_pattern(r"(\|{1,2}|‖)\s?(?:(?:proj )?g|∇\w{0,10}|dw|grads?|gradients?)\s?\1(?=\s*[:= ])", re.IGNORECASE)
"""|g|, the norm of the gradient."""
_COMMA = lazy_pattern(
    r"(?<![\d.,])(?<!\d:)(?P<whole>\d{1,7}),(?P<part>\d{1,9}(?:e[-+]?\d{1,3})?)(?![\d.,]*\d)", re.IGNORECASE
)
_CONTINENTAL = lazy_pattern(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){1,4},\d{1,9}(?![\d.,]*\d)")
"""1.234,5"""
_DIGITS_AT_COMMA = lazy_pattern(r"\d,\d")
_POINT = lazy_pattern(r"\d\.\d")
_NAMED_BEFORE = lazy_pattern(r"[:=：\w]\s*[-+]?$")
_TUPLE = lazy_pattern(
    r"(?P<name>[A-Za-z][\w ]{0,20}?)\s*[\[(](?P<one>[A-Za-z]\w{0,10})\s?[/|,]\s?(?P<two>[A-Za-z]\w{0,10})[\])]"
    r"\s*[:=]?\s*(?P<first>[-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf)\s?[/|,]\s?(?P<second>[-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf)(?![\w.])",
    re.IGNORECASE,
)
"""Two values under one name: "loss (train/val): 0.5/0.6"."""
_OLD_VALUE = lazy_pattern(rf"(?<![\w.]){_NUM}\s?(?:->|→|=>)\s?(?=[-+]?(?:\d|nan|inf))", re.IGNORECASE)
"""The old value of a change, with its arrow: "0.7 -> 0.6"."""
_SERIES = lazy_pattern(
    rf"(?:[=\-]{{1,4}}>|→|[:=：])\s?[\[(]?\s?(?P<values>{_NUM}%?(?:\s?(?P<by>[,/|])\s?{_NUM}%?)"
    rf"(?:\s?(?P=by)\s?{_NUM}%?){{0,15}})(?![\w.:])",
    re.IGNORECASE,
)
"""Several values in a row."""
_MAX_SERIES, _MAX_NAMES_CHARS = 4, 200
_BEFORE_NAMES = lazy_pattern(r"[\])}>{(\[:;|,]|\s{2,}")
_NAME = lazy_pattern(r"[^\W\d][\w @.%\-]{0,39}")
_DECIMAL = lazy_pattern(r"\d\.\d|nan|inf|e-", re.IGNORECASE)
_NESTED = lazy_pattern(r"(?P<outer>[A-Za-z]\w{0,30})['\"]?\s?[:=]\s?\{(?P<inner>[^{}]{1,600})\}")
_KEY = lazy_pattern(r"(?P<mark>['\"]?)(?P<key>[A-Za-z]\w{0,40})(?=(?P=mark)\s?[:=])")
"""A record that is the value of a measure, and a name in it: "loss: {'a': 0.5}"."""
_NAMED_BEHIND = rf"{_NUM}\s?\([A-Za-z][\w-]{{0,20}}\)"
_SUMMAND = lazy_pattern(rf"[=+]\s?(?P<value>{_NUM})\s?\((?P<name>[A-Za-z][\w-]{{0,20}})\)", re.IGNORECASE)
_SUM = lazy_pattern(rf"=\s?{_NAMED_BEHIND}(?:\s?\+\s?{_NAMED_BEHIND}){{1,12}}", re.IGNORECASE)
"""A sum whose parts have their names behind them: "= 0.5 (cls) + 0.25 (box)"."""


def normalise_notation(line: str) -> str:
    """The line with one name before each number where it can be known, and numbers as Python writes them.

    The norm of the gradient is spelt out, the number that Apex gives to a loss scaler is gone, decimal commas are
    points where the line has no point, 12k is 12000 and 1.5×10^-3 is 1.5e-3.
    """
    if "/" in line and (tagged := _TAG_FIRST.match(line)):
        return f"step {tagged['step']} {tagged['tag']}: {tagged['value']}"
    line = _with_plain_names(_with_plain_numbers(line))
    if "," in line or "/" in line or "|" in line:
        line = _with_names(line)
    return _with_points(line)


def _with_plain_numbers(line: str) -> str:
    line = _SCALER_NUMBER.sub("", line).replace("\N{MINUS SIGN}", "-")
    if "+-" in line or "+/-" in line or "±" in line:
        line = _SPREAD.sub("", line)
    if "D+" in line or "D-" in line:
        line = _FORTRAN.sub("e", line)
    if "10" in line:
        line = _POWER.sub(lambda match: f"e{match[1] or match[2].translate(_RAISED)}", line)
    if "k" in line or "K" in line or "M" in line:
        line = _THOUSANDS.sub(_in_full, line)
    if "→" in line or "->" in line or "=>" in line:
        line = _OLD_VALUE.sub("", line)
    return _COUNTER.sub(r"\1/", line) if "|" in line else line


def _with_plain_names(line: str) -> str:
    if "|g" in line or "|p" in line or "‖" in line or "|∇" in line or "|d" in line:
        line = _NORM.sub(" grad_norm ", line)
    if "(" in line or "[" in line:
        line = _TUPLE.sub(_spread, line) if "/" in line else line
        line = _ARGUMENT.sub(r"@\1", line) if "=" in line else line
        line = _SUM.sub(lambda match: _SUMMAND.sub(r", \g<name>: \g<value>", match[0]), line) if "+" in line else line
    if "{" in line and not line.lstrip().startswith("{"):
        line = _NESTED.sub(_unfold, line)
    return line


def _unfold(match: re.Match[str]) -> str:
    """A record that is the value of a measure, with the measure's name put before its unknown names."""
    outer, inner = match["outer"], match["inner"]
    if not is_measure(outer) or "value" in inner:
        return match[0]
    named = _KEY.sub(lambda key: key[0] if _is_known(key["key"]) else f"{key['mark']}{outer}_{key['key']}", inner)
    return f"{{{named}}}"


def _is_known(name: str) -> bool:
    return is_measure(name) or bool(meaning_of(name)) or is_bookkeeping(name)


def _in_full(match: re.Match[str]) -> str:
    value = float(match[1]) * _POWERS_OF_TEN[match[2]]
    return str(int(value)) if value.is_integer() else repr(value)


def _spread(match: re.Match[str]) -> str:
    """Two pairs instead of two values under one name."""
    name = match["name"].strip()
    return f", {match['one']} {name}: {match['first']}, {match['two']} {name}: {match['second']}, "


def _with_names(line: str) -> str:
    """The line with its own name before each value of a series: "loss/acc -> 0.5/0.8", "loss, acc: 0.5, 0.8"."""
    made, position = "", 0
    for count, match in enumerate(_SERIES.finditer(line)):
        if count == _MAX_SERIES:
            break
        values = [value.strip() for value in match["values"].split(match["by"])]
        before = line[position : match.start()]
        names = _names_before(before[-_MAX_NAMES_CHARS:], match["by"], len(values))
        if not names or not _DECIMAL.search(match["values"]):
            continue
        head = before.rstrip(" ])}")
        for name in reversed(names):
            head = head[: head.rindex(name)].rstrip(f" {match['by']}")
        whole = [_whole_name(name, names) for name in names]
        pairs = ", ".join(f"{name}: {value}" for name, value in zip(whole, values[-len(whole) :], strict=True))
        made += f"{head}, {pairs}, "
        position = match.end()
    return made + line[position:]


def _names_before(text: str, by: str, count: int) -> list[str]:
    """The names that stand before a series of `count` values, for its last ones; [] if they are not of quantities."""
    found = text.rstrip(" ])}").split(by)[-count:]
    found[0] = _BEFORE_NAMES.split(found[0])[-1]
    names = [name.strip() for name in found]
    if len(names) < 2 or any(not _NAME.fullmatch(name) or _POINT.search(name) for name in names):
        return []
    whole = [_whole_name(name, names) for name in names]
    known = sum(map(_is_known, whole))
    return names if known >= len(names) - (len(names) > 3) and any(map(is_measure, whole)) else []


def _whole_name(name: str, names: list[str]) -> str:
    """The name with what it shares with others: of "train/val loss" the first is "train loss", of "loss D/G" the last
    is "loss G".
    """
    if is_measure(name) or meaning_of(name):
        return name
    shared = (f"{name} {' '.join(names[-1].split()[1:])}", f"{' '.join(names[0].split()[:-1])} {name}")
    return next((each.strip() for each in shared if " " in each.strip() and is_measure(each)), name)


def _with_points(line: str) -> str:
    """The line with points for decimal commas where it has no point."""
    if "," not in line or not _DIGITS_AT_COMMA.search(line):
        return line
    continental = bool(_CONTINENTAL.search(line))
    if _POINT.search(line) and not continental:
        return line
    line = _CONTINENTAL.sub(lambda match: match[0].replace(".", ""), line)
    found = [match for match in _COMMA.finditer(line) if _NAMED_BEFORE.search(line[: match.start()][-12:])]
    if not continental and all(
        len(match["part"]) == 3 and match["whole"] != "0" and len(match["whole"]) < 4 for match in found
    ):
        return line  # thousands, or none
    for match in reversed(found):
        line = f"{line[: match.start()]}{match['whole']}.{match['part']}{line[match.end() :]}"
    return line
