"""A tanh net whose outputs never exceed 1 explodes its gradient; huge outputs of an orthogonal net leave it untouched.

Two nets of `layers` layers, all of the same `width`, no biases, `batch` samples, one random linear read-out:
- tanh: h_l = tanh(W_l·h_{l−1}), W ~ N(0, σ_w²/width), inputs N(0, 1).
- orthogonal: h_l = Q_l·h_{l−1} with random orthogonal Q_l and inputs 10⁴·N(0, 1).
g_l is the gradient of the read-out with respect to h_l; norms are taken over batch and units in float64, the nets run
in `dtype`. The rate is (‖g_0‖/‖g_L‖)^(1/layers), None where the gradient is 0.

Theory (infinite width, infinite depth): √χ with χ = σ_w²·E[tanh'(√q·Z)²] at the fixed point q = σ_w²·E[tanh²(√q·Z)], Z
~ N(0, 1); for σ_w ≤ 1 the fixed point is q = 0 and √χ = σ_w. It needs width ≫ σ_w: at σ_w = 1000 almost every unit is
saturated, and the few that would carry χ are absent from a net of ordinary width.
Source: Poole et al. 2016; Schoenholz et al. 2017.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "输出有界，梯度照样爆炸", "en": "Bounded outputs, exploding gradients"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 500},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 1, "le": 512},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 512},
    "sigma_w": {"zh": "权重尺度 σ_w", "en": "weight scale σ_w", "ge": 0, "le": 1000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
LIMITS = [
    {"product": ["layers", "width", "width"], "le": 10000000},
    {"product": ["layers", "width", "width", "batch"], "le": 600000000},
]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "网络", "en": "net"},
    "gradient": {"zh": "梯度范数与最后一层之比", "en": "gradient norm over that of the last layer"},
    "largest": {"zh": "该层最大的输出", "en": "largest output of the layer"},
}
METRICS = {
    "max_output": {"zh": "tanh 网络：最大的输出", "en": "tanh net: largest output"},
    "grad_ratio": {"zh": "tanh 网络：首末梯度之比", "en": "tanh net: first over last gradient"},
    "rate": {"zh": "tanh 网络：每层的梯度倍数", "en": "tanh net: gradient factor per layer"},
    "theory_rate": {"zh": "tanh 网络：理论倍数 √χ", "en": "tanh net: factor in theory, √χ"},
    "rate_error": {"zh": "倍数与理论的相对偏差", "en": "relative distance of the factor from theory"},
    "orthogonal_max_output": {"zh": "正交网络：最大的输出", "en": "orthogonal net: largest output"},
    "orthogonal_grad_ratio": {"zh": "正交网络：首末梯度之比", "en": "orthogonal net: first over last gradient"},
}
WORDS = {
    "tanh": {"zh": "tanh 网络", "en": "tanh net"},
    "orthogonal": {"zh": "正交线性网络", "en": "orthogonal linear net"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "gradient", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# what a layer does to the gradient's norm where no unit saturates: times σ_w
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_ladder",
        "params": {"op": "multiply", "x": ["sigma_w"], "n": ["layers"]},
    }
]

Row = dict[str, float | str]
Metrics = dict[str, float | None]


def run(
    layers: int = 30,
    width: int = 128,
    batch: int = 32,
    sigma_w: float = 3.0,
    dtype: Literal["float32", "float64"] = "float32",
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    x = torch.randn(batch, width).to(kind)
    read_out = (torch.randn(width, 1) / math.sqrt(width)).to(kind)
    weights = [(sigma_w / math.sqrt(width) * torch.randn(width, width)).to(kind) for _ in range(layers)]
    rotations = [torch.linalg.qr(torch.randn(width, width))[0].to(kind) for _ in range(layers)]
    found = {}
    for series, inputs, matrices in (("tanh", x, weights), ("orthogonal", 1e4 * x, rotations)):
        norms, largest = profile(series, inputs, matrices, read_out)
        found[series] = norms[0] / norms[-1], max(largest[1:])
        for layer in sorted({*range(0, layers, math.ceil(layers / 100)), layers}):
            ratio = norms[layer] / norms[-1]
            yield {"layer": layer, "series": series, "gradient": ratio, "largest": largest[layer]}
    ratio, max_output = found["tanh"]
    rate = ratio ** (1 / layers) if ratio else None
    theory = mean_field(sigma_w)
    return {
        "max_output": max_output,
        "grad_ratio": ratio,
        "rate": rate,
        "theory_rate": theory,
        "rate_error": abs(rate / theory - 1) if rate is not None and theory else None,
        "orthogonal_max_output": found["orthogonal"][1],
        "orthogonal_grad_ratio": found["orthogonal"][0],
    }


def profile(series: str, x: Tensor, weights: list[Tensor], read_out: Tensor) -> tuple[list[float], list[float]]:
    """‖g_0‖ … ‖g_L‖ and max|h_0| … max|h_L|."""
    hidden = [x.clone().requires_grad_()]
    for w in weights:
        z = hidden[-1] @ w
        hidden.append(z.tanh() if series == "tanh" else z)
    grads = torch.autograd.grad((hidden[-1] @ read_out).sum(), hidden)
    return [g.double().norm().item() for g in grads], [h.abs().max().item() for h in hidden]


def mean_field(sigma: float) -> float:
    """√χ at the fixed point of q; σ_w² itself times tanh'(0)² = 1 where that is q = 0."""
    if sigma <= 1:
        return sigma
    low, high = 0.0, sigma**2  # σ²·E[tanh²(√q·Z)]/q falls with q and is 1 at the fixed point
    for _ in range(60):
        q = (low + high) / 2
        low, high = (q, high) if sigma**2 * (1 - mean_sech(2, q)) > q else (low, q)
    return sigma * math.sqrt(mean_sech(4, high))


def mean_sech(power: int, q: float) -> float:
    """E[sech(√q·Z)^power] by the trapezoidal rule in u = √q·Z, where sech has a width of 1 whatever q is."""
    root = math.sqrt(q)
    reach = min(20.0, 12 * root)
    u = torch.linspace(-reach, reach, 4001, dtype=torch.float64)
    density = torch.exp(-((u / root) ** 2) / 2) / (root * math.sqrt(2 * math.pi))
    return float((u.cosh() ** -power * density).sum() * (u[1] - u[0]))


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
