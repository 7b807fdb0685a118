"""Does batch normalisation make the gradient more predictable? Two small nets are measured; nothing is settled here.

Two nets start from the same weights (He, biases 0): `layers` hidden ReLU layers of `width` and one logit, without and
with BN (γ, β, batch statistics) after every hidden layer. Task: 256 points x ~ N(0, 1) in the plane, class 1 if
|x|² > 2 ln 2 (a disc and the ring around it), cross-entropy, `n` steps of full gradient descent. At every step: the
cosine of the whole gradient before and after that very step (1: the step changed nothing, the gradient was a good
prediction; below 0: the step went too far), and the relative change ‖g' − g‖/‖g‖. Every tenth step: the range of the
loss along the gradient, max − min over step sizes 0.01, 0.03, 0.1 and 0.3. Means over the steps.

Santurkar et al. 2018 (How does batch normalization help optimization?) report that BN makes gradients more predictive
and the loss smoother in large nets. A toy like this one does not show it reliably, and does not refute it.
"""

import copy
import math
from collections.abc import Generator
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "梯度走一步之后还准吗：有无 BN", "en": "Is the gradient still right after one step, with and without BN"}
PARAMS = {
    "layers": {"zh": "隐层数", "en": "hidden layers", "unit": "layer", "ge": 1, "le": 10},
    "width": {"zh": "每层宽度", "en": "units per layer", "unit": "unit", "ge": 2, "le": 64},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 200},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
}
COLUMNS = {
    "step": {"zh": "训练步", "en": "training step"},
    "plain": {"zh": "梯度余弦，无 BN", "en": "gradient cosine, no BN"},
    "bn": {"zh": "梯度余弦，BN", "en": "gradient cosine, BN"},
}
METRICS = {
    "plain_cos": {"zh": "走一步前后梯度的余弦，无 BN", "en": "gradient cosine over a step, no BN"},
    "bn_cos": {"zh": "走一步前后梯度的余弦，BN", "en": "gradient cosine over a step, BN"},
    "bn_minus_plain_cos": {"zh": "两个余弦之差（BN − 无 BN）", "en": "cosine with BN minus without"},
    "plain_change": {"zh": "梯度的相对变化，无 BN", "en": "relative change of the gradient, no BN"},
    "bn_change": {"zh": "梯度的相对变化，BN", "en": "relative change of the gradient, BN"},
    "plain_range": {"zh": "沿梯度损失的起伏，无 BN", "en": "range of the loss along the gradient, no BN"},
    "bn_range": {"zh": "沿梯度损失的起伏，BN", "en": "range of the loss along the gradient, BN"},
    "plain_acc": {"zh": "训练准确率，无 BN", "en": "training accuracy, no BN"},
    "bn_acc": {"zh": "训练准确率，BN", "en": "training accuracy, BN"},
}
CHART = {
    "transform": [{"fold": ["plain", "bn"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": {"size": 12}},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [-1, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
SIZES = (0.01, 0.03, 0.1, 0.3)


def run(layers: int = 5, width: int = 32, n: int = 60, lr: float = 0.3) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 2)
    y = (x.pow(2).sum(1) > 2 * math.log(2)).float()
    linears = [nn.Linear(2 if layer == 0 else width, width) for layer in range(layers)] + [nn.Linear(width, 1)]
    for linear in linears:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    nets = {kind: network(linears, kind == "bn") for kind in ("plain", "bn")}
    cosines: dict[str, list[float]] = {kind: [] for kind in nets}
    changes: dict[str, list[float]] = {kind: [] for kind in nets}
    ranges: dict[str, list[float]] = {kind: [] for kind in nets}
    grads = {kind: gradient(net, x, y) for kind, net in nets.items()}
    for step in range(1, n + 1):
        for kind, net in nets.items():
            before = grads[kind]
            if step % 10 == 1:
                ranges[kind].append(loss_range(net, before, x, y))
            move(net, before, -lr)
            after = grads[kind] = gradient(net, x, y)
            a, b = before.double(), after.double()
            cosines[kind].append(quotient(float(a @ b), float(a.norm() * b.norm())))
            changes[kind].append(quotient(float((b - a).norm()), float(a.norm())))
        yield {"step": step} | {kind: found[-1] for kind, found in cosines.items()}
    cos = {kind: mean(found) for kind, found in cosines.items()}
    measured: Metrics = (
        {f"{kind}_cos": value for kind, value in cos.items()}
        | {f"{kind}_change": mean(found) for kind, found in changes.items()}
        | {f"{kind}_range": mean(found) for kind, found in ranges.items()}
        | {f"{kind}_acc": accuracy(net, x, y) for kind, net in nets.items()}
        | {"bn_minus_plain_cos": cos["bn"] - cos["plain"]}
    )
    return measured


def network(linears: list[nn.Linear], bn: bool) -> nn.Sequential:
    """A copy of the layers; BN always uses the batch's own statistics."""
    *hidden, logit = copy.deepcopy(linears)
    parts: list[nn.Module] = []
    for linear in hidden:
        parts += [linear, *([nn.BatchNorm1d(linear.out_features, track_running_stats=False)] if bn else []), nn.ReLU()]
    return nn.Sequential(*parts, logit)


def loss_of(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(net(x).squeeze(1), y)


def gradient(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """The whole gradient as one vector."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss_of(net, x, y), list(net.parameters()))])


def move(net: nn.Sequential, direction: Tensor, size: float) -> None:
    """Add size·direction to the parameters."""
    at = 0
    with torch.no_grad():
        for p in net.parameters():
            p.add_(size * direction[at : at + p.numel()].view_as(p))
            at += p.numel()


def loss_range(net: nn.Sequential, direction: Tensor, x: Tensor, y: Tensor) -> float:
    """Largest minus smallest value of the loss over the step sizes, from here along the gradient."""
    losses = []
    for size in SIZES:
        there = copy.deepcopy(net)
        move(there, direction, -size)
        with torch.no_grad():
            losses.append(float(loss_of(there, x, y)))
    return max(losses) - min(losses)


def accuracy(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(((net(x).squeeze(1) > 0) == (y > 0.5)).double().mean())


def mean(values: list[float]) -> float:
    """The mean of those that are defined; nan if none is."""
    defined = [value for value in values if not math.isnan(value)]
    return fmean(defined) if defined else math.nan


def quotient(a: float, b: float) -> float:
    """a/b as IEEE 754 has it: 1/0 is inf and 0/0 is nan."""
    return a / b if b else a * math.inf


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
