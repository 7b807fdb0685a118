"""Tests the experiment rnn_vs_lstm against reference values computed by independent code."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from oracles import (
    PHI,
    measured,
)

from qa_service.errors import BadParameter


def recurrent_draws(hidden: int, inputs: int, n: int, batch: int, bias: float, rho: float) -> dict[str, np.ndarray]:
    """The inputs and weights in the order in which the experiment draws them."""
    import torch

    torch.manual_seed(0)
    kind = {"dtype": torch.float64}

    def uniform(*shape: int) -> np.ndarray:
        return ((2 * torch.rand(*shape, **kind) - 1) / math.sqrt(hidden)).numpy()

    xs = torch.randn(n, batch, inputs, **kind).numpy()
    q, _ = np.linalg.qr(torch.randn(hidden, hidden, **kind).numpy())
    small = torch.randn(inputs, hidden, **kind).numpy() * 0.1 / math.sqrt(inputs)
    found = {"xs": xs, "orthogonal": rho * q, "small": small, "u": uniform(inputs, 4 * hidden)}
    found |= {"w": uniform(hidden, 4 * hidden), "b": uniform(4 * hidden)}
    found["biased"] = np.concatenate([np.full(hidden, bias), found["b"][hidden:]])
    return found | {"rnn_u": uniform(inputs, hidden), "rnn_w": uniform(hidden, hidden)}


def lstm_sum(c: np.ndarray, given: dict[str, np.ndarray], bias: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ c_n as a function of c_0 (h_0 = 0 stays), and the product of the forget gates."""
    h, product = np.zeros_like(c), np.ones_like(c)
    sigma = PHI["sigmoid"][0]
    for x in given["xs"]:
        f, i, g, o = np.split(h @ given["w"] + x @ given["u"] + bias, 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h, product = sigma(o) * np.tanh(c), product * sigma(f)
    return c.sum(), product


def rnn_sum(h: np.ndarray, xs: np.ndarray, u: np.ndarray, w: np.ndarray) -> float:
    for x in xs:
        h = np.tanh(h @ w + x @ u)
    return h.sum()


def finite_difference_rms(f: Any, shape: tuple[int, int]) -> float:
    """The rms of the gradient at 0, by central differences."""
    slopes = np.zeros(shape)
    for at in np.ndindex(shape):
        step = np.zeros(shape)
        step[at] = 1e-5
        slopes[at] = (f(step) - f(-step)) / 2e-5
    return float(np.sqrt((slopes**2).mean()))


@pytest.mark.parametrize(("n", "bias"), [(1, 1.0), (4, 1.0), (6, -2.0)])
def test_rnn_vs_lstm_gradients_are_finite_differences(n, bias):
    """All four gradients are the slopes of nets written once more in numpy, and so is the product of the gates."""
    given = recurrent_draws(5, 3, n, 2, bias, 0.9)
    metrics = measured("rnn_vs_lstm", n=n, hidden=5, inputs=3, batch=2, forget_bias=bias)
    nets = {
        "grad_rnn_orthogonal": lambda h: rnn_sum(h, given["xs"], given["small"], given["orthogonal"]),
        "grad_rnn": lambda h: rnn_sum(h, given["xs"], given["rnn_u"], given["rnn_w"]),
        "grad_lstm": lambda c: lstm_sum(c, given, given["b"])[0],
        "grad_lstm_bias": lambda c: lstm_sum(c, given, given["biased"])[0],
    }
    for name, net in nets.items():
        if name == "grad_rnn_orthogonal":
            continue  # the sign of QR's columns is LAPACK's own; its bound is tested below
        assert metrics[name] == pytest.approx(finite_difference_rms(net, (2, 5)), rel=1e-5), name
    _, product = lstm_sum(np.zeros((2, 5)), given, given["biased"])
    assert metrics["forget_product_mean"] == pytest.approx(product.mean(), rel=1e-12)


@pytest.mark.parametrize(("n", "bias"), [(1, 0.0), (100, 1.0), (100, 5.0), (300, 3.0)])
def test_rnn_vs_lstm_cell_path_is_the_product_of_forget_gates(n, bias):
    """With the path through h cut, ∂c_n/∂c_0 = ∏ f_t to the last digits; with it left in, it is not."""
    metrics = measured("rnn_vs_lstm", n=n, forget_bias=bias, batch=2)
    assert metrics["rel_err_grad_vs_prod_f"] < 1e-12
    sigmoid = 1 / (1 + mpmath.exp(-bias))
    assert metrics["theory_cell"] == pytest.approx(float(sigmoid**n), rel=1e-10)
    assert metrics["theory_rnn_bound"] == pytest.approx(float(mpmath.mpf("0.9") ** n), rel=1e-12)
    if n > 1:
        connected = measured("rnn_vs_lstm", n=n, forget_bias=bias, batch=2, h_path="connected")
        assert connected["rel_err_grad_vs_prod_f"] > 1


def test_rnn_vs_lstm_claims_and_control():
    """No exp and no log in the graph unless the input gate is one; the bias helps; the fair RNN loses."""
    metrics = measured("rnn_vs_lstm")
    assert metrics["n_exp_log_nodes"] == 0 < metrics["n_graph_nodes"]
    assert measured("rnn_vs_lstm", n=5, input_gate="exp")["n_exp_log_nodes"] == 5
    assert metrics["grad_lstm"] < 1e-6 < measured("rnn_vs_lstm", n=20)["grad_lstm"]
    assert metrics["grad_rnn"] < metrics["grad_lstm"] < metrics["grad_lstm_bias"]
    assert metrics["grad_rnn_orthogonal"] <= metrics["theory_rnn_bound"]
    assert metrics["lstm_lead"] == pytest.approx(math.log10(metrics["grad_lstm"] / metrics["grad_rnn"]), abs=1e-9)
    assert metrics["bias_gain"] == pytest.approx(math.log10(metrics["grad_lstm_bias"] / metrics["grad_lstm"]), abs=1e-9)


def test_rnn_vs_lstm_edges():
    """Edge cases: an open gate keeps 1 exactly, a shut one 0; ρ = 0 leaves nothing, ρ = 1.5 grows."""
    open_gate = measured("rnn_vs_lstm", forget_bias=100.0)
    assert open_gate["forget_product_mean"] == open_gate["theory_cell"] == 1
    assert open_gate["rel_err_grad_vs_prod_f"] < 1e-12
    shut = measured("rnn_vs_lstm", forget_bias=-100.0)
    assert shut["forget_product_mean"] == 0
    assert shut["rel_err_grad_vs_prod_f"] is None
    assert measured("rnn_vs_lstm", rho=0.0)["grad_rnn_orthogonal"] == 0
    assert 10 < measured("rnn_vs_lstm", rho=1.5)["grad_rnn_orthogonal"] < 1.5**100
    deep = measured("rnn_vs_lstm", n=500, batch=4)
    assert 1e-34 < deep["grad_rnn_orthogonal"] < 1e-28
    assert 0 < deep["grad_lstm"] < 1e-45
    with pytest.raises(BadParameter):
        measured("rnn_vs_lstm", forget_bias=-1e308)


@pytest.mark.parametrize("seed", range(3))
def test_rnn_vs_lstm_explodes_with_large_recurrent_weights(seed):
    """Ten times the recurrent weights and an open gate: the path through h multiplies matrices, and it explodes."""
    params = {"n": 50, "forget_bias": 5.0}
    assert measured("rnn_vs_lstm", seed, **params)["grad_lstm_bias"] < 100
    assert measured("rnn_vs_lstm", seed, **params, w_scale=10.0)["grad_lstm_bias"] > 100
    none = measured("rnn_vs_lstm", seed, **params, w_scale=0.0)
    assert none["grad_lstm_bias"] == pytest.approx(none["forget_product_mean"], rel=0.1)
