"""Tests the experiment entropy_at_zero against math.log over the allowed actions, and finite differences of that
entropy.
"""

import math

import pytest
from oracles import INF, NAN, draws, measure, measured, same


def entropy(logits: list[float]) -> float:
    weights = [math.exp(value) for value in logits]
    return -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("masked", [0, 3, 6])
def test_entropy_and_gradient_over_the_allowed_actions(seed, masked):
    (logits,) = draws(seed, (8,))
    allowed = logits[: 8 - masked].tolist()
    rows, metrics = measure("entropy_at_zero", seed, masked=masked)
    assert metrics["theory"] == pytest.approx(entropy(allowed))
    for way in ("eps", "xlogy", "masked"):
        assert metrics[f"entropy_{way}"] == pytest.approx(entropy(allowed), abs=1e-5)
    for k, row in enumerate(rows):
        if k < len(allowed):
            up, down = ([v + h * (i == k) for i, v in enumerate(allowed)] for h in (1e-5, -1e-5))
            assert row["masked"] == pytest.approx((entropy(up) - entropy(down)) / 2e-5, abs=1e-5)
        else:
            assert row["masked"] == 0


@pytest.mark.parametrize("fill", ["inf", "large"])
def test_what_a_zero_probability_breaks(fill):
    """0·log 0 is nan; xlogy gives the value but no finite gradient; log_softmax needs a finite fill value."""
    metrics = measured("entropy_at_zero", fill=fill)
    assert same(metrics["entropy"], NAN)
    bad = [metrics[f"bad_{way}"] for way in ("plain", "eps", "xlogy", "logits", "masked")]
    assert bad == [1, 0, 1, fill == "inf", 0]
    assert measured("entropy_at_zero", fill=fill, masked=0)["bad_xlogy"] == 0


@pytest.mark.parametrize(("q_zero", "kl"), [(0, 1), (3, 1), (4, INF)])
def test_kl_to_a_uniform_distribution(q_zero, kl):
    """The KL is ln(number of actions of q) − H(p) if q covers p, otherwise inf; torch's kl_div is nan where both are
    0.
    """
    metrics = measured("entropy_at_zero", q_zero=q_zero)
    expected = math.log(8 - q_zero) - metrics["theory"] if kl == 1 else INF
    assert metrics["kl_where"] == pytest.approx(expected, abs=1e-5)
    assert same(metrics["kl"], NAN) if q_zero else metrics["kl"] == pytest.approx(expected, abs=1e-5)
