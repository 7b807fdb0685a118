"""Tests the experiment fp_sum against reference values computed by independent code."""

import math
from fractions import Fraction

import numpy as np
import pytest
from oracles import (
    FORMATS,
    INF,
    NAN,
    NUMPY,
    add_exactly,
    measured,
    same,
)


@pytest.mark.parametrize(
    ("params", "stall", "terms"),
    [
        ({}, 0.25, 2181),
        ({"dtype": "bfloat16"}, 0.03125, 273),
        ({"x": 1e-3, "n": 10000}, 4.0, 3070),
        ({"x": 1.0, "n": 10000}, 2048.0, 2048),
        ({"x": -1.5, "n": 10000}, -4096.0, 2219),
        ({"x": 0.3, "n": 2000, "dtype": "bfloat16"}, 128.0, None),
    ],
)
def test_fp_sum_stalls_where_rounding_says(params, stall, terms):
    """A running sum stops at the smallest power of two 2^e with |x| ≤ 2^(e−p), after as many terms as exact rounding
    needs: at 0.25 after 2181 terms of 1e-4 in float16.
    """
    metrics = measured("fp_sum", **params)
    dtype, x = params.get("dtype", "float16"), params.get("x", 1e-4)
    form = FORMATS[dtype]
    total, stop = add_exactly(dtype, x, params.get("n", 20000))
    power = next(e for e in range(-60, 20) if abs(form.rounded(Fraction(x))) <= Fraction(2) ** (e - form.p))
    assert Fraction(metrics["running_sum"]) == total == stall
    assert metrics["theory_stall"] == math.copysign(2.0**power, x) == stall
    assert metrics["stall_over_theory"] == 1
    assert metrics["stagnates_after_n_terms"] == stop - 1
    assert terms in (None, stop - 1)
    assert metrics["stored_term"] == form.rounded(Fraction(x))


@pytest.mark.parametrize(("dtype", "x", "n"), [("float16", 1e-4, 20000), ("float16", 0.3, 777), ("float32", 0.1, 5000)])
def test_fp_sum_against_numpy(dtype, x, n):
    """Four ways of adding give bit for bit the sums of numpy's arithmetic in the same format."""
    kind = NUMPY[dtype]
    term, running, kahan, lost, wide = kind(x), kind(0), kind(0), kind(0), np.float32(0)
    for _ in range(n):
        running += term
        owed = term - lost
        new = kahan + owed
        kahan, lost = new, (new - kahan) - owed
        wide += np.float32(term)
    layer = [term] * n
    while len(layer) > 1:
        layer = [a + b for a, b in zip(layer[::2], layer[1::2], strict=False)] + layer[len(layer) & ~1 :]
    metrics = measured("fp_sum", x=x, n=n, dtype=dtype)
    expected = {"running": running, "kahan": kahan, "pairwise": layer[0], "float32": wide}
    for name, value in expected.items():
        assert metrics[f"{name}_sum"] == float(value), name
        error = abs(Fraction(float(value)) - Fraction(x) * n) / (Fraction(x) * n)
        assert metrics[f"rel_err_{name}"] == pytest.approx(float(error), rel=1e-6, abs=1e-12)
    assert metrics["rel_err_torch"] < 0.01
    assert metrics["true_sum"] == pytest.approx(n * x)


def test_fp_sum_cures():
    """The running sum is 87.5 % too small; Kahan, pairwise and float32 sums stay within 1 %."""
    metrics = measured("fp_sum")
    assert metrics["rel_err_running"] == pytest.approx(0.875, rel=1e-12)
    assert max(metrics[f"rel_err_{name}"] for name in ("kahan", "pairwise", "float32", "torch")) < 0.01
    assert metrics["kahan_sum"] == metrics["pairwise_sum"] == 2
    assert measured("fp_sum", dtype="bfloat16")["kahan_sum"] == 2.015625  # 2.016, the next bfloat16 above 2
    control = measured("fp_sum", dtype="float32")
    assert control["stagnates_after_n_terms"] is control["stall_over_theory"] is None
    assert control["rel_err_running"] < 1e-3


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"n": 1}, {"stagnates_after_n_terms": None, "theory_stall": 0.25, "stall_over_theory": None}),
        (
            {"x": 0.0},
            {"running_sum": 0.0, "stagnates_after_n_terms": None, "theory_stall": None, "rel_err_kahan": None},
        ),
        (
            {"x": 1e-8, "n": 100},
            {"stored_term": 0.0, "running_sum": 0.0, "kahan_sum": 0.0, "float32_sum": 0.0, "rel_err_kahan": 1.0},
        ),
        (
            {"x": 1e308, "n": 10},
            {"stored_term": INF, "running_sum": INF, "kahan_sum": NAN, "pairwise_sum": INF, "rel_err_running": None},
        ),
        ({"x": NAN, "n": 10}, {"running_sum": NAN, "kahan_sum": NAN, "theory_stall": None, "rel_err_running": None}),
        ({"x": -INF, "n": 10}, {"running_sum": -INF, "kahan_sum": NAN, "stagnates_after_n_terms": None}),
        ({"x": 60000.0, "n": 10}, {"running_sum": INF, "theory_stall": None, "stagnates_after_n_terms": None}),
    ],
)
def test_fp_sum_edges(params, expected):
    """Tested are a sum that does not stop, a term that underflows, one that overflows (Kahan: inf − inf), and nan."""
    metrics = measured("fp_sum", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name


def test_fp_sum_dot_product():
    """4096 ones added one by one stop at 2048; the library's dot product, sum and float32 get 4096."""
    metrics = measured("fp_sum", x=1.0, n=4096)
    assert metrics["running_sum"] == 2048
    assert metrics["float32_sum"] == metrics["torch_sum"] == metrics["torch_dot"] == 4096
    assert metrics["rel_err_dot"] == 0
    assert metrics["rel_err_running"] == 0.5
    assert measured("fp_sum", x=1.0, n=2000)["rel_err_running"] == 0
