"""Tests the experiment fp8_scaling against float8 by exact rational rounding, and against the limits of the formats."""

import math
from fractions import Fraction

import pytest
from oracles import ALL_FORMATS, demo, measure, measured


@pytest.mark.parametrize(("form", "name"), [("e4m3", "e4m3fn"), ("e5m2", "e5m2")])
def test_rounding_by_rational_numbers(form, name):
    """Tested are normal and subnormal numbers, and those cut off at the largest number."""
    import torch

    values = [0.0, 1e-6, 0.00098, 0.00147, 0.01, 0.3, 1.0625, 3.7, -17.2, 239.0, 447.0, 1e4, -1e9]
    module, exact = demo("fp8_scaling"), ALL_FORMATS[name]
    found = module.float8(torch.tensor(values, dtype=torch.float64), module.FORMS[form]).tolist()
    for value, stored in zip(values, found, strict=True):
        bounded = min(max(Fraction(value), -exact.largest), exact.largest)
        assert stored == float(exact.rounded(bounded)), value


@pytest.mark.parametrize("seed", [0, 1])
def test_what_each_scale_does(seed):
    """A right scale has an error of 2⁻⁵ to 2⁻⁴; values below half the smallest number become 0; an outdated scale cuts
    off at the jump.
    """
    metrics = measured("fp8_scaling", seed)
    for way in ("current", "block"):
        assert 2**-6 < metrics[way] < 2**-4
    # |N(0, 1)|·10⁻³ below 2⁻¹⁰ before the jump, a sixteenth of that after it
    below = [math.erf(2.0**-10 / 1e-3 / f / math.sqrt(2)) for f in (1, 16)]
    assert metrics["none_zero"] == pytest.approx(sum(below) / 2, abs=0.01)
    assert metrics["delayed_worst_step"] == 21
    assert metrics["delayed_worst"] > 0.5


def test_scales_are_exact_and_bring_the_largest_into_the_upper_half():
    import torch

    for top in (1e-9, 0.7, 448.0, 3e5):
        scale = demo("fp8_scaling").scale_for(torch.tensor(top), 448.0).item()
        assert math.log2(scale).is_integer()
        assert 224 < top * scale <= 448 * (1 + 1e-6)


def test_an_outlier_needs_blocks():
    """An outlier a thousand times larger does no harm, one a hundred thousand times larger does."""
    rows, metrics = measure("fp8_scaling", outlier=1e5, jump=1)
    assert metrics["current"] > 3 * metrics["block"]
    assert len(rows) == 40
    assert measured("fp8_scaling", outlier=1000.0)["current"] < 0.04
