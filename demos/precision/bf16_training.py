"""Weights kept in bfloat16 alone lose most updates of a fine-tuning run; a float32 copy or random rounding keeps them.

Linear regression y = x·w* + N(0, 1)/10 in 32 dimensions. Training starts from "pretrained" weights w₀ ~ N(0, 1) and has
to find w* = w₀ + N(0, 1)/10, by Adam (β = 0.9 and 0.99) on batches of 64, with a cosine schedule from `lr` to 0 over
`n` steps. Adam's state and all arithmetic are in float32; only where the weights live differs: `master` a float32 copy
beside the bfloat16 weights, `nearest` bfloat16 rounded to nearest, `stochastic` bfloat16 rounded at random (up with the
probability that makes it right on average), `kahan` bfloat16 with a second bfloat16 number for what was lost. Gradients
are taken at the bfloat16 weights in all four, on the same batches.

Measured: the excess loss |w − w*|² of the bfloat16 weights, and the fraction of the updates (not 0) that leave a weight
as it was. Theory: between 2^e and 2^(e+1) neighbours in bfloat16 are 2^(e−7) apart; an update below half of that is
lost, and Adam's are about as large as the rate. Random: data, weights, stochastic roundings.
Source: Zamirai et al. 2020, Revisiting bfloat16 training; Gupta et al. 2015, Deep learning with limited precision.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "权重只存 bfloat16 的训练", "en": "Training with weights in bfloat16 only"}
PARAMS = {
    "lr": {"zh": "学习率峰值", "en": "peak learning rate", "ge": 1e-7, "le": 1},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 20, "le": 4000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "master": {"zh": "float32 主权重", "en": "float32 master weights"},
    "nearest": {"zh": "bfloat16 舍入到最近", "en": "bfloat16, to nearest"},
    "stochastic": {"zh": "bfloat16 随机舍入", "en": "bfloat16, stochastic"},
    "kahan": {"zh": "bfloat16 加 Kahan 补偿", "en": "bfloat16 with Kahan's compensation"},
    "swallowed": {"zh": "这一步被吞掉的比例", "en": "fraction swallowed at this step"},
}
METRICS = {
    "start": {"zh": "开始时的超额损失", "en": "excess loss at the start"},
    "master": {"zh": "float32 主权重：超额损失", "en": "float32 master weights: excess loss"},
    "nearest": {"zh": "bfloat16 舍入到最近：超额损失", "en": "bfloat16, to nearest: excess loss"},
    "stochastic": {"zh": "bfloat16 随机舍入：超额损失", "en": "bfloat16, stochastic: excess loss"},
    "kahan": {"zh": "bfloat16 加 Kahan：超额损失", "en": "bfloat16 with Kahan: excess loss"},
    "nearest_over_master": {"zh": "舍入到最近与主权重之比", "en": "to nearest over master"},
    "stochastic_over_nearest": {"zh": "随机舍入与舍入到最近之比", "en": "stochastic over nearest"},
    "kahan_over_nearest": {"zh": "Kahan 与舍入到最近之比", "en": "Kahan over nearest"},
    "swallowed": {"zh": "被吞掉的更新比例", "en": "fraction of swallowed updates"},
    "swallowed_first": {"zh": "前一成步数里被吞掉的比例", "en": "fraction swallowed in the first tenth"},
    "swallowed_last": {"zh": "后一成步数里被吞掉的比例", "en": "fraction swallowed in the last tenth"},
}
CHART = {
    "transform": [{"fold": ["master", "nearest", "stochastic", "kahan"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
WAYS = ["master", "nearest", "stochastic", "kahan"]


def run(lr: float = 1e-3, n: int = 600) -> Generator[Row, None, Metrics]:
    pretrained = torch.randn(32)
    target = pretrained + torch.randn(32) / 10
    stored = pretrained.bfloat16().float().repeat(4, 1)  # one row for each of WAYS: what lives in bfloat16
    copy, lost = pretrained.clone(), torch.zeros(32)
    mean, square = torch.zeros(4, 32), torch.zeros(4, 32)
    start = excess(stored, target)[0]
    swallowed, every = [], max(1, n // 100)
    for step in range(1, n + 1):
        x = torch.randn(64, 32)
        y = x @ target + torch.randn(64) / 10
        gradient = 2 * (stored @ x.T - y) @ x / 64
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient.square()
        rate = lr * (1 + math.cos(math.pi * (step - 1) / n)) / 2
        update = -rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-8)
        before = stored
        copy = copy + update[0]
        wanted = update[3] + lost
        stored = torch.stack(
            [
                copy.bfloat16().float(),
                (before[1] + update[1]).bfloat16().float(),
                rounded_at_random(before[2] + update[2]),
                (before[3] + wanted).bfloat16().float(),
            ]
        )
        lost = (wanted - (stored[3] - before[3])).bfloat16().float()
        asked = update[1] != 0
        swallowed.append((asked & (stored[1] == before[1])).sum().item() / max(asked.sum().item(), 1))
        if step % every == 0 or step in (1, n):
            yield {"step": step, **dict(zip(WAYS, excess(stored, target), strict=True)), "swallowed": swallowed[-1]}
    ends = dict(zip(WAYS, excess(stored, target), strict=True))
    tenth = max(1, n // 10)
    return {
        "start": start,
        **ends,
        "nearest_over_master": ends["nearest"] / ends["master"],
        "stochastic_over_nearest": ends["stochastic"] / ends["nearest"],
        "kahan_over_nearest": ends["kahan"] / ends["nearest"],
        "swallowed": sum(swallowed) / n,
        "swallowed_first": sum(swallowed[:tenth]) / tenth,
        "swallowed_last": sum(swallowed[-tenth:]) / tenth,
    }


def rounded_at_random(values: Tensor) -> Tensor:
    """float32 to bfloat16: 16 random bits are added to the 16 that go, which are then cut off."""
    noise = torch.randint(0, 1 << 16, values.shape, dtype=torch.int32)
    return ((values.view(torch.int32) + noise) & ~0xFFFF).view(torch.float32)


def excess(weights: Tensor, target: Tensor) -> list[float]:
    """The squared distance of each row from the target: the expected loss above that of the target."""
    return [float(value) for value in (weights.double() - target.double()).square().sum(1)]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
