"""The numbers of the experiments with randomness, against oracles that share nothing with them but the random draws.

Where a closed form exists it is the oracle (mpmath, exact rationals); where the network itself is the question, the
same draws go through numpy in float64 with a backward pass written by hand, or through finite differences. Values with
neither fall into the intervals of expected_values.toml, which another implementation has measured.
"""

import importlib.util
import math
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import mpmath
import numpy as np
import pytest

from qa_service.errors import BadParameter
from qa_service.lab.signature import read_experiments
from qa_service.parameters import complete
from qa_service.settings import Settings

DEMOS = Settings().demos
EXPERIMENTS = read_experiments(DEMOS)
EXPECTED = tomllib.loads((Path(__file__).parent / "expected_values.toml").read_text(encoding="utf-8"))["cases"]
INF, NAN = math.inf, math.nan
Z = np.linspace(-12, 12, 240002)  # an even number of points: none lies on ReLU's kink
DENSITY = np.exp(-(Z**2) / 2) / math.sqrt(2 * math.pi) * (Z[1] - Z[0])
PHI = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (2 + np.exp(x) + np.exp(-x))),
    "identity": (lambda x: x, np.ones_like),
}


@cache
def demo(slug: str) -> ModuleType:
    """The experiment as a module, found by its path; one thread, as in the lab."""
    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location(f"science_{slug}", DEMOS / f"{slug}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(slug: str, seed: int = 0, **params: object) -> dict[str, Any]:
    """The metrics of one run in this process; the parameters are checked as the service checks them."""
    import torch

    run = demo(slug).run(**complete(EXPERIMENTS[slug], params))
    torch.manual_seed(seed)
    while True:
        try:
            next(run)
        except StopIteration as stop:
            return stop.value


def draws(seed: int, *shapes: tuple[int, ...], double: bool = False) -> list[np.ndarray]:
    """The same normal numbers that an experiment draws first, in float64."""
    import torch

    torch.manual_seed(seed)
    kind = torch.float64 if double else torch.float32
    return [torch.randn(*shape, dtype=kind).double().numpy() for shape in shapes]


def expectation(f: np.ndarray) -> float:
    """E f(Z) for a standard normal Z, given f on the grid."""
    return float((f * DENSITY).sum())


def rms_norm(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).sum()))


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: f"{case['experiment']}-{case['params'] or 'default'}")
def test_values_without_a_closed_form(case):
    """Each is inside the interval that another implementation measured over 20 seeds with other random numbers."""
    metrics = measured(case["experiment"], **case["params"])
    for name, (low, high) in case["accept"].items():
        assert low <= metrics[name] <= high, name


# --- acc_collapse -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "share"),
    [({}, 0.5), ({"classes": 10, "lr": 0.1}, 0.1), ({"classes": 4}, 0.25), ({"balance": 0.9}, 0.9),
     ({"spike": NAN}, 0.5),
     ({"spike": 1e308}, 0.5), ({"clip": 1.0}, 0.5), ({"balance": 0.3, "classes": 3}, 0.3)],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_acc_collapse_leaves_the_share_of_class_0(params, share, seed):
    """3a: after the overflow every output is nan, the argmax is 0, and the accuracy is the share of class 0 exactly;
    clipping the gradient does not bound lr·gradient.
    """
    metrics = measured("acc_collapse", seed, **params)
    assert metrics["acc_final"] == pytest.approx(share, abs=1e-12)
    assert metrics["class_share"] == metrics["acc_final"]
    assert metrics["acc_minus_share"] == metrics["flat_after"] == 0
    assert metrics["distinct_predicted"] == metrics["nonfinite_share"] == 1
    assert metrics["acc_drop"] == pytest.approx(metrics["acc_before"] - share)
    classes = params.get("classes", 2)
    assert metrics["theory_chance_loss"] == pytest.approx(float(mpmath.log(classes)), rel=1e-15)
    if "balance" not in params:
        assert metrics["acc_before"] > 1.5 / classes
        assert metrics["collapse_epoch"] == 3


@pytest.mark.parametrize("spike", [0.0, 1.0])
def test_acc_collapse_control(spike):
    """Without the bad step nothing collapses, and two labels are predicted."""
    metrics = measured("acc_collapse", spike=spike)
    assert metrics["acc_final"] > 0.9
    assert metrics["collapse_epoch"] is None
    assert (metrics["distinct_predicted"], metrics["nonfinite_share"]) == (2, 0)


def test_acc_collapse_before_the_bad_step():
    """One epoch ends before the bad step; nothing is said of what comes after it."""
    metrics = measured("acc_collapse", epochs=1)
    assert metrics["flat_after"] is metrics["collapse_epoch"] is None
    assert metrics["nonfinite_share"] == 0


# --- nan_trace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "width", "lr"), [(4, 32, 0.01), (2, 5, 0.03), (1, 8, 0.1)])
def test_nan_trace_gradients_and_training(layers, width, lr):
    """Loss, first gradient and the loss after 30 steps are those of a backward pass written by hand in numpy."""
    sizes = [8, *[width] * (layers - 1), 1]
    x, *raw = draws(0, (64, 8), *pairwise(sizes))
    y = 3 * x[:, :1] * x[:, 1:2] + 5
    weights = [w * math.sqrt(2 / len(w)) for w in raw]
    losses, first = [], 0.0
    for step in range(30):
        z = [x @ weights[0]]
        for w in weights[1:]:
            z.append(np.maximum(z[-1], 0) @ w)
        losses.append(((z[-1] - y) ** 2).mean())
        back, grads = 2 * (z[-1] - y) / len(x), []
        for i in reversed(range(layers)):
            grads.insert(0, (np.maximum(z[i - 1], 0) if i else x).T @ back)
            back = (back @ weights[i].T) * (z[i - 1] > 0) if i else back
        first = max(abs(g).max() for g in grads) if step == 0 else first
        weights = [w - lr * g for w, g in zip(weights, grads, strict=True)]
    metrics = measured("nan_trace", layers=layers, width=width, lr=lr, n=30, dtype="float64")
    assert metrics["grad_start"] == pytest.approx(first, rel=1e-5)
    assert metrics["loss_start"] == pytest.approx(losses[0], rel=1e-5)
    assert metrics["loss_end"] == pytest.approx(losses[-1], rel=1e-4)
    assert metrics["loss_ratio"] == pytest.approx(losses[-1] / losses[0], rel=1e-4)


def test_nan_trace_order_of_events():
    """4a: the gradient grows, something is inf, then the weights are nan; the run stops there."""
    metrics = measured("nan_trace")
    assert metrics["growth"] > 100
    assert metrics["first_inf_step"] <= metrics["first_nan_step"] <= metrics["weight_nan_step"]
    assert metrics["nan_after_inf"] == metrics["first_nan_step"] - metrics["first_inf_step"]
    assert metrics["steps_run"] == metrics["weight_nan_step"] + 1
    events = [
        metrics[f"{what}_{kind}_step"] for what in ("activation", "loss", "gradient", "weight") for kind in ("inf",)
    ]
    assert metrics["first_inf_step"] == min(event for event in events if event is not None)
    assert 1 <= metrics["first_bad_layer"] <= 4
    assert math.isnan(metrics["loss_end"])


