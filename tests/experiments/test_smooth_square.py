"""Tests the experiment smooth_square against mpmath."""

import mpmath
import pytest
from oracles import measure, measured

G = {
    "gelu": lambda t: t * mpmath.ncdf(t),
    "silu": lambda t: t / (1 + mpmath.exp(-t)),
    "softplus": lambda t: mpmath.log1p(mpmath.exp(t)),
}


@pytest.mark.parametrize("act", G)
@pytest.mark.parametrize("h", [0.1, 0.5, 2.0])
def test_smooth_square_error_by_mpmath(act, h):
    """The error at x = 1, where it is largest, with 30 digits; the curvature by numerical differentiation."""
    mpmath.mp.dps = 30
    g, t = G[act], mpmath.mpf(h)
    bend = mpmath.diff(g, 0, 2)
    exact = abs((g(t) + g(-t) - 2 * g(mpmath.mpf(0))) / (bend * t * t) - 1)
    metrics = measured("smooth_square", act=act, h=h)
    assert metrics["max_err"] == pytest.approx(float(exact), rel=1e-6)
    assert metrics["output_weight"] == pytest.approx(float(1 / (bend * t * t)), rel=1e-8)
    if h == 0.1:
        assert metrics["err_over_theory"] == pytest.approx(1, abs=0.01)


def test_smooth_square_claims_and_controls():
    """Two GELU units are right within h²/6, two ReLUs are off by a quarter for any h; a broken line needs 25 pieces for
    as much.
    """
    metrics = measured("smooth_square")
    assert metrics["max_err"] == pytest.approx(0.0016642, rel=1e-3)
    assert metrics["theory_err"] == pytest.approx(1 / 600)
    assert metrics["relu_err"] == pytest.approx(0.25, abs=1e-6)
    assert metrics["relu_pieces"] == 25
    for h in (1e-3, 1.0, 10.0):
        assert measured("smooth_square", act="relu", h=h)["max_err"] == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("act", G)
def test_smooth_square_rounding(act):
    """The shorter the format, the larger the least error and the h at which it lies."""
    best = [measured("smooth_square", act=act, dtype=dtype) for dtype in ("float64", "float32", "float16")]
    assert best[0]["best_err"] < best[1]["best_err"] / 100 < best[2]["best_err"] / 1000
    assert best[0]["best_h"] < best[1]["best_h"] < best[2]["best_h"]
    rows, metrics = measure("smooth_square", act=act, h=1e-6, dtype="float16")
    assert len(rows) == 62
    assert not metrics["max_err"] < 0.1
