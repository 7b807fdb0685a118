"""Tests the experiment vanish_probability against numpy in float64 with a backward pass by hand, and the infinitely
wide net.
"""

import math

import numpy as np
import pytest
import torch
from oracles import PHI, measure, measured, rms_norm

from qa_service.errors import BadParameter


@pytest.mark.parametrize(("layers", "width"), [(1, 4), (3, 6), (8, 5)])
def test_vanish_probability_ratios(layers, width):
    """Every ratio is that of φ' and the transposed weights, for the same draws."""
    rows, _ = measure("vanish_probability", layers=layers, width=width, n=20)
    torch.manual_seed(0)
    sigmas = [0.5 * 8**position for position in torch.rand(20, dtype=torch.float64).tolist()]
    at = iter(rows)
    for sigma in sigmas:
        x, raw, read_out = (torch.randn(*s).double().numpy() for s in ((16, width), (layers, width, width), (width, 1)))
        for name in ("sigmoid", "tanh", "relu"):
            phi, slope = PHI[name]
            h, pre = x, []
            for w in raw:
                pre.append(h @ (w * sigma / math.sqrt(width)))
                h = phi(pre[-1])
            back = last = np.tile(read_out.T, (16, 1))
            for w, z in zip(reversed(raw), reversed(pre), strict=True):
                back = (back * slope(z)) @ (w.T * sigma / math.sqrt(width))
            row = next(at)
            assert row["series"] == name
            assert row["sigma_w"] == pytest.approx(sigma, rel=1e-12)
            assert row["ratio"] == pytest.approx(rms_norm(back) / rms_norm(last), rel=1e-3, abs=1e-30)


@pytest.mark.parametrize("params", [{}, {"layers": 10}, {"layers": 50}, {"lo": 0.1, "hi": 10.0, "threshold": 1e-3}])
def test_vanish_probability_theory(params):
    """At the defaults it is 0.168 each: the share of a log-uniform σ_w for which (σ_w/√2)^L is below the threshold, on
    a grid.
    """
    metrics = measured("vanish_probability", **params)
    layers, lo, hi = params.get("layers", 20), params.get("lo", 0.5), params.get("hi", 4.0)
    log_ratio = layers * np.log(np.geomspace(lo, hi, 200001) / math.sqrt(2))
    limit = math.log(params.get("threshold", 1e-6))
    assert metrics["relu_theory_vanish"] == pytest.approx((log_ratio < limit).mean(), abs=1e-4)
    assert metrics["relu_theory_explode"] == pytest.approx((log_ratio > -limit).mean(), abs=1e-4)
    assert abs(metrics["relu_vanish"] - metrics["relu_theory_vanish"]) < 0.15
    if not params:
        assert metrics["relu_theory_vanish"] == pytest.approx(0.168, abs=5e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_vanish_probability_claims(seed):
    """ReLU vanishes less often than sigmoid, and never at 10 layers; it explodes, which sigmoid never does."""
    metrics = measured("vanish_probability", seed)
    assert 0 < metrics["relu_vanish"] < metrics["sigmoid_vanish"]
    assert metrics["relu_explode"] > metrics["sigmoid_explode"] == 0
    assert metrics["vanish_difference"] == pytest.approx(metrics["sigmoid_vanish"] - metrics["relu_vanish"])
    assert measured("vanish_probability", seed, layers=10)["relu_vanish"] == 0


def test_vanish_probability_edges():
    """With one layer gradients never vanish, with σ_w of at most 0.3 ReLU's always do; fewer than 20 networks are
    refused.
    """
    one = measured("vanish_probability", layers=1)
    assert not any(value for value in one.values())
    same = measured("vanish_probability", lo=0.1, hi=0.3)
    assert same["relu_vanish"] == same["relu_theory_vanish"] == 1
    with pytest.raises(BadParameter):
        measured("vanish_probability", n=1)
    with pytest.raises(BadParameter):
        measured("vanish_probability", lo=4.0, hi=0.5)
