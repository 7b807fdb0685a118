"""Tests the experiment truncated_bptt against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import measured


def lstm_loss(xs, u, w, bias, h, c):
    """The mean square of the last h in numpy, from a given state."""
    for x in xs:
        i, f, g, o = np.split(h @ w + x @ u + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    return (h**2).mean(), h, c


@pytest.mark.parametrize(("n", "window"), [(5, 5), (6, 3), (4, 1)])
def test_truncated_gradients_are_finite_differences(n, window):
    """Within the window gradients are the slope over the last steps, outside 0; without a window the slope over all
    steps.
    """
    import torch

    hidden = 3
    torch.manual_seed(0)
    kind = {"dtype": torch.float64}
    xs = torch.randn(n, 8, 4, **kind).numpy()
    u, w, bias = ((2 * torch.rand(*s, **kind) - 1).numpy() / np.sqrt(hidden) for s in ((4, 12), (3, 12), (12,)))
    bias[hidden : 2 * hidden] = 3.0
    zero = np.zeros((8, hidden))
    _, h, c = lstm_loss(xs[: n - window], u, w, bias, zero, zero)
    slopes = {}
    for name, start, state in (("full", 0, (zero, zero)), ("inside", n - window, (h, c))):
        slope = np.zeros_like(xs[start])
        for at in np.ndindex(slope.shape):
            moved = []
            for sign in (1, -1):
                other = xs.copy()
                other[(start, *at)] += sign * 1e-5
                moved.append(lstm_loss(other[start:], u, w, bias, *state)[0])
            slope[at] = (moved[0] - moved[1]) / 2e-5
        slopes[name] = np.linalg.norm(slope)
    metrics = measured("truncated_bptt", n=n, window=window, hidden=hidden)
    assert metrics["first_full"] == pytest.approx(slopes["full"], rel=1e-5)
    if window == n:
        assert metrics["first_truncated"] == pytest.approx(slopes["inside"], rel=1e-5)
        assert metrics["outside_window"] is None
        assert metrics["share_lost"] == 0
        assert metrics["cosine_w"] == pytest.approx(1)
    else:
        assert metrics["first_truncated"] == metrics["outside_window"] == 0
        assert metrics["inside_window"] <= slopes["inside"] * (1 + 1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_truncated_bptt_claims(seed):
    """The gradient is exactly 0 before the window, not 0 within it, and most of the full gradient is lost."""
    metrics = measured("truncated_bptt", seed)
    assert metrics["first_truncated"] == metrics["outside_window"] == 0
    assert metrics["first_full"] > 0 < metrics["inside_window"]
    assert 0.1 < metrics["share_lost"] < 1
    assert measured("truncated_bptt", seed, forget_bias=0.0)["share_lost"] < 0.01
    assert measured("truncated_bptt", seed, window=300)["first_truncated"] == metrics["first_full"]
