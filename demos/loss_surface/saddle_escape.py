"""A gradient near zero is no proof of a minimum: at a saddle the loss rests for long and then falls again.

Loss ½Σλᵢwᵢ² over 20 directions with λ from 0.1 to 1, all starting at w = 1, plus one more direction u, which starts at
`x`: −½·`curve`·u² + ¼u⁴ (saddle), with minima at u = ±√curve; or +½·curve·u² (minimum). Gradient descent of rate `lr`
for `n` steps; the gradient carries noise N(0, `noise`²).

Measured: gradient norm and loss at each step; where the norm is least before u has left (|u| > √curve/2), the smallest
eigenvalue of the Hessian there, by a difference of gradients along u; when u leaves. Theory: near the saddle u grows
by 1 + lr·curve a step, so it leaves after ln(√curve/(2x))/ln(1 + lr·curve) steps; noise shortens that, for the start
counts only through its logarithm. Random: the noise.
Source: Dauphin et al. 2014, Identifying and attacking the saddle point problem; Jin et al. 2017, How to escape saddle
points efficiently.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "鞍点：梯度近零却不是极小", "en": "A saddle: gradient near zero, no minimum"}
PARAMS = {
    "case": {"zh": "鞍点还是极小", "en": "saddle or minimum"},
    "x": {"zh": "离鞍点的起始距离", "en": "distance from the saddle at the start", "ge": 1e-12, "le": 0.1},
    "curve": {"zh": "那个方向的曲率", "en": "curvature of that direction", "ge": 0.01, "le": 1},
    "noise": {"zh": "梯度的噪声", "en": "noise of the gradient", "ge": 0, "le": 0.1},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0.01, "le": 1},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 50, "le": 4000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失与最低点之差", "en": "loss above the lowest"},
    "norm": {"zh": "梯度范数", "en": "gradient norm"},
}
METRICS = {
    "least_norm": {"zh": "离开之前最小的梯度范数", "en": "least gradient norm before it leaves"},
    "least_step": {"zh": "梯度最小的步", "en": "step of the least gradient", "unit": "step"},
    "curvature": {"zh": "那里最小的曲率", "en": "smallest curvature there"},
    "leave_step": {"zh": "离开的步", "en": "step at which it leaves", "unit": "step"},
    "theory": {"zh": "预测离开的步（无噪声）", "en": "predicted step, without noise"},
    "largest_later": {"zh": "此后最大的梯度范数", "en": "largest gradient norm after it"},
    "drop": {"zh": "此后损失还降了多少", "en": "further fall of the loss"},
}
CHART = {
    "transform": [{"fold": ["loss", "norm"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
LAMBDAS = torch.logspace(-1, 0, 20, dtype=torch.float64)


def run(
    case: Literal["saddle", "minimum"] = "saddle",
    x: float = 1e-6,
    curve: float = 0.2,
    noise: float = 0.0,
    lr: float = 0.5,
    n: int = 500,
) -> Generator[Row, None, Metrics]:
    bowl, u = torch.ones(20, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)
    lowest = -(curve**2) / 4 if case == "saddle" else 0.0
    norms, losses, places = [], [], []
    leave = None
    for step in range(1, n + 1):
        slope = slope_of(u, curve, case)
        norms.append(math.sqrt(float((LAMBDAS * bowl).square().sum() + slope**2)))
        losses.append(float((LAMBDAS * bowl.square()).sum() / 2 + height(u, curve, case)))
        places.append(u)
        if step % max(n // 100, 1) == 0:
            yield {"step": step, "loss": losses[-1] - lowest, "norm": norms[-1]}
        if leave is None and abs(float(u)) > math.sqrt(curve) / 2:
            leave = step
        bowl = bowl - lr * (LAMBDAS * bowl + noise * torch.randn(20, dtype=torch.float64))
        u = u - lr * (slope + noise * torch.randn((), dtype=torch.float64))
    least = min(range((leave or n + 1) - 1), key=norms.__getitem__)
    rise = slope_of(places[least] + 1e-4, curve, case) - slope_of(places[least] - 1e-4, curve, case)
    return {
        "least_norm": norms[least],
        "least_step": least + 1,
        "curvature": min(float(rise) / 2e-4, LAMBDAS[0].item()),
        "leave_step": leave,
        "theory": math.log(math.sqrt(curve) / 2 / x) / math.log(1 + lr * curve) + 1,
        "largest_later": max(norms[least:]),
        "drop": losses[least] - losses[-1],
    }


def slope_of(u: Tensor, curve: float, case: str) -> Tensor:
    """The derivative along u."""
    return u**3 - curve * u if case == "saddle" else curve * u


def height(u: Tensor, curve: float, case: str) -> Tensor:
    """The loss of u alone."""
    return u**4 / 4 - curve * u**2 / 2 if case == "saddle" else curve * u**2 / 2


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
