"""Zero-mean distributions of one variance all train, not equally fast; zeros and constants never do, Cauchy weights
end in nan.

Ten networks that differ only in the distribution of their first weights: `layers` linear layers, 8 inputs, `width`
ReLU units, one output, biases 0. Hidden weights have variance 2/fan-in (He), the last layer 1/fan-in. Distributions:
normal, uniform, ±1, Laplace, normal truncated at 2 and rescaled, 90 % zeros; and, at the same scale, Cauchy (it has no
variance), mean ½ (same mean square), all weights equal, all weights 0. Data: 128 samples N(0, 1)^8, target x₁·x₂;
full-batch gradient descent on the mean squared error, `n` steps at learning rate `lr`, float32, all networks on the
same data. Errors are given as fractions of the mean square of the target, which is what a network answering 0 gets: 1
= nothing learned.

Theory: where all units of a layer start alike they get the same gradient for ever, so the matrices between hidden
layers keep rank 1 (of the second one: `constant_rank`); where all weights are 0 all gradients but the last bias's are
0. The distributions are drawn one by one, so two of them differ by chance too, not only by their shape; the sparse one
is the most uneven on a layer of only 8 inputs. Source: Glorot & Bengio 2010; He et al. 2015; Saxe et al. 2014.
"""

import math
from collections.abc import Generator
from itertools import pairwise

import torch
from torch import Tensor

