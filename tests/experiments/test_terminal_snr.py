"""Tests the experiment terminal_snr against the schedule's closed form and the propagation of one error."""

import math

import numpy as np
import pytest
from oracles import INF, draws, measured


def roots(rescale: bool) -> np.ndarray:
    found = np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    if rescale:
        found = (found - found[-1]) * found[0] / (found[0] - found[-1])
    return found


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("step", [1, 400, 990])
def test_errors_of_the_image(rescale, step):
    """Relative to the image's norm the error is b/a times that of the noise, or b times that of v."""
    metrics = measured("terminal_snr", step=step, rescale=rescale, error=0.1)
    x0, _, wrong = draws(0, (1024,), (1024,), (1024,))
    a = roots(rescale)[step - 1]
    b, unit = math.sqrt(1 - a * a), 0.1 * np.linalg.norm(wrong) / np.linalg.norm(x0)
    assert metrics["root_alpha"] == pytest.approx(a, rel=1e-4)
    assert metrics["noise"] == pytest.approx(unit * b / a, rel=1e-2)
    assert metrics["v"] == pytest.approx(unit * b, rel=1e-2)
    assert metrics["x0"] == pytest.approx(unit, rel=1e-4)


def test_the_last_step():
    """After rescaling its signal is exactly 0, so that predicting the noise divides by 0."""
    metrics = measured("terminal_snr")
    assert (metrics["root_alpha"], metrics["noise"], metrics["bad"], metrics["mean_left"]) == (0, INF, 1, 0)
    assert measured("terminal_snr", rescale=False)["mean_left"] == pytest.approx(roots(False)[-1], rel=1e-4)
