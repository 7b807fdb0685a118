"""In ten thousand dimensions a random direction is all but perpendicular to any direction you care about.

A fixed direction (the first axis; by symmetry any other gives the same) and `trials` random planes, each spanned by
two directions from N(0, 1) in `n` dimensions, float32 numbers, sums in float64. Measured: |cos| between a random
direction and the fixed one, and the fraction of the fixed direction's squared length that lies in the plane, as a
picture drawn over that plane would show it. n is the number of weights of the network whose loss is to be drawn.

Theory: the mean of |cos| is Γ(n/2)/(√π·Γ((n + 1)/2)), about √(2/(πn)); the fraction of a plane is 2/n on average. That
does not tell how high the ridges beside the plane are, only that the plane misses them.
Source: Li et al. 2018, Visualizing the loss landscape of neural nets.
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "随机方向在高维里几乎正交", "en": "Random directions are almost perpendicular"}
PARAMS = {
    "n": {"zh": "维数（权重个数）", "en": "dimensions (number of weights)", "ge": 2, "le": 1000000},
    "trials": {"zh": "随机平面的个数", "en": "random planes", "ge": 10, "le": 2000},
}
LIMITS = [{"product": ["n", "trials"], "le": 40000000}]
COLUMNS = {
    "trial": {"zh": "第几个随机方向", "en": "random direction"},
    "cosine": {"zh": "与固定方向的 |cos|", "en": "|cos| with the fixed direction"},
    "theory": {"zh": "平均的理论值", "en": "mean in theory"},
}
METRICS = {
    "mean_abs_cos": {"zh": "|cos| 的平均", "en": "mean |cos|"},
    "max_abs_cos": {"zh": "|cos| 的最大值", "en": "largest |cos|"},
    "theory_abs_cos": {"zh": "|cos| 平均的理论值", "en": "mean |cos| in theory"},
    "approximation": {"zh": "√(2/(πn))", "en": "√(2/(πn))"},
    "mean_angle": {"zh": "夹角的平均", "en": "mean angle", "unit": "degree"},
    "plane_share": {"zh": "平面里看得见的份额", "en": "fraction seen in the plane"},
    "theory_plane_share": {"zh": "平面份额的理论值 2/n", "en": "fraction in theory, 2/n"},
}
CHART = {
    "transform": [{"fold": ["cosine", "theory"], "as": ["series", "value"]}],
    "mark": {"type": "point", "filled": True},
    "encoding": {
        "x": {"field": "trial", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(n: int = 10000, trials: int = 100) -> Generator[Row, None, Metrics]:
    expected = math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)
    cosines, shares = [], []
    for trial in range(trials):
        first, second = torch.randn(n), torch.randn(n)
        a, b = first[0].item() / norm(first), second[0].item() / norm(second)
        c = float(torch.dot(first.double(), second.double())) / norm(first) / norm(second)
        cosines.append(abs(a))
        rest = (b - a * c) / math.sqrt(1 - c * c) if abs(c) < 1 else 0.0  # along the second axis of the plane
        shares.append(a * a + rest * rest)
        if trial < 100:
            yield {"trial": trial + 1, "cosine": abs(a), "theory": expected}
    mean = sum(cosines) / trials
    return {
        "mean_abs_cos": mean,
        "max_abs_cos": max(cosines),
        "theory_abs_cos": expected,
        "approximation": math.sqrt(2 / (math.pi * n)),
        "mean_angle": sum(math.degrees(math.acos(min(c, 1.0))) for c in cosines) / trials,
        "plane_share": sum(shares) / trials,
        "theory_plane_share": 2 / n,
    }


def norm(v: torch.Tensor) -> float:
    """In float64."""
    return float(v.double().norm())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
