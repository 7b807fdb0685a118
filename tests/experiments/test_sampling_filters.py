"""Tests the experiment sampling_filters against numpy: which contexts a cumulative sum of exact probabilities leaves
without a token.
"""

import numpy as np
import pytest
from oracles import measure, measured


def contexts(seed: int, size: float, n: int) -> np.ndarray:
    """Sorted probabilities of the logits that the experiment draws, in float64."""
    import torch

    torch.manual_seed(seed)
    logits = (size * torch.randn(n, 1000)).double().numpy()
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return -np.sort(-weights / weights.sum(1, keepdims=True), axis=1)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.8])
def test_the_naive_filter_fails_where_the_first_token_exceeds_top_p(seed, top_p):
    """It fails in exactly these contexts; the safe filter keeps each token before which less than top_p has
    accumulated.
    """
    sorted_p = contexts(seed, 3.0, 200)
    metrics = measured("sampling_filters", seed, top_p=top_p)
    assert metrics["bad_naive"] == (sorted_p[:, 0] > top_p).mean()
    before = sorted_p.cumsum(1) - sorted_p
    assert metrics["kept_safe"] == pytest.approx((before < top_p).sum(1).clip(1).mean(), rel=0.01)
    assert (metrics["bad_safe"], metrics["bad_plain"], metrics["greedy_safe"]) == (0, 0, 1)
    assert metrics["top"] == pytest.approx(sorted_p[:, 0].mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("params", "bad"),
    [
        ({"temperature": 0.0}, 1),
        ({"temperature": 0.01}, 0),
        ({"temperature": 1e-4, "dtype": "float16"}, 1),
        ({"temperature": 1e-4, "dtype": "bfloat16"}, 0),
    ],
)
def test_temperature_without_top_p(params, bad):
    """A largest logit near 10 over 1e-4 exceeds 65504, and nothing else does."""
    metrics = measured("sampling_filters", top_p=1.0, **params)
    assert metrics["bad_naive"] == pytest.approx(bad, abs=0.01)
    assert metrics["bad_safe"] == 0


def test_rows_fall_with_top_p():
    """A wider nucleus removes the first token less often."""
    rows, _ = measure("sampling_filters")
    values = [row["naive"] for row in rows[:-1]]
    assert values[0] == 1
    assert values == sorted(values, reverse=True)
