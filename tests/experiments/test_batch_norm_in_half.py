"""Tests the experiment batch_norm_in_half against torch's BatchNorm1d and numpy's float16."""

import numpy as np
import pytest
import torch
from oracles import INF, measured


def test_float32_is_torchs_batch_norm():
    torch.manual_seed(3)
    values = 10 + torch.randn(200, 64)
    layer = torch.nn.BatchNorm1d(1, momentum=0.05)
    for batch in values:
        layer(batch[:, None])
    metrics = measured("batch_norm_in_half", 3, form="float32", momentum=0.05, n=200)
    assert metrics["wide_mean"] == metrics["stored_mean"] == pytest.approx(layer.running_mean.item(), rel=1e-5)
    assert metrics["stored_var"] == pytest.approx(layer.running_var.item(), rel=1e-5)


def test_float16_is_numpys():
    torch.manual_seed(0)
    values = (10 + torch.randn(300, 64)).numpy()
    running = np.float16(0)
    for mean in torch.from_numpy(values).mean(1).numpy():
        running = np.float16(np.float32(1 - 0.01) * np.float32(running) + np.float32(0.01) * mean)
    assert measured("batch_norm_in_half", form="float16", n=300)["stored_mean"] == float(running)


@pytest.mark.parametrize("seed", [0, 1])
def test_bfloat16_stalls(seed):
    metrics = measured("batch_norm_in_half", seed)
    assert 0.05 < metrics["mean_error"] < metrics["theory_error"]
    assert metrics["eval_stored"] > 1.5 > metrics["eval_wide"]


def test_a_variance_overflows():
    metrics = measured("batch_norm_in_half", form="float16", mean=0.0, std=300.0)
    assert metrics["stored_var"] == INF
    assert metrics["eval_stored"] == 0
    assert measured("batch_norm_in_half", form="float16", mean=0.0, std=200.0)["eval_stored"] == pytest.approx(
        1, abs=0.1
    )


def test_one_pass():
    """The one-pass formula of the variance fails only where mean² is far above the variance."""
    assert measured("batch_norm_in_half", form="float16", mean=10.0, std=0.1)["bad_one_pass"] > 0.1
    assert measured("batch_norm_in_half", form="float16", mean=0.0, std=1.0)["bad_one_pass"] == 0
