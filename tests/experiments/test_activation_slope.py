"""Tests the experiment activation_slope against reference values computed by independent code."""

import math

import mpmath
import numpy as np
import pytest
from oracles import demo, draws, measured

GENTLE = ("linear", "sigmoid", "tanh", "relu", "leaky", "elu", "softplus", "sin")


def numpy_ratio(act, layers, width, sigma):
    """log10 of the first layer's gradient over the last one's, with forward and backward pass in numpy and orthogonal
    weights by LAPACK's QR.
    """
    x, *raw, read_out = draws(0, (16, width), *[(width, width)] * layers, (width, 1), double=True)
    phi, slope = {
        "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
        "leaky2": (lambda z: np.where(z > 0, z, 2 * z), lambda z: np.where(z > 0, 1.0, 2.0)),
        "sin5": (lambda z: np.sin(5 * z), lambda z: 5 * np.cos(5 * z)),
    }[act]
    weights = [sigma * np.linalg.qr(w)[0] for w in raw]
    states, zs = [x], []
    for w in weights:
        zs.append(states[-1] @ w)
        states.append(phi(zs[-1]))
    last = grad = np.repeat(read_out.T, 16, axis=0)
    for z, w in zip(reversed(zs), reversed(weights), strict=True):
        grad = (grad * slope(z)) @ w.T
    return math.log10(np.linalg.norm(grad) / np.linalg.norm(last))


@pytest.mark.parametrize(("layers", "width", "sigma"), [(1, 8, 1.0), (6, 12, 1.5), (10, 64, 1.0)])
def test_activation_slope_gradients_by_hand(layers, width, sigma):
    """The ratio is that of numpy for four activations whose derivatives are written down."""
    metrics = measured("activation_slope", layers=layers, width=width, sigma_w=sigma)
    for act in ("tanh", "relu", "leaky2", "sin5"):
        assert metrics[f"log10_{act}"] == pytest.approx(numpy_ratio(act, layers, width, sigma), rel=1e-6), act
    assert metrics["log10_linear"] == pytest.approx(layers * math.log10(sigma), abs=1e-12)


def test_activation_slope_all_sixteen_by_their_definitions():
    """Each activation agrees at a hundred points with its definition in numpy."""
    import torch

    z = np.linspace(-5, 5, 101)
    half = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
    sigmoid, below = 1 / (1 + np.exp(-z)), np.expm1(np.minimum(z, 0))
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    expected = {
        "linear": z, "sigmoid": sigmoid, "tanh": np.tanh(z), "relu": np.maximum(z, 0), "gelu": z * half,
        "leaky": np.where(z > 0, z, z / 100), "silu": z * sigmoid, "elu": np.where(z > 0, z, below),
        "selu": scale * np.where(z > 0, z, alpha * below), "softplus": np.log1p(np.exp(z)), "sin": np.sin(z),
        "relu2x": 2 * np.maximum(z, 0), "leaky2": np.where(z > 0, z, 2 * z), "sin5": np.sin(5 * z),
        "square": z**2, "exp": np.exp(z),
    }  # fmt: skip
    activations = demo("activation_slope").ACTIVATIONS
    assert set(activations) == set(expected)
    for name, values in expected.items():
        assert activations[name](torch.from_numpy(z)).numpy() == pytest.approx(values, rel=1e-9, abs=1e-12), name


def test_activation_slope_largest_slopes():
    """The slope of GELU is largest at √2, and that of SiLU where mpmath finds its second derivative to be 0."""
    metrics = measured("activation_slope", layers=1, width=2)
    gelu = mpmath.diff(lambda z: z * mpmath.ncdf(z), mpmath.sqrt(2))
    at = mpmath.findroot(lambda z: mpmath.diff(lambda t: t / (1 + mpmath.exp(-t)), z, 2), 2.4)
    silu = mpmath.diff(lambda z: z / (1 + mpmath.exp(-z)), at)
    selu = mpmath.mpf("1.0507009873554805") * mpmath.mpf("1.6732632423543772")
    expected = {"gelu": gelu, "silu": silu, "selu": selu, "sigmoid": 0.25, "tanh": 1, "relu": 1, "elu": 1,
                "sin5": 5, "square": 8, "exp": mpmath.exp(4), "softplus": 1 / (1 + mpmath.exp(-4))}  # fmt: skip
    for name, value in expected.items():
        assert metrics[f"slope_{name}"] == pytest.approx(float(value), rel=1e-6), name
    assert metrics["n_usual_above_one"] == 3
    assert measured("activation_slope", layers=1, width=2, reach=0.5)["n_usual_above_one"] == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_activation_slope_theorem(seed):
    """Slopes up to 1 and orthogonal weights never grow the gradient; slopes of 2 and 5, x² and exp explode."""
    metrics = measured("activation_slope", seed)
    assert metrics["largest_gentle"] < 1e-9
    assert all(metrics[f"log10_{name}"] < 1e-9 for name in GENTLE)
    assert metrics["log10_leaky2"] > 3 < metrics["log10_sin5"]
    assert math.isnan(metrics["log10_square"])
    assert math.isnan(metrics["log10_exp"])
    assert metrics["log10_gelu"] < 0 > metrics["log10_silu"]


def test_activation_slope_controls_and_edges():
    """The scale of the weights matters as well; one layer does not explode; σ_w = 0 gives a gradient of 0."""
    assert measured("activation_slope", sigma_w=1.5)["largest_gentle"] > 5
    assert measured("activation_slope", sigma_w=0.5)["log10_leaky2"] < 0
    assert measured("activation_slope", sigma_w=0.2)["log10_sin5"] < 0
    one = measured("activation_slope", layers=1)
    assert one["n_exploding"] == 0
    assert one["log10_exp"] == pytest.approx(0.45, abs=0.2)
    nothing = measured("activation_slope", sigma_w=0.0, layers=5)
    assert all(value == -math.inf for name, value in nothing.items() if name.startswith("log10"))
    deep = measured("activation_slope", layers=200, width=32)
    assert deep["log10_sigmoid"] == pytest.approx(-125.3, abs=3)
    assert deep["log10_sin5"] == pytest.approx(108.7, abs=3)
