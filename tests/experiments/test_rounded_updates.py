"""Tests the experiment rounded_updates against numpy's own arithmetic and exact rounding."""

import numpy as np
import pytest
from oracles import NUMPY, add_exactly, measure, measured


@pytest.mark.parametrize(
    ("start", "x", "n", "dtype"),
    [(1.0, -1e-4, 1000, "float16"), (0.0, 1e-4, 3000, "float16"), (3.0, 7e-3, 500, "float16"),
     (-50.0, 0.3, 400, "float16"), (1.0, -1e-4, 300, "float32")],
)  # fmt: skip
def test_nearest_and_master_are_numpys(start, x, n, dtype):
    """Bit for bit the sums that numpy makes in float16 and float32, and as many steps that moved."""
    kind = NUMPY[dtype]
    short, wide, moved = kind(start), np.float32(start), 0
    for _ in range(n):
        before, short, wide = short, short + kind(x), wide + np.float32(x)
        moved += short != before
    metrics = measured("rounded_updates", start=start, x=x, n=n, dtype=dtype)
    assert metrics["nearest_end"] == float(short)
    assert metrics["master_end"] == float(wide)
    assert metrics["nearest_moved_steps"] == moved
    next_number = np.nextafter(kind(start), kind(np.copysign(np.inf, x)))
    assert metrics["half_gap_at_start"] == abs(float(next_number) - float(kind(start))) / 2


def test_bfloat16_is_exact_rounding():
    """There is no bfloat16 in numpy: the running sum against exact rationals."""
    total, stop = add_exactly("bfloat16", 1e-4, 2000)
    metrics = measured("rounded_updates", start=0.0, x=1e-4, n=2000, dtype="bfloat16")
    assert metrics["nearest_end"] == float(total) == 0.03125
    assert metrics["nearest_moved_steps"] == stop - 1 == 273


def test_stochastic_rounding_is_right_on_average():
    """20 runs of 20000 steps: 2 within 10 %, where nearest stays at 0.25; every value is one that float16 has."""
    rows, metrics = measure("rounded_updates", start=0.0, x=1e-4, n=20000)
    assert metrics["nearest_end"] == 0.25
    assert metrics["stochastic_mean"] == pytest.approx(2, rel=0.1)
    assert 0.005 < metrics["stochastic_sd"] < 0.2
    assert all(float(np.float16(row["stochastic"])) == row["stochastic"] for row in rows)
    one_step = [measured("rounded_updates", seed, n=1)["stochastic_mean"] for seed in range(30)]
    spread = 2.0**-11 * np.sqrt(0.2 * 0.8 / 600)  # one of the two neighbours, with probability 0.205 the lower one
    assert np.mean(one_step) == pytest.approx(1 - float(np.float16(1e-4)), abs=5 * spread)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weight_updates(seed):
    """In float16 a weight of 1 never moves by 1e-4; a master copy reaches 0.9, and stochastic rounding nearly so."""
    metrics = measured("rounded_updates", seed)
    assert metrics["nearest_end"] == 1
    assert metrics["nearest_moved_steps"] == metrics["nearest_progress"] == 0
    assert metrics["master_end"] == pytest.approx(0.9, abs=1e-4)
    assert metrics["stochastic_progress"] == pytest.approx(1, abs=0.1)
    assert measured("rounded_updates", seed, dtype="float32")["nearest_progress"] == pytest.approx(1, abs=1e-3)


def test_edges():
    """Tested are updates of 0, updates that underflow, and a sum that overflows."""
    still = measured("rounded_updates", x=0.0)
    assert still["nearest_progress"] is still["stochastic_progress"] is still["stochastic_rel_err"] is None
    assert measured("rounded_updates", x=1e-9)["stochastic_progress"] == 0
    over = measured("rounded_updates", start=60000.0, x=1000.0, n=20)
    assert over["nearest_end"] == over["stochastic_mean"] == np.inf
