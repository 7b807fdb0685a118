"""Logs whose records spread over lines: tables under a header, boxes of names and values, headings with lists."""

import math
import re
from collections.abc import Sequence

from qa_service.parsing.logs.formats import COMPOSER, COQUI, STABLE_BASELINES, TABLE_FORMAT, ULTRALYTICS, named_groups
from qa_service.parsing.logs.names import is_bookkeeping, is_measure, lower_name, meaning_of
from qa_service.parsing.logs.pairs import parse_value, read_pairs
from qa_service.parsing.logs.rows import LogRow
from qa_service.patterns import lazy_pattern

_NUMBER = lazy_pattern(
    r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|\.?nan(?:\.0|\(\w*\))?|\.?inf(?:inity)?|1\.#\w+)",
    re.IGNORECASE,
)
_STANDING_NUMBER = lazy_pattern(r"(?:^|[\s:(\[|,])[-+]?\d")
_MAX_BOX_CHARS = 200
_MAX_COLUMNS = 300
_MIN_COLUMNS = 2
_EMPTY = frozenset({"", "-", "--", "n/a", "none", "null", "no log", "na"})
_YOLO_5 = lazy_pattern(r"epoch\s+gpu_?mem\s", re.IGNORECASE)
_YOLO_VALIDATION = lazy_pattern(r"^\s*class\s+images\s+(?:instances|labels|targets)", re.IGNORECASE)
_YOLO_5_NAMES = {"box": "box_loss", "obj": "obj_loss", "cls": "cls_loss", "total": "total_loss", "giou": "giou_loss"}
_BOX_EDGE = lazy_pattern(r"^\s*[-=+─]{6,}\s*$")
_BOX_ROW = lazy_pattern(r"^\s*\|?\s*(?P<name>[A-Za-z][\w ./\-]*?)\s*\|\s*(?P<value>\S*)\s*\|\s*$")
_ITEM = lazy_pattern(
    r"^\s*(?:(?P<phase>train|eval)\s+)?(?P<name>[A-Za-z][\w./@\-]{0,80})\s*[:=]\s*(?P<value>\S{1,40})$", re.IGNORECASE
)
_PHRASE = lazy_pattern(r"\S+(?: \S+)*")
_REMARK = lazy_pattern(r"\s*\([^()]{0,40}\)")
_NAMES_ONLY = lazy_pattern(r"(?=\D*[^\W\d])\D*$")
_MAX_HEADER_CHARS = 400
_MAX_SHIFT = 4
"""Characters by which a cell may be shifted from the name of its column."""
_BARS = str.maketrans("┃│║", "|||")
_COMMENT = lazy_pattern(r"^\s*#")
"""The mark that numpy writes before the header of a table."""
_DECIMAL_COMMA = lazy_pattern(r"^([-+]?\d+),(\d+(?:e[-+]?\d+)?)$", re.IGNORECASE)
_OPENS, _CLOSES, _MAX_LISTED = ("[", "("), ("]", ")"), 24
"""Around the numbers of a cell that holds several; further ones are left out."""
_COQUI_ITEM = lazy_pattern(r"^\s*\|? ?> ")


def is_number(word: str) -> bool:
    """Whether a cell is a number, as programs write it."""
    return bool(_NUMBER.fullmatch(word))


