"""Tests the experiment pow_vs_sum against reference values computed by independent code."""

from fractions import Fraction

import mpmath
import pytest
from oracles import FORMATS, INF, NAN, add_exactly, measured, same


def multiply_exactly(dtype: str, x: float, n: int) -> tuple[Fraction, int | None, int | None]:
    """The rounded product after n steps, with the steps of the first inf and the first 0."""
    form = FORMATS[dtype]
    factor, product, zero = form.rounded(Fraction(x)), Fraction(1), None
    for step in range(1, n + 1):
        before, product = product, form.rounded(product * factor)
        if product is None:
            return before, step, zero
        if not product and zero is None:
            zero = step
    return product, None, zero


def test_pow_vs_sum_default():
    """1.5^100 = 4.0656e17 up to a hundred rounding errors; the sum of a hundred 1.5 is exactly 150."""
    metrics, exact = measured("pow_vs_sum"), Fraction(3, 2) ** 100
    assert abs(Fraction(metrics["product"]) / exact - 1) < 100 * Fraction(1, 2**24)
    assert Fraction(metrics["product"]) == multiply_exactly("float32", 1.5, 100)[0]
    assert f"{float(exact):.4e}" == "4.0656e+17"
    assert metrics["sum"] == 150
    assert metrics["sum_rel_err"] == 0
    assert metrics["true_log10_product"] == pytest.approx(float(100 * mpmath.log10(mpmath.mpf("1.5"))), rel=1e-14)


@pytest.mark.parametrize("x", [1.5, -1.5, 1.25, 2.0, 1000.0, 65504.0, 1.01])
@pytest.mark.parametrize("dtype", FORMATS)
def test_pow_vs_sum_overflow_steps(x, dtype):
    """The step in theory is the least n with |x|^n > max, compared exactly; the measured one is that of rounding."""
    power, step = Fraction(1), 0
    while power <= FORMATS[dtype].largest and step < 3000:
        power, step = power * abs(Fraction(x)), step + 1
    metrics = measured("pow_vs_sum", x=x, dtype=dtype, n=1)
    if step < 3000:
        assert metrics["theory_overflow_step"] == step
    _, overflow, _ = multiply_exactly(dtype, x, 3000)
    if overflow is not None:
        assert metrics[f"overflow_{dtype}"] == overflow


def test_pow_vs_sum_of_one_and_a_half():
    """28, 219 and 1751 as in theory; bfloat16's rounding may add one step, and does: 220."""
    metrics = measured("pow_vs_sum")
    assert [metrics[f"overflow_{dtype}"] for dtype in FORMATS] == [28, 220, 219, 1751]
    for dtype, form in FORMATS.items():
        exact = next(n for n in range(1, 2000) if Fraction(3, 2) ** n > form.largest)
        assert abs(metrics[f"overflow_{dtype}"] - exact) <= (dtype == "bfloat16")
        run = measured("pow_vs_sum", dtype=dtype, n=2000)
        assert run["first_overflow_step"] == metrics[f"overflow_{dtype}"]


@pytest.mark.parametrize(
    ("params", "stall"),
    [({"x": 0.9}, 4 * 2.0**-149), ({"x": 0.9, "dtype": "float16"}, 4 * 2.0**-24), ({"x": 0.5}, 0.0)],
)
def test_pow_vs_sum_underflow_stalls(params, stall):
    """0.9^n never reaches 0: it stays at four units of underflow; 0.5^n reaches 0 at step 150 (a tie, to even)."""
    metrics = measured("pow_vs_sum", n=2000, **params)
    assert metrics["product"] == stall
    product, _, zero = multiply_exactly(params.get("dtype", "float32"), params["x"], 2000)
    assert metrics["product"] == product
    assert metrics["first_zero_step"] == zero == (150 if params["x"] == 0.5 else None)


@pytest.mark.parametrize(
    ("x", "dtype", "n", "total", "stagnates"),
    [
        (1.5, "float16", 10000, 4096, 2220),
        (1.5, "bfloat16", 1000, 512, 279),
        (1.5, "float64", 2000, 3000, None),
        (0.9, "float16", 2000, 1965, None),
        (0.9, "float32", 100, None, None),
        (-1.5, "float32", 100, -150, None),
    ],
)
def test_pow_vs_sum_sums(x, dtype, n, total, stagnates):
    """Sums do not overflow, but short formats stop counting; value and step equal exact rounding."""
    metrics = measured("pow_vs_sum", x=x, dtype=dtype, n=n)
    exact, stop = add_exactly(dtype, x, n)
    assert Fraction(metrics["sum"]) == exact
    assert metrics["sum_stagnates_at"] == stop == stagnates
    assert total is None or exact == total
    true = Fraction(x) * n
    assert metrics["sum_rel_err"] == pytest.approx(float(abs(exact - true) / abs(true)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"n": 1}, {"product": 1.5, "sum": 1.5}),
        ({"x": 0.0}, {"product": 0.0, "sum": 0.0, "first_zero_step": 1, "true_log10_product": -INF}),
        ({"x": 1.0}, {"product": 1.0, "sum": 100.0, "theory_overflow_step": None, "overflow_float16": None}),
        ({"x": -1.5}, {"sum": -150.0, "theory_overflow_step": 219, "overflow_float64": 1751}),
        ({"n": 10000}, {"product": INF, "sum": 15000.0, "first_overflow_step": 219, "sum_stagnates_at": None}),
        ({"x": NAN}, {"product": NAN, "sum": NAN, "first_overflow_step": None, "theory_overflow_step": None}),
        ({"x": 1e308}, {"product": INF, "sum": INF, "first_overflow_step": 1, "sum_stagnates_at": None}),
        ({"x": INF, "n": 3}, {"product": INF, "sum": INF, "first_overflow_step": 1, "theory_overflow_step": 1}),
        ({"x": -INF, "n": 3}, {"product": -INF, "sum": -INF, "first_overflow_step": 1}),
    ],
)
def test_pow_vs_sum_edges(params, expected):
    """Inf and nan are reported as themselves, and None for an event that does not happen."""
    metrics = measured("pow_vs_sum", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name
