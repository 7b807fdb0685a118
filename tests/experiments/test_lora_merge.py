"""Tests the experiment lora_merge against exact rounding, and the chance that a uniform position on the grid is
moved.
"""

from fractions import Fraction

import numpy as np
import pytest
from oracles import FORMATS, measure, measured


def drawn(seed: int, x: float, rank: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Base weights and update, as the experiment draws them."""
    import torch

    torch.manual_seed(seed)
    weight = 0.02 * torch.randn(256, 256).double()
    delta = (torch.randn(256, rank) @ torch.randn(rank, 256)).double()
    delta *= 0.02 / delta.square().mean().sqrt()
    return weight.numpy(), x * delta.numpy()


@pytest.mark.parametrize("base", ["bfloat16", "float16"])
@pytest.mark.parametrize("x", [1e-3, 0.03])
def test_merged_weights_are_rounded_once(base, x):
    """References are rounded with fractions; the experiment rounds to float32 first, which changes hardly any
    weight.
    """
    weight, delta = drawn(0, x)
    form = FORMATS[base]
    old = [form.rounded(Fraction(float(w))) for w in weight.flatten()]
    new = [form.rounded(w + Fraction(float(d))) for w, d in zip(old, delta.flatten(), strict=True)]
    unchanged = np.mean([a == b for a, b in zip(old, new, strict=True)])
    assert measured("lora_merge", base=base, x=x)["unchanged"] == pytest.approx(unchanged, abs=1e-3)


@pytest.mark.parametrize(("base", "levels"), [("int8", 127), ("int4", 7)])
@pytest.mark.parametrize("x", [0.01, 0.3])
def test_integers_have_one_step_a_row(base, levels, x):
    weight, delta = drawn(1, x)
    gap = abs(weight).max(1, keepdims=True) / levels
    old = np.rint(weight / gap)
    new = np.rint(old + delta / gap)
    metrics = measured("lora_merge", 1, base=base, x=x)
    assert metrics["unchanged"] == pytest.approx((old == new).mean())
    change = gap * (new - old)
    assert metrics["kept"] == pytest.approx((change * delta).sum() / (delta**2).sum())
    assert metrics["error"] == pytest.approx(np.linalg.norm(change - delta) / np.linalg.norm(delta))


@pytest.mark.parametrize("base", ["bfloat16", "int8"])
def test_stochastic_rounding_keeps_the_mean(base):
    """The mean change is right within a tenth for updates of which rounding to nearest keeps half or none."""
    metrics = measured("lora_merge", base=base, x=1e-3)
    assert metrics["kept_stochastic"] == pytest.approx(1, abs=0.1)
    assert metrics["kept"] < 0.6
    assert metrics["output_apart"] < 1e-5


def test_the_scan_rises():
    rows, _ = measure("lora_merge")
    unchanged = [row["unchanged"] for row in rows]
    assert unchanged == sorted(unchanged, reverse=True)
