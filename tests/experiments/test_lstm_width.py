"""Tests the experiment lstm_width against an LSTM written out in numpy, and the theory of its read-out."""

import numpy as np
import pytest
from oracles import demo, measured


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(("width", "std"), [(16, 0.1), (200, 0.3)])
def test_the_states_and_their_curvature(width, std):
    import torch

    torch.manual_seed(1)
    net, x = demo("lstm_width").Net(width, std), torch.randn(8, 3, 8)
    weights = {name: value.detach().double().numpy() for name, value in net.lstm.named_parameters()}
    h, c = np.zeros((8, width)), np.zeros((8, width))
    for t in range(3):
        z = x[:, t].double().numpy() @ weights["weight_ih_l0"].T + h @ weights["weight_hh_l0"].T
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    assert net.curvature(x) == pytest.approx(2 * np.linalg.norm(h, 2) ** 2 / 8, rel=1e-4)
    assert net.lstm.weight_hh_l0.std().item() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_curvature_grows_with_the_width_for_fixed_weights_only(seed):
    fixed, default = measured("lstm_width", seed, n=1), measured("lstm_width", seed, n=1, init="default")
    assert fixed["curvature"] > 3 * fixed["curvature_narrow"]
    assert default["curvature"] < 1.5 * default["curvature_narrow"]
    assert fixed["rate"] == pytest.approx(2 / fixed["curvature"])


def test_the_wide_one_diverges():
    metrics = measured("lstm_width")
    assert metrics["first_bad"] is not None
    assert metrics["first_bad_narrow"] is None
    assert max(metrics["end_scaled"], metrics["end_default"]) < 1
