"""A diffusion model's loss has a floor well above 0, and late in training it hides how much the samples improve.

Data: `centres` points on a circle (variance 1 in each of 2 coordinates) plus N(0, `width`²), all times `scale`. Noising
x_t = √ā x + √(1 − ā) ε at 50 levels ā = cos²(πt/2), t = 0.01 … 0.99; a net of two SiLU layers of 64 units, its last
layer starting at 0, predicts ε from x_t and t. Adam at rate `lr`, batches of `batch`, loss the mean of (ε̂ − ε)², `n`
steps. Every eighth of the training: the loss on 4,000 fixed samples at fixed levels, and 500 samples drawn by
deterministic DDIM from all levels; off: the distance to the nearest centre, over the same mean distance of true data.

An output of 0 costs E ε² = 1. The best possible answer is E[ε | x_t], here known in closed form (the mixture's
posterior); floor: its loss, the mean of the levels; floor_first, floor_last: at the lowest and at the highest noise.
jumps: the standard deviation of the losses of the batches in the last quarter; late_fall: by how much the fixed-sample
loss fell in that quarter; early_share: the fraction of the whole fall that the first eighth brought; gain: how many
times nearer the samples came after that. Random: data, noise, levels, weights. Source: Ho, Jain & Abbeel 2020, DDPM;
Kingma & Gao 2023, Understanding diffusion objectives.
"""

import math
from collections.abc import Generator, Iterator

import torch
from torch import Tensor

