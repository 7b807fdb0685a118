"""Tests the experiment early_read against the Poisson distribution, against plain gradient descent, and by hand for
given delays.
"""

import math

import pytest
from oracles import demo, measure, measured


def test_waiting_is_plain_gradient_descent():
    rows, found = measure("early_read", waits=True, delay=5.0, ahead=0.5, n=10)
    assert (found["wrong"], found["differs"], found["nonfinite_steps"]) == (0, 0, 0)
    assert found["norm_ratio"] == found["loss_ratio"] == 1
    assert all(row["norm"] == row["true_norm"] for row in rows)


def test_the_fraction_overwritten_is_poissons():
    """The share overwritten follows from a Poisson distribution; the last two of the 24 layers are never
    overwritten.
    """
    wrong = [measured("early_read", seed, delay=1.0, n=100)["wrong"] for seed in range(5)]
    late = 1 - 2 * math.exp(-1)
    assert measured("early_read", delay=1.0)["theory_wrong"] == pytest.approx(late)
    assert sum(wrong) / 5 == pytest.approx(late * 22 / 24, abs=0.02)


def test_late_layers_get_a_later_gradient():
    """Each affected layer gets the gradient of a layer 2, 4, … places later, as far as there is one; the mean is over
    ranks.
    """
    import torch

    torch.manual_seed(2)
    local = torch.arange(24.0)[None, :, None].expand(2, 24, 64)
    found = demo("early_read").reduced(local, False, 3.0, 0.0)[:, 0].long().tolist()
    assert all(value >= k and (value - k) % 2 == 0 and value < 24 for k, value in enumerate(found))
    assert found != list(range(24))
    assert found[-2:] == [22, 23]


def test_random_bits_are_soon_not_finite():
    """A layer that is read too early has 128 random float32 numbers, of which 1 in 256 is inf or nan."""
    import torch

    torch.manual_seed(0)
    reduced = demo("early_read").reduced
    layers = torch.cat([reduced(torch.zeros(2, 24, 64), False, 0.0, 1.0) for _ in range(40)])
    assert (~layers.isfinite()).any(1).double().mean().item() == pytest.approx(1 - (255 / 256) ** 128, abs=0.06)
    assert measured("early_read", delay=0.0, ahead=0.0)["nonfinite_steps"] == 0
