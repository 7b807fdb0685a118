"""Placement of labels in a plot: beside what they name, and clear of the curves, of each other and of the edges."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from qa_service.patterns import lazy_pattern

CHARACTER_PIXELS, WIDE_CHARACTER_PIXELS = 8, 13
"""Widths of a character of a label in pixels: of a Latin one and of a Chinese one."""
LINE_PIXELS = 14
"""Height of a line of a label in pixels."""
GAP_PIXELS = 6
"""Pixels between a point and its label."""
_LONGEST_LINE = 17 * CHARACTER_PIXELS  # pixels; the room beside a plot on a telephone
_MOST_LINES = 4
_STEP = 4  # pixels between two candidate positions, and between sampled points of a curve
_FARTHEST = 72  # pixels; the greatest vertical distance of a label from the end of its curve
_PIXELS_PER_COST = 6  # a label this many pixels from the end costs as much as one that covers a point of a curve
_BREAKS = lazy_pattern(r" |(?<=[⺀-￿])(?![，。：、；）])|(?<=[^\s（])(?=[⺀-￿])(?![，。：、；）])")
_FIRST_WORDS = lazy_pattern(r"(?P<first>.+?)(?:[,:] |[，：])(?P<own>.+)")
_LAST_WORDS = lazy_pattern(r"(?P<own>.+)(?:[,:] |[，：])(?P<last>.+)")

Pixels = Sequence[tuple[float, float]]
"""Points in pixels from the upper left corner of a plot."""


class Box(NamedTuple):
    """A rectangle in pixels from the upper left corner of a plot."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        """The y coordinate of its middle."""
        return (self.top + self.bottom) / 2

    def moved(self, down: float) -> "Box":
        """The box moved by `down` pixels."""
        return self._replace(top=self.top + down, bottom=self.bottom + down)

    def holds(self, x: float, y: float) -> bool:
        """Whether the point is inside."""
        return self.left < x < self.right and self.top < y < self.bottom

    def overlaps(self, other: "Box") -> bool:
        """Whether the interiors of the two intersect."""
        apart = self.left >= other.right or other.left >= self.right
        return not apart and self.top < other.bottom and other.top < self.bottom


class LabelLayout:
    """The labels of one plot; each is placed where it overlaps least with the labels before it and with the curves."""

    def __init__(
        self, curves: Iterable[Pixels], width: float, height: float, *, top: float = 0.0, taken: Iterable[Box] = ()
    ) -> None:
        """`width` and `height` of the plot and `top`, the upper bound of labels, are in pixels; `taken` is occupied."""
        self._points = [point for points in curves for point in _sample_points(points)]
        self._placed = list(taken)
        self._width, self._height = width, height
        self._top = top or -LINE_PIXELS / 2

    def offsets_at_ends(self, labels: Sequence[tuple[str, tuple[float, float]]]) -> list[float]:
        """The vertical offsets, in pixels downwards, of labels to the right of the ends of their curves.

        `labels` are (name, end of the curve). If they do not all find a free place in this order, the other orders and
        a stack of labels are tried, and the one with the least total cost is taken.
        """
        before = self._placed
        ways = []
        for order in permutations(range(len(labels))):
            ways.append(self._placed_in_order(order, labels, before))
            (overlaps, _), boxes = min(ways, key=lambda way: way[0])
            if not overlaps:
                break
        else:
            ways.append(self._stacked(labels, before))
            _, boxes = min(ways, key=lambda way: way[0])
        self._placed = [*before, *boxes]
        return [box.middle - end[1] for box, (_, end) in zip(boxes, labels, strict=True)]

    def place_beside_rule(self, name: str, x: float) -> tuple[bool, float, bool]:
        """The position of a label beside a vertical rule at `x`: (whether it is to the left of the rule, the y
        coordinate of its middle in pixels, whether the place is free).
        """
        low, high = max(self._top, 0.0) + LINE_PIXELS, self._height - LINE_PIXELS
        parts = max(1, int((high - low) / (2 * _STEP)))
        middles = [high, low, *(low + part * (high - low) / parts for part in range(1, parts))]
        edges = (x + GAP_PIXELS, x - GAP_PIXELS - width_of(name))
        (overlaps, _), box = self._choose([(text_box(name, left, middle), 0.0) for middle in middles for left in edges])
        self._placed.append(box)
        return box.left < x, box.middle, not overlaps

    def _placed_in_order(
        self, order: Sequence[int], labels: Sequence[tuple[str, tuple[float, float]]], before: Sequence[Box]
    ) -> tuple[tuple[float, float], list[Box]]:
        """(cost, boxes) of labels at the ends of curves that are placed in this order; the cost is as in `_cost`."""
        found: dict[int, Box] = {}
        costs = []
        for index in order:
            name, (x, y) = labels[index]
            self._placed = [*before, *found.values()]
            places = [(text_box(name, x + GAP_PIXELS, y + shift), abs(shift) / _PIXELS_PER_COST) for shift in _shifts()]
            cost, found[index] = self._choose(places)
            costs.append(cost)
        overlaps, covered = zip(*costs, strict=True)
        return (sum(overlaps), sum(covered)), [found[index] for index in range(len(labels))]

    def _stacked(
        self, labels: Sequence[tuple[str, tuple[float, float]]], before: Sequence[Box]
    ) -> tuple[tuple[float, float], list[Box]]:
        """Like `_placed_in_order`, with labels that are pushed apart from the top down, then up from the lower edge."""
        boxes = [text_box(name, x + GAP_PIXELS, y) for name, (x, y) in labels]
        order = sorted(range(len(boxes)), key=lambda index: boxes[index].middle)
        limit = self._top
        for index in order:
            boxes[index] = boxes[index].moved(max(0.0, limit - boxes[index].top))
            limit = boxes[index].bottom
        limit = self._height
        for index in reversed(order):
            boxes[index] = boxes[index].moved(min(0.0, limit - boxes[index].bottom))
            limit = boxes[index].top
        costs = []
        for index, box in enumerate(boxes):
            self._placed = [*before, *boxes[:index]]
            costs.append(self._cost(box, abs(box.middle - labels[index][1][1]) / _PIXELS_PER_COST, self._points))
        overlaps, covered = zip(*costs, strict=True)
        return (sum(overlaps), sum(covered)), boxes

    def _choose(self, places: Sequence[tuple[Box, float]]) -> tuple[tuple[float, float], Box]:
        """(cost, box) of the best place for a label, of equally good ones the first; `places` are (box, own cost)."""
        boxes = [box for box, _ in places]
        reach = Box(
            *map(min, zip(*(box[:2] for box in boxes), strict=True)),
            *map(max, zip(*(box[2:] for box in boxes), strict=True)),
        )
        near = [(x, y) for x, y in self._points if reach.holds(x, y)]
        costs = [self._cost(box, own, near) for box, own in places]
        least = min(costs)
        return least, boxes[costs.index(least)]

    def _cost(self, box: Box, own: float, near: Pixels) -> tuple[float, float]:
        """The cost of a box, in lexicographic order: (labels and edges that it overlaps, covered points + `own`)."""
        outside = (box.left < 0, box.right > self._width, box.top < self._top, box.bottom > self._height)
        covered = sum(box.holds(x, y) for x, y in near)
        return sum(box.overlaps(other) for other in self._placed) + sum(outside), covered + own


def wrap_label(name: str) -> str:
    """The label with line breaks: as few lines as it needs, at most four, of about the same length."""
    places = [(match.start(), match.end()) for match in _BREAKS.finditer(name) if 0 < match.start() < len(name)]
    ways = (
        _with_line_breaks(name, chosen)
        for count in range(_MOST_LINES)
        for chosen in itertools.combinations(places, count)
    )
    return min(ways, key=lambda way: (max(width_of(way), _LONGEST_LINE), way.count("\n"), width_of(way)))


def without_common_words(names: Sequence[str]) -> tuple[str, list[str]]:
    """(common words, names without them), if all names begin, or all end, with the same words and a comma or colon.

    ("error", ["naive", "stable"]) for "naive: error" and "stable: error"; ("", the names) if they share none.
    """
    for words, pattern in (("first", _FIRST_WORDS), ("last", _LAST_WORDS)):
        parts = [match for name in names if (match := pattern.fullmatch(name))]
        if len(parts) == len(names) and len({match[words] for match in parts}) == 1:
            return parts[0][words], [match["own"] for match in parts]
    return "", list(names)


def width_of(name: str) -> int:
    """The width of a label in pixels, that of its longest line."""
    return max(
        sum(WIDE_CHARACTER_PIXELS if sign > "⺀" else CHARACTER_PIXELS for sign in line) for line in name.split("\n")
    )


def text_box(name: str, left: float, middle: float) -> Box:
    """The box of a label from its left edge and the y coordinate of its middle."""
    half = (LINE_PIXELS * (name.count("\n") + 1) + 1) / 2
    return Box(left, middle - half, left + width_of(name), middle + half)


def _with_line_breaks(name: str, places: Iterable[tuple[int, int]]) -> str:
    """The label with line breaks in place of its parts (start, end), which are in order."""
    for start, end in reversed(list(places)):
        name = f"{name[:start]}\n{name[end:]}"
    return name


def _shifts() -> Iterator[float]:
    """Vertical offsets to try, in pixels: 0, then alternately down and up, with increasing distance."""
    yield 0.0
    for distance in range(_STEP, _FARTHEST + 1, _STEP):
        yield float(distance)
        yield float(-distance)


def _sample_points(points: Pixels) -> Iterator[tuple[float, float]]:
    """Points of a curve that are at most `_STEP` apart."""
    yield from points[:1]
    for (x, y), (next_x, next_y) in pairwise(points):
        count = max(1, math.ceil(math.hypot(next_x - x, next_y - y) / _STEP))
        for part in range(1, count + 1):
            yield x + (next_x - x) * part / count, y + (next_y - y) * part / count
