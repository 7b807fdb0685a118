"""Tests the experiment sharded_clip against torch's clip_grad_norm_ on the whole gradient and on each shard."""

import math

import numpy as np
import pytest
from oracles import measure, measured


def shards_of(seed: int, shards: int, uneven: float, x: float) -> list[np.ndarray]:
    import torch

    torch.manual_seed(seed)
    sizes = uneven ** (np.arange(shards) / (shards - 1))
    gradient = torch.randn(shards, 4096 // shards).double().numpy() * sizes[:, None]
    return list(gradient * x / np.linalg.norm(gradient))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("shards", [2, 16])
@pytest.mark.parametrize("x", [0.5, 50.0])
def test_clipping_as_torch_does_it(seed, shards, x):
    """Each shard as the gradient of its own parameter: all in one call, or a call for each."""
    import torch

    def clipped(groups: list[list[int]]) -> np.ndarray:
        parameters = [torch.nn.Parameter(torch.zeros(4096 // shards, dtype=torch.float64)) for _ in range(shards)]
        for parameter, shard in zip(parameters, shards_of(seed, shards, 10.0, x), strict=True):
            parameter.grad = torch.from_numpy(shard.copy())
        for group in groups:
            torch.nn.utils.clip_grad_norm_([parameters[k] for k in group], 1.0)
        return np.concatenate([parameter.grad.numpy() for parameter in parameters])

    before = np.concatenate(shards_of(seed, shards, 10.0, x))
    metrics = measured("sharded_clip", seed, shards=shards, x=x)
    for way, groups in (("global", [list(range(shards))]), ("local", [[k] for k in range(shards)])):
        after = clipped(groups)
        assert metrics[f"norm_{way}"] == pytest.approx(np.linalg.norm(after), rel=1e-5)
        cosine = after @ before / np.linalg.norm(after) / np.linalg.norm(before)
        assert metrics[f"cosine_{way}"] == pytest.approx(cosine, rel=1e-5)


@pytest.mark.parametrize("shards", [4, 64])
def test_local_clipping_reaches_the_root_of_the_shards(shards):
    """If every shard exceeds the threshold, the norm is √shards times it; dividing by that corrects the length, not the
    direction.
    """
    metrics = measured("sharded_clip", shards=shards, x=1e4)
    assert metrics["norm_local"] == pytest.approx(math.sqrt(shards))
    assert metrics["norm_split"] == pytest.approx(1)
    assert metrics["cosine_split"] == pytest.approx(metrics["cosine_local"])


def test_rows_are_the_ranks():
    rows, metrics = measure("sharded_clip")
    assert math.sqrt(sum(row["before"] ** 2 for row in rows)) == pytest.approx(50)
    assert rows[0]["before"] == metrics["logged"]
