"""Tests the experiment adam_eps against torch.optim.Adam and against exact arithmetic."""

import math

import pytest
from oracles import INF, NAN, measured, same


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("x", [1e-3, 0.02, 1.0, -0.5, 1e-6, 300.0])
@pytest.mark.parametrize("eps", [1e-8, 1e-4])
def test_the_step_is_that_of_torch(dtype, x, eps):
    """A step equals that of torch.optim.Adam on a parameter in the same format, up to one unit of rounding."""
    import torch

    form = getattr(torch, dtype)
    metrics = measured("adam_eps", x=x, eps=eps, dtype=dtype)
    for kind, step in ((form, "step"), (torch.float32, "step_float32")):
        parameter = torch.zeros(1, dtype=kind, requires_grad=True)
        parameter.grad = torch.tensor([x], dtype=form).to(kind)
        torch.optim.Adam([parameter], lr=1.0, eps=eps, foreach=False).step()
        taken = -parameter.item()
        assert same(metrics[step], taken) or metrics[step] == pytest.approx(taken, rel=2 * torch.finfo(kind).eps)


def test_at_zero_gradient():
    """With eps 1e-8 float16 gives 0/0; with eps 1e-4, in bfloat16, in float32 or with float32 state the step is 0."""
    metrics = measured("adam_eps")
    assert metrics["stored_eps"] == metrics["stored_v"] == 0
    assert math.isnan(metrics["step_at_zero"])
    assert metrics["step_at_zero_float32"] == 0
    assert metrics["step"] == INF
    assert metrics["step_exact"] == pytest.approx(1e-3 / (1e-3 + 1e-8))
    assert metrics["step_float32"] == pytest.approx(metrics["step_exact"], rel=1e-4)
    assert measured("adam_eps", eps=1e-4)["step_at_zero"] == 0
    assert measured("adam_eps", dtype="bfloat16")["step_at_zero"] == 0


def test_where_the_second_moment_vanishes():
    """0.001·x² rounds to 0 up to half the smallest number: x below √(2^−25/0.001) = 0.00546 in float16."""
    metrics = measured("adam_eps")
    edge = math.sqrt(2.0**-25 / 0.001)
    assert metrics["theory_v_is_zero_below"] == pytest.approx(edge)
    assert measured("adam_eps", x=edge * 0.99)["stored_v"] == 0
    assert measured("adam_eps", x=edge * 1.01)["stored_v"] > 0
    assert edge < metrics["smallest_right"] < 2 * edge
    assert metrics["smallest_right_float32"] < 1e-5


@pytest.mark.parametrize("x", [INF, NAN, 0.0, 1e308])
def test_edges(x):
    """Non-finite gradients give non-finite steps; a gradient of 0 without eps is 0/0 in exact arithmetic too."""
    metrics = measured("adam_eps", x=x)
    assert x == 0 or not math.isfinite(metrics["step"])
    assert math.isnan(measured("adam_eps", eps=0.0, dtype="float32")["step_at_zero_float32"])
