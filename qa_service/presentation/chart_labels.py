"""Where labels stand in a plot: beside what they name, clear of the curves, of each other and of the edges."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

CHARACTER = 8
"""Width of a character of a label in pixels; a Chinese one takes two."""
LINE = 14
"""Height of a line of a label in pixels."""
GAP = 6
"""Pixels between a place and its label."""
_LONGEST_LINE = 14 * CHARACTER  # pixels; a telephone has room for as much beside a plot
_STEP = 4  # pixels between two places that are tried, and between points of a curve
_FARTHEST = 48  # pixels up or down from the end of a curve

Pixels = Sequence[tuple[float, float]]
"""Points in pixels from the upper left corner of a plot."""


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    def holds(self, x: float, y: float) -> bool:
        return self.left < x < self.right and self.top < y < self.bottom

    def overlaps(self, other: "_Box") -> bool:
        apart = self.left >= other.right or other.left >= self.right
        return not apart and self.top < other.bottom and other.top < self.bottom


class Layout:
    """The labels of one plot; each is placed where it covers least of the curves and of those before it."""

    def __init__(self, curves: Iterable[Pixels], width: float, height: float) -> None:
        """`width` and `height` are those of the plot, in pixels."""
        self._lines = [point for points in curves for point in _along(points)]
        self._placed: list[_Box] = []
        self._width, self._height = width, height

    def beside(self, name: str, end: tuple[float, float]) -> float:
        """How far down from the `end` of its curve, in pixels, the label stands that is written to the right of it."""
        left = end[0] + GAP
        return self._choose([_box(name, left, end[1] + shift) for shift in _shifts()]).middle - end[1]

    def along(self, name: str, x: float, *, highest: float) -> tuple[bool, float]:
        """Of a label beside a vertical rule: (whether it stands to its left, the height of its middle in pixels from
        the upper edge, which is below `highest`).
        """
        low, high = highest + LINE, self._height - LINE
        middles = [high, low, *(low + part * (high - low) / 6 for part in range(1, 6))]
        edges = (x + GAP, x - GAP - width_of(name))
        box = self._choose([_box(name, left, middle) for middle in middles for left in edges])
        return box.left < x, box.middle

    def _choose(self, boxes: Sequence[_Box]) -> _Box:
        """The best place for a label; of equally good ones the first."""
        self._placed.append(min(boxes, key=self._cost))
        return self._placed[-1]

    def _cost(self, box: _Box) -> tuple[int, int]:
        """(labels and edges that it overlaps, points of curves that it covers)."""
        outside = box.left < 0 or box.right > self._width or box.top < -LINE / 2 or box.bottom > self._height
        covered = sum(box.holds(x, y) for x, y in self._lines)
        return sum(box.overlaps(other) for other in self._placed) + outside, covered


def wrapped(name: str) -> str:
    """The label in at most two lines, separated by a line break, where it is too long for one."""
    if width_of(name) <= _LONGEST_LINE or " " not in name:
        return name
    breaks = [at for at, sign in enumerate(name) if sign == " "]
    middle = min(breaks, key=lambda at: max(width_of(name[:at]), width_of(name[at + 1 :])))
    return f"{name[:middle]}\n{name[middle + 1 :]}"


def width_of(name: str) -> int:
    """The width of a label in pixels, that of its longest line."""
    return max(CHARACTER * (len(line) + sum(ord(sign) > 0x2E80 for sign in line)) for line in name.split("\n"))


def _box(name: str, left: float, middle: float) -> _Box:
    half = (LINE * (name.count("\n") + 1) + 1) / 2
    return _Box(left, middle - half, left + width_of(name), middle + half)


def _shifts() -> Iterator[float]:
    """0 and then farther and farther down and up."""
    yield 0.0
    for distance in range(_STEP, _FARTHEST + 1, _STEP):
        yield float(distance)
        yield float(-distance)


def _along(points: Pixels) -> Iterator[tuple[float, float]]:
    """Points of a curve that are at most `_STEP` apart."""
    yield from points[:1]
    for (x, y), (next_x, next_y) in pairwise(points):
        count = max(1, math.ceil(math.hypot(next_x - x, next_y - y) / _STEP))
        for part in range(1, count + 1):
            yield x + (next_x - x) * part / count, y + (next_y - y) * part / count
