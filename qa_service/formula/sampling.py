"""Points at which formulas are compared: magnitudes of every order, ordinary numbers, neighbours of one, and zero."""

from collections.abc import Mapping

import numpy as np

from qa_service.formula.functions import FUNCTIONS
from qa_service.formula.rounding import EMULATED_FORMATS, SAMPLED_VECTOR_LENGTH, Array, EmulatedFormat
from qa_service.formula.tree import Call, Node, Variable, nodes, variables

_SEED = 20150613
"""Fixed, so that the proposals for a formula are the same each time."""


def vector_variables(tree: Node) -> frozenset[str]:
    """The variables that a function of vectors takes, in a formula that writes no vector itself."""
    found: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, Call) and FUNCTIONS[node.function].kind in {"reduction", "map", "item"}:
            found |= _elements(node)
    return frozenset(found)


def _elements(node: Node) -> set[str]:
    """The variables below a function of vectors, except those below a reduction, which is a number."""
    found: set[str] = set()
    pending = list(node.arguments) if isinstance(node, Call) else []
    while pending:
        below = pending.pop()
        if isinstance(below, Variable):
            found.add(below.name)
        elif isinstance(below, Call) and FUNCTIONS[below.function].kind not in {"reduction", "vector", "item"}:
            pending.extend(below.arguments)
    return found


def sample(
    tree: Node, count: int, over: Mapping[str, tuple[float, float]] | None = None, dtype: str = "float64"
) -> dict[str, Array]:
    """Name → numbers of the format, of shape (count,), or (count, `SAMPLED_VECTOR_LENGTH`) for a vector; within `over`
    where given.
    """
    form = EMULATED_FORMATS[dtype]
    random = np.random.default_rng(_SEED)
    vectors = vector_variables(tree)
    points = {}
    for name in variables(tree):
        if over and name in over:
            points[name] = form.round(_within(random, count, *over[name]))
        elif name in vectors:
            points[name] = _vectors(random, count, form)
        else:
            points[name] = _numbers(random, count, form)
    return points


def _numbers(random: np.random.Generator, count: int, form: EmulatedFormat) -> Array:
    signs = random.choice([-1.0, 1.0], count)
    every = signs * 2.0 ** random.uniform(np.log2(form.tiny), np.log2(form.largest), count)
    moderate = signs * 10.0 ** random.uniform(-12, 4, count)
    near_one = random.choice([-1.0, 1.0], count) * (1 + signs * 10.0 ** random.uniform(-15, -0.5, count))
    whole = signs * random.integers(0, 200, count)
    kind = random.choice(4, count, p=[0.4, 0.44, 0.1, 0.06])
    return form.round(np.choose(kind, [every, moderate, near_one, whole]))


def _vectors(random: np.random.Generator, count: int, form: EmulatedFormat) -> Array:
    center = np.where(random.random(count) < 0.5, 0.0, _numbers(random, count, form))
    bound = np.sqrt(form.largest) / 8
    center = np.clip(center, -bound, bound)
    spread = np.minimum(10.0 ** random.uniform(-6, 4, count), bound)
    return form.round(center[:, None] + spread[:, None] * random.standard_normal((count, SAMPLED_VECTOR_LENGTH)))


def _within(random: np.random.Generator, count: int, low: float, high: float) -> Array:
    """Random numbers between `low` and `high`: half uniform, half with magnitudes down to 1e-20 of the larger bound."""
    uniform = random.uniform(low, high, count)
    largest = max(abs(low), abs(high)) or 1.0
    signs = random.choice([-1.0, 1.0], count)
    orders = signs * largest * 10.0 ** random.uniform(-20, 0, count)
    inside = (orders >= low) & (orders <= high) & (random.random(count) < 0.5)
    return np.where(inside, orders, uniform)
