"""Batch norm moves and stretches each channel of a batch: order, shape and correlations stay, mean and scale go.

Two batches of `batch` samples with 4 channels: exp(½z) of z ~ N(0, 1) with correlation `rho` between channels, so the
channels are skewed; scales 1, 10, 100 and 1000. The channels of the second batch are moved by `shift` standard
deviations. A target y is a random linear function of the first batch's channels, over their scales, plus ½·N(0, 1).
Batch norm (batch statistics, γ = `gamma`, β = 0) of the first batch is compared with the raw batch, and with layer norm
(each sample over its channels, no parameters), float64:

order        fraction of pairs of samples whose order in the first channel is the same as before
correlation  largest change of an entry of the channels' correlation matrix
skewness     change of the skewness of the first channel
r2           of a least-squares fit of y by the channels and a constant
gap          distance of the two batches' means in the first channel, in standard deviations of the raw first batch
             times |γ|: raw, after batch norm of each batch (`together`: of both as one batch), and with the stored
             statistics of the first batch (eval mode)

An increasing linear map per channel keeps the first four exactly. Random: data, target.
Source: Ioffe & Szegedy 2015, Batch normalization.
"""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

TITLE = {"zh": "批量归一化保留了什么", "en": "What batch norm keeps"}
PARAMS = {
    "batch": {"zh": "样本数", "en": "samples", "ge": 8, "le": 512},
    "rho": {"zh": "通道间的相关", "en": "correlation between channels", "ge": 0, "le": 0.95},
    "shift": {"zh": "第二批平移几个标准差", "en": "shift of the second batch", "ge": -100, "le": 100},
    "gamma": {"zh": "γ", "en": "γ", "ge": -10, "le": 10},
    "together": {"zh": "两批混在一起归一化", "en": "both normalised as one batch"},
}
COLUMNS = {
    "raw": {"zh": "归一化之前", "en": "before"},
    "value": {"zh": "归一化之后", "en": "after"},
    "way": {"zh": "归一化", "en": "normalisation"},
}
METRICS = {
    "order": {"zh": "批量归一化：顺序不变的比例", "en": "batch norm: pairs in the same order"},
    "order_ln": {"zh": "层归一化：顺序不变的比例", "en": "layer norm: pairs in the same order"},
    "correlation": {"zh": "批量归一化：相关系数的改变", "en": "batch norm: change of correlations"},
    "correlation_ln": {"zh": "层归一化：相关系数的改变", "en": "layer norm: change of correlations"},
    "skewness": {"zh": "批量归一化：偏度的改变", "en": "batch norm: change of skewness"},
    "r2_raw": {"zh": "线性拟合的 R²，归一化之前", "en": "R² of a linear fit, before"},
    "r2": {"zh": "线性拟合的 R²，批量归一化", "en": "R² of a linear fit, batch norm"},
    "r2_ln": {"zh": "线性拟合的 R²，层归一化", "en": "R² of a linear fit, layer norm"},
    "gap_raw": {"zh": "两批均值之差，归一化之前", "en": "gap between the batches, before"},
    "gap": {"zh": "两批均值之差，批量归一化", "en": "gap between the batches, batch norm"},
    "gap_eval": {"zh": "两批均值之差，评估模式", "en": "gap between the batches, eval mode"},
}
WORDS = {"batch norm": {"zh": "批量归一化", "en": "batch norm"}, "layer norm": {"zh": "层归一化", "en": "layer norm"}}
CHART = {
    "mark": {"type": "point"},
    "encoding": {
        "x": {"field": "raw", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "way", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float]


def run(
    batch: int = 128, rho: float = 0.6, shift: float = 3.0, gamma: float = 1.0, together: bool = False
) -> Generator[Row, None, Metrics]:
    scales = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    first, second = (skewed(batch, rho) for _ in range(2))
    second = second + shift * first.std(0, correction=0)
    y = first @ torch.randn(4, dtype=torch.float64) + 0.5 * torch.randn(batch, dtype=torch.float64)
    first, second = first * scales, second * scales
    after, layered = gamma * normalised(first, first), layer_norm(first, (4,))
    for k in range(min(batch, 64)):
        yield {"raw": first[k, 0].item(), "value": after[k, 0].item(), "way": "batch norm"}
        yield {"raw": first[k, 0].item(), "value": layered[k, 0].item(), "way": "layer norm"}
    both = torch.cat([first, second])
    pair = [gamma * normalised(part, both if together else part) for part in (first, second)]
    stored = [gamma * normalised(part, first) for part in (first, second)]
    return {
        "order": same_order(first[:, 0], after[:, 0]),
        "order_ln": same_order(first[:, 0], layered[:, 0]),
        "correlation": correlation_change(first, after),
        "correlation_ln": correlation_change(first, layered),
        "skewness": abs(skewness(after[:, 0]) - skewness(first[:, 0])),
        "r2_raw": r_squared(first, y),
        "r2": r_squared(after, y),
        "r2_ln": r_squared(layered, y),
        "gap_raw": gap(first, second) / first[:, 0].std(correction=0).item(),
        "gap": gap(*pair),
        "gap_eval": gap(*stored),
    }


def skewed(batch: int, rho: float) -> Tensor:
    """Samples of 4 channels, exp of half a normal number, whose correlation is rho."""
    common, own = torch.randn(batch, 1, dtype=torch.float64), torch.randn(batch, 4, dtype=torch.float64)
    return (0.5 * (rho**0.5 * common + (1 - rho) ** 0.5 * own)).exp()


def normalised(x: Tensor, of: Tensor) -> Tensor:
    """The batch x by the mean and variance of another batch, eps = 1e-5."""
    return (x - of.mean(0)) / (of.var(0, correction=0) + 1e-5).sqrt()


def same_order(x: Tensor, y: Tensor) -> float:
    """Fraction of pairs that y puts in the same order as x."""
    i, j = torch.triu_indices(len(x), len(x), offset=1)
    return ((x[i] < x[j]) == (y[i] < y[j])).double().mean().item() if y.any() else 0.0


def correlation_change(x: Tensor, y: Tensor) -> float:
    return float((torch.corrcoef(x.T) - torch.corrcoef(y.T)).abs().max())


def skewness(x: Tensor) -> float:
    centred = x - x.mean()
    return float(centred.pow(3).mean() / centred.square().mean().pow(1.5))


def r_squared(x: Tensor, y: Tensor) -> float:
    """Of the least-squares fit by the standardised columns of x and a constant."""
    columns = torch.nan_to_num((x - x.mean(0)) / x.std(0))
    columns = torch.cat([columns, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    residual = y - columns @ (torch.linalg.pinv(columns) @ y)
    return float(1 - residual.square().sum() / (y - y.mean()).square().sum())


def gap(first: Tensor, second: Tensor) -> float:
    """Distance of the means in the first channel."""
    return float((second[:, 0].mean() - first[:, 0].mean()).abs())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
