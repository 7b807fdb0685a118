"""Estimators of a KL divergence from samples: k1 is noisy, k2 biased, k3 unbiased, but its exp explodes far away.

Samples a ~ p = N(0, 1), the policy, q = N(`x`, 1), the reference, d = log q(a) − log p(a) = x·a − x²/2: a KL penalty
in PPO or GRPO, with x the distance of the two in standard deviations. KL(p‖q) = x²/2, from `n` samples, in float64:

k1   −d             mean x²/2, variance x²; half of the values are negative when x is small
k2   d²/2           mean x²/2 + x⁴/8, never negative
k3   eᵈ − 1 − d     mean x²/2, never negative, variance e^(x²) − 1 − x²

std is that of one value, noise is it relative to the KL. The rows scan the distance up to x. slope: the mean of a
times the derivative of the estimator by log p(a), the gradient of a penalty with respect to the mean of p if the
samples are taken as given, as in a loss. The KL has the gradient −x. k1 has E a = 0 whatever x: as a loss it teaches
nothing; k2 has −x; k3 has E[a·(1 − eᵈ)] = −x, of KL(q‖p), from samples only as long as they reach q. slope_over_kl is
the slope of the estimator `way` over −x. Random: a.
Source: Schulman 2020, Approximating KL divergence; Shao et al. 2024, DeepSeekMath (k3 in GRPO).
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "KL 的三个估计：k1、k2、k3", "en": "Three estimators of the KL: k1, k2, k3"}
PARAMS = {
    "x": {"zh": "两个分布的距离", "en": "distance of the distributions", "ge": 1e-3, "le": 30},
    "n": {"zh": "样本数", "en": "samples", "ge": 100, "le": 200000},
    "way": {"zh": "当作损失的估计", "en": "estimator used as a loss"},
}
COLUMNS = {
    "x": {"zh": "距离", "en": "distance"},
    "k1": {"zh": "标准差除以 KL：k1", "en": "std relative to the KL: k1"},
    "k2": {"zh": "标准差除以 KL：k2", "en": "std relative to the KL: k2"},
    "k3": {"zh": "标准差除以 KL：k3", "en": "std relative to the KL: k3"},
}
METRICS = {
    "mean_k1": {"zh": "平均：k1", "en": "mean: k1"},
    "mean_k2": {"zh": "平均：k2", "en": "mean: k2"},
    "mean_k3": {"zh": "平均：k3", "en": "mean: k3"},
    "noise_k1": {"zh": "标准差除以 KL：k1", "en": "std relative to the KL: k1"},
    "noise_k2": {"zh": "标准差除以 KL：k2", "en": "std relative to the KL: k2"},
    "noise_k3": {"zh": "标准差除以 KL：k3", "en": "std relative to the KL: k3"},
    "bias_k2": {"zh": "k2 的相对偏差", "en": "bias of k2, relative"},
    "negative_k1": {"zh": "k1 为负的比例", "en": "fraction of k1 below 0"},
    "negative_k3": {"zh": "k3 为负的比例", "en": "fraction of k3 below 0"},
    "largest_k3": {"zh": "最大的 k3", "en": "largest k3"},
    "slope_k1": {"zh": "当作损失的梯度：k1", "en": "gradient as a loss: k1"},
    "slope_k2": {"zh": "当作损失的梯度：k2", "en": "gradient as a loss: k2"},
    "slope_k3": {"zh": "当作损失的梯度：k3", "en": "gradient as a loss: k3"},
    "slope_over_kl": {"zh": "当作损失的梯度，是 KL 的几倍", "en": "gradient as a loss, times that of the KL"},
    "theory_kl": {"zh": "KL = x²/2", "en": "KL = x²/2"},
    "theory_k2": {"zh": "x²/2 + x⁴/8", "en": "x²/2 + x⁴/8"},
    "theory_slope": {"zh": "KL 真正的梯度 −x", "en": "true gradient of the KL, −x"},
}
CHART = {
    "transform": [{"fold": ["k1", "k2", "k3"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("k1", "k2", "k3")


def run(x: float = 0.1, n: int = 20000, way: Literal["k1", "k2", "k3"] = "k2") -> Generator[Row, None, Metrics]:
    a = torch.randn(n).double()
    for k in range(1, 17):
        at = x * k / 16
        yield {"x": at, **{name: noise(value, at) for name, value in estimates(a, at).items()}}
    values = estimates(a, x)
    d = x * a - x * x / 2
    factors = {"k1": torch.ones_like(d), "k2": -d, "k3": -torch.expm1(d)}
    slopes = {name: (a * factors[name]).mean().item() for name in WAYS}
    return {
        **{f"mean_{name}": values[name].mean().item() for name in WAYS},
        **{f"noise_{name}": noise(values[name], x) for name in WAYS},
        "bias_k2": values["k2"].mean().item() / (x * x / 2) - 1,
        "negative_k1": (values["k1"] < 0).double().mean().item(),
        "negative_k3": (values["k3"] < 0).double().mean().item(),
        "largest_k3": values["k3"].max().item(),
        **{f"slope_{name}": slope for name, slope in slopes.items()},
        "slope_over_kl": slopes[way] / -x,
        "theory_kl": x * x / 2,
        "theory_k2": x * x / 2 + x**4 / 8,
        "theory_slope": -x,
    }


def estimates(a: Tensor, x: float) -> dict[str, Tensor]:
    d = x * a - x * x / 2
    return {"k1": -d, "k2": d.square() / 2, "k3": torch.expm1(d) - d}


def noise(values: Tensor, x: float) -> float:
    """The standard deviation of a value relative to the KL."""
    return float(values.std().item() / (x * x / 2))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
