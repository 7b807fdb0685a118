"""Snippets on constant variance and batch norm: they freeze, replace, recalibrate or compare layers and change nothing
else.
"""

import pytest
import torch
from snippets.reader import batch, changes, healthy_model, plain_model, state_of
from torch import nn


def test_bias_before_bn(snippet):
    block = snippet.run().names.block
    shifted = nn.Sequential(nn.Linear(8, 16), block[1], block[2])
    with torch.no_grad():
        shifted[0].weight.copy_(block[0].weight)
        shifted[0].bias.fill_(7.0)
    x, _ = batch()
    torch.testing.assert_close(block(x), shifted(x), rtol=1e-3, atol=1e-4)


def test_bn_or_ln_for_time_series(snippet):
    x, _ = batch()
    x[0] = 5
    features = snippet.run(x=x).names.features
    assert features.shape == (64, 10) and features.isfinite().all()
    level, scaled = snippet.run(x=x + 3).names.features, snippet.run(x=2 * x).names.features
    torch.testing.assert_close(level[1:, :8], features[1:, :8], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scaled[1:, :8], features[1:, :8], rtol=1e-3, atol=1e-3)


def test_bn_train_and_eval_modes(snippet):
    model = healthy_model()
    model[5].momentum = 0.0
    lines = snippet.diagnose(model).printed
    assert "0.2 0" in lines and "0.0 0" in lines
    model(batch()[0])
    assert "0.2 1" in snippet.diagnose(model).printed
    without = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    snippet.diagnose(without)


def test_bn_with_batch_of_one_or_two(snippet):
    x, y = batch(55)
    ran = snippet.diagnose(x=x, y=y)
    assert [len(rows) for rows, _ in ran.names.loader] == [9] * 6, "the last batch, of one row, is left out"
    with pytest.raises(ValueError, match="more than 1 value"):
        healthy_model()(x[:1])


def test_bn_with_residual_connections(snippet):
    net = nn.Sequential(*(snippet.run().names.Block(16) for _ in range(20)))
    h = torch.randn(64, 16, requires_grad=True)
    net(h).mean().backward()
    assert h.grad.isfinite().all() and h.grad.any()


def test_bn_with_small_batches(snippet):
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3),
        nn.BatchNorm2d(24),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(24)),
        nn.Conv2d(24, 7, 1),
        nn.BatchNorm2d(7),
    )
    snippet.run(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)
    narrow = nn.Sequential(nn.Conv2d(3, 32, 1), nn.BatchNorm2d(32))
    snippet.run(narrow)
    assert narrow[1].num_groups == 8, "groups of a single channel would forget the channel's size"
    other = healthy_model()
    before = state_of(other)
    snippet.run(other)
    assert not changes(before, state_of(other))


def test_bn_without_gamma_and_beta(snippet):
    model = healthy_model()
    optimizer = snippet.run(model).names.optimizer
    decayed, kept = optimizer.param_groups
    assert [p.dim() for p in decayed["params"]] == [2] * len(decayed["params"]) and kept["weight_decay"] == 0
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} >= {
        id(p) for p in model.parameters() if p.requires_grad
    }


def test_constant_variance_and_batch_norm(snippet):
    names = snippet.diagnose().names
    assert names.grads["7"] > 0 and set(names.grads) >= {"0", "1", "2", "3"}
    fading = snippet.diagnose(plain_model(nn.Sigmoid, 12)).names.grads
    assert fading["0"] < 1e-4 * fading["22"]


def test_frozen_batch_norm(snippet):
    model = healthy_model()
    before = state_of(model)
    snippet.run(model)
    model(10 + batch()[0])
    assert model.training and model[3].training and not model[1].training
    changed = changes(before, state_of(model))
    assert not [name for name in changed if "running" in name or "batches" in name]
    assert not model[1].weight.requires_grad and model[0].weight.requires_grad


def test_good_in_train_bad_in_eval(snippet):
    x, y = batch()
    model = healthy_model()
    model[1].running_mean.fill_(50.0)
    before = state_of(model)
    snippet.run(model, x=x, y=y)
    inner = model[0](x)
    torch.testing.assert_close(model[1].running_mean, inner.mean(0), rtol=1e-3, atol=1e-4)
    variance = (inner[:32].var(0) + inner[32:].var(0)) / 2
    torch.testing.assert_close(model[1].running_var, variance, rtol=1e-3, atol=1e-4)
    assert model[1].momentum == 0.2 and model[5].momentum == 0.03
    assert not any(m.training for m in model.modules())
    changed = changes(before, state_of(model))
    assert all("running" in name or "batches" in name or "training" in name for name in changed)


def test_good_in_training_bad_in_evaluation(snippet):
    model = healthy_model()
    with torch.no_grad():
        model[1].running_mean.fill_(50.0)
    in_eval, in_train = snippet.diagnose(model).numbers
    assert in_eval > in_train
    in_eval, in_train = snippet.diagnose(plain_model()).numbers
    assert in_eval == in_train


def test_layer_norm_and_the_batch(snippet):
    train, evaluation = [
        float(text) for text in snippet.diagnose(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))).printed.split()
    ]
    assert train > 0.01 and evaluation < 1e-5
    train, evaluation = [
        float(text) for text in snippet.diagnose(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4))).printed.split()
    ]
    assert train < 1e-5 and evaluation < 1e-5
    snippet.diagnose()


def test_linear_bn_and_batch_size(snippet):
    assert len(snippet.diagnose().numbers) == 3
    small = snippet.diagnose(
        nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(8, 8), nn.BatchNorm1d(8))]),
        x=torch.randn(4, 8),
        y=torch.arange(4),
    ).names.grads
    assert small[-1] > 3 * small[0]


def test_weight_scale_before_bn(snippet):
    cosine = snippet.diagnose().printed.split("cosine ")[1].split()[0]
    assert abs(float(cosine)) < 1e-3
    plain = snippet.diagnose(plain_model(width=4)).printed.split("cosine ")[1].split()[0]
    assert abs(float(plain)) > 1e-3


def test_bn_keeps_order_and_correlation(snippet):
    order, change = [float(text) for text in snippet.run(x=10 * batch()[0] + 100).printed.split() if text[0].isdigit()]
    assert order > 0.99 and change < 1e-3


def test_evaluating_in_train_mode(snippet):
    assert snippet.diagnose(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))).numbers[-1] > 0.01
    assert snippet.diagnose(plain_model()).numbers[-1] < 1e-5
    assert snippet.diagnose(nn.Sequential(nn.Dropout(0.5), plain_model())).numbers[-1] < 1e-5, "dropout is no company"
    snippet.diagnose()


def test_rms_norm_or_layer_norm(snippet):
    x, y = batch()
    model = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.RMSNorm(8), nn.Linear(8, 2))
    assert snippet.diagnose(model, x=x + 50, y=y).names.ratios["0"] > 10
    assert max(snippet.diagnose(model).names.ratios.values()) < 3
    assert not snippet.diagnose().names.ratios


def test_weight_cancelled_by_bn(snippet):
    longer, other = [float(line.split()[-1]) for line in snippet.run().printed.splitlines()]
    assert longer < 1e-2 < 0.1 < other


def test_weight_decay_and_late_jumps(snippet):
    model = healthy_model()
    with torch.no_grad():
        model[0].weight.mul_(0.01)
    rates = [float(line.split()[-1]) for line in snippet.diagnose(model).printed.splitlines()]
    assert len(rates) == 2 and rates[0] > 100 * rates[1]
    assert snippet.diagnose(plain_model()).printed == ""
