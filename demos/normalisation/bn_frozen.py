"""Fine-tuning with tiny batches ruins a BN net that was already good; with its BN layers frozen it survives.

Task: 1024 points x ~ N(0, 1) in the plane, class 1 if |x|² > 2 ln 2 (half of them); net: 3 hidden layers of 32 units,
Linear without bias, BatchNorm1d (momentum 0.1), ReLU, one logit; cross-entropy. The net is trained for 200 steps of SGD
(batch 64, lr 0.1). Then two copies are fine-tuned for `n` steps with `lr` and `batch` on the same points moved by
`shift`: one with BN live (train mode, statistics of each batch), one with BN frozen (its layers in eval mode: running
averages of the first training; γ and β still learn). Both see the same batches. Accuracies are over the 1024 moved
points in eval mode. Points, weights and batches are random.

Small batches: the statistics of a live layer are noise, and so are its running averages afterwards. Moved points:
frozen statistics belong to other data, and a live layer with a decent batch has the advantage.
Source: Ioffe & Szegedy 2015, Batch normalization; Wu & He 2018, Group normalization.
"""

import copy
from collections.abc import Generator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "微调：冻结 BN 还是不冻结", "en": "Fine-tuning: BN frozen or live"}
PARAMS = {
    "n": {"zh": "微调步数", "en": "steps of fine-tuning", "ge": 0, "le": 600},
    "lr": {"zh": "微调的学习率", "en": "learning rate of fine-tuning", "ge": 0, "le": 10},
    "batch": {"zh": "微调的批量大小", "en": "batch size of fine-tuning", "ge": 2, "le": 256},
    "shift": {"zh": "新数据的平移", "en": "shift of the new data", "ge": -100, "le": 100},
}
COLUMNS = {
    "step": {"zh": "微调步", "en": "step of fine-tuning"},
    "live": {"zh": "BN 不冻结", "en": "BN live"},
    "frozen": {"zh": "BN 冻结", "en": "BN frozen"},
}
METRICS = {
    "start_acc": {"zh": "微调前的准确率", "en": "accuracy before fine-tuning"},
    "live_acc": {"zh": "准确率，BN 不冻结", "en": "accuracy, BN live"},
    "frozen_acc": {"zh": "准确率，BN 冻结", "en": "accuracy, BN frozen"},
    "frozen_gain": {"zh": "冻结比不冻结高出多少", "en": "frozen over live"},
    "live_loss": {"zh": "微调造成的损失（准确率），不冻结", "en": "accuracy lost by fine-tuning, BN live"},
    "statistics_moved": {"zh": "滑动方差的相对移动", "en": "relative move of the running variances, BN live"},
}
CHART = {
    "transform": [{"fold": ["live", "frozen"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    n: int = 100,
    lr: float = 0.02,
    batch: int = 4,
    shift: float = 0.0,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(1024, 2)
    y = (x.pow(2).sum(1) > 2 * torch.log(torch.tensor(2.0))).float()
    live = network()
    for _ in range(200):
        sgd_step(live, x, y, torch.randint(len(x), (64,)), 0.1)
    moved, before, frozen = x + shift, variances(live), freeze(copy.deepcopy(live))
    start = accuracy(live, moved, y)
    every = max(1, n // 10)
    for step in range(n + 1):
        if step % every == 0 or step == n:
            yield {"step": step, "live": accuracy(live, moved, y), "frozen": accuracy(frozen, moved, y)}
        if step < n:
            picked = torch.randint(len(x), (batch,))
            for net in (live, frozen):
                sgd_step(net, moved, y, picked, lr)
    live_acc, frozen_acc = accuracy(live, moved, y), accuracy(frozen, moved, y)
    return {
        "start_acc": start,
        "live_acc": live_acc,
        "frozen_acc": frozen_acc,
        "frozen_gain": frozen_acc - live_acc,
        "live_loss": start - live_acc,
        "statistics_moved": float((variances(live) - before).norm() / before.norm()),
    }


def network() -> nn.Sequential:
    sizes, layers = (2, 32, 32, 32), list[nn.Module]()
    for inside, outside in pairwise(sizes):
        layers += [nn.Linear(inside, outside, bias=False), nn.BatchNorm1d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 1))


def freeze(net: nn.Sequential) -> nn.Sequential:
    """BN layers in eval mode, the others as they are."""
    for layer in net:
        if isinstance(layer, nn.BatchNorm1d):
            layer.eval()
    return net


def variances(net: nn.Sequential) -> Tensor:
    """The running variances of all BN layers, in float64."""
    kept = [layer.running_var for layer in net if isinstance(layer, nn.BatchNorm1d)]
    return torch.cat([one.double() for one in kept if one is not None])


def sgd_step(net: nn.Sequential, x: Tensor, y: Tensor, picked: Tensor, lr: float) -> None:
    """One step of p ← p − lr·∂loss/∂p on the picked points."""
    parameters = list(net.parameters())
    loss = binary_cross_entropy_with_logits(net(x[picked]).squeeze(1), y[picked])
    with torch.no_grad():
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.sub_(lr * gradient)


def accuracy(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """In eval mode, of a copy."""
    with torch.no_grad():
        return float(((copy.deepcopy(net).eval()(x).squeeze(1) > 0) == (y > 0.5)).double().mean())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
