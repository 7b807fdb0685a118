"""Records in lines that no other reader knows but that recur with other numbers; the words before a number name it.

A sentence that recurs word for word with other numbers is no prose. So lines are grouped by their words and read at the
end: a kind of line is a record if it recurs and names a quantity, or has a counter and values with decimals.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from qa_service.parsing.logs.configuration import is_configuration
from qa_service.parsing.logs.formats import PLAIN_FORMAT
from qa_service.parsing.logs.morphemes import kinds_of, words_of
from qa_service.parsing.logs.names import is_bookkeeping, is_measure, meaning_of
from qa_service.parsing.logs.pairs import parse_value
from qa_service.parsing.logs.rows import LogRow
from qa_service.patterns import lazy_pattern

_MAX_LINE_CHARS = 600
_MAX_KINDS, _MAX_OF_KIND, _MAX_LINES = 300, 4_000, 20_000
_MAX_VALUES = 40
_MIN_PARTS = 2
_SAMPLE = 50
"""Lines by which it is decided whether a kind is a record."""
_MAX_MISSES = 2_000
"""After this many lines whose words had not occurred before, no further line is kept."""
_ABOVE = 2
"""Lines from the names of columns to the first row at most: a rule of dashes may be between them."""
_MIN_BARE = 3
"""Lines of numbers without any word are records from this many on."""
_DIGITS = str.maketrans("", "", "0123456789.+-eE, \t")
_IGNORED = lazy_pattern(
    r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}|(?<!\d)\d{1,3}(?::\d\d){1,2}(?:[.,]\d+)?|(?<![\w.])[-+]?\d[\d.,]*\s?"
    r"(?:[kmgt]i?b\b|m?s\b|us\b|secs?\b|seconds?\b|min(?:ute)?s?\b|hours?\b|h\b|[a-z]{1,8}/s(?:ec)?\b|s/[a-z]{1,8}\b|fps\b|hz\b|"
    r"°?c\b|w\b)|[\w.-]{0,40}/[\w./-]{1,80}\.[A-Za-z]\w{0,5}\b|\b[\w-]{1,60}\.(?:py|pth?|ckpt|pkl|npy|npz|json|ya?ml|txt|h5|cpp|cc|jpg|png)\b",
    re.IGNORECASE,
)
"""Dates, times, durations, sizes, rates, paths."""
_NUMBER = lazy_pattern(
    r"(?<![A-Za-z0-9_.@#])([-+]?(?:(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d{1,3})?"
    r"|nan|inf(?:inity)?))(?:%|nats)?(?![A-Za-z0-9_]|\.\d)",
    re.IGNORECASE,
)
_CLAUSE = lazy_pattern(r"[,|;，；。{}()\[\]\t│>!?=]|\s[-–]+\s|\s{2,}|:\s|\+\s|\band\b")
_EXPLICIT = lazy_pattern(r"[^\W\d][\w )\]]{0,40}[:=]\s?[-+]?(?:\d|nan|inf)", re.IGNORECASE)
_OF_MACHINES = lazy_pattern(
    r"\b(?:[cg]pus?|workers?|queue|used|busy|free|cached?|download\w*|fetch\w*|served?|requests?|bytes|port|pid|process(?:es|ed)?"
    r"|threads?|disk|latency|shards?|files?|images?|users?|memory|http|usage|uploaded|copied|loaded|saved|wrote)\b",
    re.IGNORECASE,
)
"""Words of lines that tell of machines and data: without a measure they are no record."""
_DIGIT = lazy_pattern(r"(?<![\w@])\d")
_CELLS = lazy_pattern(r"\s{2,}|\t|\|")
_MIN_CELLS, _ROWS_OF_TABLE = 3, 40
_OF = lazy_pattern(r"\s*(?:/|of|out of)\s*", re.IGNORECASE)
_WORD = lazy_pattern(r"[^\W\d][\w./@%\-]*")
_FILLERS = words_of(
    """
        is was are were at of to the a an and in on for with by as has reached equals equal be now it its so far
        der die das le la les el los du von ist est es
    """
)
_MAX_NAME_WORDS, _MAX_NAME_CHARS = 3, 100


@dataclass(slots=True)
class _Value:
    name: str
    value: float
    whole: bool
    of: float | None = None


@dataclass(slots=True)
class _Kind:
    above: str = ""
    """The line before the first, if nothing else has read it."""
    lines: list[tuple[int, str]] = field(default_factory=list)


class LabelledTable:
    """Rows of numbers behind a label, under a line of names: "        MRR   hit@10" and "l(raw)   0.05   0.11"."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self._names: list[str] = []
        self._line = 0

    def take(self, number: int, text: str) -> bool:
        """Whether a line is the head of such a table, or a row of it."""
        if "  " not in text and "\t" not in text and "|" not in text:
            return False
        if not self._names and _DIGIT.search(text):
            return False
        cells = [cell.strip(" :") for cell in _CELLS.split(text.strip().strip("|")) if cell.strip(" :-")]
        if len(cells) < _MIN_CELLS:
            return False
        numbers = [cell for cell in cells if _NUMBER.fullmatch(cell)]
        if not numbers and sum(map(is_measure, cells)) >= _MIN_CELLS - 1:
            self._names, self._line = cells, number
            return True
        behind = self._names[-len(numbers) :] if len(numbers) == len(cells) - 1 > 1 else []
        if not behind or len(self._names) - len(behind) not in (0, 1) or number - self._line > _ROWS_OF_TABLE:
            return False
        label = re.sub(r"\W+", "_", cells[0]).strip("_").lower()
        values = {f"{label}.{name.lower()}": parse_value(cell) for name, cell in zip(behind, cells[1:], strict=True)}
        self.rows.append(LogRow(number, PLAIN_FORMAT.id, text, values, counter="labelled"))
        return True


