"""ReLU lowers the probability that gradients vanish, it does not make it 0, and it raises that of an explosion.

`n` times σ_w is drawn log-uniformly from [lo, hi], and a net h_l = φ(W_l·h_{l−1}), l = 1 … layers, of one `width`, no
biases, W ~ N(0, σ_w²/width), with 16 inputs N(0, 1) and a random linear read-out. The ratio is the norm of the
read-out's gradient at h_0 over that at h_L (batch × units, float64; the nets run in float32). It vanishes below
`threshold`, explodes above 1/threshold. The same σ_w, weights and inputs serve all three activations.

Theory (infinitely wide ReLU nets): the ratio is (σ_w/√2)^layers, so that P(vanish) is the fraction of ln σ_w in [ln lo,
ln hi] below ln √2 + ln(threshold)/layers, and likewise P(explode). Source: Schoenholz et al. 2017, Deep information
propagation; Glorot, Bordes & Bengio 2011, Deep sparse rectifier neural networks.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "梯度消失的概率", "en": "How probable vanishing is"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 50},
    "n": {"zh": "抽多少个网络", "en": "networks drawn", "unit": "draw", "ge": 20, "le": 200},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 1, "le": 64},
    "lo": {"zh": "σ_w 的下限", "en": "lowest σ_w", "ge": 0.01, "le": 10},
    "hi": {"zh": "σ_w 的上限", "en": "highest σ_w", "ge": 0.01, "le": 20},
    "threshold": {"zh": "小于它算消失", "en": "vanished below this ratio", "ge": 1e-30, "le": 1},
}
LIMITS = [{"ascending": ["lo", "hi"]}]
COLUMNS = {
    "sigma_w": {"zh": "权重尺度 σ_w", "en": "weight scale σ_w"},
    "series": {"zh": "激活函数", "en": "activation"},
    "ratio": {"zh": "首层与末层的梯度之比", "en": "first over last gradient"},
}
METRICS = {
    "sigmoid_vanish": {"zh": "sigmoid：消失的概率", "en": "sigmoid: probability of vanishing"},
    "sigmoid_explode": {"zh": "sigmoid：爆炸的概率", "en": "sigmoid: probability of exploding"},
    "tanh_vanish": {"zh": "tanh：消失的概率", "en": "tanh: probability of vanishing"},
    "tanh_explode": {"zh": "tanh：爆炸的概率", "en": "tanh: probability of exploding"},
    "relu_vanish": {"zh": "ReLU：消失的概率", "en": "ReLU: probability of vanishing"},
    "relu_explode": {"zh": "ReLU：爆炸的概率", "en": "ReLU: probability of exploding"},
    "relu_theory_vanish": {"zh": "ReLU：无限宽时消失的概率", "en": "ReLU: vanishing, infinitely wide"},
    "relu_theory_explode": {"zh": "ReLU：无限宽时爆炸的概率", "en": "ReLU: exploding, infinitely wide"},
    "vanish_difference": {"zh": "sigmoid 比 ReLU 多消失的概率", "en": "vanishing, sigmoid minus ReLU"},
    "explode_difference": {"zh": "ReLU 比 sigmoid 多爆炸的概率", "en": "exploding, ReLU minus sigmoid"},
}
CHART = {
    "mark": {"type": "point", "filled": True},
    "encoding": {
        "x": {"field": "sigma_w", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "ratio", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
BATCH = 16


def run(
    layers: int = 20, n: int = 60, width: int = 32, lo: float = 0.5, hi: float = 4.0, threshold: float = 1e-6
) -> Generator[Row, None, Metrics]:
    ratios: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    for position in torch.rand(n, dtype=torch.float64).tolist():
        sigma = lo * (hi / lo) ** position
        x = torch.randn(BATCH, width)
        weights = (torch.randn(layers, width, width) * (sigma / math.sqrt(width))).unbind()
        read_out = torch.randn(width, 1)
        for name in ACTIVATIONS:
            ratios[name].append(gradient_ratio(name, x, weights, read_out))
            yield {"sigma_w": sigma, "series": name, "ratio": ratios[name][-1]}
    found: Metrics = {}
    for name, values in ratios.items():
        found[f"{name}_vanish"] = sum(value < threshold for value in values) / n
        found[f"{name}_explode"] = sum(value > 1 / threshold for value in values) / n
    step = math.log(threshold) / layers
    return found | {
        "relu_theory_vanish": share_below(math.log(math.sqrt(2)) + step, lo, hi),
        "relu_theory_explode": 1 - share_below(math.log(math.sqrt(2)) - step, lo, hi),
        "vanish_difference": (found["sigmoid_vanish"] or 0) - (found["relu_vanish"] or 0),
        "explode_difference": (found["relu_explode"] or 0) - (found["sigmoid_explode"] or 0),
    }


def gradient_ratio(name: str, x: Tensor, weights: tuple[Tensor, ...], read_out: Tensor) -> float:
    """‖g_0‖/‖g_L‖; the last is the read-out's and never 0."""
    first = x.clone().requires_grad_()
    h = first
    for weight in weights:
        h = ACTIVATIONS[name](h @ weight)
    (back,) = torch.autograd.grad((h @ read_out).sum(), first)
    return float(back.double().norm() / (read_out.double().norm() * math.sqrt(len(x))))


def share_below(log_sigma: float, lo: float, hi: float) -> float:
    """The share of a log-uniform σ_w in [lo, hi] that lies below."""
    return min(1.0, max(0.0, (log_sigma - math.log(lo)) / (math.log(hi) - math.log(lo))))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
