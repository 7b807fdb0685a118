"""Tests the experiment saturating_overflow against autograd in float32, and against what saturation does to a scale."""

import pytest
import torch
from oracles import demo, measure, measured


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_by_hand_are_autograds(seed):
    module = demo("saturating_overflow")
    torch.manual_seed(seed)
    weights = [torch.randn(2, 8), torch.randn(8), torch.randn(8, 1), torch.randn(1)]
    x, y = torch.randn(16, 2), torch.randn(16, 1)
    leaves = [w.clone().requires_grad_() for w in weights]
    loss = ((x @ leaves[0] + leaves[1]).relu() @ leaves[2] + leaves[3] - y).square().mean()
    found = module.gradients(weights, x, y, 8.0, module.Half(saturates=False))
    for one, exact in zip(found, torch.autograd.grad(8 * loss, leaves), strict=True):
        torch.testing.assert_close(one, exact, rtol=1e-4, atol=1e-4)


def test_modes_store_an_overflow_and_a_nan():
    module = demo("saturating_overflow")
    value = torch.tensor([1.0, float("inf"), -float("inf"), float("nan")], dtype=torch.float16)
    half = module.Half(saturates=True)
    assert half(value).tolist() == [1, 65504, -65504, 0]
    assert half.overflowed
    assert module.Half(saturates=False)(value).isnan()[-1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_flag_skips_what_inf_would_have_skipped(seed):
    """Without the flag no step is skipped, and the scale doubles in each interval for ever."""
    metrics = measured("saturating_overflow", seed, n=60, growth_interval=5)
    assert metrics["flagged_skipped"] == metrics["inf_nan_skipped"] > 0
    assert metrics["flagged_over_fp32"] == metrics["inf_nan_over_fp32"]
    assert metrics["saturated_skipped"] == 0
    assert metrics["saturated_last_scale"] == 65536 * 2**12


def test_without_overflow_all_ways_are_one():
    rows, metrics = measure("saturating_overflow", n=30, scale=64.0, growth_interval=500)
    assert all(row["inf_nan"] == row["saturated"] == row["flagged"] for row in rows)
    assert metrics["first_missed"] is None
    assert metrics["saturated_over_fp32"] == pytest.approx(1, abs=0.02)
