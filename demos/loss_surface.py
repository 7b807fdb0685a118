"""On a two-dimensional slice through weight space, a deep plain network's loss rises far higher than a residual one's.

Two ReLU networks, plain h ← relu(Wh + b) and residual h ← h + relu(Wh + b)/√layers, start from the same He weights
and zero biases: 2 inputs, a ReLU layer of `width` units, `layers` blocks, one output. Data: 64 points N(0, 1)², label
1 where x₁·x₂ > 0 (XOR of the signs), binary cross-entropy, `n` full-batch Adam steps at learning rate 0.005.
Around the trained weights w the loss is mapped at w + α·d₁ + β·d₂, α and β from −span to span (biases stay where they
are). d₁ and d₂ are drawn from N(0, 1), the same draws for both networks. norm = filter scales each neuron's incoming
part to the length of that neuron's weights; raw leaves it as drawn. Cells more curved down than up somewhere (lowest
eigenvalue of the 2×2 discrete Hessian < 0) count as non-convex; the basin is what lies within 0.1 of the centre.
A map should not depend on how the same function is written down. So the plain network's first layer is multiplied by
10 and its second divided by 10, which leaves its outputs as they were, and the map is drawn again with the same d's:
`rescaling_shift` is the mean change of log10 loss. In theory it is 0 for filter-normalised directions only.
Large maps are thinned in the rows (not in the metrics). Sources: Li, Xu, Taylor, Studer & Goldstein 2018, Visualizing
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
    "plain_basin_share": {"zh": "普通网络：盆地占比", "en": "plain: share of the map in the basin"},
    "plain_frac_nonconvex": {"zh": "普通网络：非凸格点占比", "en": "plain: share of non-convex cells"},
    "plain_frac_nonfinite": {"zh": "普通网络：溢出格点占比", "en": "plain: share of cells not finite"},
    "skip_center_loss": {"zh": "残差网络：中心处的损失", "en": "residual: loss at the centre"},
    "skip_max_loss": {"zh": "残差网络：最大损失", "en": "residual: largest loss"},
    "skip_basin_share": {"zh": "残差网络：盆地占比", "en": "residual: share of the map in the basin"},
    "skip_frac_nonconvex": {"zh": "残差网络：非凸格点占比", "en": "residual: share of non-convex cells"},
    "skip_frac_nonfinite": {"zh": "残差网络：溢出格点占比", "en": "residual: share of cells not finite"},
    "log10_max_ratio": {"zh": "最大损失之比（普通/残差）的 log10", "en": "log10 of the largest losses, plain / residual"},
    "rescaling_shift": {"zh": "换一种写法后 log10 损失的平均变化", "en": "mean change of log10 loss after rescaling"},
    "forwards": {"zh": "每张图的前向次数", "en": "forward passes per map"},
}
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
    y = (x[:, :1] * x[:, 1:] > 0).float()
    sizes = [2] + [width] * (layers + 1) + [1]
    start = [torch.randn(i, o) * (2 / i) ** 0.5 for i, o in zip(sizes, sizes[1:], strict=False)]
    noise = [[torch.randn_like(weight) for weight in start] for _ in range(2)]
    ticks = torch.linspace(-span, span, grid)
    metrics: Metrics = {}
    every = math.ceil(grid / 27)
    for net, branch in (("plain", 0.0), ("skip", layers**-0.5)):
        weights, biases = train(start, branch, x, y, n)
        surface = []
        for i, alpha in enumerate(ticks):
            surface.append(losses_along(weights, biases, branch, x, y, noise, norm, alpha, ticks))
            for j in range(0, grid if i % every == 0 else 0, every):
                loss = surface[-1][j].item()
                log10 = math.log10(loss) if loss > 0 else -math.inf if loss == 0 else loss
                place = {"alpha": round(alpha.item(), 3), "beta": round(ticks[j].item(), 3)}
                yield {"net": net, **place, "loss": loss, "log10_loss": log10}
        centre = losses_along(weights, biases, branch, x, y, noise, norm, ticks[0] * 0, ticks[:1] * 0).item()
        metrics |= {f"{net}_{name}": value for name, value in describe(torch.stack(surface), centre).items()}
        if net == "plain":
            twin, twin_biases = rescaled(weights, biases)
            again = [losses_along(twin, twin_biases, branch, x, y, noise, norm, alpha, ticks) for alpha in ticks]
            change = (torch.stack(again).log10() - torch.stack(surface).log10()).abs()
            metrics["rescaling_shift"] = change[change.isfinite()].mean().item()
    plain_max, skip_max = metrics["plain_max_loss"], metrics["skip_max_loss"]
    assert plain_max is not None and skip_max is not None
    metrics["log10_max_ratio"] = math.log10(plain_max / skip_max)
    return metrics | {"forwards": grid * grid}


def forward(weights: Weights, biases: Weights, branch: float, x: torch.Tensor) -> torch.Tensor:
    """The logits; `weights` may carry a leading dimension, one network per point of the map."""
    h = (x @ weights[0] + biases[0]).relu()
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        block = (h @ weight + bias).relu()
        h = h + branch * block if branch else block
    return h @ weights[-1] + biases[-1]


def train(start: Weights, branch: float, x: torch.Tensor, y: torch.Tensor, n: int) -> tuple[Weights, Weights]:
    """The weights and biases after n full-batch Adam steps."""
    weights = [weight.clone().requires_grad_() for weight in start]
    biases = [torch.zeros(weight.shape[1], requires_grad=True) for weight in start]
    optimiser = torch.optim.Adam(weights + biases, lr=5e-3)
    for _ in range(n):
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(forward(weights, biases, branch, x), y).backward()
        optimiser.step()
    return [weight.detach() for weight in weights], [bias.detach() for bias in biases]


def losses_along(
    weights: Weights,
    biases: Weights,
    branch: float,
    x: torch.Tensor,
    y: torch.Tensor,
    noise: list[Weights],
    norm: str,
    alpha: torch.Tensor,
    betas: torch.Tensor,
) -> torch.Tensor:
    """One row of the map: the loss at w + α·d₁ + β·d₂ for every β."""
    moved = []
    for weight, first, second in zip(weights, *noise, strict=True):
        if norm == "filter":
            length = weight.norm(dim=0)
            first, second = first * length / first.norm(dim=0), second * length / second.norm(dim=0)
        moved.append(weight + alpha * first + betas[:, None, None] * second)
    logits = forward(moved, biases, branch, x).squeeze(2).double()
    return binary_cross_entropy_with_logits(logits, y.T.double().expand_as(logits), reduction="none").mean(dim=1)


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
