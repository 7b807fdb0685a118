"""Tests the experiment uint8_wrap against numpy's uint8 and exact integers."""

import numpy as np
import pytest
from oracles import draws, measured


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("value", "moved"), [(100.0, 5), (200.0, 90), (30.0, -60)])
def test_against_numpy(seed, value, moved):
    base, fresh = (np.float32(3) * part.astype(np.float32) for part in draws(seed, (64, 64), (64, 64)))
    a = np.clip(np.rint(np.float32(value) + base), 0, 255).astype(np.uint8)
    b = np.clip(np.rint(np.float32(value) + base + moved + fresh), 0, 255).astype(np.uint8)
    exact = a.astype(int) - b
    metrics = measured("uint8_wrap", seed, value=value, moved=moved)
    assert metrics["mad_uint8"] == pytest.approx((a - b).mean(), abs=1e-9)
    assert metrics["mad"] == pytest.approx(np.abs(exact).mean(), abs=1e-9)
    assert metrics["mse_uint8"] == pytest.approx((exact**2 % 256).mean(), abs=1e-9)
    assert metrics["mse"] == pytest.approx((exact**2).mean(), abs=1e-9)
    assert metrics["wrapped"] == pytest.approx((exact < 0).mean())
    assert metrics["brighter_uint8"] == pytest.approx(((a.astype(int) + moved) % 256).mean(), abs=1e-9)
    assert metrics["brighter"] == pytest.approx(np.clip(a.astype(int) + moved, 0, 255).mean(), abs=1e-9)


def test_a_darker_pixel_less_a_brighter_one():
    """In uint8 without noise, 100 − 105 is 251."""
    assert measured("uint8_wrap", noise=0.0)["mad_uint8"] == 251
