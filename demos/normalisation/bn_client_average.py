"""BN statistics averaged over clients with different data are nobody's: the spread between the clients is missing.

`clients` clients have inputs N(mₖ, sₖ²) in 16 channels, mₖ = `shift`·N(0, 1) and log₂ sₖ uniform in ±1; each has its
own running mean and variance, estimated from 4096 samples. The server averages both over clients (averaged), combines
them so that they are the statistics of all data (pooled: the mean of variances plus the variance of means), or leaves
them with the clients (local, as FedBN).

Measured for every client's data after each normalisation: the rms over channels of the mean and of the standard
deviation minus 1, averaged over clients; for all data together the variance, which is 1 where the statistics are those
of all data. Theory: the variance of a mixture is E sₖ² + Var mₖ; averaging leaves the second term out. Random: mₖ, sₖ
and the data.
Source: Li, Jiang, Zhang, Kamp & Dou 2021, FedBN: federated learning on non-IID features via local batch normalization.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "联邦学习里 BN 统计量的平均", "en": "Averaging BN statistics over clients"}
PARAMS = {
    "clients": {"zh": "客户端数", "en": "number of clients", "ge": 2, "le": 32},
    "shift": {"zh": "客户端均值的差异", "en": "spread of the clients' means", "ge": 0, "le": 100},
}
COLUMNS = {
    "client": {"zh": "客户端", "en": "client"},
    "averaged": {"zh": "统计量取平均：均值偏移", "en": "statistics averaged: mean off by"},
    "pooled": {"zh": "合并统计量：均值偏移", "en": "statistics pooled: mean off by"},
    "local": {"zh": "各用各的：均值偏移", "en": "local statistics: mean off by"},
}
METRICS = {
    "averaged_variance": {"zh": "统计量取平均：归一化后全体的方差", "en": "averaged: variance of all data after it"},
    "pooled_variance": {"zh": "合并统计量：归一化后全体的方差", "en": "pooled: variance of all data after it"},
    "averaged_mean": {"zh": "统计量取平均：各客户端的均值偏移", "en": "averaged: a client's mean is off by"},
    "pooled_mean": {"zh": "合并统计量：各客户端的均值偏移", "en": "pooled: a client's mean is off by"},
    "local_mean": {"zh": "各用各的：各客户端的均值偏移", "en": "local: a client's mean is off by"},
    "averaged_std": {"zh": "统计量取平均：标准差偏离 1", "en": "averaged: standard deviation off 1 by"},
    "local_std": {"zh": "各用各的：标准差偏离 1", "en": "local: standard deviation off 1 by"},
}
CHART = {
    "transform": [{"fold": ["averaged", "pooled", "local"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "client", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
Statistics = tuple[Tensor, Tensor]
CHANNELS, SAMPLES, EPS = 16, 4096, 1e-5
WAYS = ["averaged", "pooled", "local"]


def run(clients: int = 8, shift: float = 3.0) -> Generator[Row, None, Metrics]:
    means = shift * torch.randn(clients, 1, CHANNELS)
    spreads = 2 ** (2 * torch.rand(clients, 1, CHANNELS) - 1)
    data = (means + spreads * torch.randn(clients, SAMPLES, CHANNELS)).double()
    mean, variance = data.mean(1), data.var(1, correction=0)
    statistics = {
        "averaged": (mean.mean(0).expand_as(mean), variance.mean(0).expand_as(variance)),
        "pooled": pooled(mean, variance),
        "local": (mean, variance),
    }
    normed = {way: normalise(data, statistics[way]) for way in WAYS}
    off = {way: normed[way].mean(1).square().mean(1).sqrt() for way in WAYS}
    for client in range(clients):
        yield {"client": client + 1, **{way: float(off[way][client]) for way in WAYS}}
    return {
        **{f"{way}_variance": float(normed[way].var((0, 1), correction=0).mean()) for way in ("averaged", "pooled")},
        **{f"{way}_mean": float(off[way].mean()) for way in WAYS},
        **{f"{way}_std": std_off(normed[way]) for way in ("averaged", "local")},
    }


def pooled(mean: Tensor, variance: Tensor) -> Statistics:
    """Mean and variance of all clients' data, from those of each, for every client alike."""
    whole = variance.mean(0) + mean.var(0, correction=0)
    return mean.mean(0).expand_as(mean), whole.expand_as(variance)


def normalise(data: Tensor, statistics: Statistics) -> Tensor:
    """Each client's data minus its mean over its standard deviation, by channel."""
    mean, variance = statistics
    return (data - mean[:, None]) / (variance[:, None] + EPS).sqrt()


def std_off(normed: Tensor) -> float:
    """The rms over channels of the standard deviation minus 1, averaged over clients."""
    return float((normed.std(1, correction=0) - 1).square().mean(1).sqrt().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