@pytest.mark.parametrize("params", [{"lr": 0.01}, {"clip": 1.0}, {"layers": 1}, {"lr": 0.0}, {"n": 1}])
def test_nan_trace_controls(params):
    """A small rate, a clipped gradient, one layer, no step: no inf and no nan anywhere; lr = 0 changes nothing."""
    metrics = measured("nan_trace", **params)
    assert all(value is None for name, value in metrics.items() if name.endswith(("inf_step", "nan_step")))
    assert metrics["first_bad_layer"] is metrics["nan_after_inf"] is None
    assert metrics["growth"] >= 1
    assert metrics["steps_run"] == params.get("n", 200)
    if params in ({"lr": 0.0}, {"n": 1}):
        assert metrics["loss_ratio"] == metrics["growth"] == 1


def test_nan_trace_float16_ends_sooner():
    """In float16 a growth far below 1e8 suffices, for its range ends at 65504."""
    metrics = measured("nan_trace", lr=0.1, dtype="float16")
    assert metrics["first_nan_step"] is not None
    assert metrics["grad_max_finite"] <= 65504
    assert metrics["growth"] < measured("nan_trace", lr=0.1)["growth"] / 1e6


# --- relu_regions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "seed"), [(1, 0), (1, 1), (8, 0), (8, 1), (32, 0), (32, 1), (32, 2), (1000, 0)])
def test_relu_regions_are_the_kinks(width, seed):
    """5d: one hidden layer bends at −b/w and nowhere else: the pieces are counted from the weights alone."""
    weight, bias, read_out = draws(seed, (1, width), (width,), (width,), double=True)
    weight, read_out = weight[0] * math.sqrt(2), read_out * math.sqrt(2 / width)
    kinks = -bias / weight
    step = 6 / 20000
    cells = set(np.floor((kinks[(kinks > -3) & (kinks < 3)] + 3) / step).astype(int))
    metrics = measured("relu_regions", seed, width=width)
    assert abs(metrics["regions"] - 1 - len(cells)) <= (0 if width <= 32 else 1)
    assert metrics["regions"] <= metrics["theory_max_regions"] == width + 1
    assert metrics["max_dev_from_line"] < 1e-12
    x = np.linspace(-3, 3, 20001)[:, None]
    output = np.maximum(x * weight + bias, 0) @ read_out
    assert metrics["output_range"] == pytest.approx(np.ptp(output), rel=1e-12)
    assert metrics["regions_per_neuron"] == metrics["regions"] / width


@pytest.mark.parametrize("params", [{"layers": 3}, {"layers": 5, "width": 16}, {"act": "leaky"}])
def test_relu_regions_are_straight_at_any_depth(params):
    """Deeper nets and leaky ReLUs are broken lines to the last digits too; only one layer has the bound."""
    metrics = measured("relu_regions", **params)
    assert metrics["max_dev_from_line"] < 1e-12
    assert (metrics["theory_max_regions"] is None) is ("layers" in params)
    assert metrics["neurons"] == params.get("width", 32) * params.get("layers", 1)


def test_relu_regions_control():
    """The control: tanh is bent inside what would be its pieces."""
    assert measured("relu_regions", act="tanh")["max_dev_from_line"] > 1e-3
    with pytest.raises(BadParameter):
        measured("relu_regions", lo=1.0, hi=-1.0)


# --- grad_by_activation -----------------------------------------------------------------------------------------------


def mean_field(name: str, sigma: float, layers: int, steps: int = 3000) -> tuple[float, float]:
    """√χ's geometric mean at this depth and √χ at the fixed point, on a fine uniform grid."""
    phi, slope = PHI[name]
    q, log_chi = sigma**2, 0.0
    for _ in range(layers):
        log_chi += math.log(sigma**2 * expectation(slope(math.sqrt(q) * Z) ** 2))
        q = sigma**2 * expectation(phi(math.sqrt(q) * Z) ** 2)
    for _ in range(0 if name == "tanh" and sigma <= 1 else steps):
        before, q = q, sigma**2 * expectation(phi(math.sqrt(q) * Z) ** 2)
        if abs(q - before) < 1e-13 * q:
            break
    else:
        q = 0.0
    return math.exp(log_chi / 2 / layers), sigma * math.sqrt(expectation(slope(math.sqrt(q) * Z) ** 2))


@pytest.mark.parametrize(("layers", "sigma"), [(20, 1.0), (50, 1.0), (5, 4.0), (20, 2.0), (20, 0.7)])
def test_grad_by_activation_theory(layers, sigma):
    """√χ = σ_w·√E[φ'²], layer by layer and at the fixed point, is a numerical integral done with another grid."""
    metrics = measured("grad_by_activation", layers=layers, width=4, batch=2, sigma_w=sigma)
    for name in ("sigmoid", "tanh"):
        at_depth, limit = mean_field(name, sigma, layers)
        assert metrics[f"{name}_theory_rate"] == pytest.approx(at_depth, rel=1e-4), name
        assert metrics[f"{name}_theory_limit"] == pytest.approx(limit, rel=1e-4), name
    assert metrics["relu_he_theory_rate"] == pytest.approx(sigma / math.sqrt(2), rel=1e-15)


def test_grad_by_activation_published_rates():
    """E6.1: 0.2361 and 1 in the limit; tanh 0.9202, 0.9584, 0.9860 at 20, 50, 200 layers; 1.5417 at σ_w = 4."""
    for layers, rate in ((20, 0.9202), (50, 0.9584), (200, 0.9860)):
        metrics = measured("grad_by_activation", layers=layers, width=4, batch=2)
        assert metrics["tanh_theory_rate"] == pytest.approx(rate, abs=5e-5)
        assert metrics["tanh_theory_limit"] == pytest.approx(1, abs=1e-9)
        assert metrics["sigmoid_theory_limit"] == pytest.approx(0.2361, abs=6e-5)
    steep = measured("grad_by_activation", width=4, batch=2, sigma_w=4.0)
    assert steep["tanh_theory_limit"] == pytest.approx(1.5417, abs=5e-5)
    assert steep["sigmoid_theory_limit"] == pytest.approx(0.632, abs=5e-4)


@pytest.mark.parametrize("layers", [1, 3, 7])
def test_grad_by_activation_against_a_backward_pass_by_hand(layers):
    """The measured rates are those of numpy in float64 with φ' and the transposed weights, for the same draws."""
    x, *raw, read_out = draws(0, (6, 9), *[(9, 9)] * layers, (9, 1))
    metrics = measured("grad_by_activation", layers=layers, width=9, batch=6)
    standard = {"sigmoid": ("sigmoid", 1), "tanh": ("tanh", 1), "relu_xavier": ("relu", 1), "relu_he": ("relu", 2**0.5),
                "relu_small": ("relu", 0.2)}  # fmt: skip
    for metric, (name, sigma) in standard.items():
        phi, slope = PHI[name]
        weights, h, pre = [sigma * w / 3 for w in raw], x, []
        for w in weights:
            pre.append(h @ w)
            h = phi(pre[-1])
        back = last = np.tile(read_out.T / 3, (6, 1))
        for w, z in zip(reversed(weights), reversed(pre), strict=True):
            back = (back * slope(z)) @ w.T
        ratio = rms_norm(back) / rms_norm(last)
        assert metrics[f"{metric}_total_ratio"] == pytest.approx(ratio, rel=1e-4), metric
        assert metrics[f"{metric}_rate"] == pytest.approx(ratio ** (1 / layers), rel=1e-4), metric


