"""A product of orthogonal matrices keeps every singular value at 1; Gaussian ones keep the top and crush the rest.

n independent d×d matrices are multiplied, in two versions: gain × a random orthogonal matrix, and gain × a matrix with
entries N(0, 1/d), which preserves the mean square of a vector. Followed in float64 are the size of a direction that is
stretched most, of the median one and of the weakest. Singular values of a long product differ by more orders of
magnitude than float64 has digits, so they are followed by the QR method: Q_t R_t = M_t Q_{t−1}, and Σ log|R_ii| for
every direction i. For orthogonal factors these are the logarithms of the singular values; for others they approach
them as n grows, and only their sum over all directions, log|det|, is exact at every n. Theory for Gaussian factors
(Newman 1986): direction i grows by ln gain + ½(ln(2/d) + ψ((d − i + 1)/2)) per factor.
Source: Pennington, Schoenholz & Ganguli 2017; Newman 1986.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "正交矩阵与高斯矩阵的连乘", "en": "Products of orthogonal and of Gaussian matrices"}
PARAMS = {
    "n": {"zh": "矩阵个数", "en": "how many matrices", "ge": 1, "le": 2000},
    "d": {"zh": "矩阵阶数", "en": "size of a matrix", "ge": 2, "le": 128},
    "gain": {"zh": "每个矩阵再乘的倍数", "en": "factor on every matrix", "ge": 0.01, "le": 10},
}
LIMITS = [{"product": ["n", "d", "d"], "le": 3000000}]
COLUMNS = {
    "step": {"zh": "第几个矩阵", "en": "matrix number"},
    "orthogonal": {"zh": "正交：最大方向的 log10", "en": "orthogonal: log10 of the largest direction"},
    "gauss_top": {"zh": "高斯：最大方向的 log10", "en": "Gaussian: log10 of the largest direction"},
    "gauss_median": {"zh": "高斯：中间方向的 log10", "en": "Gaussian: log10 of the median direction"},
    "gauss_bottom": {"zh": "高斯：最小方向的 log10", "en": "Gaussian: log10 of the weakest direction"},
}
METRICS = {
    "orthogonal_top": {"zh": "正交：最大的方向", "en": "orthogonal: the largest direction"},
    "orthogonal_bottom": {"zh": "正交：最小的方向", "en": "orthogonal: the weakest direction"},
    "orthogonal_spread": {
        "zh": "正交：最大最小相差几个数量级",
        "en": "orthogonal: orders of magnitude from weakest to largest",
    },
    "gauss_top": {"zh": "高斯：最大的方向", "en": "Gaussian: the largest direction"},
    "gauss_median": {"zh": "高斯：中间的方向", "en": "Gaussian: the median direction"},
    "gauss_bottom": {"zh": "高斯：最小的方向", "en": "Gaussian: the weakest direction"},
    "gauss_spread": {
        "zh": "高斯：最大与中间相差几个数量级",
        "en": "Gaussian: orders of magnitude from median to largest",
    },
    "theory_gauss_spread": {"zh": "高斯：理论上相差几个数量级", "en": "Gaussian: orders of magnitude in theory"},
    "log10_determinant": {"zh": "高斯：行列式绝对值的 log10", "en": "Gaussian: log10 of |determinant|"},
}
CHART = {
    "transform": [{"fold": ["orthogonal", "gauss_top", "gauss_median", "gauss_bottom"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(n: int = 100, d: int = 64, gain: float = 1.0) -> Generator[Row, None, Metrics]:
    logs = {"orthogonal": torch.zeros(d, dtype=torch.float64), "gauss": torch.zeros(d, dtype=torch.float64)}
    frames = {name: torch.eye(d, dtype=torch.float64) for name in logs}
    every = max(1, n // 100)
    for step in range(1, n + 1):
        entries = torch.randn(d, d, dtype=torch.float64)
        factors = {"orthogonal": torch.linalg.qr(entries)[0], "gauss": entries / math.sqrt(d)}
        for name, factor in factors.items():
            frames[name], r = torch.linalg.qr(gain * factor @ frames[name])
            logs[name] += r.diagonal().abs().log10()
        if step % every == 0 or step == n:
            gauss = ordered(logs["gauss"])
            yield {
                "step": step,
                "orthogonal": ordered(logs["orthogonal"])[0],
                "gauss_top": gauss[0],
                "gauss_median": gauss[d // 2],
                "gauss_bottom": gauss[-1],
            }
    orthogonal, gauss = ordered(logs["orthogonal"]), ordered(logs["gauss"])
    return {
        "orthogonal_top": power(orthogonal[0]),
        "orthogonal_bottom": power(orthogonal[-1]),
        "orthogonal_spread": orthogonal[0] - orthogonal[-1],
        "gauss_top": power(gauss[0]),
        "gauss_median": power(gauss[d // 2]),
        "gauss_bottom": power(gauss[-1]),
        "gauss_spread": gauss[0] - gauss[d // 2],
        "theory_gauss_spread": n * (growth(d, 1) - growth(d, d // 2 + 1)) / math.log(10),
        "log10_determinant": sum(gauss),
    }


def ordered(logs: Tensor) -> list[float]:
    """The directions from the largest to the weakest."""
    return [float(value) for value in logs.sort(descending=True).values]


def power(log10: float) -> float:
    """10^log10, which is inf where float64 ends."""
    return float(torch.tensor(10.0, dtype=torch.float64) ** log10)


def growth(d: int, i: int) -> float:
    """½(ln(2/d) + ψ((d − i + 1)/2)): log growth of direction i per Gaussian factor of mean-square gain 1."""
    return (math.log(2 / d) + float(torch.special.digamma(torch.tensor((d - i + 1) / 2, dtype=torch.float64)))) / 2


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
