"""Tests the experiment input_scale against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import INF, draws, measure, measured


@pytest.mark.parametrize("params", [{}, {"width": 3, "batch": 5}, {"width": 12, "batch": 4}, {"scale": 0.01}])
def test_input_scale_critical_rates(params):
    """The measured critical rate is 2/λmax from singular values, so it falls with scale²."""
    full = {"width": 8, "batch": 64, "scale": 1000.0} | params
    (x,) = draws(0, (full["batch"], full["width"]), double=True)
    critical = 2 * full["batch"] / np.linalg.svd(x, compute_uv=False)[0] ** 2
    metrics = measured("input_scale", **params)
    assert metrics["theory_lr_crit"] == pytest.approx(critical, rel=1e-10)
    assert metrics["lr_crit"] == pytest.approx(critical, rel=1e-3)
    assert metrics["lr_crit_scaled"] == pytest.approx(critical / full["scale"] ** 2, rel=1e-3)
    assert metrics["lr_crit_ratio"] == pytest.approx(full["scale"] ** 2, rel=1e-3)


@pytest.mark.parametrize(("lr", "n", "scale"), [(0.1, 100, 2.0), (0.4, 7, 0.5), (1e-7, 50, 1000.0)])
def test_input_scale_losses_in_closed_form(lr, n, scale):
    """The weights after n steps are w* − (I − lr·H)ⁿ w*, where w* is the least-squares solution."""
    x, w, noise = draws(0, (64, 8), (8,), (64,), double=True)
    y = x @ w + 0.1 * noise
    metrics = measured("input_scale", lr=lr, n=n, scale=scale)
    for inputs, name in ((x, "loss_end"), (scale * x, "loss_end_scaled")):
        best = np.linalg.lstsq(inputs, y, rcond=None)[0]
        shrink = np.linalg.matrix_power(np.eye(8) - lr * inputs.T @ inputs / 64, n)
        loss = 0.5 * np.mean((inputs @ (best - shrink @ best) - y) ** 2)
        assert metrics[name] == pytest.approx(loss, rel=1e-6)
    assert metrics["loss_start"] == pytest.approx(0.5 * np.mean(y**2))


def test_input_scale_edges():
    """A scale of 1 changes nothing, and lr = 0 trains nothing; exp overflows above 11.09 in float16, 88.7 in
    float32.
    """
    same = measured("input_scale", scale=1.0)
    assert same["lr_crit_ratio"] == 1
    assert same["loss_end"] == same["loss_end_scaled"]
    still = measured("input_scale", lr=0.0)
    assert still["loss_end"] == still["loss_end_scaled"] == still["loss_start"]
    for scale, half, single in ((11.0, False, False), (12.0, True, False), (88.0, True, False), (89.0, True, True)):
        metrics = measured("input_scale", scale=scale)
        assert (metrics["exp_float16"] == INF) is half
        assert (metrics["exp_float32"] == INF) is single


def test_input_scale_chart_shows_both_edges():
    """The grid reaches from well below the smaller critical rate to ten times the larger one."""
    rows, metrics = measure("input_scale")
    assert rows[0]["rate"] < metrics["lr_crit_scaled"] / 10
    assert rows[-1]["rate"] > metrics["lr_crit"] * 9
    assert rows[0]["scaled"] < metrics["loss_start"]
    assert not rows[-1]["plain"] < metrics["loss_start"]
