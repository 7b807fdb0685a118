"""Tests the experiment tied_vs_independent against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import INF, draws, measured


@pytest.mark.parametrize(("layers", "width", "gain"), [(50, 64, 1.0), (7, 5, 0.9), (3, 1, 2.0)])
def test_tied_against_numpy(layers, width, gain):
    """W, its powers and its eigenvalues by numpy, without rescaling."""
    x, w = draws(0, (16, width), (width, width), double=True)
    w = gain * w / math.sqrt(width)
    metrics = measured("tied_vs_independent", layers=layers, width=width, gain=gain)
    ratio = np.linalg.norm(x @ np.linalg.matrix_power(w.T, layers)) / np.linalg.norm(x)
    assert metrics["tied_norm_ratio"] == pytest.approx(ratio, rel=1e-9)
    assert metrics["tied_log_rate"] == pytest.approx(math.log(ratio) / layers, rel=1e-9)
    assert metrics["log_spectral_radius"] == pytest.approx(math.log(abs(np.linalg.eigvals(w)).max()), rel=1e-9)
    theory = mpmath.log(gain) + (mpmath.log(mpmath.mpf(2) / width) + mpmath.digamma(mpmath.mpf(width) / 2)) / 2
    assert metrics["theory_independent"] == pytest.approx(float(theory), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_tied_follows_the_spectral_radius(seed):
    """The tied rate is within 0.1 of ln ρ, the independent one within 0.05 of Newman's; 500 layers tell them apart."""
    metrics = measured("tied_vs_independent", seed)
    assert metrics["tied_error"] < 0.1
    assert metrics["independent_error"] < 0.05
    long = measured("tied_vs_independent", seed, layers=500)
    assert long["tied_error"] < 0.02
    assert long["gap"] == pytest.approx(
        abs(math.log10(long["tied_norm_ratio"]) - math.log10(long["independent_norm_ratio"])), abs=1e-9
    )


def test_tied_controls_and_edges():
    """Orthogonal matrices change no norm; gain 0 has no rate; gain 5 over 500 layers is inf, and its rate is known."""
    orthogonal = measured("tied_vs_independent", law="orthogonal", layers=500)
    assert orthogonal["tied_norm_ratio"] == pytest.approx(1, abs=1e-12)
    assert orthogonal["independent_norm_ratio"] == pytest.approx(1, abs=1e-12)
    nothing = measured("tied_vs_independent", gain=0.0)
    assert nothing["tied_norm_ratio"] == nothing["independent_norm_ratio"] == 0
    assert nothing["tied_log_rate"] is nothing["log_spectral_radius"] is nothing["gap"] is None
    huge = measured("tied_vs_independent", gain=5.0, layers=500)
    assert huge["tied_norm_ratio"] == INF
    assert huge["independent_error"] < 0.05
    assert measured("tied_vs_independent", width=1)["tied_error"] < 1e-12
