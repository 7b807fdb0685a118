"""Tests the experiment non_iid_batches_bn against reference values computed by independent code."""

import math

import numpy as np
import pytest
from oracles import demo, measured


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sorted_batches_ruin_bn_only(seed):
    """Sorted batches harm the BN net far more than the plain net; a common shift harms both."""
    metrics = measured("non_iid_batches_bn", seed)
    assert min(metrics["shuffled_bn_acc"], metrics["shuffled_plain_acc"]) > 0.88
    assert metrics["sorted_bn_acc"] < metrics["shuffled_bn_acc"] - 0.05
    assert metrics["sorting_cost_gap"] > 0.2
    assert abs(metrics["sorting_cost_plain"]) < 0.05
    assert metrics["sorted_bn_own_acc"] < 0.7  # the weights are bad, not only the running statistics
    assert metrics["shift_cost_bn"] > 0.05
    assert metrics["adapted_gain"] == metrics["adapted_acc"] - metrics["shuffled_bn_shifted_acc"]


@pytest.mark.parametrize(("shift", "share"), [(2.0, 0.5), (0.5, 0.5), (2.0, 0.95), (-1.0, 0.2)])
def test_the_plain_net_is_near_the_best_boundary(shift, share):
    """The best boundary, x₁ = 0, is right for Φ(1.4) of the points; after the shift theory predicts what the nets
    reach.
    """
    metrics = measured("non_iid_batches_bn", shift=shift, share=share)

    def phi(z: float) -> float:
        return math.erfc(-z / math.sqrt(2)) / 2

    assert metrics["theory_acc"] == pytest.approx(phi(1.4))
    assert metrics["theory_shifted_acc"] == pytest.approx((1 - share) * phi(1.4 - shift) + share * phi(1.4 + shift))
    for net in ("plain", "bn"):
        assert metrics[f"shuffled_{net}_acc"] == pytest.approx(metrics["theory_acc"], abs=0.03)
        assert metrics[f"shuffled_{net}_shifted_acc"] == pytest.approx(metrics["theory_shifted_acc"], abs=0.08)


def test_adabn_undoes_a_common_shift_but_not_another_mixture():
    """Re-estimated statistics restore the accuracy if both classes are equally frequent, and reduce it otherwise."""
    metrics = measured("non_iid_batches_bn")
    assert abs(metrics["adapted_gap"]) < 0.02
    assert metrics["adapted_gain"] > 0.15
    assert measured("non_iid_batches_bn", share=0.95)["adapted_gain"] < -0.2
    assert measured("non_iid_batches_bn", shift=100.0)["adapted_gain"] > 0.3


def test_edges():
    """Without a shift nothing can be regained; after a far shift half is right; without learning there is no claim; one
    epoch runs.
    """
    still = measured("non_iid_batches_bn", shift=0.0)
    for kind in ("shuffled_bn", "shuffled_plain", "sorted_bn", "sorted_plain"):
        assert still[f"{kind}_acc"] == still[f"{kind}_shifted_acc"]
    assert abs(still["adapted_gain"]) < 0.01
    far = measured("non_iid_batches_bn", shift=100.0)
    assert far["shuffled_bn_shifted_acc"] == pytest.approx(0.5, abs=0.01)
    assert far["shuffled_plain_shifted_acc"] == pytest.approx(0.5, abs=0.01)
    assert measured("non_iid_batches_bn", lr=0.0)["sorting_cost_plain"] == 0
    assert measured("non_iid_batches_bn", epochs=1)["sorting_cost_gap"] > 0.05


def test_one_step_of_a_bn_net_by_hand():
    """A full-batch step through two BN layers equals that of a backward pass in numpy."""
    import torch

    torch.manual_seed(0)
    module = demo("non_iid_batches_bn")
    points, labels = module.points(0.5)
    linears = [torch.nn.Linear(2, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)]
    net = module.network(linears, True)
    x, y = points.double().numpy(), labels.double().numpy()
    w = [layer.weight.detach().double().numpy().copy() for layer in linears]
    b = [layer.bias.detach().double().numpy().copy() for layer in linears]
    module.train(net, points, labels, len(points), 0.5, True)

    h, kept = x, []
    for i in range(2):
        z = h @ w[i].T + b[i]
        sd = np.sqrt(z.var(0) + 1e-5)
        unit = (z - z.mean(0)) / sd
        kept.append((h, sd, unit))
        h = np.maximum(unit, 0)
    back = ((1 / (1 + np.exp(-(h @ w[2].T + b[2])[:, 0])) - y) / len(x))[:, None]
    grads = [back.T @ h]
    back = back @ w[2]
    for i in (1, 0):
        below, sd, unit = kept[i]
        back = back * (unit > 0)
        back = (back - back.mean(0) - unit * (back * unit).mean(0)) / sd
        grads.insert(0, back.T @ below)
        back = back @ w[i]
    for layer, start, grad in zip((net[0], net[3], net[6]), w, grads, strict=True):
        assert layer.weight.detach().numpy() == pytest.approx(start - 0.5 * grad, rel=1e-3, abs=1e-5)
