"""What one initialisation does to a stack of layers: variance, gain per layer, gradient, and what is left of the input.

h ← φ(W h), `layers` square matrices of `width` units n, no biases, `batch` inputs N(0, 1), float64. `init` says how W
is drawn: linear_default U(−1/√n, 1/√n), as nn.Linear does; kaiming N(0, 2/n); kaiming_uniform U(−√(6/n), √(6/n));
uniform_by_std U(−√(2/n), √(2/n)), the standard deviation mistaken for the bound; trunc a normal distribution of
variance 2/n cut off at two standard deviations; trunc_rescaled the same, divided by 0.8796; rademacher ±√(2/n); xavier
N(0, 1/n); lecun the same, these matrices being square; leaky N(0, 2/((1 + slope²)n)); tanh_gain N(0, (5/3)²/n);
fixed_std N(0, std²); lsuv N(0, 2/n), every matrix then divided by the rms of the pre-activations it gives on this
batch, layer by layer.

The gain is the factor by which a layer multiplies the second moment E[h²]; the gradient's factor is that of its norm,
from noise N(0, 1) at the last layer back to the input; both are geometric means over the layers. The input's fraction
of the last pre-activations is their variance over the samples, unit by unit, over their mean square: what still tells
one input from another. The excess kurtosis is that of one unit over 12000 draws of its weights, at one input. Theory
(infinite width, same depth): q = n·Var(W)·E[h²], E[h²] = E[φ(√q z)²], z ~ N(0, 1); for lsuv q = 1; kurtosis
κ(W)·Σx⁴/(Σx²)². Source: Glorot & Bengio 2010; He et al. 2015; Klambauer et al. 2017; Mishkin & Matas 2016.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

TITLE = {"zh": "一种初始化，一叠层", "en": "One initialisation, a stack of layers"}
PARAMS = {
    "init": {"zh": "初始化", "en": "initialisation"},
    "act": {"zh": "激活函数", "en": "activation"},
    "layers": {"zh": "层数", "en": "layers", "ge": 1, "le": 200},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 1, "le": 1024},
    "batch": {"zh": "样本数", "en": "samples", "ge": 2, "le": 128},
    "std": {"zh": "标准差（只用于 fixed_std）", "en": "standard deviation (of fixed_std only)", "ge": 0, "le": 10},
    "slope": {"zh": "leaky ReLU 的负半轴斜率", "en": "negative slope of leaky ReLU", "ge": -1, "le": 1},
}
LIMITS = [{"product": ["layers", "width", "width"], "le": 14000000}]
COLUMNS = {
    "layer": {"zh": "第几层", "en": "layer"},
    "second_moment": {"zh": "实测的二阶矩", "en": "measured second moment"},
    "theory": {"zh": "理论的二阶矩", "en": "second moment in theory"},
    "input_share": {"zh": "输入还占多少", "en": "fraction that still tells inputs apart"},
}
METRICS = {
    "var_times_n": {"zh": "权重方差乘以 n", "en": "variance of the weights times n"},
    "theory_var_times_n": {"zh": "权重方差乘以 n 的理论值", "en": "variance of the weights times n in theory"},
    "gain": {"zh": "二阶矩每层的倍数", "en": "second-moment gain per layer"},
    "theory_gain": {"zh": "每层倍数的理论值", "en": "gain per layer in theory"},
    "abs_log_gain": {"zh": "|ln 每层倍数|", "en": "|ln gain per layer|"},
    "total_gain": {"zh": "全部层的总倍数", "en": "gain of all layers together"},
    "theory_total_gain": {"zh": "总倍数的理论值", "en": "total gain in theory"},
    "grad_rate": {"zh": "梯度每层的倍数", "en": "gradient factor per layer"},
    "out_rms": {"zh": "末层输出的均方根", "en": "rms of the last output"},
    "out_mean": {"zh": "末层输出的均值", "en": "mean of the last output"},
    "out_var": {"zh": "末层输出的方差", "en": "variance of the last output"},
    "out_var_distance": {"zh": "末层输出的方差离 1 多远", "en": "distance of that variance from 1"},
    "pre_moment": {"zh": "末层预激活的二阶矩", "en": "second moment of the last pre-activations"},
    "pre_moment_distance": {"zh": "末层预激活的二阶矩离 1 多远", "en": "distance of that moment from 1"},
    "input_share": {"zh": "末层里输入还占的份额", "en": "fraction of the last layer that tells inputs apart"},
    "excess_kurtosis": {"zh": "首层预激活的超额峰度", "en": "excess kurtosis of a first pre-activation"},
    "theory_excess_kurtosis": {"zh": "超额峰度的理论值", "en": "excess kurtosis in theory"},
    "kurtosis_distance": {"zh": "超额峰度离 0 多远", "en": "distance of the excess kurtosis from 0"},
}
CHART = {
    "transform": [{"fold": ["second_moment", "theory", "input_share"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
CUT = 0.8796256610342398  # the standard deviation of a normal law cut off at ±2
CUT_KURTOSIS = -0.6344632828  # its excess kurtosis
DRAWS = 12000
UNIFORM = ("linear_default", "kaiming_uniform", "uniform_by_std")


def run(
    init: Literal[
        "linear_default", "kaiming", "kaiming_uniform", "uniform_by_std", "trunc", "trunc_rescaled", "rademacher",
        "xavier", "lecun", "leaky", "tanh_gain", "fixed_std", "lsuv",
    ] = "linear_default",
    act: Literal["relu", "leaky_relu", "tanh", "sigmoid", "selu", "gelu", "identity"] = "relu",
    layers: int = 20,
    width: int = 256,
    batch: int = 64,
    std: float = 0.02,
    slope: float = 0.2,
) -> Generator[Row, None, Metrics]:  # fmt: skip
    variance = scale(init, width, std, slope)
    x = torch.randn(batch, width).double()
    outputs, moments, theory = [x.requires_grad_()], [second_moment(x)], [1.0]
    total, squares, entries, share = 0.0, 0.0, 0, 1.0
    every = -(-layers // 100)
    yield {"layer": 0, "second_moment": moments[0], "theory": 1.0, "input_share": varies(x)}
    for layer in range(1, layers + 1):
        matrix = weights(init, width, width, variance)
        z = outputs[-1] @ matrix
        if init == "lsuv":
            factor = 1 / math.sqrt(second_moment(z)) if second_moment(z) else 1.0
            matrix, z = matrix * factor, z * factor
        total, squares = total + float(matrix.sum()), squares + float(matrix.square().sum())
        entries += matrix.numel()
        outputs.append(activate(z, act, slope))
        moments.append(second_moment(outputs[-1]))
        theory.append(expected_moment(1.0 if init == "lsuv" else variance * width * theory[-1], act, slope))
        share = varies(z)
        if layer % every == 0 or layer == layers:
            yield {"layer": layer, "second_moment": moments[-1], "theory": theory[-1], "input_share": share}
    last, noise = outputs[-1], torch.randn(batch, width).double()
    (arrived,) = torch.autograd.grad(last, x, noise)
    gain = (moments[-1] / moments[0]) ** (1 / layers)
    out_var = float(last.detach().var(correction=0))
    sample = unit_over_draws(init, x.detach()[0], variance)
    flat = (x.detach()[0] ** 4).sum() / (x.detach()[0] ** 2).sum() ** 2
    var = squares / entries - (total / entries) ** 2
    return {
        "var_times_n": var * width,
        "theory_var_times_n": None if init == "lsuv" else variance * width,
        "gain": gain,
        "theory_gain": theory[-1] ** (1 / layers),
        "abs_log_gain": abs(math.log(gain)) if gain else math.inf,
        "total_gain": moments[-1] / moments[0],
        "theory_total_gain": theory[-1],
        "grad_rate": float(arrived.norm() / noise.norm()) ** (1 / layers),
        "out_rms": math.sqrt(moments[-1]),
        "out_mean": float(last.detach().mean()),
        "out_var": out_var,
        "out_var_distance": abs(out_var - 1),
        "pre_moment": second_moment(z),
        "pre_moment_distance": abs(second_moment(z) - 1),
        "input_share": share,
        "excess_kurtosis": sample,
        "theory_excess_kurtosis": float(kurtosis_of(init) * flat),
        "kurtosis_distance": abs(sample),
    }


def scale(init: str, n: int, std: float, slope: float) -> float:
    """The variance that each recipe gives its weights."""
    times_n = {"linear_default": 1 / 3, "uniform_by_std": 2 / 3, "trunc": 2 * CUT**2, "xavier": 1.0, "lecun": 1.0}
    times_n |= {"leaky": 2 / (1 + slope**2), "tanh_gain": 25 / 9}
    return std**2 if init == "fixed_std" else times_n.get(init, 2.0) / n


def weights(init: str, rows: int, columns: int, variance: float = 1.0) -> Tensor:
    """Independent weights of mean 0 and this variance; drawn in float32, kept in float64."""
    if init in UNIFORM:
        law = math.sqrt(3) * (2 * torch.rand(rows, columns) - 1)
    elif init.startswith("trunc"):
        law = torch.nn.init.trunc_normal_(torch.empty(rows, columns)) / CUT
    else:
        law = torch.randn(rows, columns)
    return (law.sign() if init == "rademacher" else law).double().mul_(math.sqrt(variance))


def kurtosis_of(init: str) -> float:
    """The excess kurtosis of a single weight."""
    return -1.2 if init in UNIFORM else CUT_KURTOSIS if init.startswith("trunc") else -2.0 * (init == "rademacher")


def unit_over_draws(init: str, x: Tensor, variance: float) -> float:
    """The excess kurtosis of Σ w·x over many draws of w, x being kept."""
    if not variance or not x.any():
        return math.nan
    z = torch.cat([x @ weights(init, len(x), DRAWS // 20) for _ in range(20)])  # the kurtosis has no scale
    return float((z**4).mean() / (z**2).mean() ** 2 - 3)


def activate(z: Tensor, act: str, slope: float) -> Tensor:
    """φ(z)."""
    if act == "leaky_relu":
        return functional.leaky_relu(z, slope)
    activated: Tensor = z if act == "identity" else getattr(functional if act == "gelu" else torch, act)(z)
    return activated


def expected_moment(q: float, act: str, slope: float) -> float:
    """E[φ(√q z)²] for a standard normal z."""
    z = torch.linspace(-10, 10, 2000, dtype=torch.float64)
    return float((torch.softmax(-(z**2) / 2, 0) * activate(math.sqrt(q) * z, act, slope) ** 2).sum())


def second_moment(h: Tensor) -> float:
    """The mean of h² over batch and units."""
    return float(h.detach().square().mean())


def varies(z: Tensor) -> float:
    """How much of E[z²] is the variance over the samples, unit by unit."""
    z = z.detach()
    return float(z.var(0, correction=0).mean()) / second_moment(z) if second_moment(z) else math.nan


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
