"""Weights of one fixed size make a wider LSTM steeper and the usable rate lower; initialised by 1/√width it is not.

Two LSTMs of 128 and `width` units, one layer, 8 inputs N(0, 1), 3 steps, 8 sequences; a linear read-out of the last
hidden state h, squared error to targets N(0, 1), gradient descent at `lr`, `n` steps, float32. `init`: "fixed", all
weights N(0, `std`²), biases 0, whatever the width; or "default", PyTorch's U(−1/√width, 1/√width). curvature is the
largest second derivative with respect to the read-out, 2·λ_max(hhᵀ)/8, at the start; the read-out alone diverges
beyond lr = 2/curvature (`rate`). Ways: 128 units, `width` units, the same at lr·(128/width)², the same with `init`
default. adam: rms change of the output by one step of Adam, 1e-3 in the direction of the gradient's sign, from the
default initialisation. first_bad: first step with a loss above 1000 or not finite. Random: inputs, targets, weights.
Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp; Yang et al. 2022, Tensor programs V.
"""

import copy
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "LSTM 的宽度与学习率", "en": "Width of an LSTM and its learning rate"}
PARAMS = {
    "width": {"zh": "隐藏单元数", "en": "hidden units", "ge": 16, "le": 512},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-5, "le": 10},
    "init": {"zh": "初始化", "en": "initialisation"},
    "std": {"zh": "固定的标准差", "en": "fixed standard deviation", "ge": 1e-4, "le": 1},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 20},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "narrow": {"zh": "128 个单元", "en": "128 units"},
    "wide": {"zh": "宽的", "en": "wide"},
    "scaled": {"zh": "宽的，小学习率", "en": "wide, low rate"},
    "default": {"zh": "宽的，默认初始化", "en": "wide, default initialisation"},
}
METRICS = {
    "curvature_narrow": {"zh": "128 个单元：读出的曲率", "en": "128 units: curvature of the read-out"},
    "curvature": {"zh": "宽的：读出的曲率", "en": "wide: curvature of the read-out"},
    "rate_narrow": {"zh": "128 个单元：2/曲率", "en": "128 units: 2/curvature"},
    "rate": {"zh": "宽的：2/曲率", "en": "wide: 2/curvature"},
    "first_bad_narrow": {"zh": "128 个单元：损失首次失控", "en": "128 units: loss first out of hand", "unit": "step"},
    "first_bad": {"zh": "宽的：损失首次失控", "en": "wide: loss first out of hand", "unit": "step"},
    "end_narrow": {"zh": "128 个单元：最后的损失", "en": "128 units: last loss"},
    "end": {"zh": "宽的：最后的损失", "en": "wide: last loss"},
    "end_scaled": {"zh": "小学习率：最后的损失", "en": "low rate: last loss"},
    "end_default": {"zh": "默认初始化：最后的损失", "en": "default initialisation: last loss"},
    "adam_narrow": {"zh": "128 个单元：Adam 一步改变的输出", "en": "128 units: change of the output by a step of Adam"},
    "adam": {"zh": "宽的：Adam 一步改变的输出", "en": "wide: change of the output by a step of Adam"},
}
CHART = {
    "transform": [{"fold": ["narrow", "wide", "scaled", "default"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    width: int = 512, lr: float = 0.4, init: Literal["fixed", "default"] = "fixed", std: float = 0.15, n: int = 12
) -> Generator[Row, None, Metrics]:
    x, y = torch.randn(8, 3, 8), torch.randn(8)
    fixed = std if init == "fixed" else None
    narrow, wide, default_narrow, default = (Net(128, fixed), Net(width, fixed), Net(128, None), Net(width, None))
    adam_narrow, adam = (net.change_by_adam(x, y) for net in (default_narrow, default))
    curvature_narrow, curvature = (net.curvature(x) for net in (narrow, wide))
    found = {
        "narrow": narrow.descend(lr, n, x, y),
        "scaled": copy.deepcopy(wide).descend(lr * (128 / width) ** 2, n, x, y),
        "wide": wide.descend(lr, n, x, y),
        "default": default.descend(lr, n, x, y),
    }
    for step in range(n):
        yield {"step": step + 1} | {name: losses[step] for name, losses in found.items()}
    return {
        "curvature_narrow": curvature_narrow,
        "curvature": curvature,
        "rate_narrow": 2 / curvature_narrow,
        "rate": 2 / curvature,
        "first_bad_narrow": first_bad(found["narrow"]),
        "first_bad": first_bad(found["wide"]),
        "end_narrow": found["narrow"][-1],
        "end": found["wide"][-1],
        "end_scaled": found["scaled"][-1],
        "end_default": found["default"][-1],
        "adam_narrow": adam_narrow,
        "adam": adam,
    }


class Net:
    """An LSTM with a linear read-out of its last hidden state; weights N(0, std²), or PyTorch's if std is None."""

    def __init__(self, width: int, std: float | None) -> None:
        self.lstm, self.readout = nn.LSTM(8, width, batch_first=True), nn.Linear(width, 1)
        with torch.no_grad():
            for parameter in self.parameters() if std is not None else ():
                parameter.normal_(0, std) if parameter.ndim > 1 else parameter.zero_()

    def parameters(self) -> list[Tensor]:
        return [*self.lstm.parameters(), *self.readout.parameters()]

    def states(self, x: Tensor) -> Tensor:
        """The last hidden states, sequences × units."""
        last: Tensor = self.lstm(x)[0][:, -1]
        return last

    def output(self, x: Tensor) -> Tensor:
        output: Tensor = self.readout(self.states(x))[:, 0]
        return output

    def curvature(self, x: Tensor) -> float:
        """The largest second derivative of the squared error with respect to the read-out's weights."""
        h = self.states(x).detach().double()
        return float(2 * torch.linalg.eigvalsh(h @ h.T)[-1]) / len(h)

    def change_by_adam(self, x: Tensor, y: Tensor) -> float:
        """The rms change of the output by Adam's first step of 1e-3; the net itself stays."""
        moved = copy.deepcopy(self)
        before = moved.output(x)
        gradients = torch.autograd.grad((before - y).square().mean(), moved.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(moved.parameters(), gradients, strict=True):
                parameter.sub_(1e-3 * gradient.sign())
            return float((moved.output(x) - before).double().square().mean().sqrt())

    def descend(self, lr: float, n: int, x: Tensor, y: Tensor) -> list[float]:
        """The loss before each of n steps of gradient descent."""
        losses = []
        for _ in range(n):
            loss = (self.output(x) - y).square().mean()
            losses.append(loss.item())
            gradients = torch.autograd.grad(loss, self.parameters())
            with torch.no_grad():
                for parameter, gradient in zip(self.parameters(), gradients, strict=True):
                    parameter.sub_(lr * gradient)
        return losses


def first_bad(losses: list[float]) -> int | None:
    return next((k for k, loss in enumerate(losses, 1) if not loss <= 1000), None)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
