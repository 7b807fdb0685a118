"""A BN net that is good in train() and bad in eval() has stale statistics: recomputing them repairs it, untrained.

Task: 1024 points x ~ N(0, 1) in the plane, class 1 if |x|² > 2 ln 2 (half of them). Net: 3 hidden layers of 32 units,
Linear without bias, BatchNorm1d(momentum), ReLU, one logit; cross-entropy, `n` steps of SGD on random batches. Beside
it the same with GroupNorm (4 groups), which knows no batch, on the same batches; its linear layers have biases, without
which normalising each sample would remove |x|, the very thing that is asked. Accuracies are over the 1024 points,
moved by `shift` (0: the points of the training): in train mode (statistics of the 1024 points), in eval mode (running
averages), in eval mode after the averages were recomputed as plain means over 16 batches of the training points
(recalibrated), and the same with the moved points (adapted). Nothing is trained on the moved points.

Small momentum: the averages still hold values from the first steps, when the net was another. Small batches: the
statistics are noise, training itself suffers and nothing of this helps. Moved points: the averages are right, but for
other data. Points, weights and batches are random.
Source: Ioffe & Szegedy 2015, Batch normalization; Wu & He 2018, Group normalization.
"""

import copy
from collections.abc import Generator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "BN：train 好、eval 差", "en": "BN: good in train, bad in eval"}
PARAMS = {
    "n": {"zh": "训练步数", "en": "training steps", "ge": 0, "le": 600},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 2, "le": 256},
    "momentum": {"zh": "BN 的动量", "en": "momentum of BN", "ge": 0, "le": 1},
    "shift": {"zh": "评估时输入的平移", "en": "shift of the inputs in evaluation", "ge": -100, "le": 100},
}
COLUMNS = {
    "step": {"zh": "训练步", "en": "training step"},
    "train": {"zh": "train 模式", "en": "train mode"},
    "eval": {"zh": "eval 模式", "en": "eval mode"},
    "recalibrated": {"zh": "重算统计量之后 eval", "en": "eval, recalibrated"},
    "group": {"zh": "GroupNorm", "en": "GroupNorm"},
}
METRICS = {
    "train_acc": {"zh": "准确率，train 模式", "en": "accuracy, train mode"},
    "eval_acc": {"zh": "准确率，eval 模式", "en": "accuracy, eval mode"},
    "gap": {"zh": "train 比 eval 高出多少", "en": "train mode over eval mode"},
    "recalibrated_acc": {"zh": "准确率，用训练数据重算统计量后", "en": "accuracy, recalibrated on training points"},
    "recalibrated_gain": {"zh": "重算统计量的收益", "en": "gained by recalibrating"},
    "adapted_acc": {"zh": "准确率，用评估数据重算统计量后", "en": "accuracy, recalibrated on evaluation points"},
    "group_acc": {"zh": "准确率，GroupNorm", "en": "accuracy, GroupNorm"},
    "group_gain": {"zh": "GroupNorm 比 BN（eval）高出多少", "en": "GroupNorm over BN in eval mode"},
    "stale_share": {"zh": "滑动平均里初始值还占的份额", "en": "fraction of the initial values in the averages"},
}
CHART = {
    "transform": [{"fold": ["train", "eval", "recalibrated", "group"], "as": ["series", "value"]}],
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
    n: int = 150,
    lr: float = 0.1,
    batch: int = 64,
    momentum: float = 0.001,
    shift: float = 0.0,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(1024, 2)
    y = (x.pow(2).sum(1) > 2 * torch.log(torch.tensor(2.0))).float()
    moved = x + shift
    net, group = network(nn.BatchNorm1d(32, momentum=momentum)), network(nn.GroupNorm(4, 32))
    found: Row = {}
    every = max(1, n // 10)
    for step in range(n + 1):
        if step % every == 0 or step == n:
            found = {
                "train": accuracy(net, moved, y, training=True),
                "eval": accuracy(net, moved, y),
                "recalibrated": accuracy(recalibrated(net, x), moved, y),
                "group": accuracy(group, moved, y),
            }
            yield {"step": step} | found
        if step < n:
            picked = torch.randint(len(x), (batch,))
            for one in (net, group):
                sgd_step(one, x[picked], y[picked], lr)
    return {
        "train_acc": found["train"],
        "eval_acc": found["eval"],
        "gap": found["train"] - found["eval"],
        "recalibrated_acc": found["recalibrated"],
        "recalibrated_gain": found["recalibrated"] - found["eval"],
        "adapted_acc": accuracy(recalibrated(net, moved), moved, y),
        "group_acc": found["group"],
        "group_gain": found["group"] - found["eval"],
        "stale_share": (1 - momentum) ** n,
    }


def network(norm: nn.Module) -> nn.Sequential:
    """Three hidden layers, each with a copy of the normalisation."""
    sizes, layers = (2, 32, 32, 32), list[nn.Module]()
    for inside, outside in pairwise(sizes):
        layers += [nn.Linear(inside, outside, bias=isinstance(norm, nn.GroupNorm)), copy.deepcopy(norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 1))


def sgd_step(net: nn.Sequential, x: Tensor, y: Tensor, lr: float) -> None:
    """One step of p ← p − lr·∂loss/∂p."""
    parameters = list(net.parameters())
    loss = binary_cross_entropy_with_logits(net(x).squeeze(1), y)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.sub_(lr * gradient)


def accuracy(net: nn.Sequential, x: Tensor, y: Tensor, *, training: bool = False) -> float:
    """Of a copy in train mode, in which a pass moves the averages."""
    judged = copy.deepcopy(net) if training else net.eval()
    with torch.no_grad():
        share = float(((judged(x).squeeze(1) > 0) == (y > 0.5)).double().mean())
    net.train()
    return share


def recalibrated(net: nn.Sequential, x: Tensor) -> nn.Sequential:
    """A copy whose running averages are plain means over 16 batches of x."""
    fresh = copy.deepcopy(net).train()
    for layer in fresh:
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum = None
    with torch.no_grad():
        for part in x.chunk(16):
            fresh(part)
    return fresh


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