class HeaderTable:
    """Rows under a header that names their columns."""

    def __init__(
        self, names: Sequence[str], separator: str, form: str, *, validation: bool = False, header: str = ""
    ) -> None:
        plain = (lower_name(name.strip().strip("'\"")) for name in names)
        self.names = tuple("step" if name == "#" else name for name in plain)
        self.form = form
        self._separator = separator
        self._validation = validation
        self._spans = _spans(header) if separator == "  " else []

    @classmethod
    def of(cls, text: str) -> "HeaderTable | None":
        """The table whose header is this line: names only, two or more known, one of a loss or metric; else None."""
        if len(text) > 20_000 or "=" in text or "{" in text or _STANDING_NUMBER.search(text):
            return None
        if commented := _COMMENT.match(text):
            names = text[commented.end() :].split()
            return cls(names, " ", TABLE_FORMAT.id) if cls._heads(names, " ") else None
        if _YOLO_5.search(text) or _YOLO_VALIDATION.search(text):
            return cls._of_ultralytics(text)
        for separator in ("\t", "|", ",", ";", "  "):
            if separator in text.translate(_BARS):
                names = _split(text, separator)
                if cls._heads(names, separator):
                    return cls(names, separator, TABLE_FORMAT.id, header=text)
        return None

    @classmethod
    def of_two(cls, above: Sequence[str], below: Sequence[str]) -> "HeaderTable | None":
        """The table whose header has two lines of as many cells, the words of a name one below the other; else None."""
        if len(above) != len(below):
            return None
        names = [_REMARK.sub("", f"{first} {second}").strip() for first, second in zip(above, below, strict=True)]
        return cls(names, "|", TABLE_FORMAT.id) if cls._heads(names, "|") else None

    @classmethod
    def _of_ultralytics(cls, text: str) -> "HeaderTable":
        names = [_YOLO_5_NAMES.get(name.lower(), name) for name in text.split("(", maxsplit=1)[0].split()]
        return cls(names, " ", ULTRALYTICS.id, validation=bool(_YOLO_VALIDATION.search(text)))

    @staticmethod
    def _heads(names: Sequence[str], separator: str) -> bool:
        if not _MIN_COLUMNS <= len(names) <= _MAX_COLUMNS or any(map(is_number, names)):
            return False
        if any(len(name) > 120 or (":" in name and separator != ",") for name in names):
            return False
        known = sum(1 for name in names if meaning_of(name) or is_measure(name))
        return known >= _MIN_COLUMNS and any(is_measure(name) for name in names)

    def read(self, number: int, text: str) -> LogRow | None:
        """The row in a line; None if the line is not a row of this table."""
        cells = _split(text, self._separator)
        exact = self.form == TABLE_FORMAT.id
        if exact and len(cells) == len(self.names) + 1 and cells[0].isdigit():  # the index of a data frame
            cells = cells[1:]
        if self._separator == "  " and len(cells) != len(self.names) == len(text.split()):
            cells = text.split()
        if self._spans and 1 < len(cells) < len(self.names):
            cells = self._aligned(text)
        if len(cells) < len(self.names) or (exact and len(cells) != len(self.names)):
            return None
        return self.read_cells(number, text, cells)

    def _aligned(self, text: str) -> list[str]:
        """The cells of a row in which some are blank, each below the name nearest to it; [] if two share one."""
        found: dict[int, str] = {}
        for begin, end in _spans(text):
            place = min(range(len(self._spans)), key=lambda index: _distance(self._spans[index], (begin, end)))
            if place in found or _distance(self._spans[place], (begin, end)) > _MAX_SHIFT:
                return []
            found[place] = text[begin:end]
        return [found.get(index, "") for index in range(len(self._spans))]

    def read_cells(self, number: int, text: str, cells: Sequence[str]) -> LogRow | None:
        """The row with these cells; None if a measure is neither a number nor empty, or none is a number."""
        values: dict[str, float] = {}
        place: dict[str, float] = {}
        for name, cell in zip(self.names, cells, strict=False):
            word = cell.strip().strip("'\"")
            word = word.split("/")[0] if meaning_of(name) in ("epoch", "step") else word.rstrip("% ")
            if self._separator == ";":
                word = _DECIMAL_COMMA.sub(r"\1.\2", word)
            if listed := _listed(word):
                values |= {f"{name}.{index}" if index else name: value for index, value in enumerate(listed)}
                continue
            if not is_number(word):
                if is_measure(name) and word.lower() not in _EMPTY:
                    return None
                continue
            meaning = meaning_of(name)
            if meaning in ("epoch", "step"):
                place.setdefault(meaning, parse_value(word))
            elif name and not is_bookkeeping(name):
                values.setdefault(f"val_{name}" if self._validation else name, parse_value(word))
        if not values and not place:
            return None
        return LogRow(
            number=number, form=self.form, text=text, values=values, step=place.get("step"), epoch=place.get("epoch"),
            validation=self._validation, counter="table",
        )  # fmt: skip


def _listed(cell: str) -> list[float]:
    """The numbers of a cell that holds a list of them; [] for any other cell."""
    words = cell[1:-1].replace(",", " ").split() if cell[:1] in _OPENS and cell[-1:] in _CLOSES else []
    return [parse_value(word) for word in words[:_MAX_LISTED]] if words and all(map(is_number, words)) else []


def cells_of_names(text: str) -> list[str]:
    """The cells of a line between bars that has no number; [] for any other line."""
    if "|" not in text or len(text) > _MAX_HEADER_CHARS or not _NAMES_ONLY.match(text):
        return []
    cells = _split(text, "|")
    return cells if len(cells) > _MIN_COLUMNS else []


