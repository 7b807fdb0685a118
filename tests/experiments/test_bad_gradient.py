"""Tests the experiment bad_gradient against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import INF, NAN, measured, same

BAD_STEP = 5


def oracle(x: float, optimizer: str, handling: str, lr: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights and the gradient used at the bad step, with SGD and Adam as in their papers, in float64."""
    w, m, v, t, used = np.ones(4), np.zeros(4), np.zeros(4), 0, np.zeros(4)
    with np.errstate(all="ignore"):
        for step in range(1, n + 1):
            g = w.copy()
            if step == BAD_STEP:
                g[0] = x
            if handling == "clip":
                g = g * min(1.0, 1 / (np.sqrt((g**2).sum()) + 1e-6)) if not np.isnan(g).any() else g * NAN
            if handling == "zero":
                g = np.where(np.isfinite(g), g, 0.0)
            used = g if step == BAD_STEP else used
            if handling == "skip" and not np.isfinite(g).all():
                continue
            kept = (w.copy(), m.copy(), v.copy(), t)
            t += 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w - lr * (g if optimizer == "sgd" else m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8))
            if step == BAD_STEP and handling == "reload":
                w = kept[0]
            if step == BAD_STEP and handling == "reload_all":
                w, m, v, t = kept
    return w, used


@pytest.mark.parametrize("x", [INF, NAN, -INF, 1e10, 0.3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("handling", ["apply", "clip", "zero", "skip", "reload", "reload_all"])
def test_the_same_by_hand(x, optimizer, handling):
    """Every way of handling the bad gradient, with both optimisers, agrees with the formulas."""
    w, used = oracle(x, optimizer, handling, 0.1, 40)
    metrics = measured("bad_gradient", x=x, optimizer=optimizer, handling=handling, n=40)
    assert metrics["first_weight"] == pytest.approx(w[0], rel=1e-3, abs=1e-5, nan_ok=True)
    assert metrics["other_weight"] == pytest.approx(w[1], rel=1e-3, abs=1e-5, nan_ok=True)
    assert metrics["used_first"] == pytest.approx(used[0], rel=1e-4, nan_ok=True)
    assert metrics["used_others"] == pytest.approx(used[1], rel=1e-4, abs=1e-9, nan_ok=True)
    assert metrics["bad_weights"] == (~np.isfinite(w)).sum()
    assert metrics["skipped"] == int(handling == "skip" and not math.isfinite(x))


def test_what_clipping_does_to_inf():
    """The product inf · 0 makes the bad component nan and the others 0; one step later everything is nan."""
    metrics = measured("bad_gradient", handling="clip", optimizer="sgd")
    assert same(metrics["used_first"], NAN)
    assert metrics["used_others"] == 0
    assert (metrics["first_bad_step"], metrics["bad_weights"]) == (BAD_STEP, 4)
    assert measured("bad_gradient", optimizer="sgd")["bad_weights"] == 1


def test_adam_remembers():
    """Restored weights with Adam's old state go bad at the next step; SGD has no state."""
    metrics = measured("bad_gradient", handling="reload")
    assert (metrics["first_bad_step"], metrics["bad_state"]) == (BAD_STEP + 1, 2)
    assert measured("bad_gradient", handling="reload", optimizer="sgd")["bad_weights"] == 0
    slow = measured("bad_gradient", x=1e10, n=500)
    assert abs(slow["first_weight"]) > 100 * abs(slow["other_weight"])
