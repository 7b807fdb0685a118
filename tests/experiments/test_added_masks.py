"""Tests the experiment added_masks against the rule which rows are −inf throughout, and attention in numpy."""

import numpy as np
import pytest
from oracles import INF, draws, measure, measured


def all_minus_inf(n: int, padded: range, both_sides: bool, needed: int) -> np.ndarray:
    """For each query, whether every key is forbidden by at least `needed` masks, counted one by one."""
    rows = []
    for query in range(n):
        counts = [(key > query) + (key in padded) + (both_sides and query in padded) for key in range(n)]
        rows.append(min(counts) >= needed)
    return np.array(rows)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("both_sides", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 8])
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_that_are_nan(dtype, both_sides, padding, side):
    """A row is nan if at every key two masks of finfo.min, or one of −inf, add up; one layer later so are all real
    positions.
    """
    metrics = measured("added_masks", dtype=dtype, both_sides=both_sides, padding=padding, side=side)
    padded = range(padding) if side == "left" else range(32 - padding, 32)
    twice, once = (all_minus_inf(32, padded, both_sides, needed) for needed in (2, 1))
    assert metrics["sum"] == -INF
    assert metrics["layer_1_added"] == twice.mean()
    assert metrics["layer_1_infinite"] == once.mean()
    assert (metrics["layer_2_added"], metrics["layer_2_infinite"]) == (twice.any(), once.any())
    assert [metrics[f"layer_2_{way}"] for way in ("clamped", "merged", "diagonal")] == [0, 0, 0]


@pytest.mark.parametrize("seed", [0, 1])
def test_real_positions_do_not_notice_merged_padding(seed):
    """With merged masks, the padded sequence gives what causal attention in numpy gives for the real tokens alone."""
    q, k, v = draws(seed, (3, 32, 16))[0]
    scores = q[8:] @ k[8:].T / 4
    scores[np.triu_indices(24, 1)] = -INF
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ v[8:]
    assert np.isfinite(expected).all()
    metrics = measured("added_masks", seed)
    assert metrics["difference"] < 1e-5
    assert metrics["layer_1_merged"] == 0


def test_rows_tell_where():
    rows, _ = measure("added_masks", padding=5)
    assert [row["added"] for row in rows] == [1.0] * 5 + [0.0] * 27
    assert all(row["merged"] == 0 for row in rows)
