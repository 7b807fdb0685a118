"""Through 20 layers a sigmoid net loses all its gradient, a ReLU net keeps it only at the He scale of weights.

h_l = φ(W_l·h_{l−1}) for l = 1 … layers, all of the same `width`, no biases, W ~ N(0, σ_w²/width), inputs N(0, 1),
`batch` samples, a random linear read-out. g_l is the gradient of the read-out with respect to h_l, its norm taken over
batch and units in float64 (the nets run in float32, where a gradient below 1e-45 is 0). The rate is
(‖g_0‖/‖g_L‖)^(1/L), the factor per layer on the way back. Inputs, weights and read-out are random, and the same for
all nets but for the factor σ_w.

The standard set (sigma_w = 0): sigmoid and tanh with σ_w = 1, ReLU with σ_w = 1 (Xavier), √2 (He) and 0.2. With
sigma_w > 0 each activation runs once, with that σ_w: its numbers stand under sigmoid, tanh and relu_he (so "relu_he"
then means ReLU with your σ_w); relu_xavier and relu_small have none. `act` leaves out the other activations.

Theory (infinitely wide nets): χ_l = σ_w²·E[φ'(√q_l·Z)²], q_1 = σ_w², q_{l+1} = σ_w²·E[φ(√q_l·Z)²], Z ~ N(0, 1). The
rate is the geometric mean of the √χ_l; very deep nets tend to √χ at the fixed point of q. For ReLU it is σ_w/√2 at
any depth. Source: Schoenholz et al. 2017, Deep information propagation; Glorot, Bordes & Bengio 2011.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "激活函数与梯度消失", "en": "Activations and vanishing gradients"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 500},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 1, "le": 512},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 512},
    "sigma_w": {"zh": "权重尺度 σ_w（0 = 标准组合）", "en": "weight scale σ_w (0: standard set)", "ge": 0, "le": 1000},
    "act": {"zh": "激活函数", "en": "activation"},
}
LIMITS = [
    {"product": ["layers", "width", "width"], "le": 15000000},
    {"product": ["layers", "width", "width", "batch"], "le": 1000000000},
]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "激活函数与初始化", "en": "activation and weights"},
    "gradient": {"zh": "梯度范数与最后一层之比", "en": "gradient norm over that of the last layer"},
}
METRICS = {
    "sigmoid_rate": {"zh": "sigmoid：每层的梯度倍数", "en": "sigmoid: gradient factor per layer"},
    "sigmoid_theory_rate": {"zh": "sigmoid：该深度的理论倍数", "en": "sigmoid: theory at this depth"},
    "sigmoid_theory_limit": {"zh": "sigmoid：无限深时的理论倍数", "en": "sigmoid: theory in the deep limit"},
    "sigmoid_total_ratio": {"zh": "sigmoid：首层与末层的梯度之比", "en": "sigmoid: first over last gradient"},
    "tanh_rate": {"zh": "tanh：每层的梯度倍数", "en": "tanh: gradient factor per layer"},
    "tanh_theory_rate": {"zh": "tanh：该深度的理论倍数", "en": "tanh: theory at this depth"},
    "tanh_theory_limit": {"zh": "tanh：无限深时的理论倍数", "en": "tanh: theory in the deep limit"},
    "tanh_total_ratio": {"zh": "tanh：首层与末层的梯度之比", "en": "tanh: first over last gradient"},
    "relu_xavier_rate": {"zh": "ReLU 配 Xavier：每层的梯度倍数", "en": "ReLU, Xavier: gradient factor per layer"},
    "relu_xavier_theory_rate": {"zh": "ReLU 配 Xavier：理论倍数", "en": "ReLU, Xavier: theory"},
    "relu_xavier_total_ratio": {"zh": "ReLU 配 Xavier：首末梯度之比", "en": "ReLU, Xavier: first over last gradient"},
    "relu_he_rate": {"zh": "ReLU 配 He（或自定 σ_w）：每层倍数", "en": "ReLU, He or your σ_w: factor per layer"},
    "relu_he_theory_rate": {"zh": "ReLU 配 He（或自定 σ_w）：理论倍数", "en": "ReLU, He or your σ_w: theory"},
    "relu_he_total_ratio": {"zh": "ReLU 配 He（或自定 σ_w）：首末之比", "en": "ReLU, He or your σ_w: first over last"},
    "relu_he_drift": {"zh": "ReLU 配 He（或自定 σ_w）：|ln 每层倍数|", "en": "ReLU, He or your σ_w: |ln| of factor"},
    "relu_small_rate": {"zh": "ReLU 小权重：每层的梯度倍数", "en": "ReLU, small weights: gradient factor per layer"},
    "relu_small_theory_rate": {"zh": "ReLU 小权重：理论倍数", "en": "ReLU, small weights: theory"},
    "relu_small_total_ratio": {"zh": "ReLU 小权重：首末梯度之比", "en": "ReLU, small weights: first over last"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "gradient", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
Function = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, tuple[Function, Function]] = {  # φ and φ'
    "sigmoid": (torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x)),
    "tanh": (torch.tanh, lambda x: 1 / x.cosh() ** 2),
    "relu": (torch.relu, lambda x: (x > 0).to(x.dtype)),
}
STANDARD = (  # metric, activation, σ_w, what the chart calls it
    ("sigmoid", "sigmoid", 1.0, "sigmoid"),
    ("tanh", "tanh", 1.0, "tanh"),
    ("relu_xavier", "relu", 1.0, "ReLU, Xavier"),
    ("relu_he", "relu", math.sqrt(2), "ReLU, He"),
    ("relu_small", "relu", 0.2, "ReLU, σ_w = 0.2"),
)


def run(
    layers: int = 20,
    width: int = 128,
    batch: int = 64,
    sigma_w: float = 0.0,
    act: Literal["all", "sigmoid", "tanh", "relu"] = "all",
) -> Generator[Row, None, Metrics]:
    measured: Metrics = dict.fromkeys(METRICS)
    once = [(m, a, sigma_w, s.split(",")[0]) for m, a, _, s in STANDARD if m in ("sigmoid", "tanh", "relu_he")]
    x = torch.randn(batch, width)
    weights = [torch.randn(width, width) / math.sqrt(width) for _ in range(layers)]
    read_out = torch.randn(width, 1) / math.sqrt(width)
    every = math.ceil(layers / 70)
    for metric, name, sigma, series in once if sigma_w else STANDARD:
        if act not in ("all", name):
            continue
        norms = gradient_norms(ACTIVATIONS[name][0], x, [sigma * w for w in weights], read_out)
        ratios = [norm / norms[-1] for norm in norms]  # the last norm is the read-out's: never 0
        for layer, ratio in enumerate(ratios):
            if layer % every == 0 or layer == layers:
                yield {"layer": layer, "series": series, "gradient": ratio}
        measured[f"{metric}_rate"] = rate = ratios[0] ** (1 / layers)
        measured[f"{metric}_total_ratio"] = ratios[0]
        if name == "relu":
            measured[f"{metric}_theory_rate"] = sigma / math.sqrt(2)
        else:
            measured[f"{metric}_theory_rate"], measured[f"{metric}_theory_limit"] = mean_field(name, sigma, layers)
        if metric == "relu_he":
            measured["relu_he_drift"] = abs(math.log(rate)) if rate > 0 else math.inf if rate == 0 else math.nan
    return measured


def gradient_norms(phi: Function, x: Tensor, weights: list[Tensor], read_out: Tensor) -> list[float]:
    """‖g_0‖ … ‖g_L‖."""
    hidden = [x.clone().requires_grad_()]
    for w in weights:
        hidden.append(phi(hidden[-1] @ w))
    grads = torch.autograd.grad((hidden[-1] @ read_out).sum(), hidden)
    return [g.double().norm().item() for g in grads]


def mean_field(name: str, sigma: float, layers: int) -> tuple[float, float]:
    """The rate at this depth and in the limit of very deep nets, by numerical integration."""
    phi, slope = ACTIVATIONS[name]
    t = torch.linspace(-12, 12, 10001, dtype=torch.float64)
    z = 12 * t.sinh() / math.sinh(12)  # from −12 to 12, dense around 0, where a saturated tanh changes
    weight = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * t.cosh() * (12 / math.sinh(12) * 24 / 10000)

    def mean(f: Function, q: float) -> float:
        """E[f(√q·Z)²]."""
        return float((f(math.sqrt(q) * z) ** 2 * weight).sum())

    q, log_slope = sigma**2, 0.0
    for _ in range(layers):
        log_slope += math.log(mean(slope, q)) / (2 * layers)
        q = sigma**2 * mean(phi, q)
    low, high = 0.0, sigma**2  # the fixed point q* lies between them: 0 for tanh with σ_w ≤ 1
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sigma**2 * mean(phi, middle) > middle else (low, middle)
    return sigma * math.exp(log_slope), sigma * math.sqrt(mean(slope, high))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
