"""Tests the experiment first_difference: its forward pass against numpy, equality to the bit, and what may differ
before training.
"""

import pytest
from oracles import demo, measure, measured


def test_nothing_changed_is_equal_to_the_bit():
    rows, found = measure("first_difference", cause="nothing", n=60)
    assert all(row["gap"] == 0 for row in rows)
    assert (found["probe"], found["first"], found["gradient"], found["end"]) == (0, 0, 0, 0)
    assert found["visible"] is None


def test_forward_by_numpy():
    import numpy as np
    import torch

    torch.manual_seed(3)
    net = demo("first_difference")
    weights = net.initial()
    x, mask = torch.randn(32, 10), net.dropout()
    arrays = [value.double().numpy() for value in weights]
    h = np.maximum(x.double().numpy() @ arrays[0] + arrays[1], 0)
    h = np.maximum(h @ arrays[2] + arrays[3], 0) * mask.double().numpy()
    assert net.forward(weights, x, mask).numpy() == pytest.approx((h @ arrays[4] + arrays[5])[:, 0], rel=1e-4, abs=1e-5)
    kept = mask.unique().tolist()
    assert kept == pytest.approx([0, 1 / 0.9])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_rounding_is_small_at_first(seed):
    found = {
        cause: measured("first_difference", seed, cause=cause, n=20) for cause in ("order", "data", "dropout", "init")
    }
    assert found["order"]["gradient"] < 1e-6 < 0.01 < min(found[k]["gradient"] for k in ("data", "dropout", "init"))
    assert [found[cause]["probe"] > 0 for cause in ("order", "data", "dropout", "init")] == [False, False, False, True]


def test_rounding_grows_at_a_large_rate_only():
    wild, calm = (measured("first_difference", cause="order", lr=lr) for lr in (0.2, 0.05))
    assert wild["visible"] > 20 and wild["end"] > 0.05
    assert calm["visible"] is None and calm["end"] < 1e-3


def test_relative_difference():
    apart = demo("first_difference").apart
    assert apart(2.0, 2.0) == 0 and apart(1.0, 2.0) == 0.5
    assert apart(float("nan"), 1.0) == 1