TITLE = {"zh": "用不同分布的初始权重训练", "en": "Training from differently distributed weights"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 10},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layers", "unit": "unit", "ge": 1, "le": 128},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 300},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 1},
}
LIMITS = [{"product": ["layers", "width", "width", "n"], "le": 7000000}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "series": {"zh": "权重的分布", "en": "distribution of the weights"},
    "error": {"zh": "误差（1 = 什么也没学到）", "en": "error (1: nothing learned)"},
}
METRICS = {
    "normal_error": {"zh": "正态：最后的误差", "en": "normal: error at the end"},
    "uniform_error": {"zh": "均匀：最后的误差", "en": "uniform: error at the end"},
    "rademacher_error": {"zh": "±1：最后的误差", "en": "±1: error at the end"},
    "laplace_error": {"zh": "拉普拉斯：最后的误差", "en": "Laplace: error at the end"},
    "trunc_error": {"zh": "截断正态：最后的误差", "en": "truncated normal: error at the end"},
    "sparse10_error": {"zh": "一成非零：最后的误差", "en": "10 % non-zero: error at the end"},
    "cauchy_error": {"zh": "柯西：最后的误差", "en": "Cauchy: error at the end"},
    "mean_half_error": {"zh": "均值 0.5：最后的误差", "en": "mean 0.5: error at the end"},
    "constant_error": {"zh": "常数：最后的误差", "en": "constant: error at the end"},
    "zero_error": {"zh": "全 0：最后的误差", "en": "zeros: error at the end"},
    "worst_good_error": {"zh": "六种合格的分布里最差的误差", "en": "largest error of the six good distributions"},
    "worst_dense_error": {"zh": "除稀疏外五种里最差的误差", "en": "largest error of the five without zeros"},
    "good_spread": {"zh": "六种里最差与最好之比", "en": "worst over best of the six good distributions"},
    "constant_rank": {"zh": "常数：第二个权重矩阵的秩", "en": "constant: rank of the second matrix"},
    "normal_rank": {"zh": "正态：第二个权重矩阵的秩", "en": "normal: rank of the second matrix"},
    "zero_change": {"zh": "全 0：权重的最大变化", "en": "zeros: largest change of a weight"},
    "constant_start": {"zh": "常数：起初的误差", "en": "constant: error at the start"},
}
WORDS = {
    "normal": {"zh": "正态", "en": "normal"},
    "uniform": {"zh": "均匀", "en": "uniform"},
    "rademacher": {"zh": "±1", "en": "±1"},
    "laplace": {"zh": "拉普拉斯", "en": "Laplace"},
    "trunc": {"zh": "截断正态", "en": "truncated normal"},
    "sparse10": {"zh": "一成非零", "en": "10 % non-zero"},
    "cauchy": {"zh": "柯西", "en": "Cauchy"},
    "mean_half": {"zh": "均值 0.5", "en": "mean 0.5"},
    "constant": {"zh": "常数", "en": "constant"},
    "zero": {"zh": "全 0", "en": "zeros"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "error", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal", "scale": {"scheme": "tableau10"}},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
GOOD = ("normal", "uniform", "rademacher", "laplace", "trunc", "sparse10")
LAWS = (*GOOD, "cauchy", "mean_half", "constant", "zero")
INPUTS, SAMPLES = 8, 128


def run(layers: int = 5, width: int = 64, n: int = 150, lr: float = 0.02) -> Generator[Row, None, Metrics]:
    x = torch.randn(SAMPLES, INPUTS)
    y = x[:, :1] * x[:, 1:2]
    sizes = [INPUTS, *[width] * (layers - 1), 1]
    weights, biases = [], []
    for layer, (before, after) in enumerate(pairwise(sizes)):
        sigma = math.sqrt((1 if layer == layers - 1 else 2) / before)
        weights.append(torch.stack([sigma * entries(law, before, after) for law in LAWS]).requires_grad_())
        biases.append(torch.zeros(len(LAWS), 1, after, requires_grad=True))
    every = -(-n // 25)
    nothing = y.double().square().mean()
    start: list[float] = []
    for step in range(n + 1):
        losses = forward(x, weights, biases).double().sub(y.double()).square().mean((1, 2))
        errors = (losses.detach() / nothing).tolist()
        start = start or errors
        if step % every == 0 or step == n:
            for law, error in zip(LAWS, errors, strict=True):
                yield {"step": step, "series": law, "error": error}
        if step < n:
            descend(losses.sum(), [*weights, *biases], lr)
    end = dict(zip(LAWS, errors, strict=True))
    good = [math.inf if math.isnan(end[law]) else end[law] for law in GOOD]
    ranks = [rank(weights[1][LAWS.index(law)]) if layers > 2 else None for law in ("constant", "normal")]
    return {f"{law}_error": error for law, error in end.items()} | {
        "worst_good_error": max(good),
        "worst_dense_error": max(good[:-1]),
        "good_spread": max(good) / min(good) if min(good) else math.nan,
        "constant_rank": ranks[0],
        "normal_rank": ranks[1],
        "zero_change": max(float(weight[-1].detach().abs().max()) for weight in weights),
        "constant_start": start[LAWS.index("constant")],
    }


def entries(law: str, rows: int, columns: int) -> Tensor:
    """A matrix of the law, of mean square 1."""
    normal = torch.randn(rows, columns)
    match law:
        case "uniform":
            return math.sqrt(3) * (2 * torch.rand(rows, columns) - 1)
        case "rademacher":
            return 2.0 * torch.randint(2, (rows, columns)) - 1
        case "laplace":
            waits = torch.empty(2, rows, columns).exponential_()
            return (waits[0] - waits[1]) / math.sqrt(2)
        case "trunc":
            return torch.nn.init.trunc_normal_(normal) / 0.8796256610342398
        case "sparse10":
            return normal * (torch.rand(rows, columns) < 0.1) / math.sqrt(0.1)
        case "cauchy":
            return (normal.double() / torch.randn(rows, columns, dtype=torch.float64)).float()
        case "mean_half":
            return 0.5 + math.sqrt(0.75) * normal
        case "constant" | "zero":
            return torch.full((rows, columns), 1.0 if law == "constant" else 0.0)
        case _:
            return normal


def forward(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """The outputs of all networks: laws × samples × 1."""
    h = x.expand(len(LAWS), *x.shape)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        h = torch.baddbmm(bias, h, weight).relu()
    return torch.baddbmm(biases[-1], h, weights[-1])


def descend(total: Tensor, parameters: list[Tensor], lr: float) -> None:
    """One step of gradient descent; the networks do not touch each other, so the sum of losses serves all of them."""
    gradients = torch.autograd.grad(total, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(lr * gradient)


def rank(matrix: Tensor) -> float | None:
    """How many singular values exceed a hundred-thousandth of the largest; None where the matrix is not finite."""
    matrix = matrix.detach().double()
    if not bool(matrix.isfinite().all()):
        return None
    values = torch.linalg.svdvals(matrix)
    return int((values > 1e-5 * values[0]).sum())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
