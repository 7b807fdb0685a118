"""Tests the experiment dtype_ladder against rational numbers with every operation rounded once."""

import itertools
from fractions import Fraction

import mpmath
import pytest
from oracles import ALL_FORMATS, INF, NAN, Float8Format, demo, measure, measured, same, ulp

EIGHT = [name for name, form in ALL_FORMATS.items() if isinstance(form, Float8Format)]


def steps(op: str, x: Fraction, rounded, start: float = 1.0) -> "itertools.Iterator[Fraction]":
    """The computation with `rounded` after every operation; raises OverflowError where it gives None."""

    def keep(value):
        stored = rounded(value)
        if stored is None:
            raise OverflowError
        return stored

    x = keep(x)
    value, term = keep(Fraction(0 if op == "add" else start)), Fraction(1)
    for k in itertools.count(1):
        if op == "multiply":
            value = keep(value * x)
        elif op in ("add", "update"):
            value = keep(value + x)
        elif op == "descend":
            value = keep(value - keep(x * value))
        elif op == "divide":
            value = keep(value / x)
        elif op == "square_root_iteration":
            value = keep(keep(value + keep(x / value)) / 2)
        else:
            term = keep(keep(term * x) / k)
            value = keep(value + term)
        yield value


def exactly(op: str, x: Fraction, n: int, start: float) -> list[Fraction]:
    return list(itertools.islice(steps(op, x, lambda value: value, start), n))


CASES = [
    ("multiply", 1.5, 40), ("multiply", 0.9, 60), ("multiply", -1.1, 50), ("add", 0.1, 200), ("add", 1.5, 300),
    ("add", -3.0, 40), ("divide", 1.5, 50), ("divide", 0.3, 30), ("square_root_iteration", 2.0, 8),
    ("square_root_iteration", 10.0, 9), ("exp_sum", 1.0, 30), ("exp_sum", -5.0, 40), ("exp_sum", 3.0, 25),
    ("update", -1e-4, 300), ("descend", 2.5, 40), ("descend", 0.1, 60),
]  # fmt: skip
STARTS = [
    ("multiply", 1.5, 30, 0.1),
    ("divide", 0.3, 20, -7.0),
    ("update", 0.01, 200, 100.0),
    ("descend", 2.1, 90, 0.3),
]


@pytest.mark.parametrize(("op", "x", "n", "start"), [*((*case, 1.0) for case in CASES), *STARTS])
def test_dtype_ladder_by_exact_rounding(op, x, n, start):
    """Value, first overflow, first lost digit and errors agree for all eight formats, without going through float32."""
    metrics, exact = measured("dtype_ladder", op=op, x=x, n=n, start=start), exactly(op, Fraction(x), n, start)
    assert metrics["exact"] == pytest.approx(float(exact[-1]), rel=1e-15)
    for name, form in ALL_FORMATS.items():
        overflow = lost = value = None
        computed = steps(op, Fraction(x), form.rounded, start)
        for step in range(1, n + 1):
            try:
                value = next(computed)
            except OverflowError:
                overflow = step
                break
            if lost is None and value != form.rounded(exact[step - 1]):
                lost = step
        assert metrics[f"overflow_{name}"] == overflow, name
        assert metrics[f"lost_{name}"] == lost, name
        if overflow is None:
            assert Fraction(metrics[f"value_{name}"]) == value, name
            error = abs(value - exact[-1])
            assert metrics[f"rel_err_{name}"] == pytest.approx(float(error / abs(exact[-1])), rel=1e-9), name
            assert metrics[f"ulps_{name}"] == pytest.approx(float(error / ulp(form, exact[-1])), rel=1e-9), name


@pytest.mark.parametrize("name", EIGHT)
def test_dtype_ladder_second_rounding_is_innocuous(name):
    """Computed in float32 and converted, every sum, product and quotient of two float8 numbers is rounded correctly."""
    import torch

    form = ALL_FORMATS[name]
    kind = getattr(torch, f"float8_{name}")
    numbers = torch.arange(256, dtype=torch.uint8).view(kind).float()
    numbers = numbers[numbers.isfinite() & (numbers != 0)][::7]
    for operation in ("add", "mul", "div"):
        wide = getattr(torch, operation)(numbers[:, None], numbers[None, :])
        narrow = wide.to(kind).float()
        method = {"add": Fraction.__add__, "mul": Fraction.__mul__, "div": Fraction.__truediv__}[operation]
        for (i, a), (j, b) in itertools.product(enumerate(numbers.tolist()), repeat=2):
            once = form.rounded(method(Fraction(a), Fraction(b)))
            if once is not None:
                assert Fraction(narrow[i, j].item()) == once, (a, operation, b)


