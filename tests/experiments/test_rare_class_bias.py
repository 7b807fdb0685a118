"""Tests the experiment rare_class_bias against the focal loss in plain Python and a gradient by finite differences."""

import math

import pytest
import torch
from oracles import measured


def focal(logit: float, positive: bool, gamma: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    right, weight = (p, 0.25) if positive else (1 - p, 0.75)
    return -weight * (1 - right) ** gamma * math.log(right)


def forward(point: list[float], layers: list[tuple[list[list[float]], list[float]]]) -> float:
    for i, (weight, bias) in enumerate(layers):
        point = [sum(w * x for w, x in zip(row, point, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        if i < len(layers) - 1:
            point = [max(0.0, x) for x in point]
    return point[0]


@pytest.mark.parametrize(("prior", "gamma"), [(0.01, 2.0), (0.2, 0.0)])
def test_first_loss_is_that_of_the_net_in_plain_python(prior, gamma):
    anchors, share = 2000, 0.01
    metrics = measured("rare_class_bias", share=share, prior=prior, gamma=gamma, steps=1, anchors=anchors)
    torch.manual_seed(0)
    points = torch.randn(anchors, 16)
    points[:20, 0] += 3
    layers = [torch.nn.Linear(16, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 1)]
    for layer, std in zip(layers[:2], ((2 / 16) ** 0.5, (2 / 32) ** 0.5), strict=True):
        layer.weight.data.normal_(std=std)
    layers[2].weight.data.normal_(std=0.01)
    for name, bias in (("prior", math.log(prior / (1 - prior))), ("zero", 0.0)):
        plain = [(each.weight.tolist(), [0.0] * len(each.weight)) for each in layers[:2]]
        plain.append((layers[2].weight.tolist(), [bias]))
        logits = [forward(point, plain) for point in points.tolist()]
        losses = [focal(logit, i < 20, gamma) for i, logit in enumerate(logits)]
        assert metrics[f"first_{name}"] == pytest.approx(sum(losses) / 20, rel=1e-4)
        if name == "zero":
            assert metrics["negative_share"] == pytest.approx(sum(losses[20:]) / sum(losses), rel=1e-5)


def test_theory():
    metrics = measured("rare_class_bias", share=0.001, prior=0.01, steps=1)
    assert metrics["bias"] == pytest.approx(math.log(0.01 / 0.99))
    assert metrics["theory_prior"] == pytest.approx(
        focal(metrics["bias"], True, 2) + 999 * focal(metrics["bias"], False, 2)
    )
    assert metrics["theory_zero"] == pytest.approx(focal(0, True, 2) + 999 * focal(0, False, 2))
    assert metrics["first_prior"] == pytest.approx(metrics["theory_prior"], rel=0.05)
    assert metrics["first_zero"] == pytest.approx(metrics["theory_zero"], rel=0.15)


def test_a_prior_of_a_half_is_a_bias_of_zero():
    metrics = measured("rare_class_bias", prior=0.5, steps=5)
    assert metrics["times"] == 1
    assert metrics["norm_prior"] == metrics["norm_zero"]


def test_one_step_of_sgd_takes_the_rate_times_the_squared_norm_off_the_loss():
    """The statement holds to first order, so the rate is small."""
    for name in ("prior", "zero"):
        metrics = measured("rare_class_bias", share=0.01, lr=1e-6, steps=1)
        fall = metrics[f"first_{name}"] - metrics[f"end_{name}"]
        expected = 1e-6 * metrics[f"norm_{name}"] ** 2
        assert fall == pytest.approx(expected, rel=0.1 if name == "zero" else 0.5, abs=1e-6)


def test_imbalance_makes_it_not_the_sigmoid():
    rare, balanced = (measured("rare_class_bias", share=share, steps=20) for share in (0.001, 0.5))
    assert rare["norm_zero"] > 100 * rare["norm_prior"]
    assert balanced["norm_zero"] < balanced["norm_prior"]
