"""Tests the experiment reread_bits against Python's struct module and against counted bit patterns."""

import math
import struct

import pytest
from oracles import measure, measured

CODES = {"float32": "<f", "float16": "<e", "float64": "<d"}


@pytest.mark.parametrize(("written", "read"), [("float32", "float16"), ("float16", "float32"), ("float64", "float32")])
def test_the_rows_by_struct(written, read):
    rows, _ = measure("reread_bits", written=written, read=read)
    raw = b"".join(struct.pack(CODES[written], row["truth"]) for row in rows)
    found = [value for (value,) in struct.iter_unpack(CODES[read], raw)][: len(rows)]
    for row, value in zip(rows, found, strict=False):
        assert row["found"] == value or (math.isnan(row["found"]) and math.isnan(value))


def test_bfloat16_is_the_upper_half_of_a_float32():
    """Read as float16: struct unpacks the two upper bytes of the float32."""
    rows, _ = measure("reread_bits", written="bfloat16", read="float16")
    for row in rows:
        upper = struct.pack("<f", row["truth"])[2:]
        assert row["found"] == struct.unpack("<e", upper)[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_in_64_is_not_finite(seed):
    """Half of the float16s are random bits, of which 1 in 32 has an exponent of all ones."""
    assert measured("reread_bits", seed)["nonfinite"] == pytest.approx(1 / 64, abs=2e-3)


def test_the_right_format_is_right():
    for form in ("float32", "float16", "bfloat16", "float64"):
        found = measured("reread_bits", written=form, read=form)
        assert (found["right"], found["nonfinite"], found["count_ratio"]) == (1, 0, 1)
        assert found["correlation"] == pytest.approx(1)


def test_as_many_bytes():
    assert measured("reread_bits", written="float16", read="float32")["count_ratio"] == 0.5
    assert measured("reread_bits", written="float64", read="bfloat16")["count_ratio"] == 4
