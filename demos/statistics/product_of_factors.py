"""A product of a hundred factors of mean 1 has mean 1 and is almost always near 0: a few huge products make the mean.

`trials` products P of `n` independent factors drawn by `law` with mean `mean` and standard deviation `std`: equal
chances of mean ± std, a normal or a uniform distribution. Independence gives E[P] = mean^n and
Var[P] = (mean² + std²)^n − mean^(2n); but ln|P| is a sum, so that a typical product is exp(n·E ln|X|), and
E ln|X| < ln E|X| by Jensen's inequality. Likewise the nth root, a factor's geometric mean, has
E[|P|^(1/n)] < E[P]^(1/n).

For the mean of a sample to be near E[P] it must hold the rare large products: about Var[P]/E[P]² samples.
E ln|X| in theory: the midpoint rule on 200001 quantiles. Random: the factors.
Source: Redner 1990, Random multiplicative processes, American Journal of Physics 58; Hanin 2018.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "随机因子的连乘", "en": "Products of random factors"}
PARAMS = {
    "law": {"zh": "因子的分布", "en": "distribution of a factor"},
    "n": {"zh": "每个乘积的因子数", "en": "factors in a product", "ge": 1, "le": 500},
    "mean": {"zh": "因子的均值", "en": "mean of a factor", "ge": 0, "le": 10},
    "std": {"zh": "因子的标准差", "en": "standard deviation of a factor", "ge": 0, "le": 10},
    "trials": {"zh": "乘积个数", "en": "products", "ge": 200, "le": 10000},
}
COLUMNS = {
    "factors": {"zh": "因子数", "en": "factors"},
    "average": {"zh": "乘积的均值", "en": "mean of the products"},
    "middle": {"zh": "乘积大小的中位数", "en": "median size of a product"},
    "expected": {"zh": "理论上的均值", "en": "mean in theory"},
}
METRICS = {
    "average": {"zh": "乘积的均值", "en": "mean of the products"},
    "theory_average": {"zh": "理论上的均值", "en": "mean in theory"},
    "middle": {"zh": "乘积大小的中位数", "en": "median size of a product"},
    "theory_middle": {"zh": "典型的乘积（理论）", "en": "typical product in theory"},
    "below": {"zh": "比理论均值小的乘积占", "en": "products smaller than the mean in theory"},
    "top_hundredth": {"zh": "最大的百分之一占总和的", "en": "part of the sum held by the largest hundredth"},
    "mean_of_root": {"zh": "n 次方根的均值", "en": "mean of the nth root"},
    "root_of_mean": {"zh": "理论均值的 n 次方根", "en": "nth root of the mean in theory"},
    "variance": {"zh": "乘积的方差", "en": "variance of the product"},
    "theory_variance": {"zh": "乘积的方差（理论）", "en": "variance in theory"},
    "product_of_variances": {"zh": "方差的乘积", "en": "product of the variances"},
    "samples_needed": {"zh": "均值可信约需的样本数", "en": "samples for a trustworthy mean, about"},
}
CHART = {
    "transform": [{"fold": ["average", "middle", "expected"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "factors", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
QUANTILES = 200001


def run(
    law: Literal["two_point", "normal", "uniform"] = "normal",
    n: int = 100,
    mean: float = 1.0,
    std: float = 0.3,
    trials: int = 4000,
) -> Generator[Row, None, Metrics]:
    products = torch.ones(trials, dtype=torch.float64)
    for factors in range(1, n + 1):
        products *= mean + std * standard(law, trials)
        if factors % math.ceil(n / 100) == 0 or factors == n:
            yield {
                "factors": factors,
                "average": products.mean().item(),
                "middle": products.abs().median().item(),
                "expected": power(mean, factors),
            }
    expected = power(mean, n)
    second = power(mean**2 + std**2, n)
    sizes = products.abs().sort().values
    total = sizes.sum().item()
    growth = (mean + std * quantiles(law)).abs().log().mean().item()
    return {
        "average": products.mean().item(),
        "theory_average": expected,
        "middle": sizes.median().item(),
        "theory_middle": power(math.exp(growth), n),
        "below": (sizes < expected).double().mean().item(),
        "top_hundredth": sizes[-max(1, trials // 100) :].sum().item() / total if total > 0 else None,
        "mean_of_root": sizes.pow(1 / n).mean().item(),
        "root_of_mean": mean,
        "variance": products.var(correction=0).item(),
        "theory_variance": second - power(mean, 2 * n) if math.isfinite(second) else math.inf,
        "product_of_variances": power(std, 2 * n),
        "samples_needed": power(1 + (std / mean) ** 2, n) - 1 if mean > 0 else None,
    }


def power(base: float, exponent: int) -> float:
    """`base` to the exponent, inf where that overflows."""
    try:
        return base**exponent
    except OverflowError:
        return math.inf


def standard(law: str, size: int) -> Tensor:
    """Numbers of mean 0 and variance 1."""
    match law:
        case "two_point":
            return torch.randint(0, 2, (size,)).double() * 2 - 1
        case "uniform":
            return (torch.rand(size, dtype=torch.float64) * 2 - 1) * math.sqrt(3)
    return torch.randn(size, dtype=torch.float64)


def quantiles(law: str) -> Tensor:
    """Equally probable values of the same distribution."""
    p = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    match law:
        case "two_point":
            return torch.tensor([-1.0, 1.0], dtype=torch.float64)
        case "uniform":
            return (p * 2 - 1) * math.sqrt(3)
    return torch.special.ndtri(p)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
