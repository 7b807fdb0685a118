"""References that tests compare experiments with: exact rounding, random draws, Gaussian expectations, in-process
runs.
"""

import importlib.util
import math
from fractions import Fraction
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.settings import Settings

DEMOS = Settings().demos
EXPERIMENTS = load_specs(DEMOS)
INF, NAN = math.inf, math.nan
Z = np.linspace(-12, 12, 240002)  # an even number of points: none lies on ReLU's kink
DENSITY = np.exp(-(Z**2) / 2) / math.sqrt(2 * math.pi) * (Z[1] - Z[0])
PHI = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (2 + np.exp(x) + np.exp(-x))),
    "identity": (lambda x: x, np.ones_like),
}


class Format(NamedTuple):
    """An IEEE 754 binary format: `p` bits of precision (with the implicit bit) and the largest exponent `emax`."""

    p: int
    emax: int

    @property
    def largest(self) -> Fraction:
        return (2 - Fraction(2) ** (1 - self.p)) * Fraction(2) ** self.emax

    @property
    def smallest_normal(self) -> Fraction:
        return Fraction(2) ** (1 - self.emax)

    @property
    def smallest(self) -> Fraction:
        return self.smallest_normal * Fraction(2) ** (1 - self.p)

    @property
    def overflow(self) -> Fraction:
        """The smallest real number that rounds to inf: the largest finite number plus half an ulp."""
        return (2 - Fraction(2) ** -self.p) * Fraction(2) ** self.emax

    def rounded(self, value: Fraction) -> Fraction | None:
        """`value` rounded to nearest, ties to even, with subnormal numbers; None stands for ±inf."""
        if not value:
            return value
        size = abs(value)
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= size < Fraction(2) ** exponent
        unit = Fraction(2) ** (max(exponent, 1 - self.emax) - self.p + 1)
        stored = round(value / unit) * unit  # Python rounds a Fraction half to even
        return stored if abs(stored) <= self.largest else None


FORMATS = {
    "float16": Format(11, 15), "bfloat16": Format(8, 127), "float32": Format(24, 127), "float64": Format(53, 1023),
}  # fmt: skip
LARGEST_FLOAT8 = {(3, 15): 57344, (4, 8): 448, (3, 16): 57344, (4, 7): 240}
MIN_EXPONENT_FLOAT8 = {(3, 15): -14, (4, 8): -6, (3, 16): -15, (4, 7): -7}


class Float8Format(Format):
    """A float8 format: its largest and smallest normal numbers can differ from IEEE 754's for the same p and emax."""

    @property
    def largest(self) -> Fraction:
        return Fraction(LARGEST_FLOAT8[self])

    def rounded(self, value: Fraction) -> Fraction | None:
        bounded = Format(self.p, 2000)
        unit = self.smallest_normal * Fraction(2) ** (1 - self.p)
        stored = round(value / unit) * unit if abs(value) < self.smallest_normal else bounded.rounded(value)
        return stored if abs(stored) <= self.largest else None

    @property
    def smallest_normal(self) -> Fraction:
        return Fraction(2) ** MIN_EXPONENT_FLOAT8[self]


ALL_FORMATS = FORMATS | {
    "e5m2": Float8Format(3, 15),
    "e4m3fn": Float8Format(4, 8),
    "e5m2fnuz": Float8Format(3, 16),
    "e4m3fnuz": Float8Format(4, 7),
}
NUMPY = {"float16": np.float16, "float32": np.float32, "float64": np.float64}


def ulp(form: Format, value: Fraction) -> Fraction:
    """The unit in the last place at `value`: the distance of neighbouring numbers in its binade."""
    binade = form.smallest_normal
    while binade * 2 <= abs(value):
        binade *= 2
    return binade * Fraction(2) ** (1 - form.p)


@cache
def demo(slug: str) -> ModuleType:
    """The module of an experiment, loaded from its file; torch uses one thread, as in a run of the service."""
    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location(f"science_{slug}", EXPERIMENTS[slug].path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(slug: str, seed: int = 0, **params: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and metrics of one run in this process; the parameters are validated as by the service."""
    import torch

    run = demo(slug).run(**fill_defaults(EXPERIMENTS[slug], params))
    torch.manual_seed(seed)
    rows = []
    while True:
        try:
            rows.append(next(run))
        except StopIteration as stop:
            return rows, stop.value


def measured(slug: str, seed: int = 0, **params: object) -> dict[str, Any]:
    """The metrics of one run."""
    return measure(slug, seed, **params)[1]


def same(a: float | None, b: float | None) -> bool:
    """Whether two metrics are equal; nan equals nan, −0 differs from 0, None equals None only."""
    if a is None or b is None:
        return a is b
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def draws(seed: int, *shapes: tuple[int, ...], double: bool = False) -> list[np.ndarray]:
    """The first normal numbers that an experiment draws with this seed, one array per shape, converted to float64."""
    import torch

    torch.manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    return [torch.randn(*shape, dtype=dtype).double().numpy() for shape in shapes]


def expectation(f: np.ndarray) -> float:
    """E f(Z) for a standard normal Z, given the values of f at the points `Z`."""
    return float((f * DENSITY).sum())


def rms_norm(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).sum()))


def add_exactly(dtype: str, x: float, n: int) -> tuple[Fraction, int | None]:
    """The running sum of n copies of x, rounded at each step, and the first step that does not change it (or None)."""
    form = FORMATS[dtype]
    term, total = form.rounded(Fraction(x)), Fraction(0)
    for step in range(1, n + 1):
        before, total = total, form.rounded(total + term)
        if total == before:
            return total, step
    return total, None
