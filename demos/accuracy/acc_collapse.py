"""One overflowing step turns a classifier into a constant: accuracy becomes the fraction of one class, exactly.

Data: Gaussian blobs of unit variance, their centres evenly spaced on a circle of radius 1.5 (times classes/6 beyond 6
classes); 1000 samples to train on and 1000 to validate on, class 0 having the fraction `balance` of each (0: all
classes equally frequent). Net: 2 - width - width - classes, ReLU, PyTorch's default initialisation; plain SGD on
the cross-entropy, shuffled batches of 50. The first step of epoch `spike_epoch` uses the learning rate lr·spike. With
`clip` > 0 the gradient's norm is clipped first, which does not bound lr·gradient. Everything random: blobs, weights,
order.

After the overflow every output is nan, argmax of a row of nan is 0, and the accuracy is the fraction of class 0: 1/2
with two balanced classes, 1/10 with ten, 0.9 at 90/10. Finite weights with dead ReLUs give a constant output too
(spike = 1e5, in some of the seeds). Source: Lu et al. 2020, Dying ReLU and initialization.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn

TITLE = {"zh": "准确率先升后垮", "en": "Accuracy rises, then collapses"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1e6},
    "spike": {"zh": "某一步的学习率乘以", "en": "one step uses lr times", "ge": 0, "le": 1e308, "nonfinite": True},
    "spike_epoch": {"zh": "出事的轮次", "en": "epoch of that step", "unit": "epoch", "ge": 2, "le": 20},
    "epochs": {"zh": "训练轮数", "en": "epochs", "unit": "epoch", "ge": 1, "le": 20},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 10},
    "balance": {
        "zh": "第 0 类的占比（0 = 各类一样多）",
        "en": "fraction of class 0 (0: all equal)",
        "ge": 0,
        "le": 0.95,
    },
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 1, "le": 256},
    "clip": {"zh": "梯度范数裁剪（0 = 不裁剪）", "en": "gradient norm clipped to (0: off)", "ge": 0, "le": 1e6},
}
COLUMNS = {
    "epoch": {"zh": "轮次", "en": "epoch"},
    "accuracy": {"zh": "验证准确率", "en": "validation accuracy"},
    "top_label": {"zh": "最常预测的标签所占比例", "en": "fraction of the label predicted most"},
    "finite": {"zh": "有限输出的比例", "en": "fraction of finite outputs"},
}
METRICS = {
    "acc_before": {"zh": "出事前一轮的准确率", "en": "accuracy before the bad step"},
    "acc_final": {"zh": "最后的准确率", "en": "accuracy at the end"},
    "acc_drop": {"zh": "准确率跌了多少", "en": "fall in accuracy"},
    "collapse_epoch": {"zh": "准确率垮掉的轮次", "en": "epoch at which accuracy collapses", "unit": "epoch"},
    "flat_after": {"zh": "出事之后准确率的起伏", "en": "spread of the accuracy afterwards"},
    "distinct_predicted": {"zh": "预测里有几种标签", "en": "distinct labels predicted"},
    "class_share": {"zh": "最常预测的那一类的真实占比", "en": "true fraction of the class predicted most"},
    "acc_minus_share": {"zh": "准确率与该类占比之差", "en": "accuracy minus that fraction, in size"},
    "nonfinite_share": {"zh": "非有限输出的比例", "en": "fraction of non-finite outputs"},
    "dead_share": {"zh": "最后一个隐藏层的死神经元比例", "en": "dead units in the last hidden layer"},
    "theory_chance_loss": {"zh": "瞎猜的交叉熵 ln C", "en": "cross-entropy of pure guessing, ln C"},
}
CHART = {
    "transform": [{"fold": ["accuracy", "top_label"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "epoch", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SAMPLES, BATCH = 1000, 50


def run(
    lr: float = 0.02,
    spike: float = 1e20,
    spike_epoch: int = 3,
    epochs: int = 6,
    classes: int = 2,
    balance: float = 0.0,
    width: int = 32,
    clip: float = 0.0,
) -> Generator[Row, None, Metrics]:
    x, y = blobs(classes, balance)
    x_val, y_val = blobs(classes, balance)
    hidden = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    net = nn.Sequential(hidden, nn.Linear(width, classes))
    accuracy: list[float] = []
    for epoch in range(1, epochs + 1):
        for step, batch in enumerate(torch.randperm(SAMPLES).split(BATCH)):
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            descend(net, loss, lr * spike if epoch == spike_epoch and step == 0 else lr, clip)
        with torch.no_grad():
            out = net(x_val)
        label = out.argmax(1)
        votes = label.bincount(minlength=classes)
        accuracy.append((label == y_val).sum().item() / SAMPLES)
        finite = out.isfinite().double().mean().item()
        yield {"epoch": epoch, "accuracy": accuracy[-1], "top_label": votes.max().item() / SAMPLES, "finite": finite}
    before, after = accuracy[min(spike_epoch - 1, epochs) - 1], accuracy[spike_epoch - 1 :]
    share = (y_val == votes.argmax()).sum().item() / SAMPLES
    return {
        "acc_before": before,
        "acc_final": accuracy[-1],
        "acc_drop": before - accuracy[-1],
        "collapse_epoch": collapse(accuracy),
        "flat_after": max(after) - min(after) if after else None,
        "distinct_predicted": int((votes > 0).sum()),
        "class_share": share,
        "acc_minus_share": abs(accuracy[-1] - share),
        "nonfinite_share": 1 - finite,
        "dead_share": (hidden(x_val) <= 0).all(0).double().mean().item(),
        "theory_chance_loss": math.log(classes),
    }


def blobs(classes: int, balance: float) -> tuple[Tensor, Tensor]:
    """Points and labels; class 0 gets its share, the others the rest in equal parts."""
    first = balance or 1 / classes
    shares = torch.tensor([first] + [(1 - first) / (classes - 1)] * (classes - 1), dtype=torch.float64)
    last = (shares.cumsum(0) * SAMPLES).round()  # how many samples lie in the classes up to this one
    y = torch.bucketize(torch.arange(SAMPLES), last[:-1], right=True)
    angle = 2 * math.pi * y / classes
    centre = 1.5 * max(1, classes / 6) * torch.stack([angle.cos(), angle.sin()], 1)
    return centre + torch.randn(SAMPLES, 2), y


def descend(net: nn.Module, loss: Tensor, lr: float, clip: float) -> None:
    """One step of plain gradient descent; with `clip` > 0 the gradient is first shortened to that norm."""
    grads = torch.autograd.grad(loss, list(net.parameters()))
    norm = math.sqrt(sum(g.double().pow(2).sum().item() for g in grads))
    scale = clip / norm if 0 < clip < norm else 1.0
    with torch.no_grad():
        for p, g in zip(net.parameters(), grads, strict=True):
            p.sub_(lr * scale * g)


def collapse(accuracy: list[float]) -> int | None:
    """The first epoch that loses more than a quarter of the best accuracy so far, counted from 1."""
    return next((i + 1 for i, a in enumerate(accuracy) if a < 0.75 * max(accuracy[: i + 1])), None)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
