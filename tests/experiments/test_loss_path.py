"""Tests the experiment loss_path against reference values computed by independent code."""

from itertools import pairwise

import numpy as np
import pytest
from oracles import demo, draws, measure, measured

CASES = ["init_to_solution", "two_solutions", "permuted"]


def test_loss_path_first_loss_by_hand():
    """The loss at the start, and half-way between two untrained nets, equals that of numpy."""
    sizes = [2, 8, 8, 1]
    shapes = list(pairwise(sizes))
    x, *raw = draws(0, (128, 2), *shapes, *shapes)
    y = (x[:, :1] * x[:, 1:] > 0).astype(float)
    nets = [[w * np.sqrt(2 / len(w)) for w in raw[i : i + 3]] for i in (0, 3)]

    def loss(net):
        h = x
        for w in net[:-1]:
            h = np.maximum(h @ w, 0)
        logits = h @ net[-1]
        return (np.logaddexp(0, logits) - y * logits).mean()

    metrics = measured("loss_path", case="two_solutions", width=8, n=0, points=5)
    assert metrics["first_loss"] == pytest.approx(loss(nets[0]), rel=1e-5)
    assert metrics["last_loss"] == pytest.approx(loss(nets[1]), rel=1e-5)
    assert metrics["middle_loss"] == pytest.approx(loss([(a + b) / 2 for a, b in zip(*nets, strict=True)]), rel=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_path_claims(seed, case):
    """The loss falls from start to solution, and has a ridge between two solutions, even of the same function."""
    rows, metrics = measure("loss_path", seed, case=case)
    losses = [row["loss"] for row in rows]
    assert metrics["barrier"] == max(losses) - max(losses[0], losses[-1])
    assert metrics["largest_rise"] == max(losses[j] - losses[i] for i in range(41) for j in range(i, 41))
    assert metrics["monotone"] == (losses == sorted(losses, reverse=True))
    if case == "init_to_solution":
        assert metrics["barrier"] == 0
        assert metrics["last_loss"] < 0.1 < metrics["first_loss"]
    else:
        assert metrics["barrier"] > 0.1
    assert (metrics["output_difference"] < 1e-3) is (case == "permuted")


def test_loss_path_permuted_is_the_same_function():
    """Shuffling hidden units changes the weights, not the outputs."""
    import torch

    torch.manual_seed(0)
    module = demo("loss_path")
    net = module.initial(4, 16)
    twin, x = module.permuted(net), torch.randn(20, 2)
    torch.testing.assert_close(module.forward(twin, x), module.forward(net, x))
    assert not torch.equal(twin[2], net[2])


def test_loss_path_edges():
    """Without training, start and solution are the same point."""
    flat = measured("loss_path", n=0)
    assert flat["barrier"] == flat["output_difference"] == 0
    assert measured("loss_path", layers=2, width=2, points=3)["last_loss"] > 0
