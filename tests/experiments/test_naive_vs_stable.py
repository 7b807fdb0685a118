"""Tests the experiment naive_vs_stable against mpmath and IEEE 754."""

import mpmath
import pytest
from oracles import FORMATS, INF, NAN, demo, measure, measured, same

mpmath.mp.dps = 60


@pytest.mark.parametrize(
    ("case", "x", "naive", "stable", "naive_slope", "stable_slope"),
    [
        ("cross_entropy", 200.0, INF, 200.0, NAN, 1.0),
        ("bce", 20.0, INF, 20.0, NAN, 1.0),
        ("sqrt", 0.0, 0.0, 1e-4, INF, 5000.0),
        ("norm", 0.0, 0.0, 1e-4, NAN, 0.0),
        ("norm", 1.0, 1.0, 1.0, 1.0, 1.0),
        ("mask_multiply", INF, NAN, 0.0, 0.0, 0.0),
        ("mask_multiply", 5.0, 0.0, 0.0, 0.0, 0.0),
        ("where_log", 0.0, 0.0, 0.0, NAN, 0.0),
        ("zscore", 0.0, NAN, 0.0, NAN, 5e7),
        ("masked_mean", 0.0, NAN, 0.0, NAN, 1.0),
        ("masked_mean", 4.0, 1.0, 1.0, 0.0, 0.0),
        ("masked_row", -INF, NAN, 0.0, NAN, 0.0),
        ("masked_row", 1.0, 1.0, 1.0, 0.0, 0.0),
        ("clip", 1e30, 0.0, 1.0, 0.0, 0.0),
        ("clip", INF, NAN, NAN, NAN, NAN),
    ],
)
def test_naive_vs_stable_at_the_edge(case, x, naive, stable, naive_slope, stable_slope):
    """Naive forms give the inf and nan that follow from IEEE 754, stable forms the right number."""
    metrics = measured("naive_vs_stable", case=case, x=x)
    assert same(metrics["naive"], naive)
    assert same(metrics["naive_slope"], naive_slope)
    assert metrics["stable"] == pytest.approx(stable, rel=1e-4, nan_ok=True)
    assert metrics["stable_slope"] == pytest.approx(stable_slope, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("x", [-3.0, 0.5, 7.0, 30.0, 1000.0])
def test_naive_vs_stable_against_mpmath(dtype, x):
    """The stable forms are right within a few units in the last place; exact values are exact."""
    exact = {
        "log_sum_exp": mpmath.log(2 * mpmath.exp(mpmath.mpf(x))),
        "cross_entropy": mpmath.log1p(mpmath.exp(mpmath.mpf(x))),
        "bce": mpmath.log1p(mpmath.exp(mpmath.mpf(x))),
        "clip": mpmath.mpf(x) / max(1, mpmath.sqrt(mpmath.mpf(x) ** 2 + 1)),
    }
    for case, value in exact.items():
        metrics = measured("naive_vs_stable", case=case, x=x, dtype=dtype)
        assert metrics["exact"] == pytest.approx(float(value), rel=1e-14)
        assert metrics["stable_err"] < 4 * 2.0 ** (1 - FORMATS[dtype].p), case


@pytest.mark.parametrize(
    ("case", "steps"),
    [("log_sum_exp", (11, 89, 89, 710)), ("cross_entropy", (18, 93, 104, 746)), ("bce", (9, 7, 17, 37))],
)
def test_naive_vs_stable_breaks_from(case, steps):
    """At the integers found the naive forms are inf, and at one less they are not."""
    for dtype, step in zip(FORMATS, steps, strict=True):
        assert measured("naive_vs_stable", case=case, dtype=dtype)["breaks_from"] == step
        assert measured("naive_vs_stable", case=case, dtype=dtype, x=float(step))["naive"] == INF
        assert abs(measured("naive_vs_stable", case=case, dtype=dtype, x=step - 1.0)["naive"]) < INF


def test_naive_vs_stable_break_in_theory():
    """For log-sum-exp it is the first n with 2·eⁿ above the largest number, in 60 digits (bfloat16 rounds its
    exponential).
    """
    for dtype in ("float16", "float32", "float64"):
        top = mpmath.mpf(int(FORMATS[dtype].overflow))
        exact = next(n for n in range(1, 1000) if 2 * mpmath.exp(n) >= top)
        assert measured("naive_vs_stable", dtype=dtype)["breaks_from"] == exact


@pytest.mark.parametrize(
    ("dtype", "stored", "naive"), [("float16", 0.0, NAN), ("bfloat16", 1e-8, 0.0), ("float32", 1e-8, 0.0)]
)
def test_naive_vs_stable_eps(dtype, stored, naive):
    """1e-8 is stored as 0 in float16 only; the usable eps is then its smallest normal number."""
    metrics = measured("naive_vs_stable", case="divide", x=0.0, dtype=dtype)
    assert metrics["stored_eps"] == pytest.approx(stored, rel=1e-2)
    assert same(metrics["naive"], naive)
    assert metrics["stable"] == 0
    assert metrics["usable_eps"] == max(metrics["stored_eps"], float(FORMATS[dtype].smallest_normal))


@pytest.mark.parametrize("x", [NAN, INF, -INF, 1e308, 5e-324, -1.0])
def test_naive_vs_stable_takes_any_number(x):
    """Every case gives 41 rows and all metrics at every extreme value."""
    for case in demo("naive_vs_stable").NAIVE:
        rows, metrics = measure("naive_vs_stable", case=case, x=x)
        assert len(rows) == 41
        assert len(metrics) == 9
