"""A line fitted to a curve is wrong elsewhere; weights p_test/p_train make it right where the test points lie.

Training points x ~ N(1/2, 1/2²), test points x ~ N(1/2 − shift, 0.3²), y = f(x) + noise·N(0, 1), f(x) = x³ − x (or
the line −x/2). A line is fitted to `n` training points by least squares, once with equal weights, once with the weights
(p_test(x)/p_train(x))^power: power 1 is importance weighting, 0 is none, in between lies a compromise. Test error: the
mean of (line − f)² under p_test, without the noise, by quadrature. Theory: the same for infinitely many points.
Effective sample size: (Σw)²/Σw². Source: Shimodaira 2000, Improving predictive inference under covariate shift by
weighting the log-likelihood function, J. Stat. Plan. Inference 90 (whose example this is, but for the noise).
"""

import math
from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "协变量偏移与重要性加权", "en": "Covariate shift and importance weighting"}
PARAMS = {
    "n": {"zh": "训练样本数", "en": "training samples", "unit": "sample", "ge": 5, "le": 100000},
    "shift": {"zh": "测试均值比训练均值小多少", "en": "how far the test mean lies below", "ge": -3, "le": 3},
    "noise": {"zh": "噪声的标准差", "en": "standard deviation of the noise", "ge": 0, "le": 10},
    "target": {"zh": "真实的函数", "en": "true function"},
    "power": {"zh": "权重的指数", "en": "exponent of the weights", "ge": 0, "le": 1},
}
COLUMNS = {
    "x": {"zh": "x", "en": "x"},
    "truth": {"zh": "真实函数", "en": "true function"},
    "unweighted": {"zh": "不加权的直线", "en": "unweighted line"},
    "weighted": {"zh": "加权的直线", "en": "weighted line"},
}
METRICS = {
    "unweighted_mse": {"zh": "不加权：测试误差", "en": "unweighted: test error"},
    "weighted_mse": {"zh": "加权：测试误差", "en": "weighted: test error"},
    "mse_ratio": {"zh": "不加权与加权的误差之比", "en": "error, unweighted over weighted"},
    "theory_unweighted_mse": {"zh": "不加权：样本无穷多时", "en": "unweighted: with infinitely many samples"},
    "theory_weighted_mse": {"zh": "加权：样本无穷多时", "en": "weighted: with infinitely many samples"},
    "effective_samples": {"zh": "有效样本数", "en": "effective sample size", "unit": "sample"},
    "effective_share": {"zh": "有效样本占比", "en": "effective sample size over n"},
    "largest_weight_share": {"zh": "最大的一个权重占总权重", "en": "fraction of the largest weight in all"},
}
CHART = {
    "transform": [{"fold": ["truth", "unweighted", "weighted"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
TRAIN_MEAN, TRAIN_SD, TEST_SD = 0.5, 0.5, 0.3
GRID = torch.linspace(-8, 8, 4001, dtype=torch.float64)


def run(
    n: int = 200,
    shift: float = 0.5,
    noise: float = 0.3,
    target: Literal["cubic", "line"] = "cubic",
    power: float = 1.0,
) -> Generator[Row, None, Metrics]:
    f: Callable[[Tensor], Tensor] = (lambda x: x**3 - x) if target == "cubic" else (lambda x: -x / 2)
    mean = TRAIN_MEAN - shift
    x = TRAIN_MEAN + TRAIN_SD * torch.randn(n, dtype=torch.float64)
    y = f(x) + noise * torch.randn(n, dtype=torch.float64)
    log_weight = power * (log_density(x, mean, TEST_SD) - log_density(x, TRAIN_MEAN, TRAIN_SD))
    weight = (log_weight - log_weight.max()).exp()
    lines = {"unweighted": line(x, y, torch.ones_like(x)), "weighted": line(x, y, weight)}
    grid = GRID[::20] * 0.25 + (TRAIN_MEAN + mean) / 2
    for at in grid.tolist():
        row = {"x": at, "truth": float(f(torch.tensor(at, dtype=torch.float64)))}
        yield row | {name: a + b * at for name, (a, b) in lines.items()}
    test = mean + TEST_SD * GRID
    mass = (-(GRID**2) / 2).exp()
    mse = {name: float(((a + b * test - f(test)) ** 2 * mass).sum() / mass.sum()) for name, (a, b) in lines.items()}
    wide = 24 * GRID / 8  # a grid that holds both densities
    train_mass = log_density(wide, TRAIN_MEAN, TRAIN_SD)
    test_mass = log_density(wide, mean, TEST_SD)
    theory = {
        name: line(wide, f(wide), (train_mass + p * (test_mass - train_mass)).exp())
        for name, p in (("unweighted", 0.0), ("weighted", power))
    }
    total = float(weight.sum())
    effective = total**2 / float((weight**2).sum())
    return {
        "unweighted_mse": mse["unweighted"],
        "weighted_mse": mse["weighted"],
        "mse_ratio": mse["unweighted"] / mse["weighted"] if mse["weighted"] else math.inf,
        **{
            f"theory_{name}_mse": float(((a + b * test - f(test)) ** 2 * mass).sum() / mass.sum())
            for name, (a, b) in theory.items()
        },
        "effective_samples": effective,
        "effective_share": effective / n,
        "largest_weight_share": float(weight.max()) / total,
    }


def log_density(x: Tensor, mean: float, sd: float) -> Tensor:
    """The logarithm of the normal density, but for the constant that all share."""
    return -(((x - mean) / sd) ** 2) / 2 - math.log(sd)


def line(x: Tensor, y: Tensor, weight: Tensor) -> tuple[float, float]:
    """Intercept and slope of weighted least squares; a single point that has all the weight gives a level line."""
    w = weight / weight.sum()
    middle, height = float((w * x).sum()), float((w * y).sum())
    spread = float((w * (x - middle) ** 2).sum())
    slope = float((w * (x - middle) * (y - height)).sum()) / spread if spread > 1e-20 else 0.0
    return height - slope * middle, slope


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
