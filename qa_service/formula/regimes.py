"""Branches: which of several equivalent formulas to use where, as Herbie infers them (PLDI 2015, §4.6)."""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qa_service.formula.rounding import Array
from qa_service.formula.tree import Call, Node, Number, Variable

BRANCH_COST = 0.25
"""Bits that a further branch must gain on average, so that none is made for a few points."""
MAX_SEGMENTS = 4


@dataclass(frozen=True, slots=True)
class Segments:
    """Formulas by intervals of a key: `choices[k]` below `thresholds[k]`, the last choice above all."""

    key: Node
    thresholds: tuple[Fraction, ...]
    choices: tuple[int, ...]
    cost: float
    """Average bits lost, with `BRANCH_COST` for each threshold."""

    def tree(self, candidates: list[Node]) -> Node:
        """The formula that chooses one of `candidates` by the key: `where` calls, one for each threshold."""
        made = candidates[self.choices[-1]]
        for threshold, choice in reversed(list(zip(self.thresholds, self.choices[:-1], strict=True))):
            made = Call("where", (Call("lt", (self.key, Number(threshold))), candidates[choice], made))
        return made


def best_segments(lost: Array, points: dict[str, Array]) -> list[Segments]:
    """The best division along each variable and its absolute value, best first.

    `lost` is the bits lost by each candidate at each point, of shape (candidates, points).
    """
    found = []
    for name, values in points.items():
        if values.ndim == 1:
            found.append(_along(lost, values, Variable(name)))
            if (values < 0).any() and (values > 0).any():
                found.append(_along(lost, np.abs(values), Call("abs", (Variable(name),))))
    return sorted((one for one in found if one is not None), key=lambda one: one.cost)


def _along(lost: Array, values: Array, key: Node) -> Segments | None:
    order = np.argsort(values, kind="stable")
    values, lost = values[order], lost[:, order]
    count = len(values)
    total = np.concatenate([np.zeros((len(lost), 1)), np.cumsum(lost, axis=1)], axis=1)
    spans = total[:, None, :] - total[:, :, None]
    which: npt.NDArray[np.intp] = spans.argmin(axis=0)
    cost = np.take_along_axis(spans, which[None], axis=0)[0]
    cost[np.tril_indices(count + 1)] = np.inf
    same = np.flatnonzero(values[1:] == values[:-1]) + 1  # no threshold between equal values
    best = cost[0].copy()
    best[same] = np.inf
    ends = [np.zeros(count + 1, dtype=int)]
    options = []
    for segments in range(2, MAX_SEGMENTS + 1):
        through = best[:, None] + cost
        ends.append(through.argmin(axis=0))
        best = through.min(axis=0)
        options.append((float(best[count]) / count + BRANCH_COST * (segments - 1), segments))
        best[same] = np.inf
    average, segments = min(options)
    if not math.isfinite(average):
        return None
    cuts = [count]
    for level in range(segments - 1, 0, -1):
        cuts.append(int(ends[level][cuts[-1]]))
    cuts = [0, *cuts[::-1]]
    choices = tuple(int(which[start, end]) for start, end in pairwise(cuts))
    thresholds = tuple(shortest_number_between(float(values[cut - 1]), float(values[cut])) for cut in cuts[1:-1])
    return Segments(key, thresholds, choices, average)


def shortest_number_between(low: float, high: float) -> Fraction:
    """A number of few digits in (low, high]."""
    if low < 0 <= high:
        return Fraction(0)
    if high < 0:
        middle = -math.exp((math.log(-low) + math.log(-high)) / 2)
    elif low == 0:
        middle = high / 2 or high
    else:
        middle = math.exp((math.log(low) + math.log(high)) / 2)
    for digits in range(1, 17):
        rounded = Fraction(f"{middle:.{digits - 1}e}")
        if low < rounded <= high:
            return rounded
    return Fraction(high)
