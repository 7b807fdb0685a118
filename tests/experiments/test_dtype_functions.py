"""Tests the experiment dtype_functions against mpmath and rational numbers, with every operation rounded once and no
shared code.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import mpmath
import pytest
from oracles import ALL_FORMATS, INF, NAN, Format, demo, measure, measured, same, ulp

SHORT = [name for name, form in ALL_FORMATS.items() if form.p < 24]
LIBRARY = {"exp", "softmax", "softmax_gradient", "log_one_plus_exp", "sigmoid_slope", "entropy"}
mpf = mpmath.mpf
FORMULAS: dict[str, Callable[[mpf], mpf]] = {
    "exp": mpmath.exp,
    "softmax": lambda v: mpmath.exp(v) / (mpmath.exp(v) + 1),
    "softmax_gradient": lambda v: mpmath.exp(v) / (mpmath.exp(v) + 1) - 1,
    "log_one_plus_exp": lambda v: mpmath.log(mpmath.exp(v) + 1),
    "sigmoid_slope": lambda v: mpmath.exp(-v) / (1 + mpmath.exp(-v)) ** 2,
    "entropy": lambda v: v * mpmath.log(v),
    "mean": lambda v: (1 + v + 2) / 3,
    "small_part": lambda v: (1 + v) - 1,
    "neighbour": lambda v: (v + 1) - v,
    "adam_step": lambda v: v / mpmath.sqrt(v * v),
    "unscaled": lambda v: v / mpf(2) ** (mpmath.floor(mpmath.log(abs(v), 2) + mpf("1e-300")) + 1),
    "difference_quotient": lambda v: ((1 + v) ** 2 - 1) / v,
    "second_difference": lambda v: ((1 + v) ** 2 + (1 - v) ** 2 - 2) / v**2,
}
CASES = [
    ("exp", "even", 40, 40.0), ("exp", "even", 60, -33.0), ("exp", "halving", 12, 0.1), ("softmax", "even", 50, 25.0),
    ("softmax", "even", 30, -30.0), ("softmax_gradient", "even", 40, 12.0), ("log_one_plus_exp", "even", 40, 20.0),
    ("log_one_plus_exp", "even", 40, -20.0), ("sigmoid_slope", "even", 50, 20.0), ("sigmoid_slope", "even", 30, -20.0),
    ("entropy", "halving", 40, 2.0**-30), ("entropy", "even", 20, 7.0), ("mean", "doubling", 40, 3e5),
    ("small_part", "halving", 60, 2.0**-60), ("small_part", "halving", 30, 1e-7), ("neighbour", "even", 50, 2100.0),
    ("neighbour", "doubling", 60, 2.0**59), ("adam_step", "halving", 60, 1e-9), ("adam_step", "doubling", 40, -1e5),
    ("unscaled", "halving", 50, 1e-10), ("unscaled", "doubling", 30, 3e5), ("difference_quotient", "even", 20, -3.0),
    ("difference_quotient", "halving", 40, 1e-11), ("second_difference", "halving", 20, 1e-5),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _many_digits():
    """Sets mpmath's precision so high that cancellation leaves at least a hundred digits."""
    with mpmath.workdps(400):
        yield


def arguments(spacing: str, n: int, x: float) -> list[float]:
    steps = range(1, n + 1)
    rule = {
        "even": lambda k: Fraction(k, n),
        "halving": lambda k: 2 ** (n - k),
        "doubling": lambda k: Fraction(2) ** (k - n),
    }
    return [float(Fraction(x) * rule[spacing](k)) for k in steps]


def fraction(value: mpf) -> Fraction:
    """The exact value of an mpmath number as a Fraction."""
    sign, man, exp, _ = value._mpf_
    return (-1 if sign else 1) * Fraction(int(man)) * Fraction(2) ** int(exp)


def transcendental(name: str, v: Fraction) -> Fraction:
    return fraction(getattr(mpmath, name)(mpf(v.numerator) / v.denominator))


class Arithmetic(NamedTuple):
    """Operations rounded to a format. Raise OverflowError for what is too large or divided by 0."""

    form: Format

    def keep(self, value: Fraction) -> Fraction:
        """The value rounded to the format; raises OverflowError if it is too large."""
        stored = self.form.rounded(value)
        if stored is None:
            raise OverflowError
        return stored

    def over(self, a: Fraction, b: Fraction) -> Fraction:
        if b == 0 and a == 0:
            raise ZeroDivisionError
        if b == 0:
            raise OverflowError
        return self.keep(a / b)

    def transcendental(self, name: str, v: Fraction) -> Fraction:
        return self.keep(transcendental(name, v))


