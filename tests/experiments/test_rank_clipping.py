"""Tests the experiment rank_clipping against torch's clip_grad_norm_ and bounds on lengths."""

import math

import pytest
import torch
from oracles import demo, measured


@pytest.mark.parametrize("size", [0.1, 3.0, 1e4])
def test_clip_is_torchs(size):
    gradient = size * torch.randn(64, dtype=torch.float64)
    parameter = torch.zeros(64, dtype=torch.float64, requires_grad=True)
    parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    assert torch.allclose(demo("rank_clipping").clip(gradient), parameter.grad, rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("ranks", [2, 8, 32])
def test_what_each_way_keeps(seed, ranks):
    """Clipping after the mean keeps its direction; before, each rank has at most 1/ranks; by shards, the length is up
    to √ranks.
    """
    metrics = measured("rank_clipping", seed, ranks=ranks, x=1e4)
    assert metrics["after_kept"] == pytest.approx(1)
    assert metrics["after_norm"] == pytest.approx(1)
    assert metrics["shards_norm"] == pytest.approx(math.sqrt(ranks), rel=0.02)
    assert metrics["before_kept"] < 0.95
    # the average is the bad rank: signal + noise of equal norms, in 64 dimensions
    assert metrics["after_common"] == pytest.approx(1 / math.sqrt(2), abs=0.02)
    # of unit vectors with cosine ½ to each other the mean has cosine √(ranks/(ranks + 1)) with the common part
    assert metrics["before_common"] == pytest.approx(math.sqrt(ranks / (ranks + 1)), abs=0.02)


def test_equal_ranks_hardly_differ():
    metrics = measured("rank_clipping", ranks=8, x=1.0)
    assert metrics["before_kept"] > 0.99
    assert metrics["shards_norm"] == pytest.approx(metrics["after_norm"], rel=0.1)
