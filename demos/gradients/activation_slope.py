"""With weights of norm 1 an activation explodes only where its slope exceeds 1; smoothness has nothing to do with it.

h_l = φ(σ_w·Q_l·h_{l−1}) for l = 1 … layers, Q_l random orthogonal matrices (so that the weights alone neither stretch
nor shrink anything when σ_w = 1), no biases, `width` units, 16 inputs N(0, 1), a random linear read-out. Measured for
16 activations: log10 of ‖g_0‖/‖g_L‖, the gradient of the read-out with respect to the input over that with respect to
the last layer, and the largest |φ'| on a grid over [−reach, reach]. All nets see the same inputs, matrices and
read-out. Leaky ReLU has slope 0.01 or 2 for x ≤ 0; 2·ReLU doubles a ReLU. "Explodes" means a ratio above 1000, or nan
or inf because numbers overflowed on the way (x² and exp do). Everything is in float64.

Theorem: |φ'| ≤ 1 and σ_w ≤ 1 ⇒ ‖g_0‖ ≤ ‖g_L‖, for each factor σ_w·Q·diag(φ') has norm at most 1. The bound is
sufficient, not necessary: GELU and SiLU exceed slope 1 and still vanish here, for half of their inputs are negative.
Source: Pennington, Schoenholz & Ganguli 2017; Philipp, Song & Carbonell 2018.
"""

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn

TITLE = {"zh": "激活函数的斜率与梯度爆炸", "en": "Slope of the activation and exploding gradients"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 200},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 2, "le": 128},
    "sigma_w": {"zh": "正交矩阵乘的倍数 σ_w", "en": "factor σ_w on the orthogonal matrices", "ge": 0, "le": 10},
    "reach": {"zh": "在 ± 多大范围内找最大斜率", "en": "largest slope is looked for within ±", "ge": 0.1, "le": 20},
}
LIMITS = [{"product": ["layers", "width", "width"], "le": 500000}]
COLUMNS = {
    "activation": {"zh": "激活函数", "en": "activation"},
    "slope": {"zh": "最大斜率", "en": "largest slope"},
    "log10_ratio": {"zh": "首末梯度之比的 log10", "en": "log10 of first over last gradient"},
    "largest": {"zh": "最大的激活值", "en": "largest activation"},
}
METRICS = {
    "log10_linear": {"zh": "线性：首末梯度之比的 log10", "en": "linear: log10 of first over last gradient"},
    "log10_sigmoid": {"zh": "sigmoid：首末梯度之比的 log10", "en": "sigmoid: log10 of first over last gradient"},
    "log10_tanh": {"zh": "tanh：首末梯度之比的 log10", "en": "tanh: log10 of first over last gradient"},
    "log10_relu": {"zh": "ReLU：首末梯度之比的 log10", "en": "ReLU: log10 of first over last gradient"},
    "log10_leaky": {
        "zh": "leaky ReLU（负半轴 0.01）：首末梯度之比的 log10",
        "en": "leaky ReLU 0.01: log10 of first over last gradient",
    },
    "log10_gelu": {"zh": "GELU：首末梯度之比的 log10", "en": "GELU: log10 of first over last gradient"},
    "log10_silu": {"zh": "SiLU：首末梯度之比的 log10", "en": "SiLU: log10 of first over last gradient"},
    "log10_elu": {"zh": "ELU：首末梯度之比的 log10", "en": "ELU: log10 of first over last gradient"},
    "log10_selu": {"zh": "SELU：首末梯度之比的 log10", "en": "SELU: log10 of first over last gradient"},
    "log10_softplus": {"zh": "softplus：首末梯度之比的 log10", "en": "softplus: log10 of first over last gradient"},
    "log10_sin": {"zh": "sin x：首末梯度之比的 log10", "en": "sin x: log10 of first over last gradient"},
    "log10_relu2x": {"zh": "2·ReLU：首末梯度之比的 log10", "en": "2·ReLU: log10 of first over last gradient"},
    "log10_leaky2": {
        "zh": "leaky ReLU（负半轴 2）：首末梯度之比的 log10",
        "en": "leaky ReLU 2: log10 of first over last gradient",
    },
    "log10_sin5": {"zh": "sin 5x：首末梯度之比的 log10", "en": "sin 5x: log10 of first over last gradient"},
    "log10_square": {"zh": "x²：首末梯度之比的 log10", "en": "x²: log10 of first over last gradient"},
    "log10_exp": {"zh": "exp：首末梯度之比的 log10", "en": "exp: log10 of first over last gradient"},
    "slope_linear": {"zh": "线性：最大斜率", "en": "linear: largest slope"},
    "slope_sigmoid": {"zh": "sigmoid：最大斜率", "en": "sigmoid: largest slope"},
    "slope_tanh": {"zh": "tanh：最大斜率", "en": "tanh: largest slope"},
    "slope_relu": {"zh": "ReLU：最大斜率", "en": "ReLU: largest slope"},
    "slope_leaky": {"zh": "leaky ReLU（负半轴 0.01）：最大斜率", "en": "leaky ReLU 0.01: largest slope"},
    "slope_gelu": {"zh": "GELU：最大斜率", "en": "GELU: largest slope"},
    "slope_silu": {"zh": "SiLU：最大斜率", "en": "SiLU: largest slope"},
    "slope_elu": {"zh": "ELU：最大斜率", "en": "ELU: largest slope"},
    "slope_selu": {"zh": "SELU：最大斜率", "en": "SELU: largest slope"},
    "slope_softplus": {"zh": "softplus：最大斜率", "en": "softplus: largest slope"},
    "slope_sin": {"zh": "sin x：最大斜率", "en": "sin x: largest slope"},
    "slope_relu2x": {"zh": "2·ReLU：最大斜率", "en": "2·ReLU: largest slope"},
    "slope_leaky2": {"zh": "leaky ReLU（负半轴 2）：最大斜率", "en": "leaky ReLU 2: largest slope"},
    "slope_sin5": {"zh": "sin 5x：最大斜率", "en": "sin 5x: largest slope"},
    "slope_square": {"zh": "x²：最大斜率", "en": "x²: largest slope"},
    "slope_exp": {"zh": "exp：最大斜率", "en": "exp: largest slope"},
    "largest_gentle": {"zh": "斜率不超过 1 的激活里最大的 log10 比", "en": "largest log10 ratio among slopes up to 1"},
    "n_exploding": {"zh": "16 种激活里爆炸的有几种", "en": "how many of the 16 activations explode"},
    "n_usual_above_one": {
        "zh": "七种常用激活里斜率超过 1 的有几种",
        "en": "usual activations, of seven, with a slope above 1",
    },
}
WORDS = {
    "linear": {"zh": "线性", "en": "linear"},
    "sigmoid": {"zh": "sigmoid", "en": "sigmoid"},
    "tanh": {"zh": "tanh", "en": "tanh"},
    "relu": {"zh": "ReLU", "en": "ReLU"},
    "leaky": {"zh": "leaky ReLU（负半轴 0.01）", "en": "leaky ReLU 0.01"},
    "gelu": {"zh": "GELU", "en": "GELU"},
    "silu": {"zh": "SiLU", "en": "SiLU"},
    "elu": {"zh": "ELU", "en": "ELU"},
    "selu": {"zh": "SELU", "en": "SELU"},
    "softplus": {"zh": "softplus", "en": "softplus"},
    "sin": {"zh": "sin x", "en": "sin x"},
    "relu2x": {"zh": "2·ReLU", "en": "2·ReLU"},
    "leaky2": {"zh": "leaky ReLU（负半轴 2）", "en": "leaky ReLU 2"},
    "sin5": {"zh": "sin 5x", "en": "sin 5x"},
    "square": {"zh": "x²", "en": "x²"},
    "exp": {"zh": "exp", "en": "exp"},
}
CHART = {
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "activation", "type": "nominal", "sort": None},
        "y": {"field": "log10_ratio", "type": "quantitative"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: 1 * z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky": lambda z: torch.where(z > 0, z, 0.01 * z),
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "elu": nn.functional.elu,
    "selu": nn.functional.selu,
    "softplus": nn.functional.softplus,
    "sin": torch.sin,
    "relu2x": lambda z: 2 * z.relu(),
    "leaky2": lambda z: torch.where(z > 0, z, 2 * z),
    "sin5": lambda z: torch.sin(5 * z),
    "square": lambda z: z * z,
    "exp": torch.exp,
}
USUAL = ("sigmoid", "tanh", "relu", "elu", "gelu", "silu", "selu")


