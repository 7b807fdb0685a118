"""Accuracy at chance with finite numbers: three quick tests tell wrong labels from a broken pipeline.

Data: `classes` Gaussian blobs in 10 dimensions, centres N(0, 1), spread 1, each feature then times 5 plus 400, as
raw readings are; 600 samples to train on, 600 to validate on, balanced, both standardised with the training set's
mean and sd. Net: 10 - 64 - classes, ReLU, PyTorch's default initialisation, Adam with lr 0.01 on shuffled batches of
50, `epochs` epochs. Random: blobs, weights, order. `case` plants one mistake. none: no mistake. shuffled_labels: the
training labels are shuffled against the samples, as after sorting one file and not the other. zero_inputs: every
input is 0, as after an integer division by 255. raw_validation: the validation set is not standardised. frozen: the
optimiser holds no parameter of the net. numbering: the validation labels are numbered differently, k stands for k +
1. noisy_labels: three in ten training labels are drawn anew, which alone does not lead to chance.

Test 1, the first loss: ln C if the net starts out fair. Test 2, overfit 20 training samples in 200 steps of the same
optimiser with a fresh net: a loss near 0, unless inputs or optimiser are broken (labels may be wrong: 20 wrong labels
can be memorised). Test 3, histograms: how many samples get the label predicted most, against the true fractions.
Source: Lu et al. 2020, Dying ReLU and initialization (constant nets).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

TITLE = {"zh": "停在瞎猜水平：标签、数据还是代码", "en": "Stuck at chance: labels, data or code"}
PARAMS = {
    "case": {"zh": "埋下的错误", "en": "mistake that is planted"},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 10},
    "epochs": {"zh": "训练轮数", "en": "epochs", "unit": "epoch", "ge": 1, "le": 40},
}
COLUMNS = {
    "epoch": {"zh": "轮次", "en": "epoch"},
    "training": {"zh": "训练准确率", "en": "training accuracy"},
    "validation": {"zh": "验证准确率", "en": "validation accuracy"},
    "chance": {"zh": "瞎猜水平", "en": "chance"},
}
METRICS = {
    "first_loss": {"zh": "第一步之前的损失", "en": "loss before the first step"},
    "theory_chance_loss": {"zh": "ln C", "en": "ln C"},
    "first_loss_gap": {"zh": "它与 ln C 之差", "en": "its distance from ln C"},
    "training_accuracy": {"zh": "训练准确率", "en": "training accuracy"},
    "validation_accuracy": {"zh": "验证准确率", "en": "validation accuracy"},
    "chance": {"zh": "瞎猜的准确率", "en": "accuracy at chance"},
    "above_chance": {"zh": "验证准确率高出瞎猜多少", "en": "validation accuracy above chance"},
    "overfit_loss": {"zh": "20 个样本反复训练后的损失", "en": "loss after overfitting 20 samples"},
    "overfit_accuracy": {"zh": "20 个样本上的准确率", "en": "accuracy on those 20 samples"},
    "distinct_predicted": {"zh": "验证时预测了几种标签", "en": "distinct labels predicted in validation"},
    "top_share": {"zh": "最常预测的标签所占比例", "en": "fraction of the label predicted most"},
    "validation_spread": {"zh": "验证输入的标准差", "en": "sd of the validation inputs"},
    "nonfinite_share": {"zh": "非有限输出的比例", "en": "fraction of non-finite outputs"},
}
CHART = {
    "transform": [{"fold": ["training", "validation", "chance"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "epoch", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
FEATURES, SAMPLES, BATCH, FEW, NOISE = 10, 600, 50, 20, 0.3


def run(
    case: Literal[
        "shuffled_labels", "noisy_labels", "zero_inputs", "raw_validation", "frozen", "numbering", "none"
    ] = "shuffled_labels",
    classes: int = 2,
    epochs: int = 15,
) -> Generator[Row, None, Metrics]:
    centres = torch.randn(classes, FEATURES)
    (x, y), (x_val, y_val) = blobs(centres), blobs(centres)
    mean, sd = x.mean(0), x.std(0)
    x, x_val = (x - mean) / sd, x_val if case == "raw_validation" else (x_val - mean) / sd
    if case == "zero_inputs":
        x, x_val = 0 * x, 0 * x_val
    if case == "shuffled_labels":
        y = y[torch.randperm(SAMPLES)]
    if case == "noisy_labels":
        y = torch.where(torch.rand(SAMPLES) < NOISE, torch.randint(classes, (SAMPLES,)), y)
    if case == "numbering":
        y_val = (y_val + 1) % classes
    net, optimizer = fresh(classes, case)
    first_loss = cross_entropy(net(x), y).item()
    training = validation = 0.0
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(SAMPLES).split(BATCH):
            step(net, optimizer, x[batch], y[batch])
        training, validation = accuracy(net, x, y), accuracy(net, x_val, y_val)
        yield {"epoch": epoch, "training": training, "validation": validation, "chance": 1 / classes}
    few, few_y = x[:FEW], y[:FEW]
    little, its_optimizer = fresh(classes, case)
    for _ in range(200):
        step(little, its_optimizer, few, few_y)
    with torch.no_grad():
        out = net(x_val)
    votes = out.argmax(1).bincount(minlength=classes)
    return {
        "first_loss": first_loss,
        "theory_chance_loss": math.log(classes),
        "first_loss_gap": abs(first_loss - math.log(classes)),
        "training_accuracy": training,
        "validation_accuracy": validation,
        "chance": 1 / classes,
        "above_chance": validation - 1 / classes,
        "overfit_loss": cross_entropy(little(few), few_y).item(),
        "overfit_accuracy": accuracy(little, few, few_y),
        "distinct_predicted": int((votes > 0).sum()),
        "top_share": votes.max().item() / SAMPLES,
        "validation_spread": x_val.double().std().item(),
        "nonfinite_share": 1 - out.isfinite().double().mean().item(),
    }


def blobs(centres: Tensor) -> tuple[Tensor, Tensor]:
    """Raw readings and labels, the classes taking turns."""
    y = torch.arange(SAMPLES) % len(centres)
    return 5 * (centres[y] + torch.randn(SAMPLES, FEATURES)) + 400, y


def fresh(classes: int, case: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A new net and its optimiser; in the case frozen the optimiser has been given another net's parameters."""
    net = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, classes))
    other = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, classes))
    return net, torch.optim.Adam((other if case == "frozen" else net).parameters(), lr=0.01, fused=True)


def step(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step on one batch."""
    net.zero_grad()
    cross_entropy(net(x), y).backward()
    optimizer.step()


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of right labels."""
    with torch.no_grad():
        return float((net(x).argmax(1) == y).double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
