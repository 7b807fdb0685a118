"""Tests the experiment integers_in_dtype against exact rounding."""

from fractions import Fraction

import pytest
from oracles import FORMATS, INF, measured


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("x", [2049.0, 257.0, 1283.5, -4099.0, 16777217.0, 0.0, 0.3, 1.6e9])
def test_storing_is_exact_rounding(dtype, x):
    """Stored values are the nearest numbers of the format; tested are the distance and fixed examples."""
    form = FORMATS[dtype]
    metrics = measured("integers_in_dtype", x=x, dtype=dtype, n=10)
    kept = form.rounded(Fraction(x))
    assert metrics["stored"] == (INF if kept is None else float(kept))
    if kept is not None:
        assert metrics["error"] == float(abs(kept - Fraction(x)))
    for integer in (2047, 2048, 2049, 2050, 4097):
        assert metrics[f"stored_{integer}"] == float(form.rounded(Fraction(integer)))
    assert metrics["exact_up_to"] == 2**form.p


@pytest.mark.parametrize(("dtype", "n"), [("float16", 4096), ("bfloat16", 1000), ("float16", 67000), ("float32", 5000)])
def test_positions_are_counted(dtype, n):
    """Distinct and wrong positions are the same when counted one by one."""
    form = FORMATS[dtype]
    stored = [form.rounded(Fraction(position)) for position in range(n)]
    metrics = measured("integers_in_dtype", n=n, dtype=dtype)
    assert metrics["distinct"] == len(set(stored))
    assert metrics["wrong_share"] == pytest.approx(sum(s != i for i, s in enumerate(stored)) / n)
    assert metrics["overflowed_share"] == pytest.approx(stored.count(None) / n)


def test_2049_is_lost():
    """In float16, 2049 becomes 2048 and 4097 becomes 4096, while 2047 and 2050 stay; float32 keeps all."""
    metrics = measured("integers_in_dtype")
    assert (metrics["stored"], metrics["error"], metrics["gap"]) == (2048, 1, 2)
    assert [metrics[f"stored_{i}"] for i in (2047, 2048, 2049, 2050, 4097)] == [2047, 2048, 2048, 2050, 4096]
    assert metrics["distinct"] == 3073
    assert measured("integers_in_dtype", dtype="float32")["error"] == 0
