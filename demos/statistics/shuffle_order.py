"""Sorted by class, SGD forgets at a large rate and not at a small one; one shuffle before training is cure enough.

Four Gaussian classes in the plane, means 2·(±1, ±1), deviation 0.8, 1024 samples, as many of each class; test: 1024
more. Net 2 - 32 - 4, ReLU, PyTorch's default initialisation; SGD with rate `lr`, batches of `batch`, `epochs` epochs,
cross-entropy. `order` of the samples: shuffled anew in each epoch; fixed, shuffled once; sorted by class. All three
start from the same weights and are measured after every eighth of an epoch: accuracy on the test samples, and at the
end of the last epoch the fraction of them that is called the last class (a quarter is right). Random: data, weights,
order. Source: Bottou 2012, Stochastic gradient descent tricks; McCloskey & Cohen 1989 (catastrophic interference).
"""

import itertools
from collections.abc import Generator, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

TITLE = {"zh": "样本按类排序与打乱", "en": "Samples sorted by class, and shuffled"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-5, "le": 10},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 4, "le": 128},
    "epochs": {"zh": "轮数", "en": "epochs", "unit": "epoch", "ge": 1, "le": 10},
}
COLUMNS = {
    "epoch": {"zh": "轮", "en": "epoch"},
    "shuffled": {"zh": "每轮打乱", "en": "shuffled anew"},
    "fixed": {"zh": "只打乱一次", "en": "shuffled once"},
    "ordered": {"zh": "按类排序", "en": "sorted by class"},
}
METRICS = {
    "shuffled_accuracy": {"zh": "每轮打乱：测试准确率", "en": "shuffled anew: test accuracy"},
    "fixed_accuracy": {"zh": "只打乱一次：测试准确率", "en": "shuffled once: test accuracy"},
    "ordered_accuracy": {"zh": "按类排序：测试准确率", "en": "sorted by class: test accuracy"},
    "shuffled_last": {"zh": "每轮打乱：判成最后一类的比例", "en": "shuffled anew: fraction called the last class"},
    "fixed_last": {"zh": "只打乱一次：判成最后一类的比例", "en": "shuffled once: fraction called the last class"},
    "ordered_last": {"zh": "按类排序：判成最后一类的比例", "en": "sorted: fraction called the last class"},
    "ordered_swing": {"zh": "按类排序：准确率的最大降幅", "en": "sorted: largest fall of the accuracy"},
    "ordered_train_loss": {"zh": "按类排序：最后一批的损失", "en": "sorted: loss of the last batch"},
    "ordered_true_loss": {"zh": "按类排序：全体训练样本的损失", "en": "sorted: loss over all training samples"},
}
CHART = {
    "transform": [{"fold": ["shuffled", "fixed", "ordered"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "epoch", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
ORDERS = ("shuffled", "fixed", "ordered")


def run(lr: float = 0.5, batch: int = 32, epochs: int = 4) -> Generator[Row, None, Metrics]:
    (x, y), (x_test, y_test) = sample(), sample()
    nets = {order: nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 4)) for order in ORDERS}
    for order in ORDERS[1:]:
        nets[order].load_state_dict(nets["shuffled"].state_dict())
    once = torch.randperm(len(y))
    rows: list[Row] = []
    last: dict[str, float] = {}
    for epoch in range(epochs):
        orders = {"shuffled": torch.randperm(len(y)), "fixed": once, "ordered": torch.arange(len(y))}
        for eighth in range(8):
            row = {"epoch": epoch + (eighth + 1) / 8}
            for order, net in nets.items():
                part = orders[order].chunk(8)[eighth]
                for index in pieces(part, batch):
                    last[order] = step(net, x[index], y[index], lr)
                row[order] = accuracy(net, x_test, y_test)
            rows.append(row)
            yield row
    called = {order: (net(x_test).argmax(1) == 3).double().mean().item() for order, net in nets.items()}
    falls = [before["ordered"] - after["ordered"] for before, after in itertools.pairwise(rows)]
    return (
        {f"{order}_accuracy": rows[-1][order] for order in ORDERS}
        | {f"{order}_last": called[order] for order in ORDERS}
        | {
            "ordered_swing": max(0.0, *falls),
            "ordered_train_loss": last["ordered"],
            "ordered_true_loss": cross_entropy(nets["ordered"](x), y).item(),
        }
    )


def sample() -> tuple[Tensor, Tensor]:
    """1024 points and their classes, sorted by class."""
    y = torch.arange(4).repeat_interleave(256)
    centres = torch.tensor([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]])
    return centres[y] + 0.8 * torch.randn(1024, 2), y


def pieces(index: Tensor, batch: int) -> Iterator[Tensor]:
    """Batches of at most `batch` of these samples, in order."""
    yield from index.split(batch)


def step(net: nn.Module, x: Tensor, y: Tensor, lr: float) -> float:
    """One step of SGD; the loss before it."""
    loss = cross_entropy(net(x), y)
    parameters = list(net.parameters())
    with torch.no_grad():
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.sub_(lr * gradient)
    return float(loss.item())


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """The fraction of samples whose largest logit is that of their class."""
    return float((net(x).argmax(1) == y).double().mean().item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
