"""ReLU has no second derivative: a loss on u'' sends no gradient, while its value looks like an ordinary loss.

u(x) = net(x), 1 - `width` - 1, hidden activation `act`, PyTorch's default initialisation with the first layer's weights
and biases times 5; the equation is u'' = −π² sin(πx) on [0, 1] with u(0) = u(1) = 0, its solution u = sin(πx). `points`
inner points in equal steps; loss = mean of (u'' + π² sin πx)²/π⁴ + 10·(u(0)² + u(1)²), float64, both derivatives by
autograd; `n` steps of Adam at rate `lr`. For ReLU, u is piecewise linear, u'' = 0 wherever autograd looks, so that the
first part stays at the mean of sin² and its gradient is exactly 0; only the edges are learned, not what lies between.
Errors are the rms of u − sin(πx) over the points. Random: weights. Source: Raissi, Perdikaris & Karniadakis 2019,
Physics-informed neural networks, J. Comput. Phys. 378; Sitzmann et al. 2020, SIREN, NeurIPS.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "损失里有二阶导数：ReLU 学不会", "en": "A loss with second derivatives: ReLU cannot learn"}
PARAMS = {
    "act": {"zh": "激活函数", "en": "activation"},
    "width": {"zh": "宽度", "en": "width", "ge": 2, "le": 128},
    "points": {"zh": "内部点数", "en": "inner points", "ge": 5, "le": 100},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-5, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "residual": {"zh": "方程的残差", "en": "residual of the equation"},
    "edges": {"zh": "边界的损失", "en": "loss at the edges"},
    "error": {"zh": "与解的差", "en": "error of the solution"},
}
METRICS = {
    "residual_start": {"zh": "开始的残差", "en": "residual at the start"},
    "residual_end": {"zh": "最后的残差", "en": "residual at the end"},
    "residual_grad_norm": {"zh": "残差的梯度范数（开始）", "en": "gradient norm of the residual, at the start"},
    "largest_second": {"zh": "最大的 |u''|（开始）", "en": "largest |u''| at the start"},
    "error_end": {"zh": "最后与解的差", "en": "error of the solution at the end"},
    "zero_error": {"zh": "u = 0 与解的差", "en": "error of u = 0"},
}
CHART = {
    "transform": [{"fold": ["residual", "edges", "error"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU, "softplus": nn.Softplus}


def run(
    act: Literal["relu", "tanh", "silu", "softplus"] = "relu",
    width: int = 32,
    points: int = 32,
    lr: float = 0.02,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    net = nn.Sequential(nn.Linear(1, width), ACTIVATIONS[act](), nn.Linear(width, 1)).double()
    with torch.no_grad():
        for p in net[0].parameters():
            p.mul_(5)
    x = torch.linspace(0, 1, points + 2).double()[1:-1, None].requires_grad_()
    solution = (math.pi * x.detach()).sin()
    adam = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    _, first = second_derivative(net, x)
    gradients = torch.autograd.grad(residual_of(first, solution), list(net.parameters()), allow_unused=True)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    ends = torch.tensor([[0.0], [1.0]]).double()
    rows: list[Row] = []
    for step in range(n + 1):
        found, bend = second_derivative(net, x)
        residual = residual_of(bend, solution)
        edges = 10 * net(ends).square().sum()
        error = (found.detach() - solution).square().mean().sqrt().item()
        rows.append({"step": step, "residual": residual.item(), "edges": edges.item(), "error": error})
        yield rows[-1]
        if step < n:
            adam.zero_grad()
            (residual + edges).backward()
            adam.step()
    return {
        "residual_start": rows[0]["residual"],
        "residual_end": rows[-1]["residual"],
        "residual_grad_norm": norm,
        "largest_second": first.abs().max().item(),
        "error_end": rows[-1]["error"],
        "zero_error": solution.square().mean().sqrt().item(),
    }


def second_derivative(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The net's output at each x, and its second derivative with respect to x; both still differentiable."""
    output = net(x)
    (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    return output, bend


def residual_of(bend: Tensor, solution: Tensor) -> Tensor:
    """The mean square of u'' + π² sin(πx), over π⁴."""
    return (bend / math.pi**2 + solution).square().mean()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