def test_grad_by_activation_claims_and_scaling():
    """6a, 6b: sigmoid loses its gradient, ReLU keeps it at He's scale; ReLU's gradient is exactly σ_w^L homogeneous."""
    metrics = measured("grad_by_activation")
    assert metrics["sigmoid_rate"] < 0.3
    assert 0.8 < metrics["relu_he_rate"] < 1.25
    assert metrics["relu_xavier_rate"] == pytest.approx(metrics["relu_he_rate"] / math.sqrt(2), rel=1e-4)
    assert metrics["relu_small_rate"] == pytest.approx(metrics["relu_xavier_rate"] * 0.2, rel=1e-4)
    assert metrics["relu_he_drift"] == pytest.approx(abs(math.log(metrics["relu_he_rate"])), rel=1e-12)
    assert metrics["relu_small_total_ratio"] < metrics["sigmoid_total_ratio"] < 1e-12


def test_grad_by_activation_edges():
    """E6.1's edges: 50 layers leave a float64 norm; 500 narrow ones 0 for sigmoid; width 1 dies; one activation."""
    assert 1e-33 < measured("grad_by_activation", layers=50, act="sigmoid")["sigmoid_total_ratio"] < 1e-30
    deep = measured("grad_by_activation", layers=500, width=32, batch=8)
    assert deep["sigmoid_total_ratio"] == deep["relu_xavier_total_ratio"] == 0
    assert 0.9 < deep["relu_he_rate"] < 1
    dead = measured("grad_by_activation", width=1)
    assert dead["relu_he_rate"] == dead["relu_xavier_rate"] == dead["relu_small_rate"] == 0
    assert dead["relu_he_drift"] == INF
    only = measured("grad_by_activation", act="tanh", layers=3)
    assert only["tanh_rate"] is not None
    assert only["sigmoid_rate"] is only["relu_he_rate"] is None
    own = measured("grad_by_activation", sigma_w=1.0, layers=3)
    assert own["relu_xavier_rate"] is own["relu_small_rate"] is None
    with pytest.raises(BadParameter):
        measured("grad_by_activation", sigma_w=1e308)


# --- matrix_product ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d", "std"), [(100, 4, 1.0), (1, 4, 1.0), (60, 1, 1.0), (50, 3, 0.5), (40, 7, 30.0)])
def test_matrix_product_against_numpy(n, d, std):
    """The same matrices multiplied by numpy with exponents kept apart give the same norm, to 12 digits."""
    product, exponent = np.eye(d), 0
    for matrix in draws(0, *[(d, d)] * n, double=True):
        product = std * matrix @ product
        shift = int(np.frexp(np.abs(product).max())[1])
        product, exponent = np.ldexp(product, -shift), exponent + shift
    exact = mpmath.log(mpmath.mpf(rms_norm(product)) * mpmath.mpf(2) ** exponent)
    metrics = measured("matrix_product", n=n, d=d, std=std)
    assert metrics["log10_norm"] == pytest.approx(float(exact / mpmath.log(10)), rel=1e-11)
    assert metrics["log_growth_per_step"] == pytest.approx(float(exact / n), rel=1e-11)
    assert metrics["norm"] == pytest.approx(float(mpmath.exp(exact)), rel=1e-9)
    assert metrics["growth_error"] == pytest.approx(abs(float(exact / n) - metrics["theory_lyapunov"]))


@pytest.mark.parametrize("d", [1, 2, 3, 4, 10, 128])
@pytest.mark.parametrize("std", [1.0, 0.5, 3.0])
def test_matrix_product_lyapunov_exponent(d, std):
    """Newman 1986: λ = ln σ + ½(ln 2 + ψ(d/2)), by mpmath; at the critical σ it is 0."""
    rate = mpmath.log(std) + (mpmath.log(2) + mpmath.digamma(mpmath.mpf(d) / 2)) / 2
    metrics = measured("matrix_product", n=2, d=d, std=std)
    assert metrics["theory_lyapunov"] == pytest.approx(float(rate), rel=1e-12, abs=1e-14)
    assert metrics["log10_theory"] == pytest.approx(float(2 * rate / mpmath.log(10)), rel=1e-12, abs=1e-13)
    assert metrics["theory_norm"] == pytest.approx(float(mpmath.exp(2 * rate)), rel=1e-12)
    assert metrics["theory_critical_std"] == pytest.approx(float(std / mpmath.exp(rate)), rel=1e-12)
    top = mpmath.log(2) * 1024
    expected = max(1, round(float(top / rate))) if rate > 0 else None
    assert metrics["theory_overflow_step"] == expected


@pytest.mark.parametrize(
    ("params", "within"), [({}, 0.2), ({"n": 10000}, 0.02), ({"n": 2000, "d": 100, "std": 0.1}, 0.02)]
)
def test_matrix_product_grows_at_the_lyapunov_rate(params, within):
    """|measured − λ| < 2/√n; 10000 matrices are enough for two digits, and σ = 1/√d is marginal."""
    metrics = measured("matrix_product", **params)
    assert metrics["growth_error"] < within
    assert metrics["growth_error"] < 2 / math.sqrt(params.get("n", 100))


@pytest.mark.parametrize(("dtype", "decades"), [("float64", 308.25), ("float32", 38.53), ("float16", 4.816)])
def test_matrix_product_overflow(dtype, decades):
    """The plain product is finite as long as its norm is small enough, and overflows near ln max / λ."""
    metrics = measured("matrix_product", n=1500, dtype=dtype)
    assert metrics["theory_overflow_step"] == round(decades * math.log(10) / metrics["theory_lyapunov"])
    before = measured("matrix_product", n=metrics["first_nonfinite_step"] - 1)
    at = measured("matrix_product", n=metrics["first_nonfinite_step"])
    assert before["log10_norm"] < decades + math.log10(4)  # 16 entries, none above max: norm ≤ 4·max
    assert at["log10_norm"] > decades - 1.5
    assert metrics["first_zero_step"] is None


@pytest.mark.parametrize("std", [0.0, NAN, INF, -INF])
def test_matrix_product_edges(std):
    """σ = 0 is all 0 at step 1, σ = nan or ±inf is not finite at step 1; no rate is made up."""
    metrics = measured("matrix_product", std=std, n=5)
    assert metrics["first_zero_step"] == (1 if std == 0 else None)
    assert metrics["first_nonfinite_step"] == (None if std == 0 else 1)
    assert not math.isfinite(metrics["log_growth_per_step"])
    assert metrics["norm"] == 0 if std == 0 else not math.isfinite(metrics["norm"])


