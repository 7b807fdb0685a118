"""A softmax before cross-entropy puts a floor under the loss, 1.461 for ten classes, and divides gradients by ten.

Softmax regression on 600 points of `classes` classes: 20-dimensional points x = `gap`·c + N(0, 1), c the centre of the
class, drawn from N(0, 1)/√20 per coordinate. Logits z = x·W + b start at 0; `n` full-batch steps of gradient descent at
rate `lr` on the mean of cross_entropy, which applies log_softmax to what it is given. By `way` that is:

logits       z
softmax      softmax(z): entries between 0 and 1, so that the probability inside the loss is at most e/(e + C − 1) and
             the loss at least ln(1 + (C − 1)/e); at the start the Jacobian of softmax divides the gradient by C
log_softmax  log_softmax(z), which applied twice is applied once

Accuracy is that of argmax, which a softmax does not change. Chance is ln C.
Random: centres, points. Source: Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

TITLE = {"zh": "交叉熵前面多一次 softmax", "en": "One softmax too many before cross-entropy"}
PARAMS = {
    "way": {"zh": "交给 cross_entropy 的是", "en": "what cross_entropy is given"},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 100},
    "gap": {"zh": "类中心的尺度", "en": "scale of the class centres", "ge": 0, "le": 20},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "floor": {"zh": "两次 softmax 的下限", "en": "floor with two softmaxes"},
}
METRICS = {
    "loss": {"zh": "最后的损失", "en": "final loss"},
    "accuracy": {"zh": "准确率", "en": "accuracy"},
    "theory_floor": {"zh": "两次 softmax 的损失下限", "en": "floor of the loss with two softmaxes"},
    "above_floor": {"zh": "最后的损失减去下限", "en": "final loss minus the floor"},
    "chance": {"zh": "瞎猜的损失 ln C", "en": "loss of guessing, ln C"},
    "gradient_ratio": {"zh": "第一步的梯度，与直接给 logit 之比", "en": "first gradient over that from logits"},
    "highest": {"zh": "损失里最大的概率", "en": "highest probability inside the loss"},
}
CHART = {
    "transform": [{"fold": ["loss", "floor"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
POINTS, DIMENSIONS = 600, 20


def run(
    way: Literal["logits", "softmax", "log_softmax"] = "softmax",
    classes: int = 10,
    gap: float = 6.0,
    lr: float = 0.5,
    n: int = 300,
) -> Generator[Row, None, Metrics]:
    centres = torch.randn(classes, DIMENSIONS) / math.sqrt(DIMENSIONS)
    y = torch.arange(POINTS) % classes
    x = torch.cat([gap * centres[y] + torch.randn(POINTS, DIMENSIONS), torch.ones(POINTS, 1)], 1)
    w = torch.zeros(DIMENSIONS + 1, classes, requires_grad=True)
    floor = math.log1p((classes - 1) / math.e)
    ratio = norm_of(way, x, w, y) / norm_of("logits", x, w, y)
    for step in range(n):
        loss = cross_entropy(given(way, x @ w), y)
        (gradient,) = torch.autograd.grad(loss, w)
        if step % math.ceil(n / 100) == 0 or step == n - 1:
            yield {"step": step, "loss": loss.item(), "floor": floor}
        with torch.no_grad():
            w -= lr * gradient
    z = (x @ w).detach()
    loss = cross_entropy(given(way, z), y).item()
    return {
        "loss": loss,
        "accuracy": (z.argmax(1) == y).double().mean().item(),
        "theory_floor": floor,
        "above_floor": loss - floor,
        "chance": math.log(classes),
        "gradient_ratio": ratio,
        "highest": given(way, z).softmax(1).max().item(),
    }


def given(way: str, z: Tensor) -> Tensor:
    """What is handed to cross_entropy."""
    match way:
        case "softmax":
            return z.softmax(1)
        case "log_softmax":
            return z.log_softmax(1)
    return z


def norm_of(way: str, x: Tensor, w: Tensor, y: Tensor) -> float:
    """The norm of the loss's gradient with respect to the weights."""
    (gradient,) = torch.autograd.grad(cross_entropy(given(way, x @ w), y), w)
    return float(gradient.double().norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
