"""One outlier channel ruins int8 activations, which share one step; float8, or a scale for each channel, does not care.

Activations X, 64 tokens × 128 channels, N(0, 1), of which `outliers` channels are `x` times larger, times weights W,
128 × 64, N(0, 1/128), whose rows for these channels are x times smaller, so that all channels count alike. X is
quantised to integers of `bits` bits (W stays exact): with one step for the whole tensor, largest |X|/(2^(bits−1) − 1)
(tensor); one for each token (token); with the outlier channels (any |X| > 6) kept in float and the rest quantised
(mixed, as LLM.int8); after dividing each channel by the root of its largest entry, W taking the factor (smooth, as
SmoothQuant); or to float8 E4M3 with one scale (float8).

Measured: the rms error of X·W over its rms. Theory: a step d gives each entry an error of d/√12, an ordinary entry
loses everything when d/2 > |X|, that is x·4/127 > 2 for 8 bits, x > 60. Random: X, W.
Source: Dettmers et al. 2022, LLM.int8(); Xiao et al. 2023, SmoothQuant.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "离群通道与 int8/int4", "en": "Outlier channels in int8 and int4"}
PARAMS = {
    "bits": {"zh": "位数", "en": "bits", "ge": 2, "le": 16},
    "x": {"zh": "离群通道放大", "en": "outlier channels times", "ge": 1, "le": 1e6},
    "outliers": {"zh": "离群通道数", "en": "outlier channels", "ge": 0, "le": 128},
}
COLUMNS = {
    "factor": {"zh": "离群倍数", "en": "outlier factor"},
    "tensor": {"zh": "整个张量一个步长", "en": "one step for the tensor"},
    "token": {"zh": "每个 token 一个步长", "en": "one step for each token"},
    "mixed": {"zh": "离群通道留作浮点", "en": "outlier channels in float"},
    "smooth": {"zh": "平滑", "en": "smoothed"},
    "float8": {"zh": "float8 E4M3", "en": "float8 E4M3"},
}
METRICS = {
    "tensor": {"zh": "整个张量一个步长：误差", "en": "one step for the tensor: error"},
    "token": {"zh": "每个 token 一个步长：误差", "en": "one step for each token: error"},
    "mixed": {"zh": "离群通道留作浮点：误差", "en": "outlier channels in float: error"},
    "smooth": {"zh": "平滑：误差", "en": "smoothed: error"},
    "float8": {"zh": "float8 E4M3：误差", "en": "float8 E4M3: error"},
    "zeros": {"zh": "变成 0 的普通激活值", "en": "fraction of ordinary entries that become 0"},
    "step": {"zh": "步长", "en": "the step"},
    "kept": {"zh": "留作浮点的通道比例", "en": "fraction of channels kept in float"},
}
CHART = {
    "transform": [{"fold": ["tensor", "token", "mixed", "smooth", "float8"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "factor", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(bits: int = 8, x: float = 100.0, outliers: int = 2) -> Generator[Row, None, Metrics]:
    activations = torch.randn(64, 128, dtype=torch.float64)
    weights = torch.randn(128, 64, dtype=torch.float64) / 128**0.5
    for k in range(12):
        yield {"factor": 2.0**k, **errors(activations, weights, bits, 2.0**k, outliers)}
    scaled = activations.clone()
    scaled[:, :outliers] *= x
    step = step_of(scaled.abs().max(), bits)
    ordinary = scaled[:, outliers:]
    return {
        **errors(activations, weights, bits, x, outliers),
        "zeros": ((ordinary / step).round() == 0).double().mean().item() if ordinary.numel() else 0.0,
        "step": step.item(),
        "kept": (scaled.abs().amax(0) > 6).double().mean().item(),
    }


def errors(activations: Tensor, weights: Tensor, bits: int, x: float, outliers: int) -> Metrics:
    """The relative error of the product for each way of quantising."""
    size = torch.ones(128, dtype=torch.float64)
    size[:outliers] = x
    a, w = activations * size, weights / size[:, None]
    exact = a @ w
    large = a.abs().amax(0) > 6
    root = a.abs().amax(0).sqrt()
    found = {
        "tensor": quantised(a, a.abs().max(), bits) @ w,
        "token": quantised(a, a.abs().amax(1, keepdim=True), bits) @ w,
        "mixed": a[:, large] @ w[large] + quantised(a[:, ~large], a[:, ~large].abs().amax(), bits) @ w[~large]
        if (~large).any()
        else exact,
        "smooth": quantised(a / root, (a / root).abs().max(), bits) @ (w * root[:, None]),
        "float8": float8(a) @ w,
    }
    return {way: float((value - exact).norm() / exact.norm()) for way, value in found.items()}


def step_of(largest: Tensor, bits: int) -> Tensor:
    """The distance of neighbouring integers in units of the activations."""
    return largest / (2 ** (bits - 1) - 1)


def quantised(values: Tensor, largest: Tensor, bits: int) -> Tensor:
    """Rounded to integers of that many bits and multiplied back."""
    step = step_of(largest, bits)
    return (values / step).round() * step


def float8(values: Tensor) -> Tensor:
    """E4M3 with one scale that brings the largest entry to 448."""
    scale = 448 / values.abs().max()
    return (values * scale).clamp(-448, 448).float().to(torch.float8_e4m3fn).double() / scale


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
