"""Tests the experiment two_devices against sums in numpy, and against the statistics of rounding."""

import numpy as np
import pytest
from oracles import draws, measure, measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("n", [2, 100, 1024])
def test_order_by_numpy(seed, n):
    """Numpy's cumulative sums add from the first to the last; reversed, from the last to the first."""
    a, b = (t.astype(np.float32) for t in draws(seed, (64, n), (64, n)))
    products = a * b
    difference = np.cumsum(products[:, ::-1], 1)[:, -1].astype(float) - np.cumsum(products, 1)[:, -1]
    rows, metrics = measure("two_devices", seed, n=n)
    assert [row["float32"] for row in rows] == pytest.approx(abs(difference).tolist(), abs=1e-12)
    assert metrics["difference"] == pytest.approx(np.sqrt((difference**2).mean()), abs=1e-12)


def test_a_forgotten_product_is_the_difference():
    """The difference is that of the missing product in float32 and in float64."""
    a, b = draws(0, (64, 1024), (64, 1024))
    rows, metrics = measure("two_devices", 0, case="wrong_kernel")
    assert [row["float64"] for row in rows] == pytest.approx(abs(a[:, -1] * b[:, -1]).tolist(), rel=1e-5, abs=1e-9)
    assert metrics["float64_ratio"] == pytest.approx(1, rel=1e-3)
    assert metrics["over_rounding"] > 1000


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("n", [64, 1024, 4096])
def test_rounding_is_what_statistics_predict(seed, n):
    """The order in units of float32 rounding, TF32 in units of its own; in float64 both are gone."""
    for case, name in (("order", "over_rounding"), ("atomic", "over_rounding"), ("tf32", "over_tf32")):
        metrics = measured("two_devices", seed, case=case, n=n)
        assert 0.4 < metrics[name] < 1.2, case
        assert metrics["float64_ratio"] < 1e-7


def test_which_cases_repeat():
    """Only cases with something drawn anew in each run give other bits the second time."""
    differs = {
        case: measured("two_devices", case=case)["repeat_differs"]
        for case in ("order", "atomic", "tf32", "wrong_kernel", "bit_flip")
    }
    assert differs == {"order": 0, "atomic": 1, "tf32": 0, "wrong_kernel": 0, "bit_flip": 1}
    assert measured("two_devices", case="bit_flip")["over_rounding"] > 1e5
