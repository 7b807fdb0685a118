"""Tests the experiment bn_grad against reference values computed by independent code."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from oracles import (
    draws,
    measured,
    rms_norm,
)

from qa_service.errors import BadParameter


def test_bn_grad_theory():
    """E[φ'²]/Var[φ] is π/(π−1) for ReLU, a numerical integral for tanh and sigmoid, (B−2)/(B−3) for the linear net."""
    assert measured("bn_grad", layers=3, width=2)["theory_sq_grad_rate"] == pytest.approx(
        math.pi / (math.pi - 1), rel=1e-4
    )
    for act, f in {"tanh": mpmath.tanh, "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z))}.items():

        def mean(g: Any) -> Any:
            return mpmath.quad(lambda z: g(z) * mpmath.npdf(z), [-12, -4, 0, 4, 12])

        exact = mean(lambda z, f=f: mpmath.diff(f, z) ** 2) / (mean(lambda z, f=f: f(z) ** 2) - mean(f) ** 2)
        theory = measured("bn_grad", layers=3, width=2, act=act)["theory_sq_grad_rate"]
        assert theory == pytest.approx(float(exact), rel=1e-4), act
    for batch in (4, 5, 128):
        linear = measured("bn_grad", layers=3, width=2, act="linear", batch=batch)
        assert linear["theory_sq_grad_rate"] == pytest.approx((batch - 2) / (batch - 3), rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bn_grad_rates(seed):
    """With BN the variance stays within 25 % and the squared gradient grows by π/(π−1) a layer; without BN it does
    not.
    """
    metrics = measured("bn_grad", seed)
    assert metrics["sq_grad_rate_bn"] == pytest.approx(math.pi / (math.pi - 1), rel=0.04)
    assert metrics["sq_grad_rate_error"] == abs(metrics["sq_grad_rate_bn"] / metrics["theory_sq_grad_rate"] - 1)
    assert 100 < metrics["total_ratio_bn"] < 1e5
    assert metrics["act_var_drift"] < 0.25
    assert 0.9 < metrics["sq_grad_rate_nobn"] < 1.1
    assert metrics["total_ratio_nobn_abs_log10"] == pytest.approx(abs(math.log10(metrics["total_ratio_nobn"])))
    assert metrics["act_var_first"] == pytest.approx(0.5 - 1 / (2 * math.pi), rel=0.06)


def test_bn_grad_small_net_against_finite_differences():
    """The gradient through BN and the variances equal those of a net in numpy with central differences."""
    x, cotangent, *raw = draws(0, (7, 4), (7, 4), (4, 4), (4, 4))

    def net(h: np.ndarray, norm: bool) -> list[np.ndarray]:
        states = [h]
        for w in raw:
            z = states[-1] @ (w * 1.4142 / 2)
            z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) if norm else z
            states.append(np.tanh(z))
        return states

    metrics = measured("bn_grad", layers=2, width=4, batch=7, act="tanh")
    for norm, name in ((True, "bn"), (False, "nobn")):
        slopes = np.zeros_like(x)
        for at in np.ndindex(*x.shape):
            step = np.zeros_like(x)
            step[at] = 1e-5
            slopes[at] = ((net(x + step, norm)[-1] - net(x - step, norm)[-1]) * cotangent).sum() / 2e-5
        expected = rms_norm(slopes) / rms_norm(cotangent)
        assert metrics[f"total_ratio_{name}"] == pytest.approx(expected, rel=1e-3), name
    assert metrics["act_var_first"] == pytest.approx(net(x, True)[1].var(0).mean(), rel=1e-4)
    assert metrics["act_var_last"] == pytest.approx(net(x, True)[2].var(0).mean(), rel=1e-4)


def test_bn_grad_controls_and_edges():
    """Linear, residual and no BN do not explode; two samples and one layer have no rate; 500 layers overflow float32;
    the scale of the weights does not matter behind BN; BN cures the sigmoid.
    """
    assert 1 < measured("bn_grad", act="linear")["total_ratio_bn"] < 2
    residual = measured("bn_grad", residual=True)
    assert residual["total_ratio_bn"] < 50
    assert residual["theory_sq_grad_rate"] is residual["sq_grad_rate_error"] is None
    two = measured("bn_grad", batch=2, layers=10)
    assert two["sq_grad_rate_bn"] is two["total_ratio_bn"] is two["theory_sq_grad_rate"] is None
    one = measured("bn_grad", layers=1)
    assert one["sq_grad_rate_bn"] is one["sq_grad_rate_nobn"] is None
    assert one["total_ratio_bn"] == pytest.approx(0.70, abs=0.05)
    deep = measured("bn_grad", layers=500, width=32, batch=32)
    assert not math.isfinite(deep["total_ratio_bn"])
    assert deep["act_var_drift"] < 0.5
    wide = measured("bn_grad", sigma_w=100.0, layers=20)
    assert wide["total_ratio_bn"] == pytest.approx(measured("bn_grad", layers=20)["total_ratio_bn"], rel=1e-2)
    sigmoid = measured("bn_grad", act="sigmoid")
    assert sigmoid["sq_grad_rate_bn"] > 0.9 > 0.15 > sigmoid["sq_grad_rate_nobn"]
    with pytest.raises(BadParameter):
        measured("bn_grad", batch=1)