def rounded_function(f: str, argument: float, form: Format) -> Fraction | None:
    """The function in a format; None for nan (0/0). Raises OverflowError for what is too large or divided by 0."""
    in_form = Arithmetic(form)
    v = in_form.keep(Fraction(argument))
    if f == "unscaled":
        return v * fraction(FORMULAS[f](abs(mpf(argument)))) / abs(Fraction(argument))
    if f in ("exp", "softmax", "softmax_gradient", "log_one_plus_exp", "sigmoid_slope"):
        return exponential_function(f, v, in_form)
    try:
        return algebraic_function(f, v, in_form)
    except ZeroDivisionError:
        return None


def exponential_function(f: str, v: Fraction, in_form: Arithmetic) -> Fraction:
    keep, over = in_form.keep, in_form.over
    if f == "sigmoid_slope":
        s = over(Fraction(1), keep(1 + in_form.transcendental("exp", -v)))
        return keep(s * keep(1 - s))
    e = in_form.transcendental("exp", v)
    if f == "exp":
        return e
    if f == "log_one_plus_exp":
        return in_form.transcendental("log", keep(e + 1))
    p = over(e, keep(e + 1))
    return p if f == "softmax" else keep(p - 1)


def algebraic_function(f: str, v: Fraction, in_form: Arithmetic) -> Fraction:
    """Raises ZeroDivisionError for 0/0."""
    keep, over = in_form.keep, in_form.over
    if f == "entropy":
        if v == 0:
            raise OverflowError
        return keep(v * in_form.transcendental("log", v))
    if f == "adam_step":
        square = keep(v * v / 1024)
        return over(v, keep(32 * keep(fraction(mpmath.sqrt(mpf(square.numerator) / square.denominator)))))
    if f == "mean":
        return over(keep(keep(1 + v) + 2), Fraction(3))
    if f == "small_part":
        return keep(keep(1 + v) - 1)
    if f == "neighbour":
        return keep(keep(v + 1) - v)
    up, down = (keep(keep(1 + h) * keep(1 + h)) for h in (v, -v))
    if f == "difference_quotient":
        return over(keep(up - 1), v)
    return over(keep(keep(up + down) - 2), keep(v * v))


@pytest.mark.parametrize(("f", "spacing", "n", "x"), CASES)
def test_dtype_functions_by_exact_rounding(f, spacing, n, x):
    """First overflow, first lost digit and value of every format, of the short ones where exp and log are PyTorch's."""
    metrics = measured("dtype_functions", f=f, spacing=spacing, n=n, x=x)
    for name in SHORT if f in LIBRARY else ALL_FORMATS:
        form, overflow, lost, value = ALL_FORMATS[name], None, None, None
        for step, v in enumerate(arguments(spacing, n, x), 1):
            exact = fraction(FORMULAS[f](mpf(v)))
            try:
                value = rounded_function(f, v, form)
            except OverflowError:
                overflow, value = overflow or step, INF
                continue
            if lost is None and value != form.rounded(exact):
                lost = step
        assert metrics[f"overflow_{name}"] == overflow, name
        assert metrics[f"lost_{name}"] == lost, name
        if value is None:
            assert same(metrics[f"value_{name}"], NAN), name
        elif value != INF:
            assert Fraction(metrics[f"value_{name}"]) == value, name


@pytest.mark.parametrize(("f", "spacing", "n", "x"), CASES)
def test_dtype_functions_errors_are_those_of_mpmath(f, spacing, n, x):
    """Every exact value to the last bit of float64, and the error of every finite result in units and in proportion."""
    rows, metrics = measure("dtype_functions", f=f, spacing=spacing, n=n, x=x)
    for row in rows:
        v = arguments(spacing, n, x)[row["step"] - 1]
        assert row["argument"] == v
        assert row["exact"] == float(FORMULAS[f](mpf(v)))
    exact = fraction(FORMULAS[f](mpf(x)))
    for name, form in ALL_FORMATS.items():
        value = metrics[f"value_{name}"]
        if abs(value) < INF:
            error = abs(Fraction(value) - exact)
            assert metrics[f"ulps_{name}"] == pytest.approx(float(error / ulp(form, exact)), rel=1e-9, abs=1e-300), name
            assert metrics[f"rel_err_{name}"] == pytest.approx(float(error / abs(exact)), rel=1e-9, abs=1e-300), name


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_dtype_functions_exp_is_within_a_unit_where_it_is_pytorchs(name):
    """The error is measured at the argument as the format stores it; integers are stored exactly."""
    form = ALL_FORMATS[name]
    rows, metrics = measure("dtype_functions", f="exp", n=60, x=60.0)
    for row in rows:
        if row["dtype"] == name:
            exact = transcendental("exp", Fraction(row["step"]))
            assert abs(Fraction(row["value"]) - exact) <= ulp(form, exact)
    assert metrics[f"overflow_{name}"] is None


