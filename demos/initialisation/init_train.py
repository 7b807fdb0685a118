"""Deep ReLU nets train better from Kaiming than from Xavier; shallow ones do not, and for tanh it is not Xavier either.

Four networks, ReLU and tanh, each from Xavier (Var(W) = 1/fan-in) and from Kaiming (2/fan-in), with the same random
numbers but for that factor: 4 inputs, `layers` − 1 hidden layers of `width` units, a linear output (scaled like the
rest), biases 0. Data: 64 samples N(0, 1)⁴, target x₁·x₂ less its mean; full-batch gradient descent on the mean squared
error, `n` steps, float32. Every network is trained at three learning rates, lr/3, lr and 10·lr/3, and its best error
counts (nan counts as inf). Errors are fractions of the target's variance: 1 = nothing learned. `layers` = 1 is a linear
map, which ends the same from either start.

Theory: with ReLU, Xavier halves E[h²] at each layer, so a deep net answers 0 and its first layers get no gradient;
Kaiming keeps both. For tanh both keep enough of the signal at these depths; Kaiming starts with larger gradients and
diverges sooner when the learning rate is large. Source: Glorot & Bengio 2010; He et al. 2015; Schoenholz et al. 2017.
"""

import math
from collections.abc import Generator
from itertools import pairwise

import torch
from torch import Tensor

TITLE = {"zh": "从 Xavier 与 Kaiming 开始训练", "en": "Training from Xavier and from Kaiming"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 100},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 1, "le": 64},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 200},
    "lr": {"zh": "学习率（另试它的 1/3 与 10/3）", "en": "learning rate (a third and 10/3 too)", "ge": 0, "le": 10},
}
LIMITS = [{"product": ["layers", "n"], "le": 3000}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "series": {"zh": "激活函数与初始化", "en": "activation and initialisation"},
    "error": {"zh": "误差（1 = 什么也没学到）", "en": "error (1: nothing learned)"},
}
METRICS = {
    "relu_xavier_error": {"zh": "ReLU，Xavier：最好的误差", "en": "ReLU, Xavier: best error"},
    "relu_kaiming_error": {"zh": "ReLU，Kaiming：最好的误差", "en": "ReLU, Kaiming: best error"},
    "tanh_xavier_error": {"zh": "tanh，Xavier：最好的误差", "en": "tanh, Xavier: best error"},
    "tanh_kaiming_error": {"zh": "tanh，Kaiming：最好的误差", "en": "tanh, Kaiming: best error"},
    "relu_kaiming_lead": {"zh": "ReLU：Kaiming 的误差低多少", "en": "ReLU: how much lower Kaiming's error is"},
    "tanh_kaiming_lead": {"zh": "tanh：Kaiming 的误差低多少", "en": "tanh: how much lower Kaiming's error is"},
    "relu_xavier_best_lr": {"zh": "ReLU，Xavier：最好的学习率", "en": "ReLU, Xavier: best learning rate"},
    "relu_kaiming_best_lr": {"zh": "ReLU，Kaiming：最好的学习率", "en": "ReLU, Kaiming: best learning rate"},
    "tanh_xavier_best_lr": {"zh": "tanh，Xavier：最好的学习率", "en": "tanh, Xavier: best learning rate"},
    "tanh_kaiming_best_lr": {"zh": "tanh，Kaiming：最好的学习率", "en": "tanh, Kaiming: best learning rate"},
}
WORDS = {
    "relu_xavier": {"zh": "ReLU，Xavier", "en": "ReLU, Xavier"},
    "relu_kaiming": {"zh": "ReLU，Kaiming", "en": "ReLU, Kaiming"},
    "tanh_xavier": {"zh": "tanh，Xavier", "en": "tanh, Xavier"},
    "tanh_kaiming": {"zh": "tanh，Kaiming", "en": "tanh, Kaiming"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "error", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
INITS = {"xavier": 1.0, "kaiming": math.sqrt(2)}
RATES = (1 / 3, 1.0, 10 / 3)
INPUTS, SAMPLES = 4, 64


def run(layers: int = 15, width: int = 48, n: int = 60, lr: float = 0.03) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, INPUTS)
    y = x[:, :1] * x[:, 1:2]
    y = y - y.mean()
    sizes = [INPUTS, *[width] * (layers - 1), 1]
    start = [torch.randn(a, b) / math.sqrt(a) for a, b in pairwise(sizes)]
    best: dict[str, tuple[float, float]] = {}
    for act in ("relu", "tanh"):
        curves = torch.stack(train(act, x, y, start, n, lr))  # steps × networks, a network per init and rate
        for i, init in enumerate(INITS):
            three = curves[:, i * len(RATES) : (i + 1) * len(RATES)]
            last = three[-1].nan_to_num(math.inf)
            winner = int(last.argmin())
            best[f"{act}_{init}"] = float(last[winner]), lr * RATES[winner]
            for step in range(0, n + 1, -(-n // 60)):
                yield {"step": step, "series": f"{act}_{init}", "error": float(three[step, winner])}
    leads = {
        f"{act}_kaiming_lead": best[f"{act}_xavier"][0] - best[f"{act}_kaiming"][0] if lr else None
        for act in ("relu", "tanh")
    }
    return (
        {f"{name}_error": error for name, (error, _) in best.items()}
        | {f"{name}_best_lr": rate if lr else None for name, (_, rate) in best.items()}
        | leads
    )


def train(act: str, x: Tensor, y: Tensor, start: list[Tensor], n: int, lr: float) -> list[Tensor]:
    """The errors before every step and after the last one, of all initialisations and rates side by side."""
    gains = torch.tensor([gain for gain in INITS.values() for _ in RATES])[:, None, None]
    rates = torch.tensor([lr * rate for _ in INITS for rate in RATES])[:, None, None]
    weights = [weight * gains for weight in start]
    weights = [weight.requires_grad_() for weight in weights]
    biases = [torch.zeros(len(gains), 1, weight.shape[-1], requires_grad=True) for weight in weights]
    variance = y.double().square().mean()
    errors = []
    for step in range(n + 1):
        h = x.expand(len(gains), *x.shape)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            h = getattr(torch, act)(torch.baddbmm(bias, h, weight))
        out = torch.baddbmm(biases[-1], h, weights[-1])
        losses = (out - y).square().mean((1, 2))
        errors.append((out.detach().double() - y).square().mean((1, 2)) / variance)
        if step < n:
            gradients = torch.autograd.grad(losses.sum(), [*weights, *biases])
            with torch.no_grad():
                for parameter, gradient in zip([*weights, *biases], gradients, strict=True):
                    parameter.sub_(rates * gradient)
    return errors


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
