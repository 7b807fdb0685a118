"""Tests the experiment masked_softmax against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import FORMATS, draws, measured


@pytest.mark.parametrize("fill", ["inf", "large", "lowest", "zero_row"])
@pytest.mark.parametrize(("n", "masked"), [(8, 3), (8, 7), (8, 0), (1, 0), (50, 20)])
def test_some_places_left(fill, n, masked):
    """If at least one place is left, all four ways agree with numpy's softmax over the places left."""
    scores, values = draws(0, (n,), (n,))
    weights = np.exp(scores[: n - masked]) / np.exp(scores[: n - masked]).sum()
    metrics = measured("masked_softmax", n=n, masked=masked, fill=fill, dtype="float64")
    assert metrics["n_nan"] == metrics["nan_gradients"] == metrics["leak"] == metrics["theory_leak"] == 0
    assert metrics["first_weight"] == pytest.approx(weights[0], rel=1e-6)
    assert metrics["output"] == pytest.approx(weights @ values[: n - masked], rel=1e-6)


@pytest.mark.parametrize("dtype", FORMATS)
def test_nothing_left(dtype):
    """With −inf all weights are nan; with a finite number they are uniform on masked places; −1e9 is −inf in
    float16.
    """
    n = 8
    assert measured("masked_softmax", dtype=dtype)["n_nan"] == n
    large = measured("masked_softmax", fill="large", dtype=dtype)
    if float(FORMATS[dtype].largest) < 1e9:
        assert large["n_nan"] == n
        assert math.isnan(large["weight_sum"])
    else:
        assert large["first_weight"] == 1 / n
        assert large["leak"] == large["theory_leak"] == 1
    lowest = measured("masked_softmax", fill="lowest", dtype=dtype)
    assert lowest["first_weight"] == 1 / n
    zero = measured("masked_softmax", fill="zero_row", dtype=dtype)
    assert zero["n_nan"] == zero["weight_sum"] == zero["output"] == zero["nan_gradients"] == 0


def test_more_masked_than_there_are():
    """At most n places are masked."""
    assert measured("masked_softmax", n=3, masked=2000)["n_nan"] == 3
