"""Squared distances as x² + y² − 2xy cancel: far from the origin they come out negative, and their root is nan.

`n` points in `d` dimensions, N(0, 1) times `spread` around a centre whose coordinates are all `offset`. Squared
distances of all pairs in float32, against float64 by differences of the same float32 points:

expanded  |x|² + |y|² − 2·x·y: one matrix product, as in most fast codes
centred   the same after the mean of the points is subtracted
direct    the sum of squares of the differences

negative: fraction of the pairs of different points with a negative result, nan after the root. error: median relative
error of the squared distances. wrong: fraction of the points whose nearest neighbour is another one. Theory: rounding
leaves an error of about d·offset²·2⁻²³ in the expanded form, whatever the distance; `theory` is that over the mean
squared distance 2·d·spread². Rows: offsets from 0.1 to 10,000. Random: the points.
Source: Higham 2002, Accuracy and stability of numerical algorithms, 1.7 (cancellation).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "两两距离：x² + y² − 2xy", "en": "Pairwise distances: x² + y² − 2xy"}
PARAMS = {
    "offset": {"zh": "点离原点的坐标", "en": "coordinates of the centre", "ge": 0, "le": 1e6},
    "spread": {"zh": "点的散布", "en": "spread of the points", "ge": 1e-6, "le": 1e6},
    "n": {"zh": "点数", "en": "points", "ge": 3, "le": 200},
    "d": {"zh": "维数", "en": "dimensions", "ge": 1, "le": 32},
}
COLUMNS = {
    "offset": {"zh": "离原点的坐标", "en": "offset"},
    "expanded": {"zh": "展开：相对误差", "en": "expanded: relative error"},
    "centred": {"zh": "先减均值：相对误差", "en": "centred: relative error"},
    "direct": {"zh": "直接相减：相对误差", "en": "direct: relative error"},
}
METRICS = {
    "negative": {"zh": "展开：负的比例", "en": "expanded: negative fraction"},
    "negative_centred": {"zh": "先减均值：负的比例", "en": "centred: negative fraction"},
    "error": {"zh": "展开：相对误差", "en": "expanded: relative error"},
    "error_centred": {"zh": "先减均值：相对误差", "en": "centred: relative error"},
    "error_direct": {"zh": "直接相减：相对误差", "en": "direct: relative error"},
    "wrong": {"zh": "展开：最近邻找错的比例", "en": "expanded: fraction of wrong nearest neighbours"},
    "wrong_centred": {"zh": "先减均值：最近邻找错的比例", "en": "centred: fraction of wrong nearest neighbours"},
    "theory": {"zh": "理论上的相对误差", "en": "relative error in theory"},
}
CHART = {
    "transform": [{"fold": ["expanded", "centred", "direct"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "offset", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(offset: float = 2000.0, spread: float = 0.3, n: int = 100, d: int = 16) -> Generator[Row, None, Metrics]:
    cloud = spread * torch.randn(n, d)
    for k in range(21):
        size = 10 ** (k / 4 - 1)
        x = cloud + size
        exact = direct(x.double())
        ways = {"expanded": expanded(x), "centred": expanded(x - x.mean(0)), "direct": direct(x)}
        yield {"offset": size} | {name: median_error(value, exact) for name, value in ways.items()}
    x = cloud + offset
    exact, plain, centred = direct(x.double()), expanded(x), expanded(x - x.mean(0))
    return {
        "negative": negative(plain),
        "negative_centred": negative(centred),
        "error": median_error(plain, exact),
        "error_centred": median_error(centred, exact),
        "error_direct": median_error(direct(x), exact),
        "wrong": wrong_neighbours(plain, exact),
        "wrong_centred": wrong_neighbours(centred, exact),
        "theory": offset**2 * 2.0**-23 / (2 * spread**2),
    }


def expanded(x: Tensor) -> Tensor:
    squares = x.square().sum(1)
    return squares[:, None] + squares[None] - 2 * x @ x.T


def direct(x: Tensor) -> Tensor:
    return (x[:, None] - x[None]).square().sum(2)


def others(distances: Tensor) -> Tensor:
    """The entries off the diagonal."""
    return distances[~torch.eye(len(distances), dtype=torch.bool)]


def negative(distances: Tensor) -> float:
    return float((others(distances) < 0).double().mean())


def median_error(distances: Tensor, exact: Tensor) -> float:
    """Of the pairs at a distance above 0; inf if there are none."""
    found, truth = others(distances).double(), others(exact)
    errors = ((found - truth).abs() / truth)[truth > 0]
    return float(errors.median()) if len(errors) else math.inf


def wrong_neighbours(distances: Tensor, exact: Tensor) -> float:
    """Fraction of the points whose nearest other point is not the true one."""
    inf = torch.diag(torch.full((len(exact),), math.inf, dtype=torch.float64))
    nearest, truth = ((part.double() + inf).argmin(1) for part in (distances, exact))
    return float((nearest != truth).double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
