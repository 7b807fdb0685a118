"""Tests the experiment std_of_one against numpy in the same format, and the cases of one value and of a constant
column.
"""

import numpy as np
import pytest
from oracles import INF, NAN, draws, measured, same


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("n", "spread"), [(2, 1.0), (1000, 3.0)])
def test_an_ordinary_column(seed, n, spread):
    x = (0.5 + spread * draws(seed, (n,))[0]).astype(np.float32).astype(float)
    metrics = measured("std_of_one", seed, n=n, spread=spread, moved=2.0)
    centred = x - x.mean()
    assert metrics["std"] == pytest.approx(x.std(ddof=1), rel=1e-5)
    assert metrics["plain"] == pytest.approx(np.abs(centred).max() / x.std(ddof=1), rel=1e-4)
    assert metrics["guarded"] == pytest.approx(np.abs(centred).max() / x.std(), rel=1e-4)
    assert metrics["guarded_test"] == pytest.approx(np.abs(centred + 2).max() / x.std(), rel=1e-4)


def test_one_value():
    metrics = measured("std_of_one")
    assert same(metrics["std"], NAN)
    assert (metrics["plain_bad"], metrics["biased_bad"], metrics["plain"]) == (1, 1, INF)
    assert (metrics["eps"], metrics["guarded"], metrics["guarded_test"]) == (0, 0, 1)
    assert metrics["eps_test"] == pytest.approx(1e8)


def test_a_constant_column_of_rounding_noise():
    """0.1 does not average to itself, so that the deviation is not 0 but some 1e-9."""
    metrics = measured("std_of_one", n=1000, value=0.1)
    assert 0 < metrics["std"] < 1e-7
    assert metrics["plain"] == pytest.approx(1, abs=0.01)
    assert metrics["plain_test"] > 1e7
    assert metrics["guarded"] < 1e-7