# --- rnn_vs_lstm ------------------------------------------------------------------------------------------------------


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
    """8b: with the path through h cut, ∂c_n/∂c_0 = ∏ f_t to the last digits; with it left in, it is not."""
    metrics = measured("rnn_vs_lstm", n=n, forget_bias=bias, batch=2)
    assert metrics["rel_err_grad_vs_prod_f"] < 1e-12
    sigmoid = 1 / (1 + mpmath.exp(-bias))
    assert metrics["theory_cell"] == pytest.approx(float(sigmoid**n), rel=1e-10)
    assert metrics["theory_rnn_bound"] == pytest.approx(float(mpmath.mpf("0.9") ** n), rel=1e-12)
    if n > 1:
        connected = measured("rnn_vs_lstm", n=n, forget_bias=bias, batch=2, h_path="connected")
        assert connected["rel_err_grad_vs_prod_f"] > 1


def test_rnn_vs_lstm_claims_and_control():
    """8a: no exp and no log in the graph unless the input gate is one; the bias helps; the fair RNN loses."""
    metrics = measured("rnn_vs_lstm")
    assert metrics["n_exp_log_nodes"] == 0 < metrics["n_graph_nodes"]
    assert measured("rnn_vs_lstm", n=5, input_gate="exp")["n_exp_log_nodes"] == 5
    assert metrics["grad_lstm"] < 1e-6 < measured("rnn_vs_lstm", n=20)["grad_lstm"]
    assert metrics["grad_rnn"] < metrics["grad_lstm"] < metrics["grad_lstm_bias"]
    assert metrics["grad_rnn_orthogonal"] <= metrics["theory_rnn_bound"]
    assert metrics["lstm_lead"] == pytest.approx(math.log10(metrics["grad_lstm"] / metrics["grad_rnn"]), abs=1e-9)
    assert metrics["bias_gain"] == pytest.approx(math.log10(metrics["grad_lstm_bias"] / metrics["grad_lstm"]), abs=1e-9)


def test_rnn_vs_lstm_edges():
    """E8.1's edges: an open gate keeps 1 exactly, a shut one 0; ρ = 0 leaves nothing, ρ = 1.5 grows."""
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


# --- residual_depth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["pre_act", "two_layer"])
@pytest.mark.parametrize("layers", [1, 4])
def test_residual_depth_against_numpy(branch, layers):
    """Gains and gradient ratios of all six nets, forward and back by hand in float64 from the same draws."""
    shapes = [(6, 10), *[(10, 10)] * (2 * layers), (6, 10)]
    x, *raw, cotangent = draws(0, *shapes)
    xavier, second = [w / math.sqrt(10) for w in raw[::2]], [w * math.sqrt(0.2) for w in raw[1::2]]
    scales = {"residual": 1, "scaled": layers**-0.5, "scaled_by_depth": 1 / layers, "zero_branch": 0}
    metrics = measured("residual_depth", layers=layers, width=10, batch=6, branch=branch)

    def check(kind: str, h: np.ndarray, back: np.ndarray) -> None:
        assert metrics[f"{kind}_gain"] == pytest.approx((h**2).mean() / (x**2).mean(), rel=1e-4), kind
        assert metrics[f"{kind}_grad_ratio"] == pytest.approx(rms_norm(back) / rms_norm(cotangent), rel=1e-4), kind

    for kind, factor in (("plain_xavier", 1), ("plain_kaiming", math.sqrt(2))):
        states, h = [], x
        for w in xavier:
            states.append(h @ (factor * w))
            h = np.maximum(states[-1], 0)
        back = cotangent
        for w, z in zip(reversed(xavier), reversed(states), strict=True):
            back = (back * (z > 0)) @ (factor * w).T
        check(kind, h, back)
    for kind, scale in scales.items():
        states, h = [], x
        for w, v in zip(xavier, second, strict=True):
            states.append(h)
            two = np.maximum(h @ w, 0) @ v
            h = h + scale * (np.maximum(h, 0) @ (math.sqrt(2) * w) if branch == "pre_act" else two)
        back = cotangent
        for w, v, h_in in zip(reversed(xavier), reversed(second), reversed(states), strict=True):
            pre = (back @ (math.sqrt(2) * w).T) * (h_in > 0)
            through = pre if branch == "pre_act" else ((back @ v.T) * (h_in @ w > 0)) @ w.T
            back = back + scale * through
        check(kind, h, back)


@pytest.mark.parametrize("layers", [1, 20, 100, 500])
def test_residual_depth_theory(layers):
    """9e: in expectation 2^−L, 1, 2^L, (1+1/L)^L → e, (1+1/L²)^L and 1."""
    metrics = measured("residual_depth", layers=layers, width=2, batch=2)
    one = mpmath.mpf(1)
    expected = {"plain_xavier": one / 2**layers, "plain_kaiming": one, "residual": one * 2**layers, "zero_branch": one,
                "scaled": (1 + one / layers) ** layers, "scaled_by_depth": (1 + one / layers**2) ** layers}  # fmt: skip
    for kind, gain in expected.items():
        assert metrics[f"theory_{kind}_gain"] == pytest.approx(float(gain), rel=1e-12), kind
    assert metrics["zero_branch_gain"] == metrics["zero_branch_grad_ratio"] == 1


def test_residual_depth_gains_have_their_expectation():
    """The mean over seeds of a shallow net's gain is its expectation: 2^L unscaled, 1 for He, 2^−L for Xavier."""
    runs = [measured("residual_depth", seed, layers=2, width=128) for seed in range(12)]
    for kind, gain in (("residual", 4), ("scaled", 2.25), ("plain_kaiming", 1), ("plain_xavier", 0.25)):
        assert np.mean([run[f"{kind}_gain"] for run in runs]) == pytest.approx(gain, rel=0.08), kind


def test_residual_depth_claims_and_edges():
    """9e: unscaled explodes, 1/√L stays; deep narrow nets overflow in float32 or die, and say inf, nan or 0."""
    metrics = measured("residual_depth")
    assert metrics["residual_gain"] > 1e3
    assert metrics["residual_grad_ratio"] > 1e3
    assert metrics["plain_xavier_grad_ratio"] < 1e-3
    assert 0.5 < metrics["scaled_gain"] < 20
    deep = measured("residual_depth", layers=500, width=32)
    assert not math.isfinite(deep["residual_gain"])
    assert not math.isfinite(deep["residual_grad_ratio"])
    assert deep["plain_xavier_gain"] == 0
    assert deep["plain_kaiming_gain"] < 1e-10
    assert 1 < deep["scaled_gain"] < 8
    narrow = measured("residual_depth", width=1)
    assert narrow["plain_xavier_gain"] == narrow["plain_kaiming_gain"] == narrow["plain_kaiming_grad_ratio"] == 0


# --- bn_grad ----------------------------------------------------------------------------------------------------------


