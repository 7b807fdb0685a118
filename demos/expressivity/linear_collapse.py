"""Without activations any stack of layers is one matrix, to the last rounding; with ReLU no straight map comes close.

x ~ N(0, 1), 2000 samples; `layers` square matrices W ~ N(0, 2/width), no biases, float64; `act` after every layer, the
last one too. Measured after each layer: how far the net is from its own product matrix (relative, in the Frobenius
norm), and the R² of the best affine fit, the fraction of the variance of the outputs that a straight map of the inputs
explains (least squares with intercept, summed over the outputs). ReLU is always measured beside `act`, on the same
inputs and matrices. Inputs and matrices are random.

Theory (infinitely wide): for ReLU, R² = κ_L'(0)/(1 − κ_L(0)), where κ_L is κ(ρ) = (√(1−ρ²) + ρ·(π − arccos ρ))/π
applied L times; after one layer 0.733. Source: the associative law; Cho & Saul 2009, Kernel methods for deep learning.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import gelu, leaky_relu

TITLE = {"zh": "没有激活函数，多层等于一层", "en": "Without activations many layers are one"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 100},
    "width": {"zh": "宽度", "en": "width", "unit": "unit", "ge": 1, "le": 256},
    "act": {"zh": "每层之后的激活函数", "en": "activation after every layer"},
}
COLUMNS = {
    "layer": {"zh": "第几层之后", "en": "after layer"},
    "act": {"zh": "所选激活：与一个矩阵的差", "en": "your activation: distance from one matrix"},
    "relu": {"zh": "ReLU：与一个矩阵的差", "en": "ReLU: distance from one matrix"},
    "relu_unexplained": {"zh": "ReLU：直线解释不了的部分 1 − R²", "en": "ReLU: what no straight map explains, 1 − R²"},
}
METRICS = {
    "one_matrix_err": {"zh": "网络与乘积矩阵的相对差", "en": "net against its product matrix, relative"},
    "best_linear_r2": {"zh": "最佳线性拟合的 R²", "en": "R² of the best linear fit"},
    "relu_one_matrix_err": {"zh": "换成 ReLU：与乘积矩阵的相对差", "en": "with ReLU: against the product matrix"},
    "relu_best_linear_r2": {"zh": "换成 ReLU：最佳线性拟合的 R²", "en": "with ReLU: R² of the best linear fit"},
    "theory_relu_r2": {"zh": "ReLU 的理论 R²（无限宽）", "en": "R² with ReLU in theory (infinitely wide)"},
}
CHART = {
    "transform": [{"fold": ["act", "relu", "relu_unexplained"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
SAMPLES = 2000
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda t: t, "relu": torch.relu, "leaky_relu": lambda t: leaky_relu(t, 0.5), "gelu": gelu,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid,
}  # fmt: skip


def run(
    layers: int = 5,
    width: int = 64,
    act: Literal["identity", "relu", "leaky_relu", "gelu", "tanh", "sigmoid"] = "identity",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, width, dtype=torch.float64)
    straight, _ = torch.linalg.qr(torch.cat([torch.ones_like(x[:, :1]), x], dim=1))
    product = torch.eye(width, dtype=torch.float64)
    own = relu = x
    every = math.ceil(layers / 20)
    for layer in range(1, layers + 1):
        w = torch.randn(width, width, dtype=torch.float64) * math.sqrt(2 / width)
        product, own, relu = product @ w, ACTIVATIONS[act](own @ w), (relu @ w).relu()
        if layer % every == 0 or layer == layers:
            one = x @ product
            metrics = {
                "one_matrix_err": distance(own, one),
                "best_linear_r2": explained(own, straight),
                "relu_one_matrix_err": distance(relu, one),
                "relu_best_linear_r2": explained(relu, straight),
            }
            rest = 1 - metrics["relu_best_linear_r2"]
            yield {"layer": layer, "act": metrics["one_matrix_err"], "relu": metrics["relu_one_matrix_err"]} | {
                "relu_unexplained": rest
            }
    return metrics | {"theory_relu_r2": relu_in_theory(layers)}


def distance(outputs: Tensor, one: Tensor) -> float:
    """‖outputs − one‖ / ‖one‖."""
    return float((outputs - one).norm() / one.norm())


def explained(outputs: Tensor, straight: Tensor) -> float:
    """R² of the projection on the span of inputs and constant; nan where the outputs do not vary."""
    centred = outputs - outputs.mean(dim=0)
    return float((straight.T @ centred).pow(2).sum() / centred.pow(2).sum())


def relu_in_theory(layers: int) -> float:
    """κ_L'(0)/(1 − κ_L(0)) of the normalised ReLU kernel."""
    rho, slope = 0.0, 1.0
    for _ in range(layers):
        slope *= (math.pi - math.acos(rho)) / math.pi
        rho = min(1.0, (math.sqrt(1 - rho * rho) + rho * (math.pi - math.acos(rho))) / math.pi)
    return slope / (1 - rho)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
