"""σ' = y(1 − y) wants the output y; given the input z, or an output passed through σ again, it is another function.

At `z` and at 41 places from −|z| to |z| (from −4 to 4 if z is 0), float64: the true slope σ(z)(1 − σ(z)), by autograd;
output   y(1 − y) with y = σ(z), the right use
input    z(1 − z): the formula for the output, applied to the input
twice    σ(y)(1 − σ(y)): the formula for the input, applied to the output
The last lies between 0.1966 and 1/4 whatever z, so that saturated units seem to learn; the one before is negative
outside 0 … 1 and turns the gradient round. In float32 y is 1 from z of about 17 on, and y(1 − y) is 0 there; σ(z)·σ(−z)
keeps the slope. Then a net 2 - 4 - 1, sigmoid, learns XOR by full-batch gradient descent with its hidden slopes
computed as `case` says, `n` steps at rate `lr` on the squared error, weights N(0, 1): random.
Source: Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors, Nature 323.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "从输出写 sigmoid 的导数", "en": "The sigmoid's derivative from its output"}
PARAMS = {
    "case": {"zh": "训练时怎么算导数", "en": "the slope used in training"},
    "z": {"zh": "输入 z", "en": "input z", "ge": -100, "le": 100},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 100},
    "n": {"zh": "训练步数", "en": "training steps", "ge": 1, "le": 2000},
}
COLUMNS = {
    "z": {"zh": "z", "en": "z"},
    "output": {"zh": "y(1 − y)", "en": "y(1 − y)"},
    "input": {"zh": "z(1 − z)", "en": "z(1 − z)"},
    "twice": {"zh": "σ(y)(1 − σ(y))", "en": "σ(y)(1 − σ(y))"},
}
METRICS = {
    "true_slope": {"zh": "真实斜率（自动求导）", "en": "true slope, by autograd"},
    "output_slope": {"zh": "从输出算：y(1 − y)", "en": "from the output: y(1 − y)"},
    "input_slope": {"zh": "误用输入：z(1 − z)", "en": "given the input: z(1 − z)"},
    "twice_slope": {"zh": "多过一次 sigmoid", "en": "sigmoid once too often"},
    "float32_output_slope": {"zh": "float32 的 y(1 − y)", "en": "y(1 − y) in float32"},
    "float32_product_slope": {"zh": "float32 的 σ(z)·σ(−z)", "en": "σ(z)·σ(−z) in float32"},
    "cosine": {"zh": "首步的梯度与真实梯度的余弦", "en": "cosine of the first gradient with the true one"},
    "loss_end": {"zh": "XOR 最后的损失", "en": "loss on XOR at the end"},
    "right_end": {"zh": "正确写法最后的损失", "en": "loss at the end with the right slope"},
}
CHART = {
    "transform": [{"fold": ["output", "input", "twice"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "z", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
XOR = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).double()
TARGET = torch.tensor([[0.0], [1.0], [1.0], [0.0]]).double()


def run(
    case: Literal["output", "input", "twice"] = "input", z: float = 3.0, lr: float = 2.0, n: int = 1000
) -> Generator[Row, None, Metrics]:
    for place in torch.linspace(-(abs(z) or 4), abs(z) or 4, 41).double():
        yield {"z": place.item()} | {which: slope(which, place).item() for which in ("output", "input", "twice")}
    at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    (true,) = torch.autograd.grad(at.sigmoid(), at)
    short = torch.tensor(z)
    start = [torch.randn(2, 4).double(), torch.randn(4).double(), torch.randn(4, 1).double(), torch.randn(1).double()]
    first, right = gradient(case, start), gradient("output", start)
    return {
        "true_slope": true.item(),
        "output_slope": slope("output", at).item(),
        "input_slope": slope("input", at).item(),
        "twice_slope": slope("twice", at).item(),
        "float32_output_slope": (short.sigmoid() * (1 - short.sigmoid())).item(),
        "float32_product_slope": (short.sigmoid() * (-short).sigmoid()).item(),
        "cosine": torch.cosine_similarity(flat(first[:2]), flat(right[:2]), dim=0).item(),
        "loss_end": trained_loss(case, start, lr, n),
        "right_end": trained_loss("output", start, lr, n),
    }


def slope(which: str, z: Tensor) -> Tensor:
    """The derivative of the sigmoid, as it is written."""
    y = z.sigmoid()
    if which == "input":
        return z * (1 - z)
    y = y.sigmoid() if which == "twice" else y
    return y * (1 - y)


def gradient(which: str, weights: list[Tensor]) -> list[Tensor]:
    """Of half the squared error on XOR, by hand; the hidden layer's slope as written, the last layer's right."""
    w1, b1, w2, b2 = weights
    z = XOR @ w1 + b1
    h = z.sigmoid()
    y = (h @ w2 + b2).sigmoid()
    out = (y - TARGET) * y * (1 - y) / len(XOR)
    hidden = out @ w2.T * slope(which, z)
    return [XOR.T @ hidden, hidden.sum(0), h.T @ out, out.sum(0)]


def trained_loss(which: str, start: list[Tensor], lr: float, n: int) -> float:
    """Half the squared error after n steps."""
    weights = start
    for _ in range(n):
        weights = [w - lr * g for w, g in zip(weights, gradient(which, weights), strict=True)]
    w1, b1, w2, b2 = weights
    y = ((XOR @ w1 + b1).sigmoid() @ w2 + b2).sigmoid()
    return float(((y - TARGET).square().sum() / (2 * len(XOR))).item())


def flat(tensors: list[Tensor]) -> Tensor:
    """All entries in one vector."""
    return torch.cat([tensor.flatten() for tensor in tensors])


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
