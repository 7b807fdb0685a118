"""Tests the experiment int8_calibration against numpy: its percentile, its integers, and a divergence that is summed
bin by bin.
"""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


def inputs(seed, samples=64):
    seen, used = draws(seed, (samples * 1024,), (64 * 1024,), double=True)
    return np.abs(seen), used


def by_integers(used, amax):
    step = amax / 127
    stored = np.clip(np.rint(used / step), -127, 127).astype(np.int8)
    return stored, np.linalg.norm(stored * step - used) / np.linalg.norm(used)


@pytest.mark.parametrize("x", [30.0, 300.0, 3000.0])
def test_largest_and_percentile_by_numpy(x):
    seen, used = inputs(0)
    seen[:20] = x
    metrics = measured("int8_calibration", x=x)
    stored, error = by_integers(used, seen.max())
    assert metrics["largest"] == pytest.approx(error, rel=1e-9)
    assert metrics["zeros"] == pytest.approx((stored == 0).mean(), abs=1e-12)
    amax = np.quantile(seen, 0.999)
    assert metrics["amax_percentile"] == pytest.approx(amax, rel=1e-12)
    assert metrics["percentile"] == pytest.approx(by_integers(used, amax)[1], rel=1e-9)
    assert metrics["clipped"] == pytest.approx((abs(used) > amax).mean(), abs=1e-12)


def test_zeros_follow_the_error_function():
    metrics = measured("int8_calibration", x=300.0)
    assert metrics["zeros"] == pytest.approx(math.erf(300 / 127 / 8**0.5), abs=0.01)


def divergence(counts, kept):
    """The KL divergence of the histogram that is cut after `kept` bins from the one that is merged to 128 levels."""
    p = list(counts[:kept])
    p[-1] += sum(counts[kept:])
    q = [0.0] * kept
    for level in range(128):
        bins = [j for j in range(kept) if j * 128 // kept == level and counts[j]]
        for j in bins:
            q[j] = sum(counts[k] for k in bins) / len(bins)
    total, merged = sum(p), max(1, sum(q))
    return sum(a / total * math.log(a / total / max(b / merged, 1e-12)) for a, b in zip(p, q, strict=True) if a)


@pytest.mark.parametrize("x", [40.0, 300.0])
def test_divergence_bin_by_bin(x):
    seen, _ = inputs(0)
    seen[:20] = x
    counts = np.histogram(seen, 2048, (0, seen.max()))[0].tolist()
    best = min(range(128, 2049, 16), key=lambda kept: divergence(counts, kept))
    assert measured("int8_calibration", x=x)["amax_divergence"] == pytest.approx(seen.max() * best / 2048, rel=0.01)


def test_least_squares_is_least_among_the_ways_if_use_is_like_calibration():
    metrics = measured("int8_calibration", x=300.0, in_use=20)
    assert metrics["squares"] <= 1.01 * min(metrics["largest"], metrics["percentile"], metrics["divergence"])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_helps(seed):
    rows, metrics = measure("int8_calibration", seed)
    assert metrics["percentile"] < 0.02 < metrics["divergence"] < metrics["largest"]
    assert metrics["amax_divergence"] == pytest.approx(300 / 16)
    assert all(row["percentile"] < 0.02 for row in rows)
    assert rows[-1]["largest"] == pytest.approx(1)
    for scale in (1 / 255, 255.0):
        wrong = measured("int8_calibration", scale=scale, stray=0)
        assert min(wrong["largest"], wrong["percentile"], wrong["squares"], wrong["divergence"]) > 0.9