def run(layers: int = 30, width: int = 64, sigma_w: float = 1.0, reach: float = 4.0) -> Generator[Row, None, Metrics]:
    x = randn(16, width)
    weights = [sigma_w * torch.linalg.qr(randn(width, width))[0] for _ in range(layers)]
    read_out = randn(width, 1)
    slopes: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for name, phi in ACTIVATIONS.items():
        slopes[name] = largest_slope(phi, reach)
        ratios[name], largest = log10_ratio(phi, x, weights, read_out)
        yield {"activation": name, "slope": slopes[name], "log10_ratio": ratios[name], "largest": largest}
    return {
        **{f"log10_{name}": ratio for name, ratio in ratios.items()},
        **{f"slope_{name}": slope for name, slope in slopes.items()},
        "largest_gentle": max(ratios[name] for name, slope in slopes.items() if slope <= 1 and name != "square"),
        "n_exploding": sum(not ratio <= 3 for ratio in ratios.values()),
        "n_usual_above_one": sum(slopes[name] > 1 for name in USUAL),
    }


def largest_slope(phi: Callable[[Tensor], Tensor], reach: float) -> float:
    """The largest |φ'| on 80001 points of [−reach, reach], 0 among them."""
    z = torch.linspace(-reach, reach, 80001, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(phi(z).sum(), z)
    return float(slope.abs().max())


def log10_ratio(
    phi: Callable[[Tensor], Tensor], x: Tensor, weights: list[Tensor], read_out: Tensor
) -> tuple[float, float]:
    """log10 of ‖g_0‖/‖g_L‖ (−inf for 0, nan where numbers overflowed), and the largest |h| of all layers."""
    hidden = [x.clone().requires_grad_()]
    for w in weights:
        hidden.append(phi(hidden[-1] @ w))
    first, last = torch.autograd.grad((hidden[-1] @ read_out).sum(), (hidden[0], hidden[-1]))
    ratio = first.norm().item() / last.norm().item()
    largest = max(h.abs().max().item() for h in hidden)
    return (math.log10(ratio) if ratio else -math.inf), largest


def randn(*shape: int) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