@pytest.mark.parametrize(("name", "beyond"), [("e5m2", INF), ("e4m3fn", 448.0), ("e5m2fnuz", NAN), ("e4m3fnuz", NAN)])
def test_dtype_ladder_what_lies_beyond(name, beyond):
    """A number too large becomes inf, the largest number or nan, depending on the format, at the step of exact
    rounding.
    """
    metrics = measured("dtype_ladder", op="multiply", x=2.0, n=40)
    assert same(metrics[f"value_{name}"], beyond)
    first = {"e5m2": 16, "e4m3fn": 9, "e5m2fnuz": 16, "e4m3fnuz": 8}[name]
    assert metrics[f"overflow_{name}"] == first
    assert 2**first > ALL_FORMATS[name].largest > 2 ** (first - 1)


def test_dtype_ladder_towards_a_root_and_e():
    """Newton's iteration corrects its own errors: within one unit of √2 in every format; e agrees with its float64
    series.
    """
    mpmath.mp.dps = 40
    roots = measured("dtype_ladder", op="square_root_iteration", x=2.0, n=50)
    assert roots["exact"] == float(mpmath.sqrt(2))
    assert all(roots[f"ulps_{name}"] < 1.5 for name in ALL_FORMATS)
    assert measured("dtype_ladder", op="exp_sum", x=1.0, n=100)["exact"] == float(mpmath.e)
    cancelled = measured("dtype_ladder", op="exp_sum", x=-20.0, n=200)
    assert cancelled["exact"] == pytest.approx(float(mpmath.exp(-20)), rel=1e-15)
    assert cancelled["rel_err_float64"] > 0.5  # terms of 4e7 cancel to 2e-9


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"x": 0.0}, {"exact": 0.0, "value_float16": 0.0, "lost_float64": None, "rel_err_e4m3fn": 0.0}),
        (
            {"op": "divide", "x": 0.0},
            {"exact": None, "value_float32": INF, "overflow_float32": 1, "rel_err_e5m2": None},
        ),
        ({"op": "square_root_iteration", "x": -1.0}, {"exact": None, "ulps_float64": None, "lost_float64": None}),
        ({"x": 1e300, "n": 3}, {"exact": INF, "overflow_float64": 2, "overflow_float32": 1, "value_e4m3fn": 448.0}),
        ({"x": 1.0, "n": 2000}, {"exact": 1.0, "ulps_e5m2": 0.0, "overflow_float16": None, "lost_e4m3fnuz": None}),
    ],
)
def test_dtype_ladder_edges(params, expected):
    rows, metrics = measure("dtype_ladder", **params)
    assert rows
    for name, value in expected.items():
        assert value is metrics[name] or same(metrics[name], value), name


def test_dtype_ladder_formats_are_torchs():
    """The table of formats against what torch says of them."""
    import torch

    for _, dtype, p, lowest, largest in demo("dtype_ladder").FORMATS:
        info = torch.finfo(dtype)
        assert info.max == largest
        assert info.smallest_normal == 2.0**lowest
        assert dtype.itemsize > 1 or p in (3, 4)


def test_dtype_ladder_rounds_its_numbers_once():
    """Tested on a number just above the midpoint of 1 and its neighbour, which float32 cannot tell from the
    midpoint.
    """
    metrics = measured("dtype_ladder", op="multiply", x=1 + 2**-11 + 2**-40, n=1)
    assert metrics["value_float16"] == 1 + 2**-10
    assert metrics["lost_float16"] is None


@pytest.mark.parametrize("op", ["add", "square_root_iteration", "exp_sum"])
def test_dtype_ladder_other_operations_have_a_start_of_their_own(op):
    here, there = (measured("dtype_ladder", op=op, x=2.0, n=20, start=start) for start in (1.0, -30.0))
    assert repr(here) == repr(there)
