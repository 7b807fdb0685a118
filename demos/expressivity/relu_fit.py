"""Trained on a curve, a ReLU net fits it where it has data; without the ReLU it stops at the best straight line.

One hidden layer of `hidden` units: weights w ~ N(0, 2), biases such that the kinks −b/w are uniform on (−1, 1), output
weights N(0, 2/hidden), output bias 0. Adam with `lr`, `n` full-batch steps on 201 points of [−1, 1], float32. Beside it
the same net, from the same start, with the identity in place of the activation. The start is random, the data are not.
The curve is x^d, sin x, |x − 1/3| ("abs") or √|x| ("sqrt"). All errors are taken in float64.

At `x`, outside the data as a rule, the net is compared with the curve, and its curvature is the second difference
(f(x+h) − 2f(x) + f(x−h))/h² with h = max(½, |x|/10): 2 for x², 0 for a straight line.
Theory: without an activation the net is a straight line, so its error cannot fall below the least squares line's on the
same 201 points; for x² on the whole interval that is 4/45. Beyond its last kink a ReLU net is a straight line.
Source: Leshno et al. 1993; Xu et al. 2021, How neural networks extrapolate.
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

TITLE = {"zh": "训练 ReLU 网络去拟合曲线", "en": "Training a ReLU net on a curve"}
PARAMS = {
    "target": {"zh": "要拟合的曲线", "en": "curve to fit"},
    "hidden": {"zh": "隐藏单元个数", "en": "hidden units", "unit": "unit", "ge": 1, "le": 1000},
    "act": {"zh": "激活函数", "en": "activation"},
    "lr": {"zh": "学习率（Adam）", "en": "learning rate (Adam)", "ge": 0, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 0, "le": 2000},
    "x": {"zh": "在哪一点检查（数据只到 ±1）", "en": "where to look (the data end at ±1)", "ge": -1e6, "le": 1e6},
}
LIMITS = [{"product": ["hidden", "n"], "le": 400000}]
COLUMNS = {
    "x": {"zh": "x", "en": "x"},
    "curve": {"zh": "曲线", "en": "curve"},
    "net": {"zh": "带激活函数的网络", "en": "net with its activation"},
    "line": {"zh": "去掉激活函数的网络", "en": "net without activation"},
}
METRICS = {
    "mse": {"zh": "均方误差", "en": "mean squared error"},
    "max_err": {"zh": "数据上的最大误差", "en": "largest error on the data"},
    "kinks_inside": {"zh": "落在数据区间里的折点", "en": "kinks inside the data"},
    "linear_mse": {"zh": "去掉激活后的均方误差", "en": "mean squared error without activation"},
    "linear_floor": {"zh": "最佳直线的均方误差（精确值）", "en": "mean squared error of the best line (exact)"},
    "linear_off_floor": {"zh": "去掉激活后比最佳直线差几成", "en": "without activation, excess over the best line"},
    "times_better": {"zh": "有激活比没有好几倍", "en": "times better with its activation"},
    "net_at_x": {"zh": "网络在该点的值", "en": "the net there"},
    "curve_at_x": {"zh": "曲线在该点的值", "en": "the curve there"},
    "err_at_x": {"zh": "该点的误差", "en": "error there"},
    "outside_over_inside": {"zh": "该点误差 / 数据上的最大误差", "en": "error there / largest error on the data"},
    "curvature_at_x": {"zh": "网络在该点的弯曲程度", "en": "curvature of the net there"},
    "abs_curvature_at_x": {"zh": "该弯曲程度的绝对值", "en": "that curvature in absolute value"},
}
CHART = {
    "transform": [{"fold": ["curve", "net", "line"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu, "gelu": gelu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "identity": lambda t: t,
}  # fmt: skip


def run(
    target: Literal[
        "x^1", "x^2", "x^3", "x^4", "x^5", "x^6", "x^7", "x^8", "x^9", "x^10", "sqrt", "abs", "sin"
    ] = "x^2",
    hidden: int = 64,
    act: Literal["relu", "gelu", "tanh", "sigmoid", "identity"] = "relu",
    lr: float = 0.01,
    n: int = 400,
    x: float = 3.0,
) -> Generator[Row, None, Metrics]:
    start = drawn(hidden)
    data = torch.linspace(-1, 1, 201)[:, None]
    goal = curve(target, data.double())
    net, line = Net(start, ACTIVATIONS[act]), Net(start, ACTIVATIONS["identity"])
    train([net, line], data, goal.float(), lr, n)
    reach = max(1.5, min(abs(x), 10.0))
    for at in torch.linspace(-reach, reach, 121, dtype=torch.float64):
        values = {"curve": curve(target, at), "net": net(at), "line": line(at)}
        yield {"x": at.item()} | {name: value.item() for name, value in values.items()}
    errors, linear = (net(data.double()) - goal).abs(), (line(data.double()) - goal).pow(2).mean().item()
    point, h = torch.tensor(x, dtype=torch.float64), max(0.5, abs(x) / 10)
    here = net(point).item()
    bend = (net(point + h).item() - 2 * here + net(point - h).item()) / h**2
    error, floor, mse = abs(here - curve(target, point).item()), least_squares(data, goal), errors.pow(2).mean().item()
    worst = errors.max().item()
    return {
        "mse": mse,
        "max_err": worst,
        "kinks_inside": kinks(net.hidden) if act == "relu" else None,
        "linear_mse": linear,
        "linear_floor": floor,
        "linear_off_floor": linear / floor - 1 if floor > 1e-20 else None,
        "times_better": linear / mse if mse and floor > 1e-20 else None,
        "net_at_x": here,
        "curve_at_x": curve(target, point).item(),
        "err_at_x": error,
        "outside_over_inside": error / worst if worst else None,
        "curvature_at_x": bend,
        "abs_curvature_at_x": abs(bend),
    }


class Net:
    """Two linear maps with an activation between them, evaluated in float64 once they are trained."""

    def __init__(self, start: tuple[nn.Linear, nn.Linear], act: Callable[[Tensor], Tensor]) -> None:
        self.hidden, self.out, self.act = nn.Linear(1, start[0].out_features), nn.Linear(start[0].out_features, 1), act
        self.hidden.load_state_dict(start[0].state_dict())
        self.out.load_state_dict(start[1].state_dict())

    def __call__(self, x: Tensor) -> Tensor:
        """Of numbers, of any shape."""
        w, b, v, c = (p.detach().double() for p in (*self.hidden.parameters(), *self.out.parameters()))
        return (self.act(x.double().reshape(-1, 1) @ w.T + b) @ v.T + c).reshape(x.shape)


def drawn(hidden: int) -> tuple[nn.Linear, nn.Linear]:
    """The two layers before training."""
    first, last = nn.Linear(1, hidden), nn.Linear(hidden, 1)
    with torch.no_grad():
        first.weight.copy_(math.sqrt(2) * torch.randn(hidden, 1))
        first.bias.copy_(first.weight[:, 0] * (2 * torch.rand(hidden) - 1))
        last.weight.copy_(math.sqrt(2 / hidden) * torch.randn(1, hidden))
        last.bias.zero_()
    return first, last


def train(nets: list[Net], x: Tensor, y: Tensor, lr: float, n: int) -> None:
    """So many steps of Adam on all the data; the loss of each net is its own."""
    adam = torch.optim.Adam(
        [p for net in nets for p in (*net.hidden.parameters(), *net.out.parameters())], lr=lr, fused=True
    )
    for _ in range(n):
        adam.zero_grad()
        torch.autograd.backward([(net.out(net.act(net.hidden(x))) - y).pow(2).mean() for net in nets])
        adam.step()


def curve(target: str, x: Tensor) -> Tensor:
    """The target at x."""
    match target:
        case "sqrt":
            return x.abs().sqrt()
        case "abs":
            return (x - 1 / 3).abs()
        case "sin":
            return x.sin()
    return x ** int(target[2:])


def least_squares(x: Tensor, y: Tensor) -> float:
    """The mean squared error of the best straight line."""
    a, b = x.double() - x.double().mean(), y - y.mean()
    return float((b - a * (a * b).sum() / (a * a).sum()).pow(2).mean())


def kinks(layer: nn.Linear) -> int:
    """How many units bend inside the data, −1 < −b/w < 1."""
    return int((layer.bias.abs() < layer.weight[:, 0].abs()).sum())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
