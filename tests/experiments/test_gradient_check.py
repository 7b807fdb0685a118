"""Tests the experiment gradient_check against numpy, and against mistakes whose error is known exactly."""

import numpy as np
import pytest
from oracles import draws, measured


def setting(width: int, batch: int):
    x, v, w, y = draws(0, (batch, width), (width,), (width, width), (batch,), double=True)
    w = w / np.sqrt(width)
    return w, lambda at: ((np.tanh(x @ at) @ v - y) ** 2).mean(), (x, v, y)


@pytest.mark.parametrize(("width", "batch"), [(4, 8), (3, 1), (1, 5)])
@pytest.mark.parametrize(("scheme", "h"), [("central", 0.1), ("central", 0.01), ("forward", 1e-3)])
def test_gradient_check_truncation(width, batch, scheme, h):
    """For large h the error equals that of difference quotients against the chain rule in numpy."""
    w, loss, (x, v, y) = setting(width, batch)
    hidden = np.tanh(x @ w)
    exact = x.T @ ((2 / batch * (hidden @ v - y))[:, None] * v * (1 - hidden**2))
    quotient = np.empty_like(w)
    for at in np.ndindex(w.shape):
        shift = np.zeros_like(w)
        shift[at] = h
        below = loss(w - shift) if scheme == "central" else loss(w)
        quotient[at] = (loss(w + shift) - below) / (2 * h if scheme == "central" else h)
    error = np.abs(quotient - exact).max() / np.abs(exact).max()
    metrics = measured("gradient_check", width=width, batch=batch, scheme=scheme, h=h)
    assert metrics["diff_err"] == pytest.approx(error, rel=1e-4)
    assert metrics["hand_err"] < 1e-13


@pytest.mark.parametrize("seed", range(5))
def test_gradient_check_is_u_shaped(seed):
    """The error is least near eps^(1/3), and larger by far at both ends."""
    metrics = measured("gradient_check", seed)
    assert 1e-7 < metrics["best_h"] < 1e-4
    assert metrics["theory_best_h"] == pytest.approx(2 ** (-52 / 3))
    assert metrics["best_err"] < 1e-8 < metrics["err_small_h"] < metrics["err_large_h"]
    short = measured("gradient_check", seed, dtype="float32")
    assert short["best_h"] >= 1e-3
    assert short["err_small_h"] == 1  # nothing of the difference is left
    forward = measured("gradient_check", seed, scheme="forward")
    assert metrics["best_err"] < forward["best_err"] < 1e-6


@pytest.mark.parametrize("batch", [1, 8, 20])
def test_gradient_check_finds_mistakes(batch):
    """A missing factor 2 halves the gradient, a missing mean multiplies it by the batch, a wrong sign gives an error of
    twice it.
    """
    for mistake, error in (("none", 0), ("no_two", 0.5), ("no_mean", batch - 1), ("wrong_sign", 2)):
        metrics = measured("gradient_check", mistake=mistake, batch=batch)
        assert metrics["hand_err"] == pytest.approx(error, rel=1e-12, abs=1e-13)
        assert metrics["hand_err_by_differences"] == pytest.approx(error, rel=1e-6, abs=1e-8)
    for mistake in ("no_slope", "transposed"):
        assert measured("gradient_check", mistake=mistake, batch=batch)["hand_err"] > 0.01
    assert measured("gradient_check", mistake="transposed", width=1)["hand_err"] < 1e-13
