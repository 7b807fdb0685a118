"""Tests the experiment gate_memory against reference values computed by independent code."""

import math

import mpmath
import pytest
from oracles import INF, measured


@pytest.mark.parametrize(("cell", "bias"), [("lstm", 0.0), ("lstm", 5.0), ("gru", -5.0), ("cec", 2.0)])
@pytest.mark.parametrize("n", [1, 100, 1000])
def test_gate_memory_is_the_gate_to_the_nth(cell, bias, n):
    """What is kept after n steps is sigmoid(b)^n, (1 − z)^n and 1, by mpmath."""
    sigmoid = 1 / (1 + mpmath.exp(-mpmath.mpf(bias)))
    kept = {"lstm": sigmoid, "gru": 1 - sigmoid, "cec": mpmath.mpf(1)}[cell]
    metrics = measured("gate_memory", cell=cell, forget_bias=bias, n=n)
    assert metrics["gradient"] == pytest.approx(float(kept**n), rel=1e-10)
    assert metrics["relative_error"] < 1e-10
    half = float(mpmath.log(0.5) / mpmath.log(kept)) if kept < 1 else INF
    assert metrics["half_life"] == pytest.approx(half, rel=1e-10)
    back = 1 / (1 + mpmath.exp(-metrics["bias_for_n"]))
    assert float(back**n) == pytest.approx(1 / math.e, rel=1e-9)


def test_gate_memory_state():
    """With an open gate the state is a random walk of size ½·rms(tanh Z)·√n; a GRU's state is an average and stays
    small.
    """
    walk = measured("gate_memory", cell="cec", n=1000)
    step = 0.5 * 0.6279  # rms of tanh(N(0, 1))
    assert walk["state_rms"] == pytest.approx(step * math.sqrt(1000), rel=0.15)
    assert walk["gradient"] == 1
    assert measured("gate_memory", cell="gru", forget_bias=-5.0, n=1000)["state_rms"] < 0.1
    assert measured("gate_memory", cell="lstm", forget_bias=0.0, n=1000)["state_rms"] < 1


def test_gate_memory_edges():
    """An open gate keeps everything, a closed one nothing; also tested are four biases that the entry quotes."""
    assert measured("gate_memory", forget_bias=100.0)["gradient"] == 1
    shut = measured("gate_memory", forget_bias=-100.0)
    assert shut["gradient"] == 0
    assert shut["relative_error"] is None
    metrics = measured("gate_memory")
    expected = {0: 7.888609e-31, 1: 2.4843786e-14, 3: 0.0077602932, 5: 0.51092378}
    for bias, left in expected.items():
        assert metrics[f"left_bias_{bias}"] == pytest.approx(left, rel=1e-6)
