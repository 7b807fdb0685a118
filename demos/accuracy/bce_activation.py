"""Binary cross-entropy with the wrong activation: a floor under the loss, a constant output, or half of the answers.

Logistic regression on 400 points of two classes, x ~ N(±`gap`/2, 1) in 2 dimensions (each coordinate), one logit
z = w·x + b, w and b at first from N(0, 1)/10, `n` steps of gradient descent at rate `lr`, mean loss. By `way`:

logits          binary_cross_entropy_with_logits(z)
double_sigmoid  the same of sigmoid(z): the probability stays between ½ and 0.731, the loss of the positives cannot fall
                below ln(1 + 1/e) = 0.313, that of the negatives not below ln 2; at the threshold ½ all are positive
softmax         softmax over the single logit is 1 for every input: no gradient at all, and half of the answers
relu            relu before the sigmoid: the probability is at least ½, negatives cost at least ln 2
tanh            tanh(z) taken as the probability, limited to [1e-7, 1]: where z < 0 the limit has no gradient

Accuracy: the fraction with (probability > ½) = label. Chance is ½, ln 2 the loss of guessing.
Random: points, weights. Source: Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

TITLE = {"zh": "二元交叉熵配错激活", "en": "Binary cross-entropy with the wrong activation"}
PARAMS = {
    "way": {"zh": "输出怎么变成概率", "en": "how the output becomes a probability"},
    "gap": {"zh": "两类中心相距", "en": "distance of the class centres", "ge": 0, "le": 20},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "chance": {"zh": "ln 2", "en": "ln 2"},
}
METRICS = {
    "loss": {"zh": "最后的损失", "en": "final loss"},
    "accuracy": {"zh": "准确率", "en": "accuracy"},
    "gradient": {"zh": "第一步的梯度范数", "en": "gradient norm at the first step"},
    "lowest": {"zh": "最小的概率", "en": "lowest probability"},
    "highest": {"zh": "最大的概率", "en": "highest probability"},
    "sign_accuracy": {"zh": "按 z 的符号算的准确率", "en": "accuracy by the sign of z"},
    "theory_floor": {"zh": "两次 sigmoid 的损失下限", "en": "floor of the loss with two sigmoids"},
}
CHART = {
    "transform": [{"fold": ["loss", "chance"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    way: Literal["logits", "double_sigmoid", "softmax", "relu", "tanh"] = "double_sigmoid",
    gap: float = 3.0,
    lr: float = 0.5,
    n: int = 300,
) -> Generator[Row, None, Metrics]:
    y = (torch.arange(400) % 2).float()
    x = torch.randn(400, 2) + gap * (y - 0.5)[:, None]
    w = (torch.randn(3) / 10).requires_grad_()
    design = torch.cat([x, torch.ones(400, 1)], 1)
    first = None
    for step in range(n):
        loss = binary_cross_entropy(probability(way, design @ w), y)
        (gradient,) = torch.autograd.grad(loss, w)
        first = gradient if first is None else first
        if step % math.ceil(n / 100) == 0 or step == n - 1:
            yield {"step": step, "loss": loss.item(), "chance": math.log(2)}
        with torch.no_grad():
            w -= lr * gradient
    z = (design @ w).detach()
    p = probability(way, z)
    return {
        "loss": binary_cross_entropy(p, y).item(),
        "accuracy": agreement(p > 0.5, y),
        "gradient": 0.0 if first is None else float(first.double().norm()),
        "lowest": p.min().item(),
        "highest": p.max().item(),
        "sign_accuracy": agreement(z > 0, y),
        "theory_floor": (math.log(2) + math.log1p(math.exp(-1))) / 2,
    }


def probability(way: str, z: Tensor) -> Tensor:
    """What the loss takes for the probability of the positive class."""
    match way:
        case "double_sigmoid":
            return z.sigmoid().sigmoid()
        case "softmax":
            return z[:, None].softmax(1)[:, 0]
        case "relu":
            return z.relu().sigmoid()
        case "tanh":
            return z.tanh().clamp(1e-7, 1)
    return z.sigmoid()


def agreement(positive: Tensor, y: Tensor) -> float:
    return float((positive == (y > 0.5)).double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
