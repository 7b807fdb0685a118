"""With one class in the training set the gradient is exactly 0, or soon next to it, and the accuracy is a perfect 1.

Net 4 - 16 - outputs, tanh, PyTorch's default initialisation; 256 samples x ~ N(0, 1) in 4 dimensions, class 1 if
x_1 > 0; SGD with momentum 0.9, rate `lr`, `n` full-batch steps. `case`:
one_logit  one output, softmax over it, cross-entropy with label 0 for all: p = 1, loss 0, gradient 0, always
one_label  two outputs, but every training label is 0 (a fault in loading, say)
sigmoid    one output, binary cross-entropy of its logit with the true labels: the cure for the first
both       two outputs and the true labels: the cure for the second
The test set has 256 samples with their true classes; with one_logit the only class there is is 0. The gradient's norm
is that over all parameters. Random: data, weights.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

TITLE = {"zh": "只有一类的训练集：梯度恰好 0", "en": "One class only: a gradient of exactly 0"}
PARAMS = {
    "case": {"zh": "输出与标签", "en": "outputs and labels"},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-5, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "grad_norm": {"zh": "梯度范数", "en": "gradient norm"},
    "accuracy": {"zh": "训练准确率", "en": "training accuracy"},
}
METRICS = {
    "loss_start": {"zh": "第一步的损失", "en": "loss of the first step"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "grad_start": {"zh": "第一步的梯度范数", "en": "gradient norm of the first step"},
    "grad_end": {"zh": "最后的梯度范数", "en": "gradient norm at the end"},
    "train_accuracy": {"zh": "训练准确率", "en": "training accuracy"},
    "test_accuracy": {"zh": "测试准确率", "en": "test accuracy"},
    "classes_seen": {"zh": "训练标签有几种", "en": "different labels in training"},
    "weight_change": {"zh": "权重的最大变化", "en": "largest change of a weight"},
}
CHART = {
    "transform": [{"fold": ["loss", "grad_norm", "accuracy"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    case: Literal["one_logit", "one_label", "sigmoid", "both"] = "one_logit", lr: float = 0.1, n: int = 100
) -> Generator[Row, None, Metrics]:
    x, x_test = torch.randn(256, 4), torch.randn(256, 4)
    true, true_test = (x[:, 0] > 0).long(), (x_test[:, 0] > 0).long()
    y = torch.zeros_like(true) if case in ("one_logit", "one_label") else true
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1 if case in ("one_logit", "sigmoid") else 2))
    before = [p.detach().clone() for p in net.parameters()]
    sgd = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    rows: list[Row] = []
    for step in range(n + 1):
        sgd.zero_grad()
        loss = loss_of(case, net(x), y)
        loss.backward()
        norm = math.sqrt(sum(float(torch.as_tensor(p.grad).double().square().sum()) for p in net.parameters()))
        right = (guess(case, net(x)) == y).double().mean().item()
        rows.append({"step": step, "loss": loss.item(), "grad_norm": norm, "accuracy": right})
        yield rows[-1]
        if step < n:
            sgd.step()
    pairs = zip(net.parameters(), before, strict=True)
    return {
        "loss_start": rows[0]["loss"],
        "loss_end": rows[-1]["loss"],
        "grad_start": rows[0]["grad_norm"],
        "grad_end": rows[-1]["grad_norm"],
        "train_accuracy": rows[-1]["accuracy"],
        "test_accuracy": (guess(case, net(x_test)) == true_test).double().mean().item(),
        "classes_seen": len(y.unique()),
        "weight_change": max((p - q).abs().max().item() for p, q in pairs),
    }


def loss_of(case: str, logits: Tensor, y: Tensor) -> Tensor:
    """The mean loss of logits of samples × outputs."""
    if case == "sigmoid":
        return binary_cross_entropy_with_logits(logits[:, 0], y.float())
    return cross_entropy(logits, y)


def guess(case: str, logits: Tensor) -> Tensor:
    """The class that is called."""
    return (logits[:, 0] > 0).long() if case == "sigmoid" else logits.argmax(1)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
