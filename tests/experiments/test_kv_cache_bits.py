"""Tests the experiment kv_cache_bits against attention by hand, against the size of a step, and where quantisation does
nothing.
"""

import math

import pytest
from oracles import demo, measured


def test_attention_by_hand():
    import torch

    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4).double(), torch.randn(5, 4).double(), torch.randn(5, 3).double()
    out, top = demo("kv_cache_bits").attention(q, k, v)
    for i in range(2):
        powers = [math.exp(float(q[i] @ k[j])) for j in range(5)]
        torch.testing.assert_close(out[i], sum(p * v[j] for j, p in enumerate(powers)) / sum(powers))
        assert top[i] == max(range(5), key=powers.__getitem__)


def test_a_step_for_each_token_or_channel():
    import torch

    tensor = torch.tensor([[7.0, 0.4, -0.6], [70.0, 0.4, -0.6]])
    found = demo("kv_cache_bits").quantised(tensor, 4, 1)
    assert found.tolist() == [[7.0, 0.0, -1.0], [70.0, 0.0, 0.0]]
    torch.testing.assert_close(demo("kv_cache_bits").quantised(tensor, 4, 0)[1], tensor[1])


def test_many_bits_change_nothing():
    found = measured("kv_cache_bits", bits=16)
    assert max(found["keys_token"], found["values_token"]) < 1e-2
    assert found["flips_token"] == found["flips_channel"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_outliers_hurt_keys_by_token_only(seed):
    large, even = (measured("kv_cache_bits", seed, x=x) for x in (20.0, 1.0))
    assert large["keys_token"] > 3 * even["keys_token"]
    assert large["keys_channel"] < 0.5 * large["keys_token"]
    assert large["values_token"] == pytest.approx(even["values_token"], rel=0.2)


def test_the_error_halves_with_a_bit():
    """Each value has an error of a step/√12, where the largest value is 7 steps in 4 bits and 127 in 8."""
    four, eight = (measured("kv_cache_bits", bits=bits)["values_token"] for bits in (4, 8))
    assert four / eight == pytest.approx(127 / 7, rel=0.15)
