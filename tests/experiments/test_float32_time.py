"""Tests the experiment float32_time against exact rationals rounded to float32."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from oracles import FORMATS, measured, ulp


@pytest.mark.parametrize(("start", "gap", "n"), [(1.7e9, 10.0, 100), (1.7e12, 1000.0, 50), (1e5, 0.25, 64)])
def test_stored_times(start, gap, n):
    form = FORMATS["float32"]
    stored = [form.rounded(Fraction(start + gap * k)) for k in range(n)]
    metrics = measured("float32_time", start=start, gap=gap, n=n)
    assert metrics["spacing"] == float(ulp(form, stored[-1]))
    assert metrics["distinct"] == len(set(stored)) / n
    errors = [abs(float(b - a) - gap) / gap for a, b in pairwise(stored)]
    assert metrics["gap_error"] == pytest.approx(np.mean(errors), rel=1e-6, abs=1e-12)


def test_the_phase():
    """The error is that of a sine whose time is off by at most half the spacing of float32."""
    metrics = measured("float32_time")
    assert metrics["phase_error"] <= 2 * np.pi * 64 / 3600 * 4
    assert metrics["phase_error"] > 0.05
    assert metrics["phase_error_offset"] < 1e-5


def test_less_the_start_nothing_is_lost():
    """If the start is subtracted before the conversion to float32, no digits are lost."""
    metrics = measured("float32_time", gap=0.5)
    assert (metrics["distinct_offset"], metrics["gap_error_offset"]) == (1, 0)
    assert metrics["distinct"] < 0.05
