"""Functions that the parser replaces by their definitions in terms of those of `functions`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from qa_service.formula.sexpr import from_sexpr
from qa_service.formula.tree import Node


@dataclass(frozen=True, slots=True)
class Definition:
    """A function by its formula, a tree over its parameters."""

    parameters: tuple[str, ...]
    body: Node
    defaults: Mapping[str, Node]
    """Parameter → its value where it is not given."""


_TEXTS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "reciprocal": ("x", "(div 1 x)", {}),
    "cube": ("x", "(pow x 3)", {}),
    "cbrt": ("x", "(mul (sign x) (pow (abs x) (div 1 3)))", {}),
    "sec": ("x", "(div 1 (cos x))", {}),
    "csc": ("x", "(div 1 (sin x))", {}),
    "cot": ("x", "(div 1 (tan x))", {}),
    "logit": ("x", "(log (div x (sub 1 x)))", {}),
    "clamp": ("x min max", "x", {"min": "-inf", "max": "inf"}),
    "leaky_relu": ("x negative_slope", "(where (gt x 0) x (mul negative_slope x))", {"negative_slope": "0.01"}),
    "elu": ("x alpha", "(where (gt x 0) x (mul alpha (sub (exp x) 1)))", {"alpha": "1"}),
    "mish": ("x", "(mul x (tanh (softplus x)))", {}),
    "softsign": ("x", "(div x (add 1 (abs x)))", {}),
    "hardtanh": ("x", "(min (max x -1) 1)", {}),
    "relu6": ("x", "(min (max x 0) 6)", {}),
    "hardsigmoid": ("x", "(div (min (max (add x 3) 0) 6) 6)", {}),
    "tanhshrink": ("x", "(sub x (tanh x))", {}),
    "logcosh": ("x", "(log (cosh x))", {}),
    "rms": ("x", "(sqrt (mean (square x)))", {}),
    "population_var": ("x", "(mean (square (sub x (mean x))))", {}),
    "population_std": ("x", "(sqrt (mean (square (sub x (mean x)))))", {}),
}
"""Name → parameters, body, defaults. As torch defines them, without numerical care; `cbrt` is the real root.

The `population_` moments are divided by n, as numpy's are. `clamp` takes `max` and `min` of what it is given.
"""
_ALIASES: Mapping[str, str] = {"clip": "clamp", "cotan": "cot", "cube_root": "cbrt", "log_cosh": "logcosh"}


def defined_names() -> frozenset[str]:
    """Every name that has a definition."""
    return frozenset((*_TEXTS, *_ALIASES))


@cache
def definition(name: str) -> Definition:
    """The definition of one of these names."""
    parameters, body, defaults = _TEXTS[_ALIASES.get(name, name)]
    return Definition(
        tuple(parameters.split()), from_sexpr(body), {key: from_sexpr(text) for key, text in defaults.items()}
    )
