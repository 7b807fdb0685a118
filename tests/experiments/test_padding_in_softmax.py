"""Tests the experiment padding_in_softmax against softmax in numpy over the real scores, and the sums of
exponentials.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from oracles import draws, measure, measured


def exponentials(seed: int, x: float, padding: int, n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The exponentials of the real scores and of those of padding, in float64."""
    scores = draws(seed, (n + padding,))[0].astype(np.float64)
    return np.exp(scores[:n]), np.exp(scores[n:] + x)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(("x", "padding"), [(5.0, 24), (-10.0, 24), (0.0, 1), (30.0, 100)])
def test_weights_of_the_real_positions(seed, x, padding):
    """A score multiplied by 0 has exponential 1; masking weights afterwards loses what padding took; −inf takes
    nothing.
    """
    real, other = exponentials(seed, x, padding)
    metrics = measured("padding_in_softmax", seed, x=x, padding=padding, dtype="float64")
    assert metrics["real_multiplied"] == pytest.approx(real.sum() / (real.sum() + padding))
    assert metrics["real_after"] == pytest.approx(real.sum() / (real.sum() + other.sum()))
    assert metrics["real_renormalised"] == pytest.approx(1)
    assert metrics["real_filled"] == pytest.approx(1)
    assert metrics["error"] < 1e-12
    assert metrics["breaks_from"] is None


@pytest.mark.parametrize(
    ("dtype", "smallest"), [("float32", 2.0**-149), ("float16", 2.0**-24), ("bfloat16", 2.0**-126)]
)
def test_dividing_by_the_sum_fails_near_underflow(dtype, smallest):
    """It fails where the least weight nears the smallest number of the format with enough digits for an error of 1
    %.
    """
    metrics = measured("padding_in_softmax", dtype=dtype)
    real, other = exponentials(0, metrics["breaks_from"], 24)
    least = (real / (real.sum() + other.sum())).min()
    assert smallest / 20 < least < smallest * 200


def test_beyond_underflow_it_is_nan():
    metrics = measured("padding_in_softmax", x=110.0)
    assert metrics["real_after"] == 0
    assert math.isnan(metrics["real_renormalised"])
    assert metrics["real_filled"] == pytest.approx(1)


def test_rows_follow_the_excess():
    """Scores times 0 do not depend on the padding's excess; masked weights fall with it, but their renormalised sum
    stays 1 while it can.
    """
    rows, metrics = measure("padding_in_softmax")
    assert [row["excess"] for row in rows] == [2.0 * nth for nth in range(61)]
    assert len({round(row["multiplied"], 6) for row in rows}) == 1
    assert all(one["after"] >= other["after"] for one, other in pairwise(rows))
    assert all(row["renormalised"] == pytest.approx(1) for row in rows if row["excess"] < metrics["breaks_from"] - 10)
