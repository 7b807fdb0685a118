"""Snippets on the distribution of weights: drawn weights have the promised variance, and inspected ones are not
changed.
"""

import math

import pytest
import torch
from snippets.reader import plain_model
from torch import nn


def wide_layer():
    """A layer large enough for its variance to be known to a few per cent."""
    return nn.Linear(256, 256, bias=False)


def test_constant_init(snippet):
    same = nn.Linear(8, 16)
    nn.init.constant_(same.weight, 0.1)
    assert "True" in snippet.diagnose(layer=same).printed
    assert "False" in snippet.diagnose().printed


def test_init_distribution(snippet):
    layer = wide_layer()
    mean, variance = snippet.run(layer=layer).numbers[-2:]
    assert abs(mean) < 1e-3 and variance == pytest.approx(2, rel=0.01)
    assert layer.weight.abs().std() < 1e-6


def test_linear_default_init(snippet):
    model = plain_model(layers=3, width=256)
    head = model[-1].weight.clone()
    snippet.run(model)
    assert model[2].weight.var().item() * 256 == pytest.approx(2, rel=0.05)
    assert not model[0].bias.any() and torch.equal(head, model[-1].weight)
    snippet.run()


def test_orthogonal_init(snippet):
    layer = nn.Linear(8, 16, bias=False)
    low, high = snippet.run(layer=layer).numbers[-2:]
    assert low == pytest.approx(1, abs=1e-4) and high == pytest.approx(1, abs=1e-4)


def test_sign_weights(snippet):
    layer = wide_layer()
    std, expected = snippet.run(layer=layer).numbers[-2:]
    assert std == pytest.approx(expected, rel=1e-3) and expected == pytest.approx(math.sqrt(2 / 256))


def test_truncated_normal_init(snippet):
    layer = wide_layer()
    assert snippet.run(layer=layer).numbers[-1] == pytest.approx(2, rel=0.03)
    assert snippet.run(layer=layer, swap={" / 0.8796": ""}).numbers[-1] < 1.7


def test_uniform_init_bound(snippet):
    layer = wide_layer()
    assert snippet.run(layer=layer).numbers[-1] == pytest.approx(2, rel=0.03)


def test_width_and_luck(snippet):
    sizes = [float(line.split()[1]) for line in snippet.diagnose(plain_model()).printed.splitlines()]
    assert len(set(sizes)) == 5
    snippet.diagnose()
