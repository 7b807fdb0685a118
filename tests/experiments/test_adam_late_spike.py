"""Tests the experiment adam_late_spike against torch.optim.Adam on the same gradients, and the closed form for a
constant gradient.
"""

import numpy as np
import pytest
from oracles import measure, measured


def adam_sizes(seed: int, x: float, quiet: int, beta2: float) -> list[float]:
    """The rms of the updates of torch's own Adam (eps 0) in the last 40 steps, in learning rates."""
    import torch

    torch.manual_seed(seed)
    weight = torch.nn.Parameter(torch.zeros(64, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1.0, betas=(0.9, beta2), eps=0)
    sizes = []
    for t in range(quiet + 40):
        weight.grad = (1 if t < quiet else x) * torch.randn(64).double()
        before = weight.detach().clone()
        optimizer.step()
        sizes.append((weight.detach() - before).square().mean().sqrt().item())
    return sizes


@pytest.mark.parametrize("seed", [0, 1])
def test_steps_are_those_of_adam(seed):
    rows, metrics = measure("adam_late_spike", seed, quiet=300, x=20.0)
    slow, fast = adam_sizes(seed, 20.0, 300, 0.999), adam_sizes(seed, 20.0, 300, 0.95)
    assert [row["slow"] for row in rows] == pytest.approx(slow[-60:])
    assert [row["fast"] for row in rows] == pytest.approx(fast[-60:])
    assert metrics["largest_slow"] == pytest.approx(max(slow[-40:]))


@pytest.mark.parametrize("beta2", [0.9, 0.95, 0.99, 0.999])
def test_the_largest_step_of_a_constant_gradient(beta2):
    """It is the maximum of (1 − 0.9ᵏ)/√(1 − β₂ᵏ) over k up to 40: 6.57 at β₂ = 0.999."""
    k = np.arange(1, 41)
    metrics = measured("adam_late_spike", beta2=beta2, quiet=10)
    assert metrics["theory_fast"] == pytest.approx(((1 - 0.9**k) / np.sqrt(1 - beta2**k)).max())
    assert metrics["theory_slow"] == pytest.approx(6.57, abs=0.01)
    assert metrics["largest_slow"] <= metrics["theory_slow"]


def test_an_equal_gradient_moves_on_as_before():
    """At x = 1 all three steps stay near √(0.1/1.9) = 0.23."""
    metrics = measured("adam_late_spike", x=1.0)
    for way in ("slow", "fast", "clipped"):
        assert metrics[f"largest_{way}"] == pytest.approx(0.23, abs=0.06)
