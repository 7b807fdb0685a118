"""On a two-dimensional slice through weight space, a deep plain network's loss rises far higher than a residual one's.

Two networks, plain h ← W·relu(h) + b and residual h ← h + (W·relu(h) + b)/√layers, start from the same weights: a
linear layer of 2 inputs, `layers` such blocks of `width` units, one linear output. Weights N(0, 1/fan-in), after a
ReLU N(0, 2/fan-in) (He); biases 0. Data: 64 points N(0, 1)², label 1 where x₁·x₂ > 0 (XOR of the signs), binary
cross-entropy, `n` full-batch Adam steps at learning rate 0.005. float32; the loss itself in float64.
Around the trained weights w the loss is mapped at w + α·d₁ + β·d₂, α and β from −span to span (biases stay where they
are). d₁ and d₂ are drawn from N(0, 1), the same draws for both networks. norm = filter scales each unit's incoming
part to the length of that unit's weights; raw leaves it as drawn. Inner cells whose 2×2 discrete Hessian has a
negative eigenvalue count as non-convex; the basin is what lies less than 0.1 above the centre.
A map should not depend on how the same function is written down. So the plain network's first layer is multiplied by
10 and its second divided by 10, which leaves its outputs as they were, and the map is drawn again with the same draws:
`rescaling_shift` is the mean change of log10 loss. In theory it is 0 for filter-normalised directions.
Large maps are thinned in the rows, not in the metrics. Sources: Li, Xu, Taylor, Studer & Goldstein 2018, Visualizing
the loss landscape of neural nets, NeurIPS; Dinh, Pascanu, Bengio & Bengio 2017, Sharp minima can generalize, ICML.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "损失曲面：普通网络与残差网络", "en": "Loss surface: plain against residual"}
PARAMS = {
    "layers": {"zh": "块数（层数）", "en": "blocks (layers)", "ge": 1, "le": 30},
    "width": {"zh": "每层神经元数", "en": "units per layer", "ge": 2, "le": 32},
    "grid": {"zh": "每边格点数", "en": "points per side", "ge": 3, "le": 51},
    "span": {"zh": "地图半边长", "en": "half side of the map", "ge": 0, "le": 100},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 0, "le": 300},
    "norm": {"zh": "方向的归一化", "en": "normalisation of the directions"},
}
LIMITS = [{"product": ["grid", "grid", "layers"], "le": 10500}]
COLUMNS = {
    "net": {"zh": "网络", "en": "network"},
    "alpha": {"zh": "沿方向一 α", "en": "along direction one, α"},
    "beta": {"zh": "沿方向二 β", "en": "along direction two, β"},
    "loss": {"zh": "损失", "en": "loss"},
    "log10_loss": {"zh": "损失的 log10", "en": "log10 of the loss"},
}
METRICS = {
    "plain_center_loss": {"zh": "普通网络：中心处的损失", "en": "plain: loss at the centre"},
    "plain_max_loss": {"zh": "普通网络：最大损失", "en": "plain: largest loss"},
    "plain_basin_share": {"zh": "普通网络：盆地占比", "en": "plain: fraction of the map in the basin"},
    "plain_frac_nonconvex": {"zh": "普通网络：非凸格点占比", "en": "plain: fraction of non-convex cells"},
    "plain_frac_nonfinite": {"zh": "普通网络：溢出格点占比", "en": "plain: fraction of cells not finite"},
    "skip_center_loss": {"zh": "残差网络：中心处的损失", "en": "residual: loss at the centre"},
    "skip_max_loss": {"zh": "残差网络：最大损失", "en": "residual: largest loss"},
    "skip_basin_share": {"zh": "残差网络：盆地占比", "en": "residual: fraction of the map in the basin"},
    "skip_frac_nonconvex": {"zh": "残差网络：非凸格点占比", "en": "residual: fraction of non-convex cells"},
    "skip_frac_nonfinite": {"zh": "残差网络：溢出格点占比", "en": "residual: fraction of cells not finite"},
    "log10_max_ratio": {"zh": "最大损失之比的 log10", "en": "log10 of the ratio of the largest losses"},
    "rescaling_shift": {"zh": "重参数化后 log10 损失的平均变化", "en": "mean change of log10 loss after rescaling"},
    "forwards": {"zh": "每张图的前向次数", "en": "forward passes per map"},
}
WORDS = {"plain": {"zh": "普通网络", "en": "plain"}, "skip": {"zh": "残差网络", "en": "residual"}}
CHART = {
    "mark": {"type": "rect"},
    "encoding": {
        "x": {"field": "alpha", "type": "ordinal", "axis": {"labelOverlap": True}},
        "y": {"field": "beta", "type": "ordinal", "sort": "descending", "axis": {"labelOverlap": True}},
        "color": {"field": "log10_loss", "type": "quantitative", "scale": {"scheme": "viridis"}},
        "column": {"field": "net", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
Weights = list[torch.Tensor]
Data = tuple[torch.Tensor, torch.Tensor]
RESCALE = 10.0


def run(
    layers: int = 12,
    width: int = 16,
    grid: int = 15,
    span: float = 1.0,
    n: int = 80,
    norm: Literal["filter", "raw"] = "filter",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(64, 2)
    data = x, (x[:, :1] * x[:, 1:] > 0).float()
    blocks = [torch.randn(width, width) * (2 / width) ** 0.5 for _ in range(layers)]
    start = [torch.randn(2, width) / 2**0.5, *blocks, torch.randn(width, 1) / width**0.5]
    noise = [[torch.randn_like(weight) for weight in start] for _ in range(2)]
    ticks = span * (2 * torch.arange(grid) - (grid - 1)) / (grid - 1)  # the middle of an odd grid is exactly 0
    every = math.ceil(grid / 27)
    shown = range(grid // 2 % every, grid, every)
    metrics: Metrics = {"forwards": grid * grid}
    for net, branch in (("plain", 0.0), ("skip", layers**-0.5)):
        weights, biases = train(start, branch, data, n)
        directions = [scaled(draw, weights, norm) for draw in noise]
        lines = []
        for i, alpha in enumerate(ticks):
            lines.append(losses_along(weights, biases, branch, data, directions, alpha, ticks))
            for j in shown if i in shown else ():
                loss = lines[-1][j].item()
                place = {"alpha": rounded(alpha), "beta": rounded(ticks[j])}
                yield {"net": net, **place, "loss": loss, "log10_loss": log10(loss)}
        surface = torch.stack(lines)
        centre = losses_along(weights, biases, branch, data, directions, torch.zeros(()), torch.zeros(1)).item()
        metrics |= {f"{net}_{name}": value for name, value in describe(surface, centre).items()}
        if net == "plain":
            twin, twin_biases = rescaled(weights, biases)
            directions = [scaled(draw, twin, norm) for draw in noise]
            again = [losses_along(twin, twin_biases, branch, data, directions, alpha, ticks) for alpha in ticks]
            change = (torch.stack(again).log10() - surface.log10()).abs()
            metrics["rescaling_shift"] = change[change.isfinite()].mean().item()
    log_maxima = [log10(metrics[f"{net}_max_loss"] or 0.0) for net in ("plain", "skip")]
    return metrics | {"log10_max_ratio": log_maxima[0] - log_maxima[1]}


def log10(loss: float) -> float:
    """Its decimal logarithm; −inf for 0, and nan and inf stay what they are."""
    return math.log10(loss) if loss > 0 else -math.inf if loss == 0 else loss


def rounded(tick: torch.Tensor) -> float:
    """A coordinate to four digits, so that the axis can be read."""
    return float(f"{tick.item():.4g}")


def forward(weights: Weights, biases: Weights, branch: float, x: torch.Tensor) -> torch.Tensor:
    """The logits; `weights` may carry a leading dimension, one network per point of the map."""
    h = x @ weights[0] + biases[0]
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        block = h.relu() @ weight + bias
        h = h + branch * block if branch else block
    return h @ weights[-1] + biases[-1]


def train(start: Weights, branch: float, data: Data, n: int) -> tuple[Weights, Weights]:
    """The weights and biases after n full-batch Adam steps."""
    x, y = data
    weights = [weight.clone().requires_grad_() for weight in start]
    biases = [torch.zeros(weight.shape[1], requires_grad=True) for weight in start]
    optimiser = torch.optim.Adam(weights + biases, lr=5e-3, fused=True)
    for _ in range(n):
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(forward(weights, biases, branch, x), y).backward()
        optimiser.step()
    return [weight.detach() for weight in weights], [bias.detach() for bias in biases]


def scaled(draw: Weights, weights: Weights, norm: str) -> Weights:
    """A direction through weight space: filter by filter as long as the weights, or just as drawn."""
    if norm == "raw":
        return draw
    return [d * weight.norm(dim=0) / d.norm(dim=0) for d, weight in zip(draw, weights, strict=True)]


def losses_along(
    weights: Weights, biases: Weights, branch: float, data: Data, directions: list[Weights],
    alpha: torch.Tensor, betas: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """One line of the map: the loss at w + α·d₁ + β·d₂ for every β, in one batch of networks."""
    x, y = data
    moved = [w + alpha * d1 + betas[:, None, None] * d2 for w, d1, d2 in zip(weights, *directions, strict=True)]
    logits = forward(moved, biases, branch, x).double()
    return binary_cross_entropy_with_logits(logits, y.double().expand_as(logits), reduction="none").mean(dim=(1, 2))


def rescaled(weights: Weights, biases: Weights) -> tuple[Weights, Weights]:
    """The same plain network written differently: first layer times 10, second divided by 10."""
    first, second, *rest = weights
    return [first * RESCALE, second / RESCALE, *rest], [biases[0] * RESCALE, *biases[1:]]


def describe(surface: torch.Tensor, centre: float) -> Metrics:
    """Height, basin, and the share of inner cells whose discrete Hessian has a negative eigenvalue."""
    mid = surface[1:-1, 1:-1]
    a = surface[2:, 1:-1] - 2 * mid + surface[:-2, 1:-1]
    c = surface[1:-1, 2:] - 2 * mid + surface[1:-1, :-2]
    b = (surface[2:, 2:] - surface[2:, :-2] - surface[:-2, 2:] + surface[:-2, :-2]) / 4
    lowest = (a + c) / 2 - torch.hypot((a - c) / 2, b)
    return {
        "center_loss": centre,
        "max_loss": surface.max().item(),
        "basin_share": (surface <= centre + 0.1).double().mean().item(),
        "frac_nonconvex": (lowest < 0).double().mean().item(),
        "frac_nonfinite": (~surface.isfinite()).double().mean().item(),
    }


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
