"""Batches that hold one class each ruin a net with batch normalisation and leave the same net without it unharmed.

Two Gaussian classes in the plane, means (±1.4, 0), unit variance; 1024 points to train on and 1024 to test on, half of
each class. Net: two hidden ReLU layers of `width`, one logit, biases 0, He weights, the same for all; BN (γ, β, running
statistics, momentum 0.1) after both hidden layers or nowhere. SGD on the cross-entropy, `epochs` epochs of batches of
`batch`: shuffled anew in each epoch, or sorted by class with the batches in random order (a batch of one is left out).
Accuracy in eval mode, but for `sorted_bn_own_acc`, which uses the test batch's own statistics.

Covariate shift: `shift` is added to both coordinates of test data of which `share` belong to class 1. The adapted net
is the shuffled BN net with its statistics re-estimated on those inputs, without labels (AdaBN); this undoes a common
shift, and a changed fraction of the classes spoils it. Best possible accuracy: Φ(1.4); of that boundary after the
shift: (1 − share)·Φ(1.4 − shift) + share·Φ(1.4 + shift). Source: Ioffe & Szegedy 2015, Batch normalization; Li et al.
2017, Revisiting batch normalization for practical domain adaptation; Shimodaira 2000.
"""

import copy
import math
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "按类别排好的批量与 BN", "en": "Batches sorted by class, and BN"}
PARAMS = {
    "shift": {"zh": "测试输入整体偏移", "en": "shift of the test inputs", "ge": -100, "le": 100},
    "share": {
        "zh": "偏移后的数据里第 1 类的占比",
        "en": "fraction of class 1 in the shifted data",
        "ge": 0.02,
        "le": 0.98,
    },
    "batch": {"zh": "批量大小", "en": "batch size", "unit": "sample", "ge": 8, "le": 1024},
    "epochs": {"zh": "训练轮数", "en": "epochs", "unit": "epoch", "ge": 1, "le": 10},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 2, "le": 128},
}
LIMITS = [{"product": ["epochs", "width"], "le": 640}]
COLUMNS = {
    "epoch": {"zh": "轮次", "en": "epoch"},
    "series": {"zh": "批量与网络", "en": "batches and net"},
    "accuracy": {"zh": "测试准确率", "en": "test accuracy"},
}
METRICS = {
    "shuffled_bn_acc": {"zh": "打乱，BN：准确率", "en": "shuffled, BN: accuracy"},
    "shuffled_plain_acc": {"zh": "打乱，无 BN：准确率", "en": "shuffled, no BN: accuracy"},
    "sorted_bn_acc": {"zh": "按类排序，BN：准确率", "en": "sorted, BN: accuracy"},
    "sorted_plain_acc": {"zh": "按类排序，无 BN：准确率", "en": "sorted, no BN: accuracy"},
    "sorted_bn_own_acc": {
        "zh": "按类排序，BN 用测试批自己的统计量",
        "en": "sorted, BN with the test batch's statistics",
    },
    "shuffled_bn_shifted_acc": {"zh": "打乱，BN：偏移后的准确率", "en": "shuffled, BN: accuracy after the shift"},
    "shuffled_plain_shifted_acc": {
        "zh": "打乱，无 BN：偏移后的准确率",
        "en": "shuffled, no BN: accuracy after the shift",
    },
    "sorted_bn_shifted_acc": {"zh": "按类排序，BN：偏移后的准确率", "en": "sorted, BN: accuracy after the shift"},
    "sorted_plain_shifted_acc": {"zh": "按类排序，无 BN：偏移后", "en": "sorted, no BN: accuracy after the shift"},
    "adapted_acc": {"zh": "偏移后，重新估计统计量（AdaBN）", "en": "after the shift, statistics re-estimated (AdaBN)"},
    "sorting_cost_bn": {"zh": "排序使 BN 网络损失的准确率", "en": "accuracy that sorting costs the BN net"},
    "sorting_cost_plain": {"zh": "排序使无 BN 网络损失的准确率", "en": "accuracy that sorting costs the plain net"},
    "sorting_cost_gap": {"zh": "前两者之差", "en": "difference of these two"},
    "shift_cost_bn": {"zh": "偏移使 BN 网络损失的准确率", "en": "accuracy that the shift costs the BN net"},
    "adapted_gain": {"zh": "重新估计统计量挽回的准确率", "en": "accuracy that re-estimating wins back"},
    "adapted_gap": {"zh": "与没有偏移时还差", "en": "what is still missing to no shift"},
    "theory_acc": {"zh": "可能的最高准确率", "en": "best possible accuracy"},
    "theory_shifted_acc": {"zh": "同一条边界在偏移后的准确率", "en": "that boundary's accuracy after the shift"},
}
WORDS = {
    "shuffled, BN": {"zh": "打乱，BN", "en": "shuffled, BN"},
    "shuffled, no BN": {"zh": "打乱，无 BN", "en": "shuffled, no BN"},
    "sorted, BN": {"zh": "按类排序，BN", "en": "sorted, BN"},
    "sorted, no BN": {"zh": "按类排序，无 BN", "en": "sorted, no BN"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "epoch", "type": "quantitative"},
        "y": {"field": "accuracy", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float]
POINTS, MEAN = 1024, 1.4


def run(
    shift: float = 2.0, share: float = 0.5, batch: int = 64, epochs: int = 4, lr: float = 0.1, width: int = 32
) -> Generator[Row, None, Metrics]:
    x, y = points(0.5)
    clean = points(0.5)
    moved = (clean[0] + shift, clean[1])
    if share != 0.5:
        other, label = points(share)
        moved = (other + shift, label)
    linears = [nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 1)]
    for linear in linears:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    acc: dict[str, float] = {}
    for kind in ("shuffled_bn", "shuffled_plain", "sorted_bn", "sorted_plain"):
        order, norm = kind.split("_")
        net = network(linears, norm == "bn")
        for epoch in range(1, epochs + 1):
            train(net, x, y, batch, lr, order == "sorted")
            acc[kind] = accuracy(net, *clean)
            yield {"epoch": epoch, "series": f"{order}, {'BN' if norm == 'bn' else 'no BN'}", "accuracy": acc[kind]}
        acc[f"{kind}_shifted"] = accuracy(net, *moved)
        if kind == "sorted_bn":
            acc["sorted_bn_own"] = accuracy(net.train(), *clean)
        if kind == "shuffled_bn":
            acc["adapted"] = accuracy(adapt(net, moved[0]), *moved)
    cost = {norm: acc[f"shuffled_{norm}"] - acc[f"sorted_{norm}"] for norm in ("bn", "plain")}
    measured: Metrics = {f"{name}_acc": value for name, value in acc.items()} | {
        "sorting_cost_bn": cost["bn"],
        "sorting_cost_plain": cost["plain"],
        "sorting_cost_gap": cost["bn"] - cost["plain"],
        "shift_cost_bn": acc["shuffled_bn"] - acc["shuffled_bn_shifted"],
        "adapted_gain": acc["adapted"] - acc["shuffled_bn_shifted"],
        "adapted_gap": acc["shuffled_bn"] - acc["adapted"],
        "theory_acc": normal_cdf(MEAN),
        "theory_shifted_acc": (1 - share) * normal_cdf(MEAN - shift) + share * normal_cdf(MEAN + shift),
    }
    return measured


