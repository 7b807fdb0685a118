"""Tests the experiment fp_algorithms against numpy's own float16 and mpmath."""

import math

import mpmath
import numpy as np
import pytest
from oracles import INF, measure, measured, same

H = np.float16
NAIVE = {
    "squares": lambda x: (H(100) + x) * (H(100) + x) - H(100) * H(100),
    "one_plus": lambda x: (H(1) + x) - H(1),
    "order": lambda x: (x + H(1)) + H(1),
    "softmax": lambda x: np.exp(x) / H(np.exp(x) + H(1)),
    "cross_entropy": lambda x: -np.log(np.exp(min(-x, H(0))) / H(H(1) + np.exp(-abs(x)))),
    "log_sigmoid": lambda x: np.log(H(1) / (H(1) + np.exp(x))),
}
EXACT = {
    "squares": lambda x: (100 + x) ** 2 - 10000,
    "one_plus": lambda x: x,
    "order": lambda x: x + 2,
    "softmax": lambda x: 1 / (1 + mpmath.exp(-x)),
    "cross_entropy": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "log_sigmoid": lambda x: -mpmath.log(1 + mpmath.exp(x)),
    "variance": lambda x: mpmath.mpf(1),
    "rms": abs,
    "mean": lambda x: x,
    "batch_stat": lambda x: x * (1 - mpmath.mpf("0.999") ** 5000),
}
POINTS = {
    "squares": 0.125, "one_plus": 0.001, "order": 2048.0, "softmax": 12.0, "cross_entropy": 20.0,
    "log_sigmoid": 20.0, "variance": 100.0, "rms": 300.0, "mean": 1.0, "batch_stat": 1.0,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", NAIVE)
@pytest.mark.parametrize("x", [0.125, 2.0, 5.5, 12.0, 300.0, 2048.0, 0.0009765625, -3.0, 0.0])
def test_naive_is_numpys_float16(case, x):
    """Each operation is rounded as numpy rounds it; functions may differ by one unit."""
    with mpmath.workdps(50):
        exact = float(EXACT[case](mpmath.mpf(x)))
    metrics = measured("fp_algorithms", case=case, x=x)
    expected = float(NAIVE[case](H(x)))
    assert same(metrics["naive"], expected) or metrics["naive"] == pytest.approx(expected, rel=2e-3, abs=1e-7)
    assert metrics["exact"] == pytest.approx(exact, rel=1e-12, abs=1e-300)
    assert metrics["careful"] == (INF if exact > 65520 else pytest.approx(exact, rel=2e-3, abs=1e-7))


@pytest.mark.parametrize("case", POINTS)
def test_careful_is_right_where_naive_is_not(case):
    """In its example each careful algorithm is right within half a per cent, also against theory; the naive one is off
    by more.
    """
    metrics = measured("fp_algorithms", case=case, x=POINTS[case])
    with mpmath.workdps(40):
        exact = float(EXACT[case](mpmath.mpf(POINTS[case])))
    assert metrics["exact"] == pytest.approx(exact, rel=5e-4)  # of x as stored: 0.001 is not a number of float16
    assert metrics["careful_rel_err"] < 0.005
    assert metrics["naive_rel_err"] > 2 * metrics["careful_rel_err"]
    assert metrics["naive_rel_err"] > 0.02 or case == "order"


def test_the_remembered_figures():
    """The naive results are 24 for 25.015625; 2048 for 2050; inf, nan and −inf; variance 0 for 1; mean 0.5 for 1; 0.756
    for 0.993.
    """
    naive = {case: measured("fp_algorithms", case=case, x=x)["naive"] for case, x in POINTS.items()}
    assert naive["squares"] == 24
    assert measured("fp_algorithms")["exact"] == measured("fp_algorithms")["careful"] == 25.015625
    assert naive["order"] == 2048
    assert math.isnan(naive["softmax"])
    assert naive["cross_entropy"] == naive["rms"] == INF
    assert naive["log_sigmoid"] == -INF
    assert naive["variance"] == 0
    assert naive["mean"] == 0.5
    running = H(0)
    for _ in range(5000):
        running = H(running + H(H(1) - running) * 0.001)
    assert naive["batch_stat"] == pytest.approx(float(running), abs=0.002)
    assert measured("fp_algorithms", case="one_plus", x=0.001)["naive"] == 2.0**-10
    assert measured("fp_algorithms", case="softmax", x=60000.0)["careful"] == 1


@pytest.mark.parametrize("case", POINTS)
@pytest.mark.parametrize("x", [0.0, -1e6, 1e6])
def test_edges(case, x):
    """Every case accepts 0 and the largest numbers, and its chart has 65 points."""
    rows, metrics = measure("fp_algorithms", case=case, x=x)
    assert len(rows) == 65
    assert metrics["naive_rel_err"] >= 0
    assert measured("fp_algorithms", case=case, x=POINTS[case], dtype="float32")["careful_rel_err"] < 1e-5
