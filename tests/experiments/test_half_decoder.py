"""Tests the experiment half_decoder against the same decoder in numpy float64, and against float16's largest number."""

import numpy as np
import pytest
from oracles import draws, measure, measured


def decoder(seed: int, x: float) -> tuple[np.ndarray, np.ndarray]:
    """The activations before the norm and the decoded image, in numpy float64."""
    h, a, b, c = draws(seed, (64, 32), (32, 128), (128, 32), (32, 3))
    y = np.maximum(h @ (a / 4), 0) @ (b / 8) * x
    colour = np.tanh(y / np.sqrt((y**2).mean()) @ (c / np.sqrt(32)))
    return y, np.round((colour + 1) / 2 * 255)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("way", ["float32", "bfloat16", "autocast_off", "rescaled"])
def test_ways_that_give_the_image(way, seed):
    """These ways give no nan and no black pixels, and differ by less than one level of brightness."""
    y, image = decoder(seed, 1e5)
    rows, metrics = measure("half_decoder", seed, way=way)
    assert [row["exact"] for row in rows] == pytest.approx(image.mean(1).tolist(), abs=0.01)
    assert metrics["largest"] == pytest.approx(abs(y).max(), rel=1e-5)
    assert (metrics["nan_share"], metrics["inf_share"]) == (0, 0)
    assert metrics["error"] < 1


@pytest.mark.parametrize("way", ["float16", "autocast_float"])
@pytest.mark.parametrize("x", [1.0, 1e3, 1e4, 1e5])
def test_inf_where_the_exact_value_passes_the_limit(way, x):
    """Up to rounding, float16 gives inf exactly there; the image is right only if no value passes the limit."""
    y, _ = decoder(0, x)
    metrics = measured("half_decoder", way=way, x=x)
    assert metrics["inf_share"] == pytest.approx((abs(y) > 65520).mean(), abs=0.002)
    assert (metrics["error"] < 1) is bool(abs(y).max() < 65000)
    assert metrics["bits"] == 16


def test_a_float_call_does_not_leave_autocast():
    """The image is as black as in float16: only a region with autocast disabled computes the product in float32."""
    assert measured("half_decoder", way="autocast_float")["black_share"] == 1
    assert measured("half_decoder", way="autocast_off")["bits"] == 32
