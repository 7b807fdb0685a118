"""Tests the experiment online_softmax against torch's softmax and attention, records of random sequences, and the limit
of exp.
"""

import math

import pytest
import torch
from oracles import INF, demo, measured


def final(scores, values, kind=torch.float32, guard=True):
    module = demo("online_softmax")
    state = module.empty()
    for start in range(0, scores.shape[1], 64):
        state = module.attend(state, scores[:, start : start + 64], values[start : start + 64], kind, guard)
    return module.output(state)


@pytest.mark.parametrize("mask", ["none", "first", "last"])
def test_blocks_equal_scaled_dot_product_attention(mask):
    """With scores q·k from torch's own function, in float32 and with ordinary spread."""
    torch.manual_seed(0)
    q, k, v = torch.randn(64, 16), torch.randn(256, 16), torch.randn(256, 16)
    keep = demo("online_softmax").masked(torch.zeros(64, 256), mask) == 0
    expected = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], keep[None])[0]
    scores = (q @ k.T / 4).masked_fill(~keep, -INF)
    assert torch.allclose(final(scores, v), expected, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_rounding_only(seed):
    """Differences are rounding errors whatever the spread; the maximum changes as often as block maxima set a record,
    H(blocks) times.
    """
    for x in (1.0, 100.0, 3000.0):
        assert measured("online_softmax", seed, x=x)["online"] < 1e-6
    blocks = 8192 // 64
    records = sum(1 / (index + 1) for index in range(blocks))
    assert measured("online_softmax", seed, n=8192)["rescales"] == pytest.approx(records, rel=0.15)


def test_naive_overflows_beyond_the_limit_of_exp():
    limit = math.log(torch.finfo(torch.float32).max)
    assert measured("online_softmax", x=limit / 5)["naive_bad"] < 0.2
    assert measured("online_softmax", x=limit / 2.5)["naive_bad"] == 1


@pytest.mark.parametrize(
    ("mask", "unguarded", "softmax"), [("none", 0, 0), ("first", 1, 0), ("last", 0, 0), ("all", 1, 1)]
)
def test_rows_without_a_key(mask, unguarded, softmax):
    """Unguarded, a row whose first block has no key stays nan; a row without any key is nan in plain softmax too."""
    metrics = measured("online_softmax", mask=mask)
    assert (metrics["unguarded_nan"], metrics["softmax_nan"], metrics["guarded_nan"]) == (unguarded, softmax, 0)


def test_half_weights_are_the_difference():
    """Rounding the weights P gives an error below the unit roundoff, as errors average out."""
    for form, bits in (("bfloat16", 8), ("float16", 11)):
        assert 2.0 ** -(bits + 6) < measured("online_softmax", form=form)["online"] < 2.0**-bits
