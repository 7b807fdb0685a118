"""Snippets on initialisation: hidden layers get the scale that preserves the signal, the head is unchanged, biases are
optional.
"""

import math
from itertools import product

import pytest
import torch
from hooks import hook_count
from snippets.reader import batch, healthy_model, plain_model
from torch import nn


def deep(act=nn.ReLU, layers=20, width=128):
    """A deep net with PyTorch's initial weights, whose activations shrink from layer to layer."""
    return plain_model(act, layers, width)


def hidden_rms(model):
    """The root mean square of the head's inputs."""
    return model[:-1](batch()[0]).square().mean().sqrt().item()


def check_hidden_layers(snippet, act, low, high):
    """Asserts that the signal survives twenty layers, the head keeps its weights, and a model without biases works."""
    model = deep(act)
    faded, head = hidden_rms(model), model[-1].weight.clone()
    snippet.run(model)
    assert low < hidden_rms(model) < high and faded < low
    assert torch.equal(head, model[-1].weight)
    snippet.run()


def test_best_init(snippet):
    check_hidden_layers(snippet, nn.ReLU, 0.2, 5)


def test_calibrate_by_data(snippet):
    model = deep()
    faded = hidden_rms(model)
    snippet.run(model)
    assert faded < 0.2 and 0.5 < hidden_rms(model) < 2
    sound = healthy_model()
    modes = [m.training for m in sound.modules()]
    x, _ = batch()
    x = torch.cat([x, x])
    snippet.run(sound, x=x)
    assert [m.training for m in sound.modules()] == modes
    assert not hook_count(sound)
    assert all(p.isfinite().all() for p in sound.parameters())
    zero = plain_model(layers=3)
    with torch.no_grad():
        zero[2].weight.zero_()
        zero[2].bias.zero_()
    snippet.run(zero)
    assert all(p.isfinite().all() for p in zero.parameters()), "a branch that starts at 0"


def test_fan_in_or_fan_out(snippet):
    layer = nn.Linear(512, 128)
    assert snippet.run(layer=layer).numbers[:2] == [512, 128]
    assert layer.weight.var().item() * 512 == pytest.approx(2, rel=0.05)


def test_fixed_small_std(snippet):
    model = plain_model(width=256)
    nn.init.normal_(model[2].weight, std=0.02)
    values = [float(line.split("= ")[1]) for line in snippet.diagnose(model).printed.splitlines()]
    assert values[1] == pytest.approx(256 * 0.02**2, rel=0.05)
    values = [float(line.split("= ")[1]) for line in snippet.diagnose().printed.splitlines()]
    assert all(0.2 < value < 0.5 for value in values), "PyTorch's default: a third"


def test_initialise_my_model(snippet):
    check_hidden_layers(snippet, nn.ReLU, 0.2, 5)
    model = deep()
    lines = snippet.run(model).printed.splitlines()
    assert len([line for line in lines if line.startswith("Linear")]) == 20
    assert not hook_count(model)


def test_kaiming_or_xavier_in_training(snippet):
    lines = snippet.diagnose(deep(layers=10, width=32)).printed.splitlines()
    values = {tuple(line.split()[:2]): float(line.split()[2]) for line in lines}
    assert [*values] == [*product(("xavier", "kaiming"), ("0.01", "0.03", "0.1"))]
    assert values["kaiming", "0.1"] < values["xavier", "0.1"] + 0.1
    snippet.diagnose()


def test_leaky_relu_gain(snippet):
    layer = nn.Linear(512, 512)
    assert snippet.run(layer=layer).numbers[-1] == pytest.approx(math.sqrt(2 / 1.04), rel=1e-4)
    assert layer.weight.var().item() * 512 == pytest.approx(2 / 1.04, rel=0.05)


def test_selu_with_lecun(snippet):
    model = deep(nn.SELU, 20, 256)
    faded = hidden_rms(model)
    snippet.run(model)
    assert 0.8 < hidden_rms(model) < 1.2 and not 0.8 < faded < 1.2
    snippet.run()


def test_tanh_gain(snippet):
    layer = nn.Linear(512, 512)
    snippet.run(layer=layer)
    assert layer.weight.var().item() * 512 == pytest.approx(25 / 9, rel=0.05)
    snippet.run(layer=layer, swap={"# torch.nn.init": "torch.nn.init"})
    assert layer.weight.var().item() * 512 == pytest.approx(1, rel=0.05), "the line for very deep nets"


def test_xavier_with_relu(snippet):
    model = deep()
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.xavier_normal_(m.weight)
            nn.init.zeros_(m.bias)
    faded = hidden_rms(model)
    snippet.run(model)
    assert faded < 0.01 and 0.2 < hidden_rms(model) < 5
    snippet.run()


def test_learning_rate_and_width_mup(snippet):
    model = plain_model(layers=3, width=256)
    optimizer = snippet.run(model).names.optimizer
    rates = {id(group["params"][0]): group["lr"] for group in optimizer.param_groups}
    assert rates[id(model[0].weight)] == 1e-3 and rates[id(model[0].bias)] == 1e-3
    assert rates[id(model[2].weight)] == pytest.approx(1e-3 / 4)
    assert all(group["lr"] == 1e-3 for group in snippet.run(plain_model()).names.optimizer.param_groups)


def test_bias_for_a_rare_class(snippet):
    """Every anchor starts at the prior, and the focal loss per positive near 1, not in the hundreds."""
    head = snippet.run().names.head
    features = torch.randn(1, 256, 8, 8)
    chances = torch.sigmoid(head(features))
    assert 0.005 < chances.mean() < 0.02
    negatives = 0.75 * chances.square() * -(1 - chances).log()
    assert negatives.sum() * 10 / 8 < 1
    nn.init.zeros_(head.bias)
    chances = torch.sigmoid(head(features))
    assert (0.75 * chances.square() * -(1 - chances).log()).sum() > 1000