TITLE = {"zh": "扩散模型的损失有下限", "en": "The floor of a diffusion model's loss"}
PARAMS = {
    "centres": {"zh": "数据的中心数", "en": "centres of the data", "ge": 1, "le": 12},
    "width": {"zh": "每个中心的宽度", "en": "width of each centre", "ge": 0.01, "le": 1},
    "scale": {"zh": "数据的缩放", "en": "scale of the data", "ge": 0.01, "le": 200},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "batch": {"zh": "批量", "en": "batch size", "unit": "sample", "ge": 8, "le": 256},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 8, "le": 1400},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "batch_loss": {"zh": "一批的损失", "en": "loss of one batch"},
    "loss": {"zh": "固定样本上的损失", "en": "loss on fixed samples"},
    "floor": {"zh": "损失的下限", "en": "floor of the loss"},
    "off": {"zh": "样本离中心的距离 ÷ 真实数据的", "en": "samples' distance over the data's"},
}
METRICS = {
    "loss_start": {"zh": "开始时的损失", "en": "loss at the start"},
    "loss_early": {"zh": "训练八分之一时的损失", "en": "loss after an eighth"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "floor": {"zh": "最好的模型的损失", "en": "loss of the best possible model"},
    "floor_first": {"zh": "噪声最小处的下限", "en": "floor at the lowest noise"},
    "floor_last": {"zh": "噪声最大处的下限", "en": "floor at the highest noise"},
    "jumps": {"zh": "各批损失的标准差", "en": "standard deviation of the batch losses"},
    "late_fall": {"zh": "最后四分之一损失下降多少", "en": "fall of the loss in the last quarter"},
    "early_share": {"zh": "前八分之一占全部下降的比例", "en": "fraction of the fall in the first eighth"},
    "off_early": {"zh": "训练八分之一时样本的偏离", "en": "samples' distance after an eighth"},
    "off_end": {"zh": "最后样本的偏离", "en": "samples' distance at the end"},
    "gain": {"zh": "此后样本近了几倍", "en": "how many times nearer samples came after that"},
}
CHART = {
    "transform": [{"fold": ["batch_loss", "loss", "floor"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | None]
Metrics = dict[str, float]
TIMES = torch.linspace(0.01, 0.99, 50)
KEPT = (math.pi * TIMES / 2).cos() ** 2
SIGNS = torch.stack([KEPT.sqrt(), (1 - KEPT).sqrt(), torch.logit(KEPT) / 5], 1)
"""What the net is told of each level."""


def run(
    centres: int = 8,
    width: float = 0.05,
    scale: float = 1.0,
    lr: float = 0.003,
    batch: int = 128,
    n: int = 1200,
) -> Generator[Row, None, Metrics]:
    middles = scale * ring(centres)
    spread = scale * width
    net = noise_layers()
    adam = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    clean, level = draw(middles, spread, 4000), torch.arange(4000) % len(KEPT)
    noise = torch.randn(4000, 2)
    noisy = mixed(clean, noise, level)
    floors = squares(best(noisy, level, middles, spread), noise)
    floor = floors.mean().item()
    usual = off_centre(clean, middles)
    start = torch.randn(500, 2)

    losses: list[float] = []
    seen = torch.cat([noisy, SIGNS[level]], 1)
    fixed = [mean_loss(net, seen, noise)]
    off: list[float] = []
    marks = [round(n * part / 8) for part in range(1, 9)]
    for step, (inputs, drawn) in enumerate(batches(middles, spread, batch, n), 1):
        loss = torch.nn.functional.mse_loss(net(inputs), drawn)
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
        row: Row = {"step": step, "batch_loss": losses[-1], "loss": None, "floor": floor, "off": None}
        if step in marks:
            fixed.append(mean_loss(net, seen, noise))
            off.append(off_centre(sampled(net, start), middles) / usual)
            row |= {"loss": fixed[-1], "off": off[-1]}
        yield row
    return {
        "loss_start": fixed[0],
        "loss_early": fixed[1],
        "loss_end": fixed[-1],
        "floor": floor,
        "floor_first": floors[level == 0].mean().item(),
        "floor_last": floors[level == len(KEPT) - 1].mean().item(),
        "jumps": torch.tensor(losses[-(-len(losses) * 3 // 4) :], dtype=torch.float64).std(correction=0).item(),
        "late_fall": fixed[6] - fixed[-1],
        "early_share": share(fixed[0] - fixed[1], fixed[0] - fixed[-1]),
        "off_early": off[0],
        "off_end": off[-1],
        "gain": share(off[0], off[-1]),
    }


def noise_layers() -> torch.nn.Sequential:
    """From x_t and three numbers of its level to ε̂; the last layer begins at 0."""
    last = torch.nn.Linear(64, 2)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    first, second = torch.nn.Linear(5, 64), torch.nn.Linear(64, 64)
    return torch.nn.Sequential(first, torch.nn.SiLU(), second, torch.nn.SiLU(), last)


def share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def ring(centres: int) -> Tensor:
    """Points on a circle of radius √2: variance 1 in each coordinate from three points on."""
    angles = 2 * math.pi * torch.arange(centres) / centres
    return math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], 1)


def draw(middles: Tensor, spread: float, count: int) -> Tensor:
    return middles[torch.randint(len(middles), (count,))] + spread * torch.randn(count, 2)


def batches(middles: Tensor, spread: float, batch: int, n: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`n` batches: what the net is given, and the noise that it should tell."""
    levels, noises, points = (
        torch.randint(len(KEPT), (n, batch)),
        torch.randn(n, batch, 2),
        draw(middles, spread, n * batch),
    )
    levels = levels.flatten()
    noisy = mixed(points, noises.view(-1, 2), levels)
    return zip(torch.cat([noisy, SIGNS[levels]], 1).split(batch), noises.unbind(), strict=True)


def mixed(clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    kept = KEPT[level, None]
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def best(noisy: Tensor, level: Tensor, middles: Tensor, spread: float) -> Tensor:
    """E[ε | x_t] of the mixture, in float64: Σ over centres of the weight of the centre times its linear posterior."""
    x, kept = noisy.double(), KEPT.double()[level, None]
    variance = kept * spread**2 + 1 - kept
    apart = x[:, None] - kept.sqrt()[:, None] * middles.double()
    weights = torch.softmax(-apart.square().sum(2) / (2 * variance), 1)
    return ((1 - kept).sqrt()[:, None] * apart / variance[:, None] * weights[:, :, None]).sum(1)


def squares(answer: Tensor, noise: Tensor) -> Tensor:
    return (answer - noise).square().mean(1)


def mean_loss(net: torch.nn.Module, seen: Tensor, noise: Tensor) -> float:
    with torch.no_grad():
        return float(squares(net(seen), noise).double().mean())


def sampled(net: torch.nn.Module, start: Tensor) -> Tensor:
    """Deterministic DDIM through all levels; the last step gives the predicted clean point."""
    x = start
    for index in range(len(KEPT) - 1, -1, -1):
        kept = KEPT[index]
        with torch.no_grad():
            noise = net(torch.cat([x, SIGNS[index].expand(len(x), -1)], 1))
        clean = (x - (1 - kept).sqrt() * noise) / kept.sqrt()
        following = KEPT[index - 1] if index else torch.tensor(1.0)
        x = following.sqrt() * clean + (1 - following).sqrt() * noise
    return x


def off_centre(points: Tensor, middles: Tensor) -> float:
    """The mean distance to the nearest centre."""
    return float((points[:, None] - middles).double().norm(dim=2).amin(1).mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        if row["loss"] is not None:
            print(row)
