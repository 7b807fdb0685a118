"""Tests the experiment exponential_gate against reference values computed by independent code."""

import math

import mpmath
import pytest
from oracles import measured


@pytest.mark.parametrize(("x", "n"), [(60.0, 50), (10.0, 20), (-1000.0, 30), (1000.0, 30)])
def test_exponential_gate_exact(x, n):
    """The ratio c/m equals that of mpmath, whose exponent range is unlimited, computed without a stabiliser."""
    f = 1 / (1 + mpmath.exp(-3))
    c = m = mpmath.mpf(0)
    for t in range(n):
        i = mpmath.exp(x * (1 + math.sin(t) / 2))
        c, m = f * c + i * (math.cos(t) / 2 + 0.5), f * m + i
    metrics = measured("exponential_gate", x=x, n=n)
    assert metrics["exact"] == pytest.approx(float(c / m), rel=1e-9)
    assert metrics["stabilised"] == pytest.approx(float(c / m), rel=1e-5)
    assert metrics["largest_exponent"] == pytest.approx(max(x * (1 + math.sin(t) / 2) for t in range(n)))


def test_exponential_gate_claims_and_edges():
    """The naive cell is nan from the first exponent beyond the limit; below it, or in float64, both cells agree."""
    metrics = measured("exponential_gate")
    assert math.isnan(metrics["naive"])
    assert metrics["first_bad_step"] == 9
    assert metrics["stabilised_error"] < 1e-5
    assert metrics["exponent_limit"] == pytest.approx(88.7228, abs=1e-3)
    small = measured("exponential_gate", x=10.0)
    assert small["first_bad_step"] is None
    assert small["naive"] == pytest.approx(small["exact"], abs=1e-5)
    assert measured("exponential_gate", dtype="float64")["first_bad_step"] is None
    assert measured("exponential_gate", dtype="bfloat16")["stabilised_error"] > 1e-3
    assert measured("exponential_gate", x=-1000.0)["first_bad_step"] == 1  # exp underflows and 0/0 is nan
    assert measured("exponential_gate", dtype="float16", x=10.0)["first_bad_step"] is not None
