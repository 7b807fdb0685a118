"""Tests the experiment dpo_displacement: without an SFT term everything follows from the margin, by the closed form of
the weights.
"""

import math

import numpy as np
import pytest
from oracles import measure, measured


def log_ratios(similarity, towards, third, margin):
    """The log-ratios of the three answers at the weights w = s·(chosen − rejected), s = margin/(2 − 2·similarity)."""
    length = math.sqrt(2 - 2 * similarity)
    rise = np.array([1 - similarity, similarity - 1, towards * length]) * margin / length**2
    start = np.log([(1 - third) / 2, (1 - third) / 2, third])
    z = start + rise
    return z - np.log(np.exp(z).sum()) - start


@pytest.mark.parametrize("n", [0, 1, 50, 400])
@pytest.mark.parametrize(("similarity", "towards", "third"), [(0.9, 0.8, 0.4), (0.0, 0.5, 0.9), (-0.5, -1.0, 0.1)])
def test_the_margin_decides_the_rest(similarity, towards, third, n):
    settings = {"similarity": similarity, "towards": towards, "third": third, "beta": 0.2, "lr": 2.0}
    metrics = measured("dpo_displacement", n=max(n, 1), **settings)
    margin = metrics["margin_end"] / 0.2
    chosen, rejected, other = log_ratios(similarity, towards, third, margin)
    assert metrics["chosen_end"] == pytest.approx(0.2 * chosen, abs=1e-9)
    assert metrics["rejected_end"] == pytest.approx(0.2 * rejected, abs=1e-9)
    assert metrics["chosen_factor"] == pytest.approx(math.exp(chosen))
    assert metrics["third_end"] == pytest.approx(third * math.exp(other))
    assert metrics["loss_end"] == pytest.approx(math.log1p(math.exp(-0.2 * margin)))
    step = 1e-6
    slope = (log_ratios(similarity, towards, third, step)[0] - log_ratios(similarity, towards, third, -step)[0]) / (
        2 * step
    )
    assert metrics["theory_first"] == pytest.approx(slope, abs=1e-6)


def test_the_margin_follows_its_differential_equation():
    """For small steps dm/dt = (2 − 2·similarity)·β·σ(−β·m)."""
    m = 0.0
    for _ in range(20000):
        m += 0.02 * (2 - 2 * 0.9) * 0.1 / (1 + math.exp(0.1 * m)) / 2
    metrics = measured("dpo_displacement", lr=0.1, n=2000)
    assert metrics["margin_end"] == pytest.approx(0.1 * m, rel=1e-2)


def test_it_starts_at_ln_2():
    rows, metrics = measure("dpo_displacement")
    assert metrics["loss_start"] == rows[0]["loss"] == pytest.approx(math.log(2))


def test_an_sft_term_raises_the_chosen_answer():
    plain, helped = (measured("dpo_displacement", sft=sft) for sft in (0.0, 0.1))
    assert plain["chosen_end"] < 0 < helped["chosen_end"]
    assert helped["margin_end"] > 0.1
