"""Tests the experiment ics against reference values computed by independent code."""

import numpy as np
import pytest
from oracles import demo, measured, rms_norm

from qa_service.errors import BadParameter


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ics_claims(seed):
    """Noise after BN shifts the gradient more than BN, yet the net trains; the net with BN drifts less than the plain
    one.
    """
    metrics = measured("ics", seed)
    assert metrics["noisy_cos"] < metrics["bn_cos"]
    assert metrics["plain_cos"] < metrics["bn_cos"]
    assert metrics["noisy_acc"] > 0.85
    assert metrics["bn_acc"] >= metrics["plain_acc"] - 0.02
    assert metrics["bn_drift"] < metrics["plain_drift"]
    assert metrics["noise_cos_drop"] == pytest.approx(metrics["bn_cos"] - metrics["noisy_cos"])
    assert metrics["bn_cos_gain"] == pytest.approx(metrics["bn_cos"] - metrics["plain_cos"])
    assert metrics["drift_ratio"] == pytest.approx(metrics["plain_drift"] / metrics["bn_drift"])


def test_ics_without_noise_the_two_nets_coincide():
    """With noise = 0 the net with noisy BN equals the one with BN to the bit."""
    metrics = measured("ics", noise=0.0, n=40)
    for what in ("acc", "loss", "drift", "cos", "ics_l2"):
        assert metrics[f"noisy_{what}"] == metrics[f"bn_{what}"], what
    assert metrics["noise_cos_drop"] == 0


def test_ics_without_a_step_nothing_shifts():
    """With lr = 0 there is no drift and the cosine is 1, except that noisy BN's cosine contains the injected shift."""
    metrics = measured("ics", lr=0.0, n=30)
    for net in ("plain", "bn"):
        assert metrics[f"{net}_drift"] == metrics[f"{net}_ics_l2"] == 0
        assert metrics[f"{net}_cos"] == pytest.approx(1, abs=1e-9)
    assert metrics["noisy_drift"] == 0
    assert metrics["noisy_cos"] < 0.7
    assert metrics["noisy_ics_l2"] > 0


def test_ics_edges():
    """Up to 10 steps there is no drift value; noise = 10 ruins the training; one layer is refused."""
    short = measured("ics", n=10)
    assert short["plain_drift"] is short["bn_drift"] is short["noisy_drift"] is short["drift_ratio"] is None
    assert measured("ics", n=11)["plain_drift"] is not None
    assert measured("ics", noise=10.0)["noisy_acc"] < 0.8
    with pytest.raises(BadParameter):
        measured("ics", layers=1)


def test_ics_gradient_shift_of_a_linear_net_by_hand():
    """Cosine and distance of the last hidden gradient, before and after the lower layers moved one step, equal
    numpy's.
    """
    import torch

    def gradient(w1: np.ndarray, w2: np.ndarray, w3: np.ndarray, b: list[np.ndarray]) -> list[np.ndarray]:
        z1 = x @ w1.T + b[0]
        h1 = np.maximum(z1, 0)
        z2 = h1 @ w2.T + b[1]
        h2 = np.maximum(z2, 0)
        logits = (h2 @ w3.T + b[2])[:, 0]
        back = ((1 / (1 + np.exp(-logits)) - y) / len(x))[:, None]
        back2 = (back @ w3) * (z2 > 0)
        back1 = (back2 @ w2) * (z1 > 0)
        return [back1.T @ x, back1.sum(0), back2.T @ h1]

    torch.manual_seed(0)
    demo_ics = demo("ics")
    linears = [torch.nn.Linear(2, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)]
    points = torch.randn(16, 2)
    labels = (points[:, 0] > 0).float()
    x, y = points.double().numpy(), labels.double().numpy()
    w = [layer.weight.detach().double().numpy().copy() for layer in linears]
    b = [layer.bias.detach().double().numpy().copy() for layer in linears]
    net = demo_ics.network(linears, "plain")
    lower, upper = list(net[:-2].parameters()), list(net[-2:].parameters())
    cosine, distance = demo_ics.train_step(net, lower, upper, points, labels, 0.5, 0.0)
    first, first_bias, before = gradient(*w, b)
    after = gradient(w[0] - 0.5 * first, w[1], w[2], [b[0] - 0.5 * first_bias, *b[1:]])[2]
    assert cosine == pytest.approx((before * after).sum() / rms_norm(before) / rms_norm(after), rel=1e-4)
    assert distance == pytest.approx(rms_norm(before - after), rel=1e-3)
