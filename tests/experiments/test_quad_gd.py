"""Tests the experiment quad_gd against reference values computed by independent code."""

import math
from fractions import Fraction

import pytest
from oracles import (
    FORMATS,
    INF,
    NAN,
    measure,
    measured,
    same,
)


def descend_exactly(dtype: str, lr: float, lam: float, x0: float, n: int) -> tuple[list[Fraction], int | None]:
    """|x| at every step in rational arithmetic rounded after each operation, and the step of the first inf."""
    form = FORMATS[dtype]
    wide = FORMATS["float64" if dtype == "float64" else "float32"]  # a Python number beside a tensor keeps at least 24
    rate, curvature = wide.rounded(Fraction(lr)), wide.rounded(Fraction(lam))
    x = form.rounded(Fraction(x0))
    path = [x]
    for step in range(1, n + 1):
        slope = form.rounded(curvature * x)
        update = None if slope is None else form.rounded(wide.rounded(rate * slope))
        x = None if update is None else form.rounded(x - update)
        if x is None:
            return path, step
        path.append(x)
    return path, None


@pytest.mark.parametrize(
    ("dtype", "lr", "first_inf"),
    [("float32", 2.5, 218), ("float16", 2.5, 27), ("bfloat16", 2.5, 219), ("float64", 2.5, 1750), ("float32", 3, 128)],
)
def test_quad_gd_overflows_when_exact_arithmetic_says(dtype, lr, first_inf):
    """The first inf is that of rational arithmetic rounded to the format; nan follows one step later."""
    _, exact = descend_exactly(dtype, lr, 1.0, 1.0, 2000)
    metrics = measured("quad_gd", lr=lr, dtype=dtype, n=2000)
    assert metrics["first_inf_step"] == exact == first_inf
    assert metrics["first_nan_step"] == exact + 1
    assert metrics["steps_from_inf_to_nan"] == 1
    assert math.isnan(metrics["final_abs"])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("lr", "lam", "x0"), [(2.5, 1.0, 1.0), (3.0, 1.0, -7.0), (-0.5, 1.0, 1.0), (0.25, 16.0, 1e-3)])
def test_quad_gd_theory_is_the_first_step_beyond_the_largest_number(dtype, lr, lam, x0):
    """The first t with max(λ, lr·λ, r, 1)·r^(t−1)·|x0| > max, compared as exact rationals; ±1 in bfloat16."""
    r, product = abs(1 - Fraction(lr) * Fraction(lam)), Fraction(lr) * Fraction(lam)
    reached, step = max(Fraction(lam), product, r, Fraction(1)) * abs(FORMATS[dtype].rounded(Fraction(x0))), 1
    while reached <= FORMATS[dtype].largest:
        reached, step = reached * r, step + 1
    metrics = measured("quad_gd", lr=lr, lam=lam, x0=x0, n=5000, dtype=dtype)
    assert metrics["theory_first_inf_step"] == step
    assert metrics["factor"] == r
    assert abs(metrics["first_inf_step"] - step) <= (1 if dtype == "bfloat16" else 0)
    assert metrics["steps_off_theory"] == abs(metrics["first_inf_step"] - step)


@pytest.mark.parametrize(("dtype", "lr", "n"), [("float32", 1.9, 1000), ("float16", 1.9, 300), ("bfloat16", 0.3, 200)])
def test_quad_gd_iterates_are_those_of_exact_arithmetic(dtype, lr, n):
    """Below the critical rate every |x| shown is the exactly rounded one; float32 stalls at 4 units of underflow."""
    path, _ = descend_exactly(dtype, lr, 1.0, 1.0, n)
    rows, metrics = measure("quad_gd", lr=lr, n=n, dtype=dtype)
    assert all(row["abs_x"] == float(abs(path[row["step"]])) for row in rows)
    if dtype == "float32":
        assert metrics["final_abs"] == 4 * FORMATS["float32"].smallest


def test_quad_gd_around_the_critical_rate():
    """The run diverges exactly for rates lr > 2/λ; at 2/λ the size stays the same."""
    for lam in (0.5, 1.0, 4.0):
        metrics = measured("quad_gd", lam=lam, lr=0.1, n=3000)
        assert metrics["lr_critical"] == 2 / lam
        assert metrics["final_abs_below_critical"] < 1e-30
        assert metrics["final_abs_at_critical"] == 1
        assert math.isnan(metrics["final_abs_above_critical"])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 1.9}, {"first_inf_step": None, "first_nan_step": None, "theory_first_inf_step": None}),
        ({"lr": 0.0}, {"final_abs": 1.0, "factor": 1.0, "first_inf_step": None}),
        ({"lr": 2.0}, {"final_abs": 1.0, "first_inf_step": None, "theory_first_inf_step": None}),
        ({"lr": 1.0}, {"final_abs": 0.0, "factor": 0.0}),
        ({"lr": -0.5}, {"first_inf_step": 219, "theory_first_inf_step": 219, "first_nan_step": None, "final_abs": INF}),
        ({"x0": 0.0}, {"final_abs": 0.0, "first_inf_step": None, "theory_first_inf_step": None}),
        ({"x0": NAN}, {"first_inf_step": None, "first_nan_step": 1, "theory_first_inf_step": None, "final_abs": NAN}),
        ({"x0": 1e308}, {"first_inf_step": None, "first_nan_step": 1, "theory_first_inf_step": None}),
        ({"x0": 1e308, "dtype": "float64"}, {"first_inf_step": 1, "first_nan_step": 2, "theory_first_inf_step": 1}),
        ({"lam": 0.0}, {"final_abs": 1.0, "lr_critical": None, "final_abs_at_critical": None}),
        ({"n": 1}, {"final_abs": 1.5, "first_inf_step": None, "theory_first_inf_step": 218}),
        ({"lam": 100.0, "lr": 0.0201, "n": 10000}, {"first_inf_step": 8455, "theory_first_inf_step": 8455}),
    ],
)
def test_quad_gd_edges(params, expected):
    """Edge cases: constant, one step to 0, ascent without nan, starts that are 0, nan or not representable."""
    metrics = measured("quad_gd", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name


@pytest.mark.parametrize("dtype", FORMATS)
def test_quad_gd_clipped(dtype):
    """Starting from 1 with lr 2.5 and the gradient clipped to 1, x alternates 1, −1.5, 1, −1.5, …"""
    rows, metrics = measure("quad_gd", clip=1.0, n=50, dtype=dtype)
    assert [row["abs_x"] for row in rows] == [1.5 if step % 2 else 1.0 for step in range(51)]
    assert metrics["largest_abs"] == 1.5
    assert metrics["first_inf_step"] is metrics["first_nan_step"] is metrics["theory_first_inf_step"] is None
    assert measured("quad_gd", lr=1.5, clip=1.0)["final_abs"] < 1e-30
    assert (
        measured("quad_gd", clip=1e6, dtype=dtype, n=20)["largest_abs"]
        == measured("quad_gd", dtype=dtype, n=20)["largest_abs"]
    )


def test_quad_gd_largest():
    """Without clipping the largest |x| is inf above the critical rate and the first step below it."""
    assert measured("quad_gd")["largest_abs"] == INF
    assert measured("quad_gd", lr=1.9)["largest_abs"] == pytest.approx(0.9, rel=1e-6)
