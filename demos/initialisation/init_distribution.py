"""Independent weights of mean 0 and the right variance work alike whatever their distribution; Cauchy, mean ½ and
copies do not.

One random network without biases, h ← φ(W h), `layers` square matrices of `width` units n, fed with `batch` inputs
N(0,1), float64. All distributions are scaled to the same second moment E[w²] = `sigma_mult`²·2/n for ReLU, ·1/n for
tanh (the Cauchy distribution, which has none, to that scale). Eight distributions with independent entries of mean 0
and finite variance: normal, uniform, ±1, Laplace, normal truncated at 2, Student t with 3 degrees of freedom, 90 %
zeros, Exp(1) − 1 (skewed). Not independent: orthogonal, rank 1 (u vᵀ). Not of mean 0: mean ½ (in units of the rms),
constant. The gain is the factor by which a layer multiplies E[h²], a geometric mean over the layers.

Theory: only the first two moments count to leading order in n, so the gain is `sigma_mult`² for ReLU; for tanh it is
that of the mean-field recursion E[h²] ← E[tanh²(√q z)], q = `sigma_mult`² E[h²]. Chance moves ln(gain) by about
√(5/(layers·n)). To next order the skewness counts: for ReLU the gain is larger by roughly 0.6·skewness/√n.
Source: Glorot & Bengio 2010; He et al. 2015; Hanin & Nica 2020, Products of many large random matrices in the limit.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "初始化用什么分布", "en": "Which distribution to initialise with"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 100},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 1, "le": 512},
    "batch": {"zh": "样本数", "en": "samples", "ge": 1, "le": 128},
    "act": {"zh": "激活函数", "en": "activation"},
    "sigma_mult": {"zh": "标准差的倍数", "en": "factor on the standard deviation", "ge": 0, "le": 100},
}
LIMITS = [{"product": ["layers", "width", "width"], "le": 7000000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "series": {"zh": "权重的分布", "en": "distribution of the weights"},
    "second_moment": {"zh": "输出的二阶矩", "en": "second moment of the output"},
}
METRICS = {
    "theory_gain": {"zh": "二阶矩每层的倍数，理论值", "en": "second-moment gain per layer in theory"},
    "normal_gain": {"zh": "每层倍数：正态", "en": "gain per layer: normal"},
    "uniform_gain": {"zh": "每层倍数：均匀", "en": "gain per layer: uniform"},
    "rademacher_gain": {"zh": "每层倍数：±1", "en": "gain per layer: ±1"},
    "laplace_gain": {"zh": "每层倍数：拉普拉斯", "en": "gain per layer: Laplace"},
    "trunc_gain": {"zh": "每层倍数：截断正态", "en": "gain per layer: truncated normal"},
    "student3_gain": {"zh": "每层倍数：自由度 3 的 t", "en": "gain per layer: Student t3"},
    "sparse10_gain": {"zh": "每层倍数：一成非零", "en": "gain per layer: 10 % non-zero"},
    "exponential_gain": {"zh": "每层倍数：偏态的指数", "en": "gain per layer: skewed exponential"},
    "orthogonal_gain": {"zh": "每层倍数：正交", "en": "gain per layer: orthogonal"},
    "cauchy_gain": {"zh": "每层倍数：柯西", "en": "gain per layer: Cauchy"},
    "mean_half_gain": {"zh": "每层倍数：均值 0.5", "en": "gain per layer: mean 0.5"},
    "constant_gain": {"zh": "每层倍数：常数", "en": "gain per layer: constant"},
    "rank1_gain": {"zh": "每层倍数：秩 1", "en": "gain per layer: rank 1"},
    "worst_good_log_gain": {
        "zh": "八种合格的分布里最大的 |ln 倍数|",
        "en": "largest |ln gain| of the eight good distributions",
    },
    "good_log_spread": {
        "zh": "八种合格的分布里 ln 倍数的最大差",
        "en": "largest difference of ln gain among the eight good distributions",
    },
    "skew_ratio": {"zh": "偏态的指数与正态的每层倍数之比", "en": "gain of the skewed distribution over the normal one"},
    "theory_log_noise": {"zh": "ln 倍数的随机误差，理论值", "en": "chance error of ln gain in theory"},
}
WORDS = {
    "normal": {"zh": "正态", "en": "normal"},
    "uniform": {"zh": "均匀", "en": "uniform"},
    "Laplace": {"zh": "拉普拉斯", "en": "Laplace"},
    "truncated normal": {"zh": "截断正态", "en": "truncated normal"},
    "Student t3": {"zh": "t 分布，自由度 3", "en": "Student t3"},
    "10 % non-zero": {"zh": "一成非零", "en": "10 % non-zero"},
    "Exp(1) − 1": {"zh": "指数分布减 1", "en": "Exp(1) − 1"},
    "orthogonal": {"zh": "正交", "en": "orthogonal"},
    "Cauchy": {"zh": "柯西", "en": "Cauchy"},
    "mean 0.5": {"zh": "均值 0.5", "en": "mean 0.5"},
    "constant": {"zh": "常数", "en": "constant"},
    "rank 1": {"zh": "秩 1", "en": "rank 1"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "second_moment", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal", "scale": {"scheme": "tableau20"}},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float]
GOOD = {
    "normal": "normal",
    "uniform": "uniform",
    "rademacher": "±1",
    "laplace": "Laplace",
    "trunc": "truncated normal",
    "student3": "Student t3",
    "sparse10": "10 % non-zero",
    "exponential": "Exp(1) − 1",
}
OTHERS = {
    "orthogonal": "orthogonal",
    "cauchy": "Cauchy",
    "mean_half": "mean 0.5",
    "constant": "constant",
    "rank1": "rank 1",
}


def run(
    layers: int = 20,
    width: int = 256,
    batch: int = 64,
    act: Literal["relu", "tanh"] = "relu",
    sigma_mult: float = 1.0,
) -> Generator[Row, None, Metrics]:
    inputs = normal(batch, width)
    sigma = sigma_mult * math.sqrt((2 if act == "relu" else 1) / width)
    every = -(-layers // 25)
    gains: Metrics = {}
    for law, series in (GOOD | OTHERS).items():
        h = inputs
        for layer in range(layers + 1):
            if layer:
                h = getattr(torch, act)(sigma * (h @ entries(law, width)))
            if layer % every == 0 or layer == layers:
                yield {"layer": layer, "series": series, "second_moment": second_moment(h)}
        gains[law] = (second_moment(h) / second_moment(inputs)) ** (1 / layers)
    logs = [math.log(gains[law]) if gains[law] else -math.inf for law in GOOD]
    return {f"{law}_gain": gain for law, gain in gains.items()} | {
        "theory_gain": in_theory(sigma_mult, layers, act),
        "worst_good_log_gain": max(abs(log) for log in logs),
        "good_log_spread": max(logs) - min(logs),
        "skew_ratio": gains["exponential"] / gains["normal"] if gains["normal"] else math.nan,
        "theory_log_noise": math.sqrt(5 / (layers * width)),
    }


def entries(law: str, n: int) -> Tensor:
    """An n×n matrix of the law with E[w²] = 1. No inverse of a distribution function: at 0 it would give inf."""
    match law:
        case "normal":
            return normal(n, n)
        case "uniform":
            return torch.empty(n, n, dtype=torch.float64).uniform_(-math.sqrt(3), math.sqrt(3))
        case "rademacher":
            return normal(n, n).sign()
        case "laplace":
            return (exponential(n, n) - exponential(n, n)) / math.sqrt(2)
        case "trunc":
            return torch.nn.init.trunc_normal_(torch.empty(n, n)).double() / 0.8796256610342398
        case "student3":
            return normal(n, n) / normal(3, n, n).square().sum(0).sqrt()
        case "sparse10":
            return normal(n, n) * (torch.rand(n, n) < 0.1) / math.sqrt(0.1)
        case "exponential":
            return exponential(n, n) - 1
        case "orthogonal":
            q, r = torch.linalg.qr(normal(n, n))
            return math.sqrt(n) * q * r.diagonal().sign()
        case _:
            return counterexample_entries(law, n)


def counterexample_entries(law: str, n: int) -> Tensor:
    """A matrix of a law that breaks an assumption of the theory: variance, mean 0, independence."""
    match law:
        case "cauchy":
            return normal(n, n) / torch.randn(n, n, dtype=torch.float64)  # a float32 denominator can be exactly 0
        case "mean_half":
            return 0.5 + math.sqrt(0.75) * normal(n, n)
        case "constant":
            return torch.ones(n, n, dtype=torch.float64)
        case _:  # rank 1
            return normal(n, 1) @ normal(1, n)


def normal(*shape: int) -> Tensor:
    """Drawn in float32, which is much faster, and kept in float64."""
    return torch.randn(*shape).double()


def exponential(*shape: int) -> Tensor:
    return torch.empty(*shape, dtype=torch.float64).exponential_()


def second_moment(h: Tensor) -> float:
    return float(h.pow(2).mean())


def in_theory(sigma_w: float, layers: int, act: str) -> float:
    """The gain per layer of an infinitely wide network of the same depth."""
    if act == "relu":
        return sigma_w**2
    z = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    weight = torch.softmax(-(z**2) / 2, 0)
    moment = 1.0
    for _ in range(layers):
        moment = float((weight * torch.tanh(sigma_w * math.sqrt(moment) * z) ** 2).sum())
    return float(moment ** (1 / layers))


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
