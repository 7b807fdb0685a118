"""Tests the experiment ema_in_half against averages of exact rationals and the half gap at which an increment is
lost.
"""

from fractions import Fraction

import pytest
import torch
from oracles import FORMATS, demo, measured


@pytest.mark.parametrize("form", ["bfloat16", "float16"])
def test_stops_where_the_increment_is_half_a_gap(form):
    """Tested at weights of 1.9: the average stops at the first number from which rational arithmetic, rounded, makes no
    further step.
    """
    exact, decay, a = FORMATS[form], Fraction(0.9), Fraction(1)
    while (after := exact.rounded(a + (1 - decay) * (Fraction(19, 10) - a))) != a:
        a = after
    found = measured("ema_in_half", form=form, decay=0.9, x=0.9)["stored"]
    assert found == pytest.approx(float((Fraction(19, 10) - a) / Fraction(9, 10)), abs=0.01)
    assert found < measured("ema_in_half", form=form, decay=0.9, x=0.9)["theory"]


@pytest.mark.parametrize("seed", [0, 1])
def test_bfloat16_stands_still_at_a_decay_of_0_999(seed):
    metrics = measured("ema_in_half", seed)
    assert metrics["stored"] == 1
    assert metrics["last_change"] is None
    # weights at rest for 2000 steps, after a lag of 1/(1 − d)·x/2000 behind the ramp
    assert metrics["wide"] == pytest.approx(0.5 * (1 - 0.999**2000) * 0.999**2000, rel=0.02)
    assert metrics["random"] == pytest.approx(metrics["wide"], abs=0.05)


def test_random_rounding_keeps_the_mean():
    """Stochastic rounding keeps the mean and only gives neighbouring numbers of the format."""
    values = torch.full((20000,), 1.0 + 0.3 / 128)
    rounded = demo("ema_in_half").at_random(values, 8)
    assert set(rounded.tolist()) <= {1.0, 1.0 + 1 / 128}
    assert rounded.double().mean().item() == pytest.approx(1 + 0.3 / 128, abs=1e-4)


def test_float32_loses_nothing():
    metrics = measured("ema_in_half", form="float32")
    assert metrics["stored"] == pytest.approx(metrics["wide"], rel=1e-3)
