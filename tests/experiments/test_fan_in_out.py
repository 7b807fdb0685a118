"""Tests the experiment fan_in_out against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import demo, draws, measured


def test_fan_in_out_by_hand():
    """Forward and backward factors of a three-layer net are those of a backward pass written in numpy."""
    x, *matrices, noise = draws(0, (8, 24), (24, 10), (10, 24), (24, 10), (8, 10))
    metrics = measured("fan_in_out", wide=24, narrow=10, layers=3, batch=8)
    for mode, fan in (("fan_in", lambda a, _: a), ("fan_out", lambda _, b: b), ("average", lambda a, b: (a + b) / 2)):
        scaled = [w * math.sqrt(2 / fan(*w.shape)) for w in matrices]
        h = [x]
        for w in scaled:
            h.append(np.maximum(h[-1] @ w, 0))
        g = [noise]
        for w, out in zip(reversed(scaled), reversed(h[1:]), strict=True):
            g.append((g[-1] * (out > 0)) @ w.T)
        g.reverse()
        assert metrics[f"{mode}_forward"] == pytest.approx((h[1] ** 2).mean() / (h[0] ** 2).mean())
        assert metrics[f"{mode}_backward"] == pytest.approx((g[0] ** 2).mean() / (g[1] ** 2).mean())
        if mode != "average":
            assert metrics[f"{mode}_forward_total"] == pytest.approx((h[3] ** 2).mean() / (h[0] ** 2).mean())
            assert metrics[f"{mode}_backward_total"] == pytest.approx((g[0] ** 2).mean() / (g[3] ** 2).mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fan_in_out_claims(seed):
    """With fan_in a layer's backward gain is n_out/n_in = ¼; with fan_out its forward gain is the inverse, 4."""
    metrics = measured("fan_in_out", seed)
    assert metrics["theory_ratio"] == 0.25
    assert metrics["fan_in_forward"] == pytest.approx(1, rel=0.1)
    assert metrics["fan_out_backward"] == pytest.approx(1, rel=0.1)
    assert metrics["fan_in_backward"] == pytest.approx(0.25, rel=0.1)
    assert metrics["fan_out_forward"] == pytest.approx(4, rel=0.1)
    assert metrics["average_forward"] == pytest.approx(1.6, rel=0.1)
    assert metrics["fan_in_forward_total"] == pytest.approx(metrics["fan_out_forward_total"])


def test_fan_in_out_widths():
    """A funnel shrinks evenly on a log scale; alternating widths come in pairs; equal widths leave no difference."""
    widths = demo("fan_in_out").widths
    assert widths(512, 128, 2, "funnel") == [512, 256, 128]
    assert widths(512, 128, 3, "alternate") == [512, 128, 512, 128]
    assert measured("fan_in_out", shape="funnel")["fan_out_forward_total"] > 2
    same = measured("fan_in_out", narrow=512, layers=2)
    assert same["fan_in_backward"] == pytest.approx(same["fan_out_backward"], rel=1e-12)
