"""Tests the experiment rope_angles against complex rotation in numpy, and angles rounded with fractions."""

from fractions import Fraction

import numpy as np
import pytest
from oracles import FORMATS, draws, measure, measured

THETA = 10000.0 ** (-np.arange(64) / 64)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    return np.array([float(FORMATS[dtype].rounded(Fraction(float(v)))) for v in values])


def angles(way: str, position: int, dtype: str) -> np.ndarray:
    """The angles in float64, rounded at the places where this way of computing rounds them."""
    theta = rounded(THETA, dtype)
    if way == "frequencies":
        return rounded(theta * position, "float32")
    return rounded(rounded(np.array([position]), dtype)[0] * theta, dtype)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("way", ["frequencies", "angles"])
def test_scores(seed, dtype, way):
    """The real part of q·conj(k)·e^(i(α − β)), summed over the pairs."""
    q, k = draws(seed, (2, 200, 64, 2))[0] / np.sqrt(128)
    product = (q[..., 0] + 1j * q[..., 1]) * np.conj(k[..., 0] + 1j * k[..., 1])
    exact = (product * np.exp(1j * 5 * THETA)).real.sum(1)
    turned = angles(way, 3000, dtype) - angles(way, 2995, dtype)
    found = (product * np.exp(1j * turned)).real.sum(1)
    error = np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean())
    metrics = measured("rope_angles", seed, x=3000, dtype=dtype)
    assert metrics[f"score_{way}"] == pytest.approx(error, rel=1e-3)
    largest = abs(angles(way, 3000, dtype) - 3000 * THETA).max()
    assert metrics[f"error_{way}"] == pytest.approx(largest, rel=1e-3)


def test_a_distance_of_0_hides_every_rounding_of_the_angles():
    metrics = measured("rope_angles", distance=0)
    assert metrics["score_angles"] < 1e-12
    assert metrics["score_frequencies"] < 1e-12


def test_frequencies_err_with_the_distance_not_the_position():
    """The error grows at least tenfold from distance 5 to 500; ten times the position leaves it alike."""
    near, far = measured("rope_angles"), measured("rope_angles", distance=500)
    assert far["score_frequencies"] > 10 * near["score_frequencies"]
    assert measured("rope_angles", x=80_000)["score_frequencies"] == pytest.approx(near["score_frequencies"], rel=0.5)


def test_rows_end_at_the_position():
    rows, metrics = measure("rope_angles", x=1000)
    assert rows[-1]["position"] == 1000
    assert rows[-1]["angles"] == metrics["score_angles"]
