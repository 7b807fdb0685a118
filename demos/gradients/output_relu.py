"""A regression that answers one number: 0 if the ReLU after its last layer died, the mean if hidden ReLUs did.

`nets` nets of `layers` hidden ReLU layers of 32 units and one output, PyTorch's default initialisation, are fitted to
y = exp(u·z/2) > 0 at 64 points x = `offset` + z, z ~ N(0, 1) in 8 dimensions, u a unit vector, by `n` full-batch steps
of gradient descent at rate `lr` on the mean squared error, each net by itself. After the last layer stands `output`:
nothing, a ReLU or a softplus.

A net is dead if its output is exactly 0 for all points: a ReLU whose input is negative everywhere has slope 0, so all
gradients are 0 and it stays dead. It is constant if its outputs spread by less than 5 % of the standard deviation of y.
Of all constants the mean of y has the least squared error, which is the variance of y; losses are divided by it, so
that 1 is the loss of the mean. Points far from 0 make the outputs of one net have one sign and its steps large.
Random: points, u, weights. The rows show the net of median spread.
Source: Lu et al. 2020, Dying ReLU and initialization.
"""

import itertools
import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

TITLE = {"zh": "回归网络只输出一个数", "en": "A regression that answers one number"}
PARAMS = {
    "output": {"zh": "最后一层之后", "en": "after the last layer"},
    "offset": {"zh": "输入的均值", "en": "mean of the inputs", "ge": -100, "le": 100},
    "layers": {"zh": "隐藏层数", "en": "hidden layers", "unit": "layer", "ge": 1, "le": 6},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 300},
    "nets": {"zh": "网络个数", "en": "nets", "ge": 5, "le": 40},
}
COLUMNS = {
    "sample": {"zh": "样本（按目标排序）", "en": "sample, sorted by its target"},
    "target": {"zh": "目标", "en": "target"},
    "prediction": {"zh": "预测", "en": "prediction"},
}
METRICS = {
    "dead_start": {"zh": "一开始输出就全为 0 的网络比例", "en": "nets whose outputs are all 0 at the start"},
    "dead_end": {"zh": "最后输出全为 0 的网络比例", "en": "nets whose outputs are all 0 at the end"},
    "revived": {"zh": "开始时死、后来活过来的网络数", "en": "nets dead at the start and alive at the end"},
    "gradient": {
        "zh": "各网络最大梯度中最小的",
        "en": "least of the nets' largest gradients",
    },
    "constant_share": {"zh": "最后输出几乎是常数的网络比例", "en": "nets whose output is nearly constant at the end"},
    "constant_value": {"zh": "这些常数的均值", "en": "mean of these constants"},
    "constant_loss": {"zh": "常数网络的损失与方差之比", "en": "loss of the constant nets over the variance"},
    "target_mean": {"zh": "目标的均值", "en": "mean of the targets"},
    "loss": {"zh": "损失与方差之比（中位数）", "en": "loss over the variance, median"},
    "zero_loss": {"zh": "只答 0 的损失与方差之比", "en": "loss of answering 0 over the variance"},
}
CHART = {
    "transform": [{"fold": ["target", "prediction"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "sample", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
POINTS, FEATURES, WIDTH = 64, 8, 32


def run(
    output: Literal["linear", "relu", "softplus"] = "relu",
    offset: float = 5.0,
    layers: int = 2,
    lr: float = 0.05,
    n: int = 100,
    nets: int = 20,
) -> Generator[Row, None, Metrics]:
    z, u = torch.randn(POINTS, FEATURES), torch.randn(FEATURES)
    y = (z @ u / u.norm() / 2).exp().sort()
    x, y = (z + offset)[y.indices], y.values
    sizes = [FEATURES] + [WIDTH] * layers + [1]
    weights = [p.requires_grad_() for a, b in itertools.pairwise(sizes) for p in default(nets, a, b)]
    start = answers(weights, x, output).detach()
    for _ in range(n):
        gradients = gradients_of(weights, x, y, output)
        with torch.no_grad():
            for p, g in zip(weights, gradients, strict=True):
                p.sub_(lr * g)
    end = answers(weights, x, output).detach()
    spread = end.double().std(1, correction=0)
    typical = end[spread.argsort(stable=True)[nets // 2]]
    for i, (target, prediction) in enumerate(zip(y.tolist(), typical.tolist(), strict=True)):
        yield {"sample": i + 1, "target": target, "prediction": prediction}
    dead_start, dead = (start == 0).all(1), (end == 0).all(1)
    constant = spread < 0.05 * y.double().std(correction=0)
    variance = y.double().var(correction=0)
    losses = (end.double() - y.double()).square().mean(1) / variance
    size = torch.stack([g.flatten(1).abs().amax(1) for g in gradients_of(weights, x, y, output)]).amax(0)
    return {
        "dead_start": share(dead_start),
        "dead_end": share(dead),
        "revived": int((dead_start & ~dead).sum()),
        "gradient": size.min().item(),
        "constant_share": share(constant),
        "constant_value": mean(end.double().mean(1)[constant]),
        "constant_loss": mean(losses[constant]),
        "target_mean": y.double().mean().item(),
        "loss": losses.median().item(),
        "zero_loss": (y.double().square().mean() / variance).item(),
    }


def default(nets: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Weights (nets, inputs, outputs) and biases (nets, 1, outputs) from U(−1/√inputs, 1/√inputs)."""
    bound = 1 / math.sqrt(inputs)
    return torch.empty(nets, inputs, outputs).uniform_(-bound, bound), torch.empty(nets, 1, outputs).uniform_(
        -bound, bound
    )


def answers(weights: list[Tensor], x: Tensor, output: str) -> Tensor:
    """The outputs, (nets, points)."""
    h = x.expand(len(weights[0]), -1, -1)
    for i in range(0, len(weights), 2):
        h = torch.baddbmm(weights[i + 1], h.relu() if i else h, weights[i])
    match output:
        case "relu":
            return h[..., 0].relu()
        case "softplus":
            return softplus(h[..., 0])
    return h[..., 0]


def gradients_of(weights: list[Tensor], x: Tensor, y: Tensor, output: str) -> list[Tensor]:
    """The gradient of every net's own mean squared error."""
    return list(torch.autograd.grad((answers(weights, x, output) - y).square().mean(1).sum(), weights))


def share(which: Tensor) -> float:
    return float(which.double().mean())


def mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
