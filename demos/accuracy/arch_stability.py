"""Forty layers deep, a plain ReLU net barely moves, an unscaled residual net explodes, a scaled one learns.

Four nets, the same width in every hidden layer, trained on the same 128 points: x ~ N(0, 1) in the plane, target
y = sin(2·x1) + x2/2, mean squared error, `n` full-batch steps of plain gradient descent at each of three learning
rates: lr, lr/10 and lr/100. Read-in h = x·A with A ~ N(0, 1/2), read-out h·v with v ~ N(0, 1/width), biases start at 0
everywhere, all of it is trained. The same random numbers in all four nets.

plain_xavier: h ← relu(h·W + b), W ~ N(0, 1/width). plain_kaiming: the same with N(0, 2/width). residual:
h ← h + relu(h)·W + b, W ~ N(0, 2/width). residual_scaled: the same, the branch times 1/√layers.
"best" is the least loss after the last step among the rates where it is finite, inf where there is none. Flat: a net
that predicts one constant has the loss Var y, and the gradient of plain_xavier shrinks by √2 per layer.
The variance of the unscaled residual net doubles in every layer. Source: He et al. 2016, Deep residual learning; Zhang,
Dauphin & Ma 2019, Fixup initialization; De & Smith 2020, Batch normalization biases residual blocks.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "四种深层网络，谁训得动", "en": "Four deep nets: which of them train"}
PARAMS = {
    "layers": {"zh": "隐藏层数", "en": "hidden layers", "unit": "layer", "ge": 1, "le": 200},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 1, "le": 64},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 100},
    "lr": {"zh": "三个学习率中最大的", "en": "largest of the three learning rates", "ge": 0, "le": 10},
}
LIMITS = [{"product": ["layers", "n"], "le": 2400}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "series": {"zh": "网络", "en": "net"},
    "loss": {"zh": "损失（该网络最好的学习率）", "en": "loss, at the net's best learning rate"},
}
METRICS = {
    "plain_xavier_start": {"zh": "普通网络 Xavier：开始的损失", "en": "plain, Xavier: loss at the start"},
    "plain_xavier_best": {"zh": "普通网络 Xavier：最好的损失", "en": "plain, Xavier: best loss"},
    "plain_xavier_finite": {"zh": "普通网络 Xavier：几个学习率有限", "en": "plain, Xavier: rates that stay finite"},
    "plain_kaiming_start": {"zh": "普通网络 Kaiming：开始的损失", "en": "plain, Kaiming: loss at the start"},
    "plain_kaiming_best": {"zh": "普通网络 Kaiming：最好的损失", "en": "plain, Kaiming: best loss"},
    "plain_kaiming_finite": {"zh": "普通网络 Kaiming：几个学习率有限", "en": "plain, Kaiming: rates that stay finite"},
    "residual_start": {"zh": "残差不缩放：开始的损失", "en": "residual: loss at the start"},
    "residual_best": {"zh": "残差不缩放：最好的损失", "en": "residual: best loss"},
    "residual_finite": {"zh": "残差不缩放：几个学习率有限", "en": "residual: rates that stay finite"},
    "residual_scaled_start": {"zh": "残差缩放：开始的损失", "en": "scaled residual: loss at the start"},
    "residual_scaled_best": {"zh": "残差缩放：最好的损失", "en": "scaled residual: best loss"},
    "residual_scaled_finite": {"zh": "残差缩放：几个学习率有限", "en": "scaled residual: rates that stay finite"},
    "var_y": {"zh": "目标的方差", "en": "variance of the target"},
    "plain_xavier_flatness": {"zh": "普通 Xavier 最好损失与方差之比", "en": "plain, Xavier: best loss over variance"},
    "scaled_over_plain": {"zh": "缩放残差与最好的普通网络之比", "en": "scaled residual over the better plain net"},
    "finite_lost": {"zh": "不缩放少了几个有限的学习率", "en": "finite rates lost by not scaling"},
}
WORDS = {
    "plain_xavier": {"zh": "普通 Xavier", "en": "plain, Xavier"},
    "plain_kaiming": {"zh": "普通 Kaiming", "en": "plain, Kaiming"},
    "residual": {"zh": "残差，不缩放", "en": "residual"},
    "residual_scaled": {"zh": "残差，缩放", "en": "residual, scaled"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "loss", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
NETS = ("plain_xavier", "plain_kaiming", "residual", "residual_scaled")
SAMPLES, INPUTS = 128, 2


def run(layers: int = 40, width: int = 32, n: int = 40, lr: float = 0.1) -> Generator[Row, None, Metrics]:
    rates = torch.tensor([lr, lr / 10, lr / 100]).reshape(3, 1, 1)
    x = torch.randn(SAMPLES, INPUTS)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:] / 2
    read_in, read_out = torch.randn(INPUTS, width) / math.sqrt(2), torch.randn(width, 1) / math.sqrt(width)
    inner = [torch.randn(width, width) / math.sqrt(width) for _ in range(layers)]
    found: Metrics = {"var_y": y.double().var(correction=0).item()}
    for name in NETS:
        gain = 1.0 if name == "plain_xavier" else math.sqrt(2)
        weights = [read_in, *(gain * w for w in inner), read_out]
        losses = train(name, x, y, weights, rates, n)
        ends = [one[-1] for one in losses]
        best = min(range(3), key=lambda i: ends[i] if math.isfinite(ends[i]) else math.inf)
        for step, loss in enumerate(losses[best]):
            yield {"step": step, "series": name, "loss": loss}
        found[f"{name}_start"] = losses[0][0]
        found[f"{name}_best"] = ends[best] if math.isfinite(ends[best]) else math.inf
        found[f"{name}_finite"] = sum(map(math.isfinite, ends))
    return found | summary({name: value for name, value in found.items() if value is not None})


def train(name: str, x: Tensor, y: Tensor, weights: list[Tensor], rates: Tensor, n: int) -> list[list[float]]:
    """The losses before every step and after the last, for each rate; the three nets are trained side by side."""
    params = [w.repeat(3, 1, 1).requires_grad_() for w in weights]
    params += [torch.zeros(3, 1, w.shape[1]).requires_grad_() for w in weights]
    losses = []
    for step in range(n + 1):
        error = forward(name, x.expand(3, -1, -1), params) - y
        loss = error.pow(2).mean((1, 2))
        losses.append(loss.tolist())
        if step == n or not loss.isfinite().any():  # nothing can bring a net back
            losses += [losses[-1]] * (n - step)
            break
        grads = torch.autograd.grad(loss.sum(), params)
        with torch.no_grad():
            for p, g in zip(params, grads, strict=True):
                p.sub_(rates * g)
    return [list(one) for one in zip(*losses, strict=True)]


def forward(name: str, x: Tensor, params: list[Tensor]) -> Tensor:
    """The output of the three nets; params: all weights, then all biases."""
    half = len(params) // 2
    weights, biases = params[:half], params[half:]
    h = torch.baddbmm(biases[0], x, weights[0])
    scale = 1 / math.sqrt(half - 2) if name == "residual_scaled" else 1.0
    for w, b in zip(weights[1:-1], biases[1:-1], strict=True):
        plain = name.startswith("plain")
        h = torch.baddbmm(b, h, w).relu() if plain else h + scale * torch.baddbmm(b, h.relu(), w)
    return torch.baddbmm(biases[-1], h, weights[-1])


def summary(found: dict[str, float]) -> Metrics:
    """What the four nets say together."""
    plain = min(found["plain_xavier_best"], found["plain_kaiming_best"])
    return {
        "plain_xavier_flatness": found["plain_xavier_best"] / found["var_y"],
        "scaled_over_plain": found["residual_scaled_best"] / plain if math.isfinite(plain) else math.nan,
        "finite_lost": found["residual_scaled_finite"] - found["residual_finite"],
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
