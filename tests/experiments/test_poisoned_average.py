"""Tests the experiment poisoned_average against averages by numpy over the same losses."""

import math

import numpy as np
import pytest
from oracles import measure, measured, same


@pytest.mark.parametrize("bad", ["nan", "inf", "huge", "none"])
def test_averages_by_numpy(bad):
    """Losses are taken from the rows; the exponential average is computed as a sum of powers."""
    rows, metrics = measure("poisoned_average", bad=bad, bad_step=60, n=200)
    loss = np.array([row["loss"] for row in rows])
    weights = 0.02 * 0.98 ** np.arange(199, -1, -1)
    weights[0] = 0.98**199
    good = loss[np.isfinite(loss)]
    expected = {
        "running_end": np.mean(loss),
        "ema_end": (weights * loss).sum(),
        "window_end": loss[-50:].mean(),
        "finite_end": good.mean(),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert metrics["bad_count"] == 200 - len(good)


def test_only_the_window_recovers():
    """A nan or inf stays in the running mean and the exponential average, and leaves the window after 50 steps."""
    for bad in ("nan", "inf"):
        metrics = measured("poisoned_average", bad=bad, bad_step=100, n=400)
        assert metrics["running_bad"] == metrics["ema_bad"] == 301 / 400
        assert (metrics["window_bad"], metrics["loss_bad"]) == (50 / 400, 1 / 400)
        assert same(metrics["running_end"], math.nan if bad == "nan" else math.inf)
    clean, poisoned = (measured("poisoned_average", bad=bad)["finite_end"] for bad in ("none", "nan"))
    assert poisoned == pytest.approx(clean, rel=0.01)


def test_no_bad_step():
    """Also tested is a bad step that lies beyond the end."""
    for params in ({"bad": "none"}, {"bad_step": 500}):
        metrics = measured("poisoned_average", **params)
        assert (metrics["running_bad"], metrics["bad_count"], metrics["finite_rel_err"]) == (0, 0, 0)
