"""Tests the experiment bn_frozen: what must be so whatever the numbers are, and its inequalities with their
controls.
"""

import pytest
from oracles import demo, measure, measured


def test_bn_frozen_without_steps_or_rate():
    """Without steps nothing changes; a rate of 0 still updates the statistics of the unfrozen net, but not of the
    frozen one.
    """
    metrics = measured("bn_frozen", n=0)
    assert metrics["live_acc"] == metrics["frozen_acc"] == metrics["start_acc"]
    assert metrics["statistics_moved"] == 0
    still = measured("bn_frozen", lr=0.0)
    assert still["frozen_acc"] == still["start_acc"] == metrics["start_acc"]
    assert still["statistics_moved"] > 0.05
    assert still["live_loss"] == still["start_acc"] - still["live_acc"]


def test_bn_frozen_layers_stay_as_they_are():
    """Freezing puts only BN layers into eval mode: running averages stay, γ and β still learn."""
    import torch

    module = demo("bn_frozen")
    torch.manual_seed(0)
    net = module.freeze(module.network())
    before = module.variances(net)
    gamma = net[1].weight.detach().clone()
    x, y = torch.randn(64, 2), torch.ones(64)
    module.sgd_step(net, x, y, torch.arange(64), 0.1)
    assert (module.variances(net) == before).all()
    assert not torch.equal(net[1].weight, gamma)
    assert net[0].training
    assert not net[1].training


@pytest.mark.parametrize("seed", range(4))
def test_bn_frozen_claims_and_controls(seed):
    """With batches of 4 frozen BN is better and unfrozen BN deteriorates; with batches of 64 neither; on shifted data
    unfrozen BN is better.
    """
    small = measured("bn_frozen", seed)
    assert small["start_acc"] > 0.9
    assert small["frozen_gain"] > 0.02
    assert small["live_loss"] > 0.05
    assert measured("bn_frozen", seed, batch=64)["live_loss"] < 0.03
    assert measured("bn_frozen", seed, batch=64, shift=3.0)["frozen_gain"] < -0.05


def test_bn_frozen_noise_of_the_statistics():
    """The smaller the batch, the more the running averages fluctuate."""
    moves = [measured("bn_frozen", batch=batch)["statistics_moved"] for batch in (2, 16, 256)]
    assert moves == sorted(moves, reverse=True)


def test_bn_frozen_rows():
    rows, metrics = measure("bn_frozen")
    assert rows[0]["live"] == rows[0]["frozen"] == metrics["start_acc"]
    assert rows[-1] == {"step": 100, "live": metrics["live_acc"], "frozen": metrics["frozen_acc"]}
