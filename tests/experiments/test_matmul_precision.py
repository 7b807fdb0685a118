"""Tests the experiment matmul_precision against another rounding to TF32, on the bits of float32, and against direct
distances.
"""

import numpy as np
import pytest
from oracles import draws, measure, measured


def to_tf32(values: np.ndarray) -> np.ndarray:
    """The float32 number rounded to a significand of 11 bits, ties to even, by bit operations."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~np.uint32(0x1FFF)).view(np.float32).astype(float)


@pytest.mark.parametrize("seed", [0, 1])
def test_products_by_bits(seed):
    p, q = draws(seed, (40, 256), (40, 256))
    rows, metrics = measure("matmul_precision", seed)
    expected = (to_tf32(p) * to_tf32(q)).sum(1)
    assert [row["tf32"] for row in rows] == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)
    assert [row["exact"] for row in rows] == pytest.approx((p * q).sum(1).tolist(), rel=1e-12)
    assert 0.5 < metrics["tf32"] / metrics["theory_tf32"] < 1


@pytest.mark.parametrize("x", [0.0, 30.0])
def test_distances(x):
    """Tested are distances computed directly, and from products in TF32 with squared lengths in float32."""
    p, z = (t.astype(np.float32) for t in draws(0, (40, 256), (40, 256)))
    p, q = p + np.float32(x), (p + np.float32(x)) + z / np.float32(10)
    exact = ((p.astype(float) - q) ** 2).sum(1)
    lengths = (p.astype(float) ** 2).sum(1).astype(np.float32) + (q.astype(float) ** 2).sum(1).astype(np.float32)
    fast = lengths - 2 * (to_tf32(p) * to_tf32(q)).sum(1).astype(np.float32)
    rows, _ = measure("matmul_precision", case="distance", x=x)
    assert [row["exact"] for row in rows] == pytest.approx(exact.tolist(), rel=1e-5)
    assert [row["tf32"] for row in rows] == pytest.approx(fast.tolist(), abs=0.13 if x else 1e-3)


def test_centring_and_three_products_help():
    """Either of the two remedies helps on its own."""
    plain, centred = (measured("matmul_precision", case=case) for case in ("distance", "centred"))
    assert plain["tf32"] > 1
    assert plain["tf32_negative"] > 0.1
    assert centred["tf32"] < 0.02
    assert plain["three"] < 0.02
    assert centred["tf32_negative"] == 0
