"""Tests the experiment module_policy against FSDP itself in one process, and against what the formats store."""

import math

import pytest
import torch
from oracles import demo, measured
from torch import nn

LOWEST = torch.finfo(torch.float32).min


class Block(nn.Module):
    """The norm and the attention of the experiment, written as a model would."""

    def __init__(self, weight: torch.Tensor, query: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.query, self.eps = nn.Parameter(weight), nn.Parameter(weight @ query), eps

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = x @ self.weight
        weights = (x @ self.query + mask).softmax(1)
        return h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt(), (weights[..., None] * x).sum(1)


@pytest.fixture
def mesh():
    """A process group that contains only this process."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("dtype", "eps", "mask"),
    [("float16", 1e-8, 1e9), ("float16", 1e-7, 1e4), ("bfloat16", 1e-8, 1e9), ("bfloat16", 1e-8, -LOWEST)],
)
def test_the_same_samples_go_bad_under_fsdp(mesh, dtype, eps, mask):
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    torch.manual_seed(0)
    weight, query, x = torch.randn(32, 32) / 32**0.5, torch.randn(32) / 32**0.5, torch.randn(64, 16, 32)
    x[:16] = 0
    added = torch.zeros(64, 16)
    added[:16], added[:, -4:] = -mask, -mask
    block = Block(weight, query, eps)
    fully_shard(block, mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=getattr(torch, dtype)))
    normed, attended = (~out.isfinite().flatten(1).all(1) for out in block(x, added))
    metrics = measured("module_policy", 0, dtype=dtype, eps=eps, mask=mask)
    assert metrics["norm_bad"] == normed.double().mean()
    assert metrics["mask_bad"] == attended.double().mean()
    assert metrics["policy_bad"] == (normed | attended).double().mean()


def test_what_the_formats_store():
    assert measured("module_policy", mask=-LOWEST, dtype="bfloat16")["mask_stored"] == -math.inf
    assert measured("module_policy", eps=1e-8)["eps_stored"] == 0
    assert measured("module_policy", eps=1e-7)["eps_stored"] == 2**-23


@pytest.mark.parametrize("form", [torch.float32, torch.float64])
def test_the_norm_is_rms_norm(form):
    h = torch.randn(5, 7, dtype=form)
    torch.testing.assert_close(demo("module_policy").norm(h, 1e-3), nn.functional.rms_norm(h, (7,), eps=1e-3))
