"""A group whose rewards are all equal has no spread: without eps 0/0, with a tiny eps rounding noise becomes a signal.

Rewards `reward` ± `spread`, + for the even places and − for the odd ones, in float32; their advantages are
(r − mean)/(std + eps) within the group, std with n − 1 in the denominator, as in GRPO. For group sizes 1 … `group`:

no_eps     eps = 0: 0/0 = nan if all rewards are equal and their mean is exact
with_eps   `eps`. Where the rounded mean of equal rewards differs from them by one unit in the last place, std is of
           that size too, and if eps is not far larger, the quotient is of order 1 although nothing differs
guarded    0 where the largest deviation is below 1e-5·(|mean| + 1), otherwise as with_eps

A group of one has std nan in torch (0/0), whatever eps. exact: the largest advantage in real arithmetic for `group`.
Nothing is random. Source: Shao et al. 2024, DeepSeekMath (GRPO).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "组内归一化的优势，标准差为 0", "en": "Advantages normalised in a group of no spread"}
PARAMS = {
    "group": {"zh": "组的大小", "en": "group size", "ge": 1, "le": 256},
    "reward": {"zh": "奖励", "en": "reward", "ge": -1e6, "le": 1e6},
    "spread": {"zh": "奖励上下相差 ±", "en": "rewards differ by ±", "ge": 0, "le": 1e6},
    "eps": {"zh": "分母里的 eps", "en": "eps in the denominator", "ge": 0, "le": 1},
}
COLUMNS = {
    "size": {"zh": "组的大小", "en": "group size"},
    "no_eps": {"zh": "不加 eps", "en": "no eps"},
    "with_eps": {"zh": "加 eps", "en": "with eps"},
    "guarded": {"zh": "先看有没有差别", "en": "guarded"},
}
METRICS = {
    "nan_share": {"zh": "不加 eps 得 nan 的组的比例", "en": "fraction of group sizes with nan, no eps"},
    "largest": {"zh": "加 eps，最大的优势", "en": "largest advantage with eps"},
    "noisy_share": {
        "zh": "加 eps，优势超过 0.01 的组的比例",
        "en": "fraction of sizes whose advantage exceeds 0.01, with eps",
    },
    "largest_guarded": {"zh": "先看有没有差别，最大的优势", "en": "largest advantage, guarded"},
    "single": {"zh": "只有一个样本，加 eps", "en": "group of one, with eps"},
    "single_guarded": {"zh": "只有一个样本，先看有没有差别", "en": "group of one, guarded"},
    "exact": {"zh": "最大的优势，准确值", "en": "largest advantage, exact"},
}
CHART = {
    "transform": [{"fold": ["no_eps", "with_eps", "guarded"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "size", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(group: int = 32, reward: float = 0.1, spread: float = 0.0, eps: float = 1e-8) -> Generator[Row, None, Metrics]:
    rows: list[Row] = []
    for size in range(1, group + 1):
        rewards = reward + spread * (1 - 2 * (torch.arange(size) % 2)).float()
        rows.append(
            {
                "size": size,
                "no_eps": largest(normalised(rewards, 0.0)),
                "with_eps": largest(normalised(rewards, eps)),
                "guarded": largest(guarded(rewards, eps)),
            }
        )
        yield rows[-1]
    several = rows[1:] or rows
    return {
        "nan_share": sum(math.isnan(row["no_eps"]) for row in several) / len(several),
        "largest": max(row["with_eps"] for row in several),
        "noisy_share": sum(row["with_eps"] > 0.01 for row in several) / len(several),
        "largest_guarded": max(row["guarded"] for row in several),
        "single": rows[0]["with_eps"],
        "single_guarded": rows[0]["guarded"],
        "exact": exact(group, spread, eps),
    }


def normalised(rewards: Tensor, eps: float) -> Tensor:
    """(r − mean)/(std + eps); std of one reward is nan, as torch.std says."""
    centred = rewards - rewards.mean()
    std = rewards.std() if len(rewards) > 1 else torch.tensor(math.nan)
    return centred / (std + eps)


def guarded(rewards: Tensor, eps: float) -> Tensor:
    """The same, 0 where nothing differs."""
    mean = rewards.mean()
    if (rewards - mean).abs().max() <= 1e-5 * (mean.abs() + 1):
        return torch.zeros_like(rewards)
    return normalised(rewards, eps)


def largest(advantages: Tensor) -> float:
    return float(advantages.abs().max())


def exact(size: int, spread: float, eps: float) -> float:
    """The largest |advantage| in real arithmetic; 0 for a group without spread."""
    up, down = (size + 1) // 2, size // 2
    if size == 1 or spread == 0:
        return 0.0
    mean = spread * (up - down) / size
    std = math.sqrt((up * (spread - mean) ** 2 + down * (spread + mean) ** 2) / (size - 1))
    return (spread + abs(mean)) / (std + eps)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
