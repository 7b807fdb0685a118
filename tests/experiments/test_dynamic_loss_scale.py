"""Tests the experiment dynamic_loss_scale against torch's own GradScaler."""

import pytest
from oracles import measure, measured


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n": 120, "scale": 65536.0, "growth_interval": 5},
        {"n": 60, "act_scale": 1e5},
        {"n": 40, "lr": 2.0},
        {"n": 150, "clip": 0.1},
        {"n": 150, "clip": 0.1, "unscale_first": False},
    ],
)
def test_the_same_as_torchs_grad_scaler(params):
    """The net trained with torch.amp.GradScaler and torch.optim.SGD skips the same steps and ends with the same
    loss.
    """
    import torch

    _, metrics = measure("dynamic_loss_scale", **params)
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    y = (2 * x[:, :1]).sin()
    weights = [torch.randn(2, 32) * 0.5**0.5, torch.zeros(32), torch.randn(32, 1) * (0.5 / 32) ** 0.5, torch.zeros(1)]
    weights = [torch.nn.Parameter(w) for w in weights]
    optimizer = torch.optim.SGD(weights, lr=params.get("lr", 0.05))
    scaler = torch.amp.GradScaler(
        "cpu", init_scale=params.get("scale", 1048576.0), growth_interval=params.get("growth_interval", 40)
    )
    size, skipped = params.get("act_scale", 1.0), 0
    for _ in range(params.get("n", 300)):
        w1, b1, w2, b2 = (w.half() for w in weights)
        out = torch.relu(x.half() @ w1 + b1) * size @ w2 / size + b2
        optimizer.zero_grad()
        scaler.scale((out.float() - y).square().mean()).backward()
        before = scaler.get_scale()
        if params.get("unscale_first", True):
            scaler.unscale_(optimizer)
        if "clip" in params:
            torch.nn.utils.clip_grad_norm_(weights, params["clip"])
        scaler.step(optimizer)
        scaler.update()
        skipped += scaler.get_scale() < before
    assert metrics["skipped"] == skipped
    assert metrics["last_scale"] == pytest.approx(scaler.get_scale(), abs=1e-30)
    w1, b1, w2, b2 = (w.detach() for w in weights)
    mse = float(((torch.relu(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean())
    assert metrics["mse"] == pytest.approx(mse, rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_skipping_is_normal_when_healthy_and_for_ever_when_the_loss_overflows(seed):
    """Usually few steps are skipped, no loss is bad and the MSE is that of float32; with overflowing activations every
    step is skipped.
    """
    healthy = measured("dynamic_loss_scale", seed)
    assert 0 < healthy["skipped_share"] < 0.1
    assert healthy["longest_run"] <= 8
    assert healthy["bad_loss_steps"] == 0
    assert healthy["mse_over_fp32"] < 1.2
    sick = measured("dynamic_loss_scale", seed, act_scale=1e5)
    assert sick["skipped_share"] == sick["bad_loss_share"] == 1
    assert sick["first_good_step"] is sick["largest_scale"] is None
    assert sick["last_scale"] < 1e-3
    assert sick["fp32_mse"] == pytest.approx(healthy["fp32_mse"], rel=0.05)


@pytest.mark.parametrize("seed", [0, 1])
def test_clip_after_unscaling(seed):
    """Clipping the scaled gradient to a norm of 0.5 leaves hardly any gradient; if it is unscaled first, the net
    trains.
    """
    right = measured("dynamic_loss_scale", seed, clip=0.5)
    wrong = measured("dynamic_loss_scale", seed, clip=0.5, unscale_first=False)
    assert right["mse_over_fp32"] < 1.2
    assert wrong["mse_over_fp32"] > 2
    assert wrong["fp32_mse"] == right["fp32_mse"]


def test_edges():
    """A small scale never overflows; a rate too large ends in bad losses; no step is taken at rate 0."""
    calm = measured("dynamic_loss_scale", scale=1.0, growth_interval=1000)
    assert calm["skipped"] == calm["longest_run"] == 0
    assert calm["bad_loss_share"] is None
    assert calm["last_scale"] == calm["largest_scale"] == calm["first_good_step"] == 1
    assert measured("dynamic_loss_scale", lr=5.0)["bad_loss_share"] > 0.5
    still = measured("dynamic_loss_scale", lr=0.0, n=5)
    assert still["mse_over_fp32"] == 1