def points(share: float) -> tuple[Tensor, Tensor]:
    """Points and labels, class 0 first; `share` of them belong to class 1."""
    y = (torch.arange(POINTS) >= POINTS - round(share * POINTS)).float()
    return torch.randn(POINTS, 2) + torch.stack([MEAN * (2 * y - 1), torch.zeros(POINTS)], 1), y


def network(linears: list[nn.Linear], bn: bool) -> nn.Sequential:
    """A copy of the layers, with BN behind the hidden ones or without."""
    first, second, logit = copy.deepcopy(linears)
    width = first.out_features
    norms = [nn.BatchNorm1d(width) if bn else nn.Identity() for _ in range(2)]
    return nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU(), logit)


def train(net: nn.Sequential, x: Tensor, y: Tensor, batch: int, lr: float, by_class: bool) -> None:
    """One epoch of SGD. Sorted: the points stay in the order of their classes, whole batches change places."""
    net.train()
    parts = list((torch.arange(POINTS) if by_class else torch.randperm(POINTS)).split(batch))
    for at in torch.randperm(len(parts)).tolist():
        if len(parts[at]) < 2:
            continue  # BN cannot normalise a single point
        loss = binary_cross_entropy_with_logits(net(x[parts[at]]).squeeze(1), y[parts[at]])
        parameters = list(net.parameters())
        with torch.no_grad():
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p.sub_(lr * g)
    net.eval()


def adapt(net: nn.Sequential, x: Tensor) -> nn.Sequential:
    """The same weights, with the statistics of BN taken anew from these inputs."""
    for module in net:
        if isinstance(module, nn.BatchNorm1d):
            module.reset_running_stats()
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(x)
    return net.eval()


def accuracy(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(((net(x).squeeze(1) > 0) == (y > 0.5)).double().mean())


def normal_cdf(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
