"""One matrix used in every layer grows at the rate of its spectral radius; fresh matrices grow at quite another rate.

h ← W·h is applied `layers` times to `batch` vectors N(0, 1) of length `width`: once with the same W throughout, as a
recurrent net does, and once with a fresh W of the same distribution in every layer. law="gaussian": entries N(0,
gain²/width); law="orthogonal": gain × a random orthogonal matrix. The growth rate is ln(‖h_L‖/‖h_0‖)/layers; norms are
Frobenius norms in float64, and h is rescaled after every layer so that nothing can overflow. Theory: tied → ln of the
spectral radius of W; independent Gaussian → ln gain + ½(ln(2/width) + ψ(width/2)), ψ the digamma function; orthogonal
→ ln gain for both. Sources: Newman 1986; Yang 2019.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "每层共用一个矩阵，还是各用各的", "en": "One matrix for all layers, or a fresh one each"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 500},
    "width": {"zh": "宽度", "en": "width", "unit": "unit", "ge": 1, "le": 256},
    "gain": {"zh": "增益（√width × 标准差）", "en": "gain, √width × standard deviation", "ge": 0, "le": 5},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 512},
    "law": {"zh": "矩阵的分布", "en": "distribution of the matrices"},
}
LIMITS = [
    {"product": ["layers", "width", "width"], "le": 10000000},
    {"product": ["layers", "width", "width", "batch"], "le": 2000000000},
]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "tied": {"zh": "共用一个矩阵", "en": "the same matrix"},
    "independent": {"zh": "每层独立", "en": "a fresh matrix each"},
}
METRICS = {
    "tied_log_rate": {"zh": "共用：每层的对数增长", "en": "same matrix: log growth per layer"},
    "log_spectral_radius": {"zh": "共用：谱半径的对数", "en": "same matrix: log of the spectral radius"},
    "independent_log_rate": {"zh": "独立：每层的对数增长", "en": "fresh matrices: log growth per layer"},
    "theory_independent": {"zh": "独立：理论增长率", "en": "fresh matrices: growth in theory"},
    "tied_norm_ratio": {"zh": "共用：末层与输入的范数之比", "en": "same matrix: norm of output over input"},
    "independent_norm_ratio": {"zh": "独立：末层与输入的范数之比", "en": "fresh matrices: norm of output over input"},
    "tied_error": {"zh": "共用：增长率与 ln 谱半径之差", "en": "same matrix: distance from ln spectral radius"},
    "independent_error": {"zh": "独立：增长率与理论之差", "en": "fresh matrices: distance from theory"},
    "gap": {"zh": "两种网络相差几个数量级", "en": "orders of magnitude between the two nets"},
}
CHART = {
    "transform": [{"fold": ["tied", "independent"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    layers: int = 50,
    width: int = 64,
    gain: float = 1.0,
    batch: int = 16,
    law: Literal["gaussian", "orthogonal"] = "gaussian",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(batch, width, dtype=torch.float64)
    tied = matrix(width, gain, law)
    radius = torch.linalg.eigvals(tied).abs().max().item()
    logs = {"tied": 0.0, "independent": 0.0}
    hidden = {name: x / x.norm() for name in logs}
    every = math.ceil(layers / 200)
    yield {"layer": 0, "tied": 1.0, "independent": 1.0}
    for layer in range(1, layers + 1):
        for name in logs:
            h = hidden[name] @ (tied if name == "tied" else matrix(width, gain, law)).T
            norm = h.norm().item()
            hidden[name] = h / norm if norm else h
            logs[name] += math.log(norm) if norm else -math.inf
        if layer % every == 0 or layer == layers:
            yield {"layer": layer} | {name: exp(value) for name, value in logs.items()}
    if not gain:
        return dict.fromkeys(METRICS) | {"tied_norm_ratio": 0.0, "independent_norm_ratio": 0.0}
    theory = math.log(gain) + (lyapunov(width) if law == "gaussian" else 0.0)
    tied_rate, independent_rate = (value / layers for value in logs.values())
    return {
        "tied_log_rate": tied_rate,
        "log_spectral_radius": math.log(radius),
        "independent_log_rate": independent_rate,
        "theory_independent": theory,
        "tied_norm_ratio": exp(logs["tied"]),
        "independent_norm_ratio": exp(logs["independent"]),
        "tied_error": abs(tied_rate - math.log(radius)),
        "independent_error": abs(independent_rate - theory),
        "gap": abs(logs["tied"] - logs["independent"]) / math.log(10),
    }


def matrix(width: int, gain: float, law: str) -> Tensor:
    """A random width×width matrix in float64."""
    entries = torch.randn(width, width, dtype=torch.float64)
    return gain * (entries / math.sqrt(width) if law == "gaussian" else torch.linalg.qr(entries)[0])


def lyapunov(width: int) -> float:
    """½(ln(2/n) + ψ(n/2)): log growth per fresh n×n Gaussian matrix with entries of variance 1/n."""
    half = torch.tensor(width / 2, dtype=torch.float64)
    return (math.log(2 / width) + float(torch.special.digamma(half))) / 2


def exp(value: float) -> float:
    """e^value, which is inf where float64 ends."""
    return float(torch.tensor(value, dtype=torch.float64).exp())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