def test_dtype_functions_known_facts():
    """Checks where exp overflows in each format, how many bits each has, and from where on integers are lost."""
    import torch

    exps = measured("dtype_functions", f="exp", n=720, x=720.0)
    bits = measured("dtype_functions", f="small_part", spacing="halving", n=60, x=2.0**-60)
    integers = measured("dtype_functions", f="neighbour", spacing="doubling", n=60, x=2.0**59)
    for name, dtype, p, *_ in demo("dtype_functions").FORMATS:
        largest = torch.finfo(dtype).max
        assert exps[f"overflow_{name}"] == int(mpmath.log(largest)) + 1
        assert bits[f"lost_{name}"] == p
        assert integers[f"lost_{name}"] == p + 1  # v = 2^p, whose successor 2^p + 1 there is not
    naive = measured("dtype_functions", f="softmax", n=720, x=720.0)
    for name, big in demo("ieee_table").BIG.items():
        assert naive[f"overflow_{name}"] == big
        assert same(naive[f"value_{name}"], NAN)


@pytest.mark.parametrize(
    ("f", "x", "metric", "expected"),
    [
        ("exp", 11.08, "overflow_float16", None),
        ("exp", 11.1, "overflow_float16", 1),
        ("exp", 88.73, "overflow_float32", 1),
        ("exp", 709.7, "overflow_float64", None),
        ("neighbour", 2048.0, "value_float16", 0.0),
        ("neighbour", 2047.0, "value_float16", 1.0),
        ("neighbour", 256.0, "value_bfloat16", 0.0),
        ("unscaled", 464.0, "overflow_e4m3fn", None),  # half way to 480, and 448 is even
        ("unscaled", 464.1, "overflow_e4m3fn", 1),
        ("unscaled", 65519.0, "overflow_float16", None),
        ("unscaled", 65520.0, "overflow_float16", 1),
        ("unscaled", 1e-8, "value_float16", 0.0),
        ("sigmoid_slope", 10.0, "value_float16", 0.0),
        ("sigmoid_slope", 17.4, "value_float32", 0.0),
        ("adam_step", 1e-3, "value_float16", INF),  # 1e-6/1024 is 0 there
        ("adam_step", 1e-8, "value_float16", NAN),
        ("entropy", 0.0, "exact", None),
        ("entropy", -1.0, "value_float64", NAN),
        ("difference_quotient", 0.0, "ulps_float32", None),
        ("softmax", -1e30, "exact", 0.0),
        ("log_one_plus_exp", 1e30, "exact", 1e30),
        ("exp", 1e30, "overflow_float64", 1),
        ("mean", -3.0, "exact", 0.0),
    ],
)
def test_dtype_functions_at_a_single_number(f, x, metric, expected):
    found = measured("dtype_functions", f=f, n=1, x=x)[metric]
    assert found is expected or same(found, expected)


def test_dtype_functions_half_precision_is_pytorchs_own():
    """Where a function is one operation, the format's arithmetic is what PyTorch gives for a tensor of this type."""
    import torch

    rows, _ = measure("dtype_functions", f="exp", n=60, x=11.0)
    for name in ("float16", "bfloat16", "float32", "float64"):
        mine = [(row["argument"], row["value"]) for row in rows if row["dtype"] == name]
        stored = torch.tensor([v for v, _ in mine], dtype=torch.float64).to(getattr(torch, name))
        assert [value for _, value in mine] == stored.exp().double().tolist()


def test_dtype_functions_has_the_formats_and_figures_of_the_other_ladder():
    assert demo("dtype_functions").FORMATS == demo("dtype_ladder").FORMATS
    assert demo("dtype_functions").METRICS == demo("dtype_ladder").METRICS
