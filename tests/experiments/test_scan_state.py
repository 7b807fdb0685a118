"""Tests the experiment scan_state against exact rationals rounded to float32 and bfloat16, and the closed form 1 − (1 −
Δ)ⁿ.
"""

from fractions import Fraction

import pytest
from oracles import FORMATS, measure, measured


def run_exactly(delta: float, n: int, chunk: int) -> float:
    """The state rounded to bfloat16 at the end of every chunk; every operation of a step rounded to float32."""
    single, short = FORMATS["float32"].rounded, FORMATS["bfloat16"].rounded
    step_size, h = single(Fraction(delta)), Fraction(0)
    for step in range(1, n + 1):
        h = single(h + single(step_size * single(1 - h)))
        h = short(h) if step % chunk == 0 else h
    return float(h)


@pytest.mark.parametrize(("delta", "n"), [(0.001, 1200), (0.01, 700), (0.5, 40)])
def test_the_rounded_state(delta, n):
    assert measured("scan_state", delta=delta, n=n)["state"] == run_exactly(delta, n, 1)


def test_the_exact_state():
    rows, metrics = measure("scan_state", delta=0.002, n=500)
    assert metrics["exact"] == pytest.approx(1 - 0.998**500, rel=1e-12)
    assert rows[-1]["stored"] == pytest.approx(run_exactly(0.002, 500, 256), rel=1e-6)
    assert metrics["error_float32"] < 1e-5


@pytest.mark.parametrize("delta", [0.0005, 0.001, 0.003, 0.02])
def test_where_it_stops(delta):
    """Within one bfloat16 number of the theory: a tie may round either way."""
    metrics = measured("scan_state", delta=delta, n=5000)
    assert metrics["state"] == pytest.approx(metrics["stops_at"], rel=2**-7)


def test_chunks_of_one_are_the_rounded_state():
    metrics = measured("scan_state", chunk=1)
    assert metrics["error_stored"] == metrics["error_bfloat16"]
