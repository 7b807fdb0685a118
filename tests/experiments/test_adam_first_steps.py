"""Tests the experiment adam_first_steps against torch's Adam and RAdam on the same gradients, and against Gaussian
expectations.
"""

import math

import pytest
from oracles import measure, measured


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["Adam", "RAdam"])
def test_steps_are_those_of_torch(seed, name):
    """RAdam's first five steps, without rectification, are not compared, as they have the unit of the gradient."""
    import torch

    rows, _ = measure("adam_first_steps", seed, n=40, x=3.0)
    torch.manual_seed(seed)
    weight = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    optimizer = getattr(torch.optim, name)([weight], lr=1.0, eps=1e-30)
    for row in rows:
        weight.grad = 1 + 3.0 * torch.randn(1000).double()
        before = weight.detach().clone()
        optimizer.step()
        size = (weight.detach() - before).square().mean().sqrt().item()
        assert row["plain" if name == "Adam" else "radam"] == pytest.approx(size, rel=1e-6)


@pytest.mark.parametrize("x", [0.5, 2.0, 10.0])
def test_the_first_step_is_a_sign(x):
    """It has size 1; its cosine with the true gradient is P(g > 0) − P(g < 0) = erf(1/(x√2))."""
    metrics = measured("adam_first_steps", x=x)
    assert metrics["first"] == pytest.approx(1)
    assert metrics["cosine_first"] == pytest.approx(math.erf(1 / (x * math.sqrt(2))), abs=0.1)
    assert metrics["first_warmup"] == pytest.approx(1 / 20)


def test_noise_settles_at_the_root_of_one_nineteenth():
    metrics = measured("adam_first_steps", x=1e6, n=1000)
    assert metrics["settled"] == pytest.approx(math.sqrt(1 / 19), rel=0.03)


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_without_correction(beta2):
    """Without bias correction the first step has size (1 − β₁)/√(1 − β₂)."""
    metrics = measured("adam_first_steps", beta2=beta2)
    assert metrics["first_uncorrected"] == pytest.approx(0.1 / math.sqrt(1 - beta2))
    assert metrics["first_uncorrected"] == pytest.approx(metrics["theory_uncorrected"])
