"""Proposals of stabler forms of a formula: rules applied several steps deep, series, and branches between them.

The search is a beam: of the trees that a step makes, those with the least estimated loss remain. What the estimate
proposes is measured against exact values by the experiment `formula`, which has the last word.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qa_service.formula.patterns import RewriteRule, apply_rule, simplify
from qa_service.formula.polynomials import collect
from qa_service.formula.regimes import best_segments
from qa_service.formula.rounding import TRUNCATED_SERIES, WORST_BITS, Array, Estimates
from qa_service.formula.rules import RULES
from qa_service.formula.sampling import sample
from qa_service.formula.series import ExpansionPoint, partial_sums
from qa_service.formula.tree import Call, Node, Number, nodes, size, transform, variables

_BEAM = 32
_DEPTH = 7
_MAX_TREES = 2500
"""The largest number of trees that a search keeps."""
_MAX_NODES = 60_000
"""The largest number of nodes in all trees of a search, those seen before included: about two seconds."""
_MAX_SERIES_SIZE = 40
"""The largest number of nodes in a part whose series is sought."""
_MAX_SIZE = 120
"""The largest number of nodes in a formula for which forms are sought."""
_POINTS = 256
_WRONG_COST = 2.0
"""Bits by which a series that is wrong at a point counts as worse than an overflow there."""
_SIZE_COST = 0.03
"""Bits that a further node costs, so that of equally stable forms the shorter comes first."""
_REGIME_CANDIDATES = 20
_PLAIN_FUNCTIONS = frozenset({"add", "sub", "mul", "div", "neg", "abs", "square", "where", "lt", "vector", "item"})


@dataclass(frozen=True, slots=True)
class Proposal:
    """An equivalent form that may lose fewer bits."""

    tree: Node
    rules: tuple[str, ...]
    """The names of the rules that lead to it, in order; "series" and "branch" for those."""
    torch: tuple[str, ...]
    """The functions of torch that it uses and the given formula did not."""


def proposals(
    tree: Node, limit: int = 8, over: Mapping[str, tuple[float, float]] | None = None, dtype: str = "float64"
) -> list[Proposal]:
    """At most `limit` equivalent forms, by estimated bits lost, the best first; none for a formula without variables.

    `over` gives ranges of variables; others are sampled over all numbers of the format `dtype`, for which the
    thresholds of branches are right.
    """
    if not variables(tree) or size(tree) > _MAX_SIZE or _has_nan(tree):
        return []
    search = _Search(simplify(tree), over, dtype)
    if search.is_undefined:
        return []
    search.run()
    used = {node.function for node in nodes(tree) if isinstance(node, Call)}
    found: list[Proposal] = []
    for form, rules in search.ranked(limit):
        if form != tree and all(form != other.tree for other in found):
            found.append(Proposal(form, rules, _torch_names(form, used)))
    return found[:limit]


def _torch_names(form: Node, used: set[str]) -> tuple[str, ...]:
    new = {node.function for node in nodes(form) if isinstance(node, Call)} - used - _PLAIN_FUNCTIONS
    return tuple(sorted(new))


def _has_nan(tree: Node) -> bool:
    """Whether one of its numbers is nan, for which no loss can be estimated."""
    return any(isinstance(node, Number) and node.value != node.value for node in nodes(tree))


def _by_root(rules: tuple[RewriteRule, ...]) -> dict[str, list[RewriteRule]]:
    table: dict[str, list[RewriteRule]] = defaultdict(list)
    for one in rules:
        assert isinstance(one.before, Call)
        table[one.before.function].append(one)
    return table


_RULES_BY_ROOT = _by_root(RULES)


def one_rule_rewrites(tree: Node) -> Iterator[tuple[str, Node]]:
    """Every tree that is one rule away, with the name of the rule."""
    if not isinstance(tree, Call):
        return
    for one in _RULES_BY_ROOT.get(tree.function, ()):
        for made in apply_rule(one, tree):
            yield one.name, made
    if tree.function in {"add", "sub", "div"}:
        collected = collect(tree)
        if collected is not None and collected != tree:
            yield "common denominator", collected
    for position, argument in enumerate(tree.arguments):
        for name, made in one_rule_rewrites(argument):
            arguments = (*tree.arguments[:position], made, *tree.arguments[position + 1 :])
            yield name, simplify(Call(tree.function, arguments))


class _Search:
    """The forms found for one formula, with their estimated loss at sampled points."""

    def __init__(self, tree: Node, over: Mapping[str, tuple[float, float]] | None, dtype: str) -> None:
        self._start = tree
        points = sample(tree, 4 * _POINTS, over, dtype)
        inside = np.flatnonzero(~Estimates(points, dtype).outside_domain(tree))[:_POINTS]
        self._points = {name: values[inside] for name, values in points.items()}
        self._estimates = Estimates(self._points, dtype)
        self._digits = self._estimates.format.significand_bits
        self._rules: dict[Node, tuple[str, ...]] = {tree: ()}
        self._lost: dict[Node, Array] = {tree: self._estimates.bits(tree)}
        self._approximate: set[Node] = set()
        self._looked_at = 0

    @property
    def is_undefined(self) -> bool:
        """Whether the formula has a value at none of the points."""
        return not len(next(iter(self._points.values())))

    def run(self) -> None:
        """Searches for forms: by rules first, then by series of what still loses bits."""
        frontier = [self._start]
        for _ in range(_DEPTH):
            made: list[Node] = []
            for tree in frontier:
                for name, form in one_rule_rewrites(tree):
                    self._looked_at += size(form)
                    if len(self._lost) >= _MAX_TREES or self._looked_at >= _MAX_NODES:
                        break
                    if form not in self._rules and size(form) <= 2 * size(self._start) + 12:
                        self._add(form, (*self._rules[tree], name))
                        made.append(form)
            frontier = heapq.nsmallest(_BEAM, made, key=self._priority)
        self._reject_contradictions()
        self._add_series()

    def _add(self, form: Node, rules: tuple[str, ...]) -> None:
        self._rules[form] = rules
        self._lost[form] = self._estimates.bits(form)

    def _priority(self, form: Node) -> float:
        return float(self._lost[form].mean()) + _SIZE_COST * size(form)

    def _reject_contradictions(self) -> None:
        """Drops forms whose values differ from the given formula's where both are known well."""
        for form in list(self._lost):
            if self._differs(form, self._start):
                del self._lost[form]

    def _differs(self, form: Node, other: Node) -> bool:
        known = (self._lost[form] < self._digits / 2) & (self._lost[other] < self._digits / 2)
        with np.errstate(all="ignore"):
            away = np.abs(self._estimates.value(form)[0] - self._estimates.value(other)[0])
            limit = 2.0 ** (3 - self._digits / 2) * np.abs(self._estimates.value(other)[0])
            wrong = away > limit + 4 * self._estimates.format.smallest
        wrong = wrong.any(axis=1) if wrong.ndim == 2 else wrong
        return bool((wrong & known).any())

    def _add_series(self) -> None:
        """Adds series of the given formula, and of parts of the best forms that lose bits."""
        best = heapq.nsmallest(3, self._lost, key=self._priority)
        places: tuple[ExpansionPoint, ...] = ("0", "inf", "-inf")
        reference, accuracy = self._reference()
        for form in dict.fromkeys((self._start, *best)):
            for part in _lossy_parts(form, self._estimates):
                for name in variables(part):
                    for place in places:
                        for approximation in partial_sums(part, name, place):
                            self._add_approximation(form, part, approximation, (reference, accuracy))

    def _reference(self) -> tuple[Array, Array]:
        """The value of the most accurate exact form at each point, and the bits that it loses."""
        forms = list(self._lost)
        lost = np.stack([self._lost[form] for form in forms])
        which = lost.argmin(axis=0)
        values = (
            np.stack([np.broadcast_to(self._estimates.value(form)[0].T, lost.shape[1:]) for form in forms])
            if self._estimates.value(self._start)[0].ndim == 1
            else None
        )
        if values is None:
            return np.full(lost.shape[1], np.nan), np.full(lost.shape[1], WORST_BITS)
        columns = np.arange(lost.shape[1])
        return values[which, columns], lost[which, columns]

    def _add_approximation(self, form: Node, part: Node, made: Node, reference: tuple[Array, Array]) -> None:
        whole = transform(form, lambda node: made if node == part else node)
        if whole in self._rules:
            return
        self._add(whole, (*self._rules[form], "series"))
        value, accuracy = reference
        own = self._estimates.value(whole)[0]
        with np.errstate(all="ignore"):
            away = np.log2(np.abs(own - value) / np.abs(value) / self._estimates.format.unit_roundoff)
        away = np.where(np.isfinite(value) & ~np.isnan(away), np.clip(away, 0, WORST_BITS), 0.0)
        away = np.where(away > self._digits, WORST_BITS, away)
        self._lost[whole] = np.maximum(self._lost[whole], np.where(away > accuracy + 2, away, 0.0))
        self._approximate.add(whole)

    def ranked(self, limit: int) -> list[tuple[Node, tuple[str, ...]]]:
        """Forms with branches and without, by estimated loss; of those that lose alike, the shortest."""
        forms = heapq.nsmallest(400, self._lost, key=self._priority)
        rated = [(self._priority(form), form, self._rules[form]) for form in forms if form not in self._approximate]
        rated += self._branches()
        rated.sort(key=lambda each: each[0])
        chosen: list[tuple[Node, tuple[str, ...]]] = []
        seen: list[Array] = []
        for _, form, rules in rated:
            lost = self._lost.get(form)
            if lost is not None:
                if form == self._start or any(np.abs(lost - other).mean() < 0.3 for other in seen):
                    continue
                seen.append(lost)
            chosen.append((_without_remainder(form), rules))
            if len(chosen) >= 2 * limit:
                break
        return chosen

    def _branches(self) -> list[tuple[float, Node, tuple[str, ...]]]:
        """Forms that choose between others by a variable."""
        names = {name: values for name, values in self._points.items() if values.ndim == 1}
        if not names or len(next(iter(names.values()))) < 16:
            return []
        forms = self._complementary()
        lost = np.stack([self._lost[form] for form in forms])
        approximate = np.array([form in self._approximate for form in forms])
        fails = approximate[:, None] & (lost >= self._digits / 2)
        lost = lost + _WRONG_COST * fails
        found = []
        for one in best_segments(lost, names)[:3]:
            if len(set(one.choices)) > 1:
                rules = [name for choice in dict.fromkeys(one.choices) for name in self._rules[forms[choice]]]
                tree = one.tree([_without_remainder(form) for form in forms])
                cost = one.cost + _SIZE_COST * size(tree)
                found.append((cost, tree, (*dict.fromkeys(rules), "branch")))
        return found

    def _complementary(self) -> list[Node]:
        """A few forms that together lose the fewest bits, chosen greedily: each is the one that helps most beside those
        before.
        """
        forms = heapq.nsmallest(600, self._lost, key=self._priority)
        forms += [form for form in self._approximate if form not in forms]
        lost = np.stack([self._lost[form] for form in forms])
        sizes = np.array([size(form) for form in forms]) * _SIZE_COST / 4
        chosen: list[int] = []
        together = np.full(lost.shape[1], WORST_BITS)
        for _ in range(min(_REGIME_CANDIDATES, len(forms))):
            score = np.minimum(lost, together).mean(axis=1) + sizes
            best = int(score.argmin())
            if best in chosen:
                break
            chosen.append(best)
            together = np.minimum(together, lost[best])
        return [forms[index] for index in chosen]


def _without_remainder(form: Node) -> Node:
    """The form with each truncated series replaced by its partial sum alone."""
    return transform(
        form, lambda node: node.arguments[0] if isinstance(node, Call) and node.function == TRUNCATED_SERIES else node
    )


def _lossy_parts(form: Node, estimates: Estimates) -> list[Node]:
    """The sums, differences and quotients in a formula that lose bits, the largest first, at most four."""
    found: list[Node] = []
    for node in dict.fromkeys(nodes(form)):
        if (
            isinstance(node, Call)
            and node.function in {"add", "sub", "div", "mul", "sqrt", "log"}
            and estimates.value(node)[0].ndim == 1
            and variables(node)
            and size(node) <= _MAX_SERIES_SIZE
            and estimates.bits(node).mean() > 1
        ):
            found.append(node)
    return found[:4]