class RecurringLines:
    """The lines that nothing else has read, by their words."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._count = 0
        self._misses = 0
        self._last = (0, "")
        self._labelled = LabelledTable()

    def keep(self, number: int, text: str) -> None:
        """Keeps a line, if it may be a record."""
        last, self._last = self._last, (number, text)
        if not 2 < len(text) <= _MAX_LINE_CHARS or self._count >= _MAX_LINES or self._misses > _MAX_MISSES:
            return
        if self._labelled.take(number, text):
            return
        shape = text.translate(_DIGITS)
        if "n" in shape:
            shape = shape.replace("nan", "").replace("inf", "").replace("NaN", "")
        if len(shape) + 1 >= len(text):
            return
        kind = self._kinds.get(shape)
        if kind is None:
            self._misses += 1
            if len(self._kinds) >= _MAX_KINDS:
                return
            kind = self._kinds[shape] = _Kind(last[1] if 0 < number - last[0] <= _ABOVE else "")
        if len(kind.lines) < _MAX_OF_KIND:
            kind.lines.append((number, text))
            self._count += 1

    def rows(self, first: int | None, *, has_loss: bool) -> list[LogRow]:
        """The rows of the recurring shapes of lines that are records.

        `first` is the line of the first row that other readers have found, or None; `has_loss` whether theirs include a
        loss.
        """
        found = [*self._labelled.rows]
        for shape, kind in self._kinds.items():
            if len(kind.lines) > 1:
                bare = not re.search(r"[^\W\d_]", shape)
                found += _rows_of(kind, bare=bare, first=first, has_loss=has_loss)
        return found


def _columns_named(text: str) -> list[str]:
    """The names in a line that has words between blanks, bars, commas or tabs, and no number by itself; else []."""
    if not text or _NUMBER.search(text):
        return []
    for separator in (r"\s*[\t|,;]\s*", r"\s{2,}", r"\s+"):
        names = [name for name in re.split(separator, text.strip().strip("|#")) if name]
        if len(names) > 1:
            return [re.sub(r"\W+", "_", name).strip("_").lower() for name in names]
    return []


@dataclass(slots=True)
class _Columns:
    """The numbers of a kind of line, by columns."""

    lines: list[tuple[int, str, list[_Value]]]
    columns: list[list[_Value]]
    counter: int | None
    """The index of the column that counts; None if none does."""
    told: list[int]
    """The indices of the columns that may be quantities."""

    @property
    def measured(self) -> bool:
        return any(is_measure(self.columns[index][0].name) for index in self.told)

    def _first_without_name(self) -> int | None:
        """The first column that changes, if a step is counted and no column has a name: it is taken for the loss."""
        if any(self.columns[index][0].name for index in self.told) or self.counter is None:
            return None
        return next((index for index in self.told if len({each.value for each in self.columns[index]}) > 1), None)

    def rows(self, *, has_loss: bool) -> list[LogRow]:
        """A row for each line."""
        names = _names(self.columns, self.told)
        if not has_loss and "loss" not in map(meaning_of, names.values()):
            total = _total_of(self.columns, self.told)
            total = self._first_without_name() if total is None else total
            names |= {} if total is None else {total: "loss"}
        counted = "" if self.counter is None else self.columns[self.counter][0].name
        rows = []
        for number, text, values in self.lines:
            step = None if self.counter is None or meaning_of(counted) == "epoch" else values[self.counter].value
            epoch = next((each.value for each in values if meaning_of(each.name) == "epoch"), None)
            counter = f"plain {counted}" if meaning_of(counted) == "step" else "recurring"
            told = {names[index]: values[index].value for index in self.told}
            rows.append(LogRow(number, PLAIN_FORMAT.id, text, told, step=step, epoch=epoch, counter=counter))
        return rows if self.told else []


def _rows_of(kind: _Kind, *, bare: bool, first: int | None, has_loss: bool) -> list[LogRow]:
    """The rows of a kind of line; [] if its first lines say that it is no record."""
    header = _columns_named(kind.above) if bare else []
    sample = _columns_of(kind.lines[:_SAMPLE], header)
    if sample is None or (bare and not header and (has_loss or len(kind.lines) < _MIN_BARE)):
        return []
    if not sample.measured and not _may_be_record(kind.lines[0], sample, first, has_loss=has_loss):
        return []
    whole = sample if len(kind.lines) <= _SAMPLE else _columns_of(kind.lines, header)
    return whole.rows(has_loss=has_loss) if whole else []


def _may_be_record(line: tuple[int, str], sample: _Columns, first: int | None, *, has_loss: bool) -> bool:
    """Whether a kind of line without a known measure may be a record: it counts on, or has names among records."""
    number, text = line
    if is_configuration(text) or _OF_MACHINES.search(text) or not _looks_printed(sample):
        return False
    if sample.counter is not None and not has_loss:
        return True
    named = all(sample.columns[index][0].name for index in sample.told)
    return first is not None and number > first and named and bool(_EXPLICIT.search(text))


def _columns_of(lines: Sequence[tuple[int, str]], header: Sequence[str]) -> _Columns | None:
    """The numbers of lines by their places; None if the first lines do not have equally many."""
    read = [(number, text, _values_of(text)) for number, text in lines]
    width = len(read[0][2])
    if not 0 < width <= _MAX_VALUES or any(len(values) != width for _, _, values in read[:3]):
        return None
    kept = [each for each in read if len(each[2]) == width]
    columns = [[values[index] for _, _, values in kept] for index in range(width)]
    if len(header) == width:
        for column, name in zip(columns, header, strict=True):
            for each in column:
                each.name = name
    counter = next((index for index, column in enumerate(columns) if _counts_on(column)), None)
    told = [index for index, column in enumerate(columns) if index != counter and _may_be_quantity(column)]
    return _Columns(kept, columns, counter, told)


def _names(columns: Sequence[Sequence[_Value]], told: Sequence[int]) -> dict[int, str]:
    """The name of each column that may be a quantity: "value_N" without one, "loss" if it is the only column."""
    names: dict[int, str] = {}
    for index in told:
        name = columns[index][0].name or (f"value_{index + 1}" if len(told) > 1 else "loss")
        names[index] = name if name not in names.values() else f"{name}_{index + 1}"
    return names


def _total_of(columns: Sequence[Sequence[_Value]], told: Sequence[int]) -> int | None:
    """The column that is the sum of the others in every line, if there are two or more: a loss of parts."""
    for index in (told[0], told[-1]) if len(told) > _MIN_PARTS else ():
        others = [columns[other] for other in told if other != index]
        sums = [math.fsum(each.value for each in values) for values in zip(*others, strict=True)]
        if all(math.isclose(each.value, total, rel_tol=2e-3) for each, total in zip(columns[index], sums, strict=True)):
            return index
    return None


def _looks_printed(found: _Columns) -> bool:
    """Whether values without any known name may be a record: they change, and none is a time or a size."""
    moving = any(len({each.value for each in found.columns[index]}) > 1 for index in found.told)
    names = [found.columns[index][0].name for index in found.told]
    return moving and not any(name and is_bookkeeping(name) for name in names)


def _may_be_quantity(column: Sequence[_Value]) -> bool:
    """Whether a column may be a quantity: it has decimals or is not finite, and is no place, time or size."""
    name = column[0].name
    if meaning_of(name) in ("step", "epoch") or (name and is_bookkeeping(name)):
        return False
    return any(not each.whole for each in column) or is_measure(name)


def _counts_on(column: Sequence[_Value]) -> bool:
    """Whether whole numbers count: they grow in each line, or, named as a step or epoch, in any."""
    if any(not each.whole or not math.isfinite(each.value) for each in column):
        return False
    named = meaning_of(column[0].name) in ("step", "epoch")
    return (any if named else all)(after.value > before.value for before, after in pairwise(column))


def _values_of(text: str) -> list[_Value]:
    """All numbers of a line, each with the words before it."""
    text = _IGNORED.sub(" ", text)
    parts = _NUMBER.split(text)
    values: list[_Value] = []
    for index in range(1, len(parts), 2):
        gap, word = parts[index - 1], parts[index]
        value = parse_value(word)
        if values and _OF.fullmatch(gap) and values[-1].of is None and values[-1].whole and word.isdigit():
            values[-1].of = value
            continue
        values.append(_Value(_name_before(gap), value, word.lstrip("+-").replace(",", "").isdigit()))
    return values


@lru_cache(maxsize=4096)
def _name_before(gap: str) -> str:
    """The words that stand right before a number; "" for none."""
    gap = gap[-_MAX_NAME_CHARS:]
    clause = _CLAUSE.split(gap.rstrip(" \t:=([{'\"~≈<|,"))[-1]
    words = [word.strip("./-").lower() for word in _WORD.findall(clause)]
    while words and words[-1] in _FILLERS:
        words.pop()
    words = [word for word in words if word and word not in _FILLERS]
    for count in range(min(len(words), _MAX_NAME_WORDS), 0, -1):
        name = "_".join(words[-count:])
        if meaning := meaning_of(name):
            of_another = meaning in ("loss", "accuracy") and count < len(words) and "" in kinds_of(words[-count - 1])
            return "_".join(words[-count - 1 :]) if of_another else name
    return "_".join(words[-_MAX_NAME_WORDS:])