def test_bn_grad_theory():
    """10c: E[φ'²]/Var[φ] is π/(π−1) for ReLU, quadrature for tanh and sigmoid, (B−2)/(B−3) for the linear net."""
    assert measured("bn_grad", layers=3, width=2)["theory_sq_grad_rate"] == pytest.approx(
        math.pi / (math.pi - 1), rel=1e-4
    )
    for act, f in {"tanh": mpmath.tanh, "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z))}.items():

        def mean(g: Any) -> Any:
            return mpmath.quad(lambda z: g(z) * mpmath.npdf(z), [-12, -4, 0, 4, 12])

        exact = mean(lambda z, f=f: mpmath.diff(f, z) ** 2) / (mean(lambda z, f=f: f(z) ** 2) - mean(f) ** 2)
        theory = measured("bn_grad", layers=3, width=2, act=act)["theory_sq_grad_rate"]
        assert theory == pytest.approx(float(exact), rel=1e-4), act
    for batch in (4, 5, 128):
        linear = measured("bn_grad", layers=3, width=2, act="linear", batch=batch)
        assert linear["theory_sq_grad_rate"] == pytest.approx((batch - 2) / (batch - 3), rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bn_grad_rates(seed):
    """10a-c: BN holds the variance within 25 % and the squared gradient grows by π/(π−1); without BN neither."""
    metrics = measured("bn_grad", seed)
    assert metrics["sq_grad_rate_bn"] == pytest.approx(math.pi / (math.pi - 1), rel=0.04)
    assert metrics["sq_grad_rate_error"] == abs(metrics["sq_grad_rate_bn"] / metrics["theory_sq_grad_rate"] - 1)
    assert 100 < metrics["total_ratio_bn"] < 1e5
    assert metrics["act_var_drift"] < 0.25
    assert 0.9 < metrics["sq_grad_rate_nobn"] < 1.1
    assert metrics["total_ratio_nobn_abs_log10"] == pytest.approx(abs(math.log10(metrics["total_ratio_nobn"])))
    assert metrics["act_var_first"] == pytest.approx(0.5 - 1 / (2 * math.pi), rel=0.06)


def test_bn_grad_small_net_against_finite_differences():
    """The gradient that BN sends back, and its variances, from a net in numpy and central differences."""
    x, cotangent, *raw = draws(0, (7, 4), (7, 4), (4, 4), (4, 4))

    def net(h: np.ndarray, norm: bool) -> list[np.ndarray]:
        states = [h]
        for w in raw:
            z = states[-1] @ (w * 1.4142 / 2)
            z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) if norm else z
            states.append(np.tanh(z))
        return states

    metrics = measured("bn_grad", layers=2, width=4, batch=7, act="tanh")
    for norm, name in ((True, "bn"), (False, "nobn")):
        slopes = np.zeros_like(x)
        for at in np.ndindex(*x.shape):
            step = np.zeros_like(x)
            step[at] = 1e-5
            slopes[at] = ((net(x + step, norm)[-1] - net(x - step, norm)[-1]) * cotangent).sum() / 2e-5
        expected = rms_norm(slopes) / rms_norm(cotangent)
        assert metrics[f"total_ratio_{name}"] == pytest.approx(expected, rel=1e-3), name
    assert metrics["act_var_first"] == pytest.approx(net(x, True)[1].var(0).mean(), rel=1e-4)
    assert metrics["act_var_last"] == pytest.approx(net(x, True)[2].var(0).mean(), rel=1e-4)


def test_bn_grad_controls_and_edges():
    """Linear, residual and no BN do not explode; two samples and one layer have no rate; 500 layers overflow float32;
    the scale of the weights does not matter behind BN; BN cures the sigmoid.
    """
    assert 1 < measured("bn_grad", act="linear")["total_ratio_bn"] < 2
    residual = measured("bn_grad", residual=True)
    assert residual["total_ratio_bn"] < 50
    assert residual["theory_sq_grad_rate"] is residual["sq_grad_rate_error"] is None
    two = measured("bn_grad", batch=2, layers=10)
    assert two["sq_grad_rate_bn"] is two["total_ratio_bn"] is two["theory_sq_grad_rate"] is None
    one = measured("bn_grad", layers=1)
    assert one["sq_grad_rate_bn"] is one["sq_grad_rate_nobn"] is None
    assert one["total_ratio_bn"] == pytest.approx(0.70, abs=0.05)
    deep = measured("bn_grad", layers=500, width=32, batch=32)
    assert not math.isfinite(deep["total_ratio_bn"])
    assert deep["act_var_drift"] < 0.5
    wide = measured("bn_grad", sigma_w=100.0, layers=20)
    assert wide["total_ratio_bn"] == pytest.approx(measured("bn_grad", layers=20)["total_ratio_bn"], rel=1e-2)
    sigmoid = measured("bn_grad", act="sigmoid")
    assert sigmoid["sq_grad_rate_bn"] > 0.9 > 0.15 > sigmoid["sq_grad_rate_nobn"]
    with pytest.raises(BadParameter):
        measured("bn_grad", batch=1)


# --- gamma_beta -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["relu", "sigmoid", "tanh"])
def test_gamma_beta_folding(act):
    """10d: γ > 0 moves into the next weights exactly for ReLU only; with β/γ kept too; dropping β never is exact."""
    metrics = measured("gamma_beta", n=0, act=act)
    exact = act == "relu"
    assert (metrics["fold_gamma_error"] < 1e-13) is exact
    assert (metrics["fold_gamma_keep_beta_error"] < 1e-13) is exact
    assert metrics["dropping_beta_error"] > 0.5


def test_gamma_beta_folding_against_numpy():
    """The largest deviation after dropping β, from the same draws in numpy."""
    import torch
    from torch import nn

    torch.manual_seed(5)
    errors = demo("gamma_beta").fold(nn.Tanh())
    torch.manual_seed(5)
    kind = {"dtype": torch.float64}
    z, w = torch.randn(64, 32, **kind).numpy(), torch.randn(32, 16, **kind).numpy()
    gamma, beta = torch.rand(32, **kind).numpy() + 0.5, torch.randn(32, **kind).numpy()
    dropped = np.tanh(gamma * z + beta) @ w - np.tanh(z) @ np.diag(gamma) @ w
    folded = np.tanh(gamma * z) @ w - np.tanh(z) @ np.diag(gamma) @ w
    assert errors["dropping_beta_error"] == pytest.approx(np.abs(dropped).max(), rel=1e-10)
    assert errors["fold_gamma_error"] == pytest.approx(np.abs(folded).max(), rel=1e-10)


@pytest.mark.parametrize("params", [{"n": 0}, {"lr": 0.0, "n": 20}])
def test_gamma_beta_before_training(params):
    """γ = 1 and β = 0 are what is missing without them: untrained, the three nets with BN are one and the same."""
    metrics = measured("gamma_beta", **params)
    assert metrics["affine_acc"] == metrics["no_affine_acc"] == metrics["only_affine_acc"]
    assert metrics["affine_loss"] == metrics["no_affine_loss"] == metrics["only_affine_loss"]
    assert metrics["affine_gain"] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gamma_beta_claims(seed):
    """10d: ReLU trains without γ and β (above 0.85); γ and β alone already do better than chance by far."""
    metrics = measured("gamma_beta", seed)
    assert metrics["no_affine_acc"] > 0.85
    assert metrics["affine_acc"] >= metrics["no_affine_acc"] - 0.02
    assert metrics["only_affine_acc"] > 0.65
    assert metrics["affine_gain"] == metrics["affine_acc"] - metrics["no_affine_acc"]


def test_gamma_beta_odd_nets_cannot():
    """Without β a tanh net is odd up to a constant and cannot learn a disc: far below the net with β."""
    metrics = measured("gamma_beta", act="tanh", n=400)
    assert metrics["no_affine_acc"] < 0.75 < metrics["affine_acc"]


# --- init_distribution ------------------------------------------------------------------------------------------------


LAWS = ["normal", "uniform", "rademacher", "laplace", "trunc", "student3", "sparse10", "exponential"]


@pytest.mark.parametrize(
    ("law", "mean", "fourth"),
    [("normal", 0, 3), ("uniform", 0, 1.8), ("rademacher", 0, 1), ("laplace", 0, 6), ("trunc", 0, None),
     ("sparse10", 0, 30), ("exponential", 0, 9), ("mean_half", 0.5, None), ("constant", 1, 1), ("student3", 0, None)],
)  # fmt: skip
def test_init_distribution_laws(law, mean, fourth):
    """Every law has E[w²] = 1 and the mean and fourth moment of its name."""
    import torch

    torch.manual_seed(1)
    w = demo("init_distribution").entries(law, 600).numpy()
    assert w.mean() == pytest.approx(mean, abs=0.01)
    assert (w**2).mean() == pytest.approx(1, rel=0.1 if law == "student3" else 0.02)
    if fourth is not None:
        assert (w**4).mean() == pytest.approx(fourth, rel=0.05)
    assert np.isfinite(w).all()


def test_init_distribution_truncated_orthogonal_and_rank_one():
    """The truncated normal is divided by its own standard deviation (mpmath); √n·Q is orthogonal; u vᵀ has rank 1."""
    import torch

    torch.manual_seed(1)
    entries = demo("init_distribution").entries
    inside = mpmath.erf(mpmath.sqrt(2))
    sd = mpmath.sqrt(1 - 4 * mpmath.npdf(2) / inside)
    trunc = entries("trunc", 400).numpy()
    assert np.abs(trunc).max() <= float(2 / sd) + 1e-6
    assert np.abs(trunc).max() > float(2 / sd) - 1e-2
    assert (trunc**2).mean() == pytest.approx(1, rel=0.01)
    q = entries("orthogonal", 50).numpy()
    np.testing.assert_allclose(q @ q.T, 50 * np.eye(50), atol=1e-10)
    assert np.linalg.matrix_rank(entries("rank1", 50).numpy()) == 1


def test_init_distribution_theory_of_tanh():
    """The mean-field gain E[h²] ← E[tanh²(√q z)] at the same depth, on another grid."""
    for sigma, layers in ((1.0, 20), (2.0, 7)):
        moment = 1.0
        for _ in range(layers):
            moment = expectation(np.tanh(sigma * math.sqrt(moment) * Z) ** 2)
        theory = measured("init_distribution", act="tanh", sigma_mult=sigma, layers=layers, width=4, batch=2)
        assert theory["theory_gain"] == pytest.approx(moment ** (1 / layers), rel=1e-6)
    assert measured("init_distribution", sigma_mult=3.0, layers=2, width=4)["theory_gain"] == 9


@pytest.mark.parametrize(("layers", "width"), [(1, 256), (20, 64), (5, 256)])
def test_init_distribution_constant_weights_in_closed_form(layers, width):
    """All weights equal: every unit computes relu(σ·Σx), and each further layer multiplies E[h²] by 2n exactly."""
    (x,) = draws(0, (64, width))
    first = np.maximum(math.sqrt(2 / width) * x.sum(1), 0) ** 2
    exact = first.mean() * (2.0 * width) ** (layers - 1) / (x**2).mean()
    gain = measured("init_distribution", layers=layers, width=width)["constant_gain"]
    assert gain == pytest.approx(exact ** (1 / layers), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_init_distribution_claims(seed):
    """11a, 11b: the good laws agree with the theory; Cauchy, mean ½ and constants do not; the noise is √(5/(L·n))."""
    metrics = measured("init_distribution", seed)
    logs = [math.log(metrics[f"{law}_gain"]) for law in LAWS]
    assert metrics["worst_good_log_gain"] == pytest.approx(max(map(abs, logs)))
    assert metrics["good_log_spread"] == pytest.approx(max(logs) - min(logs))
    assert metrics["theory_log_noise"] == pytest.approx(math.sqrt(5 / (20 * 256)))
    assert metrics["theory_gain"] == 1
    assert max(map(abs, logs)) < 0.3
    assert metrics["skew_ratio"] == pytest.approx(metrics["exponential_gain"] / metrics["normal_gain"])
    assert min(metrics["cauchy_gain"] / 100, metrics["mean_half_gain"] / 10, metrics["constant_gain"] / 100) > 1
    assert metrics["mean_half_gain"] == pytest.approx(96, rel=0.07)
    assert metrics["rank1_gain"] < 0.96


def test_init_distribution_skewness_adds():
    """To next order the skewed law gains more than the normal one: by 1.075 in theory at width 256, mean of 8 seeds."""
    ratios = [measured("init_distribution", seed, layers=20, width=64)["skew_ratio"] for seed in range(8)]
    assert 1.05 < np.mean(ratios) < 1.3


def test_init_distribution_edges():
    """σ = 0 and a single dead unit give 0, not an error; a single layer is near 1."""
    zero = measured("init_distribution", sigma_mult=0.0, layers=3, width=8)
    assert all(zero[f"{law}_gain"] == 0 for law in [*LAWS, "cauchy", "constant", "rank1", "orthogonal"])
    assert zero["theory_gain"] == 0
    assert zero["worst_good_log_gain"] == INF
    assert math.isnan(zero["skew_ratio"])
    dead = measured("init_distribution", width=1)
    assert dead["normal_gain"] == 0
    shallow = measured("init_distribution", layers=1)
    assert all(0.7 < shallow[f"{law}_gain"] < 1.4 for law in LAWS)


# --- init_gain --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("layers", [1, 20])
def test_init_gain_theory(act, layers):
    """Gain and √χ of the mean field at this depth, on another grid; ½ and 1 for ReLU, σ_w² and σ_w for the identity."""
    phi, slope = PHI[act]
    metrics = measured("init_gain", act=act, layers=layers, width=16, batch=2)
    for name, sigma in {"xavier": 1.0, "kaiming": math.sqrt(2), "small": 0.01 * 4}.items():
        q, log_gain, log_chi = sigma**2, 0.0, 0.0
        for _ in range(layers):
            moment = expectation(phi(math.sqrt(q) * Z) ** 2)
            log_gain += math.log(sigma**2 * moment / q)
            log_chi += math.log(sigma**2 * expectation(slope(math.sqrt(q) * Z) ** 2))
            q = sigma**2 * moment
        assert metrics[f"{name}_theory_gain"] == pytest.approx(math.exp(log_gain / layers), rel=1e-4), name
        assert metrics[f"{name}_theory_rate"] == pytest.approx(math.exp(log_chi / 2 / layers), rel=1e-4), name
    if act == "relu":
        assert metrics["xavier_theory_gain"] == pytest.approx(0.5, rel=1e-6)
        assert metrics["kaiming_theory_gain"] == pytest.approx(1, rel=1e-6)
        assert metrics["kaiming_theory_rate"] == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid"])
def test_init_gain_against_a_backward_pass_by_hand(act):
    """Gains, gradient rates and the output's rms from the same draws in numpy."""
    phi, slope = PHI[act]
    x, matrices, noise = draws(0, (5, 8), (3, 8, 8), (5, 8))
    metrics = measured("init_gain", act=act, layers=3, width=8, batch=5)
    for name, std in {"xavier": 8**-0.5, "kaiming": 0.5, "small": 0.01}.items():
        h, pre = x, []
        for w in matrices:
            pre.append(std * h @ w)
            h = phi(pre[-1])
        back = noise
        for w, z in zip(matrices[::-1], pre[::-1], strict=True):
            back = std * (back * slope(z)) @ w.T
        assert metrics[f"{name}_gain"] == pytest.approx(((h**2).mean() / (x**2).mean()) ** (1 / 3), rel=1e-10), name
        assert metrics[f"{name}_out_rms"] == pytest.approx(math.sqrt((h**2).mean()), rel=1e-10), name
        rate = (rms_norm(back) / rms_norm(noise)) ** (1 / 3)
        assert metrics[f"{name}_grad_rate"] == pytest.approx(rate, rel=1e-10), name
        assert metrics[f"{name}_abs_log_rate"] == pytest.approx(abs(math.log(rate)), rel=1e-9), name


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_init_gain_claims_for_relu(seed):
    """12a, 12b: ReLU halves the second moment under Xavier, keeps it under Kaiming; the ratio of the two is exact."""
    metrics = measured("init_gain", seed)
    assert metrics["xavier_gain"] == pytest.approx(0.5, abs=0.05)
    assert metrics["kaiming_gain"] == pytest.approx(1, abs=0.1)
    assert metrics["kaiming_gain"] == pytest.approx(2 * metrics["xavier_gain"], rel=1e-10)
    assert metrics["small_gain"] == pytest.approx(0.01**2 * 256 * metrics["xavier_gain"], rel=1e-10)
    assert metrics["kaiming_grad_rate"] == pytest.approx(math.sqrt(2) * metrics["xavier_grad_rate"], rel=1e-10)
    assert metrics["kaiming_closer_by"] > 0
    assert metrics["theory_log_error"] < 0.05
    identity = measured("init_gain", seed, act="identity")
    assert identity["xavier_gain"] == pytest.approx(1, abs=0.1)
    assert identity["kaiming_gain"] == pytest.approx(2, abs=0.2)


def test_init_gain_claims_for_tanh_and_edges():
    """12c: for tanh Kaiming's gradient is nearer to 1 at 20 layers, Xavier's at 200; float64 resolves small rates."""
    assert measured("init_gain", act="tanh")["kaiming_closer_by"] > 0
    deep = measured("init_gain", act="tanh", layers=200, width=128, batch=16)
    assert deep["kaiming_closer_by"] < 0
    assert deep["xavier_grad_rate"] == pytest.approx(0.9906, abs=0.01)
    tiny = measured("init_gain", act="sigmoid")
    assert tiny["small_grad_rate"] == pytest.approx(0.0404, abs=0.002)
    assert tiny["xavier_grad_rate"] == pytest.approx(0.2361, abs=0.008)
    assert tiny["kaiming_grad_rate"] == pytest.approx(0.3178, abs=0.012)
    assert measured("init_gain", layers=200, width=128, batch=16)["xavier_grad_rate"] == pytest.approx(0.70, abs=0.02)
    dead = measured("init_gain", width=1)
    assert dead["xavier_gain"] == dead["xavier_out_rms"] == 0
    assert dead["xavier_abs_log_gain"] == INF


# --- loss_surface -----------------------------------------------------------------------------------------------------


def test_loss_surface_describes_known_surfaces():
    """The share of non-convex cells is that of numpy's eigenvalues; a bowl has none, a saddle has nothing else."""
    import torch

    describe = demo("loss_surface").describe
    axis = np.linspace(-1, 1, 9)
    x, y = np.meshgrid(axis, axis)
    rng = np.random.default_rng(0)
    for surface, share in ((x**2 + 3 * y**2 + x * y, 0), (x**2 - y**2, 1), (x * y, 1), (rng.normal(size=(9, 9)), None)):
        found = describe(torch.tensor(surface), float(surface[4, 4]))
        lowest = []
        for i in range(1, 8):
            for j in range(1, 8):
                a = surface[i + 1, j] - 2 * surface[i, j] + surface[i - 1, j]
                c = surface[i, j + 1] - 2 * surface[i, j] + surface[i, j - 1]
                b = (surface[i + 1, j + 1] - surface[i + 1, j - 1] - surface[i - 1, j + 1] + surface[i - 1, j - 1]) / 4
                lowest.append(np.linalg.eigvalsh([[a, b], [b, c]])[0])
        assert found["frac_nonconvex"] == pytest.approx(np.mean(np.array(lowest) < 0))
        assert share is None or found["frac_nonconvex"] == share
        assert found["max_loss"] == surface.max()
        assert found["basin_share"] == pytest.approx((surface <= surface[4, 4] + 0.1).mean())


def test_loss_surface_centre_is_the_trained_loss():
    """Without training the centre is the cross-entropy of the drawn nets, computed in numpy."""
    x, *blocks, first, last = draws(0, (64, 2), *[(6, 6)] * 3, (2, 6), (6, 1))
    y = (x[:, :1] * x[:, 1:] > 0).astype(float)
    blocks = [w * math.sqrt(1 / 3) for w in blocks]
    metrics = measured("loss_surface", layers=3, width=6, n=0, grid=5)
    for net, scale in (("plain", 0.0), ("skip", 3**-0.5)):
        h = x @ (first / math.sqrt(2))
        for w in blocks:
            step = np.maximum(h, 0) @ w
            h = h + scale * step if scale else step
        logits = h @ (last / math.sqrt(6))
        loss = (np.logaddexp(0, logits) - y * logits).mean()
        assert metrics[f"{net}_center_loss"] == pytest.approx(loss, rel=1e-5), net


@pytest.mark.parametrize("seed", [0, 1])
def test_loss_surface_claims(seed):
    """13a, 13b: deep plain surfaces rise higher than residual ones; a rescaled twin shows on raw directions only."""
    metrics = measured("loss_surface", seed)
    assert metrics["skip_max_loss"] < metrics["plain_max_loss"]
    assert metrics["log10_max_ratio"] == pytest.approx(math.log10(metrics["plain_max_loss"] / metrics["skip_max_loss"]))
    assert metrics["log10_max_ratio"] > 0
    assert metrics["forwards"] == 225
    assert metrics["rescaling_shift"] < 1e-4
    assert measured("loss_surface", seed, norm="raw", grid=7)["rescaling_shift"] > 0.05


def test_loss_surface_edges():
    """E13.1's edges: no span is a constant map, a huge one still has numbers; two points per side are no map."""
    flat = measured("loss_surface", span=0.0, grid=5, n=10)
    for net in ("plain", "skip"):
        assert flat[f"{net}_max_loss"] == pytest.approx(flat[f"{net}_center_loss"], rel=1e-6)
        assert flat[f"{net}_basin_share"] == 1
        assert flat[f"{net}_frac_nonfinite"] == 0
    far = measured("loss_surface", span=100.0, grid=5, n=10)
    assert far["plain_max_loss"] > 1e15
    assert measured("loss_surface", grid=51, layers=4, n=0)["forwards"] == 2601
    with pytest.raises(BadParameter):
        measured("loss_surface", grid=2)


# --- iid_variance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 10, 256])
@pytest.mark.parametrize("rho", [0.0, 0.1, 0.5, 1.0])
def test_iid_variance_exact_formulas(n, rho):
    """14a: σ²[(1−ρ)Σx² + ρ(Σx)²] and σ²[Σx² + ¼(Σx)²] from the same x, and moments of relu(z) by quadrature."""
    (x,) = draws(0, (n,), double=True)
    x = np.maximum(x, 0)
    metrics = measured("iid_variance", n=n, rho=rho, trials=200)
    squares, square = (x**2).sum(), x.sum() ** 2
    assert metrics["theory_correlated_ratio"] == pytest.approx((1 - rho) + rho * square / squares, rel=1e-12)
    assert metrics["theory_shifted_ratio"] == pytest.approx(1 + square / squares / 4, rel=1e-12)

    def moment(f: Any) -> Any:
        return mpmath.quad(lambda z: f(z) * mpmath.npdf(z), [0, 4, 14]) + f(mpmath.mpf(0)) / 2

    mean = moment(lambda v: v)
    same, cross = moment(lambda v: v**2 * (1 + (v - mean) ** 2 / 4)), moment(lambda v: v * (v - mean) / 2)
    exact = (n * same + n * (n - 1) * cross**2) / (n * moment(lambda v: v**2))
    assert metrics["theory_depends_on_x_ratio"] == pytest.approx(float(exact), rel=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_iid_variance_measurements(seed):
    """Each law agrees with its exact value within five standard errors of a mean of 4000 squares."""
    metrics = measured("iid_variance", seed)
    normal_error = 5 * math.sqrt(2 / 4000)
    assert metrics["iid_error"] == pytest.approx(abs(metrics["iid_ratio"] - 1))
    assert metrics["iid_error"] < normal_error
    assert abs(metrics["uniform_ratio"] - 1) < normal_error
    assert metrics["not_identical_exact_error"] < normal_error
    assert metrics["uncorrelated_error"] < 5 * math.sqrt(8 / 4000)  # the fourth moment of a product of two normals is 9
    assert metrics["correlated_exact_error"] < normal_error
    assert metrics["correlated_ratio"] == pytest.approx(metrics["theory_correlated_ratio"], rel=normal_error)
    assert metrics["correlated_error"] == pytest.approx(abs(metrics["correlated_ratio"] - 1))
    assert metrics["shifted_ratio"] == pytest.approx(metrics["theory_shifted_ratio"], rel=normal_error)
    assert metrics["depends_on_x_ratio"] == pytest.approx(metrics["theory_depends_on_x_ratio"], rel=0.15)
    assert metrics["correlated_ratio"] > 2 < metrics["depends_on_x_ratio"]


def test_iid_variance_controls_and_edges():
    """ρ = 0 is the i.i.d. case; σ = 0 has no ratio; 10000 inputs need fewer draws; 10 inputs hardly notice ρ = 0.1."""
    assert measured("iid_variance", rho=0.0)["correlated_ratio"] == pytest.approx(1, abs=0.12)
    nothing = measured("iid_variance", std=0.0, trials=200)
    ratios = [value for name, value in nothing.items() if name.endswith(("ratio", "error")) and "theory" not in name]
    assert ratios.count(None) == len(ratios)
    assert measured("iid_variance", n=10000, trials=500)["correlated_ratio"] > 250
    assert measured("iid_variance", n=10, trials=4000)["correlated_ratio"] < 2
    with pytest.raises(BadParameter):
        measured("iid_variance", n=10000)


# --- ics --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ics_claims(seed):
    """15b: noise behind BN shifts the gradient more than BN did, yet the net trains; BN drifts less than plain."""
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
    """With noise = 0 noisy BN is BN, to the bit."""
    metrics = measured("ics", noise=0.0, n=40)
    for what in ("acc", "loss", "drift", "cos", "ics_l2"):
        assert metrics[f"noisy_{what}"] == metrics[f"bn_{what}"], what
    assert metrics["noise_cos_drop"] == 0


def test_ics_without_a_step_nothing_shifts():
    """With lr = 0 there is no drift and the cosine is 1; noisy BN's cosine holds the shift that we inject."""
    metrics = measured("ics", lr=0.0, n=30)
    for net in ("plain", "bn"):
        assert metrics[f"{net}_drift"] == metrics[f"{net}_ics_l2"] == 0
        assert metrics[f"{net}_cos"] == pytest.approx(1, abs=1e-9)
    assert metrics["noisy_drift"] == 0
    assert metrics["noisy_cos"] < 0.7
    assert metrics["noisy_ics_l2"] > 0


def test_ics_edges():
    """E15.1's edges: up to 10 steps there is no drift; noise = 10 ruins the training; one layer is refused."""
    short = measured("ics", n=10)
    assert short["plain_drift"] is short["bn_drift"] is short["noisy_drift"] is short["drift_ratio"] is None
    assert measured("ics", n=11)["plain_drift"] is not None
    assert measured("ics", noise=10.0)["noisy_acc"] < 0.8
    with pytest.raises(BadParameter):
        measured("ics", layers=1)


def test_ics_gradient_shift_of_a_linear_net_by_hand():
    """Cosine and distance of one step: the last hidden gradient before and after the lower layers moved, in numpy."""
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
    cosine, distance = demo_ics.train_step(demo_ics.network(linears, "plain"), points, labels, 0.5, 0.0)
    first, first_bias, before = gradient(*w, b)
    after = gradient(w[0] - 0.5 * first, w[1], w[2], [b[0] - 0.5 * first_bias, *b[1:]])[2]
    assert cosine == pytest.approx((before * after).sum() / rms_norm(before) / rms_norm(after), rel=1e-4)
    assert distance == pytest.approx(rms_norm(before - after), rel=1e-3)