def _spans(text: str) -> list[tuple[int, int]]:
    """(begin, end) of each phrase of a line; phrases are separated by two blanks or more."""
    return [match.span() for match in _PHRASE.finditer(text)]


def _distance(first: tuple[int, int], second: tuple[int, int]) -> float:
    """The distance of two spans in characters; among those that overlap, the distance of their ends breaks ties."""
    apart = max(first[0] - second[1], second[0] - first[1], 0)
    return apart + min(abs(first[0] - second[0]), abs(first[1] - second[1])) / 100


def _split(text: str, separator: str) -> list[str]:
    text = text.strip("\n").translate(_BARS)
    match separator:
        case "|":
            return [cell.strip() for cell in text.strip().strip("|│").split("|")]
        case "  ":
            return re.split(r"\s{2,}", text.strip())
        case " ":
            return text.split()
        case _:
            return [cell.strip() for cell in text.split(separator)]


class Boxes:
    """Boxes of "| name | value |" between rules of dashes, as Stable-Baselines prints; the step stands inside."""

    def __init__(self) -> None:
        self._open = self._ruled = False
        self._section = ""
        self._rows: list[LogRow] = []

    def read(self, number: int, text: str) -> list[LogRow] | None:
        """The rows of the box that a line closes; [] for a line within a box, None for one that belongs to none."""
        if _BOX_EDGE.match(text):
            rows = self._close()
            self._open = self._ruled = True
            return rows or None
        match = _BOX_ROW.match(text) if len(text) < _MAX_BOX_CHARS and text.rstrip().endswith("|") else None
        if not self._open:
            if match is None or not (is_measure(lower_name(match["name"])) and is_number(match["value"])):
                return None
            self._open, self._ruled = True, False
        if match is None:
            rows = self._close()
            self._open = False
            return rows or None
        name, value = lower_name(match["name"].strip()), match["value"]
        if not value and name.endswith("/"):
            self._section = name
        elif is_number(value):
            values = {f"{self._section}{name.replace(' ', '_')}": parse_value(value)}
            self._rows.append(LogRow(number, STABLE_BASELINES.id, text, values, counter="box"))
        return []

    def close(self) -> list[LogRow]:
        """The rows of a box that the log leaves open."""
        return self._close()

    def _close(self) -> list[LogRow]:
        rows, self._rows, self._section = self._rows, [], ""
        if len(rows) < _MIN_COLUMNS and self._ruled:
            return []
        steps = [value for row in rows for name, value in row.values.items() if name.endswith("total_timesteps")]
        steps = steps or [value for row in rows for name, value in row.values.items() if meaning_of(name) == "step"]
        for row in rows:
            row.step = steps[0] if steps else None
        return [
            row for row in rows if not all(is_bookkeeping(name) or meaning_of(name) == "step" for name in row.values)
        ]


class Lists:
    """A heading with the step, such as "[batch=5/100]:", and a line for each value under it."""

    def __init__(self) -> None:
        self._form = ""
        self._step: float | None = None

    def read(self, number: int, text: str) -> list[LogRow] | None:
        """The row of an item in a list; [] for a heading; None for any other line, which ends the list of items."""
        for form in (COMPOSER, COQUI):
            if match := form.line.match(text):
                rest = text[match.end() :].strip(" :")
                self._form = form.id if not rest else ""
                self._step = parse_value(named_groups(match).get("step") or "nan")
                return [] if self._form else None
        if not self._form or not text.strip():
            return None
        item = self._read_item(number, text)
        if item is None:
            self._form = ""
        return None if item is None else [item]

    def _read_item(self, number: int, text: str) -> LogRow | None:
        if self._form == COQUI.id:
            if not _COQUI_ITEM.match(text):
                return None
            values = {name: value for name, value in read_pairs(text).values.items() if not is_bookkeeping(name)}
            return LogRow(number, self._form, text, values, step=self._step, counter="list")
        match = _ITEM.match(text)
        if match is None:
            return None
        name, value = match["name"].lower(), match["value"]
        validation = (match["phase"] or "").lower() == "eval"
        values = {} if not is_number(value) or is_bookkeeping(name) else {name: parse_value(value)}
        return LogRow(
            number, self._form, text, values, step=self._step if math.isfinite(self._step or 0) else None,
            validation=validation, counter="list",
        )  # fmt: skip
