"""An affine coupling multiplies by e^s: with unbounded s a flow's inverse loses all digits, with bounded s it does not.

A flow of `layers` affine couplings on 8 numbers, alternating halves: one half stays, the other becomes x·e^s + t with
(s, t) a fixed random tanh net of the first (hidden 16, output weights N(0, `spread`²/16)); 256 samples N(0, 1),
float32. bounded: s replaced by `limit`·tanh(s/limit). Forward, then backward through the exact inverse:

error       largest |x − inverse(forward(x))| in float32 (inf if not finite)
largest     largest |z| of the forward pass
log_det     mean of the log determinant, Σ s, in float32; log_det_error: its largest difference from float64

The inverse amplifies the rounding errors of z by the steepest slope of the inverse. Random: nets, samples.
Source: Dinh et al. 2017, Density estimation using Real NVP; Behrmann et al. 2021, Understanding exploding inverses.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "归一化流的逆：重建误差", "en": "Inverse of a flow: reconstruction error"}
PARAMS = {
    "layers": {"zh": "耦合层数", "en": "coupling layers", "ge": 1, "le": 50},
    "spread": {"zh": "s 的大小", "en": "size of s", "ge": 0, "le": 20},
    "limit": {"zh": "s 限制在 ± 多少", "en": "s limited to ±", "ge": 0.01, "le": 100},
}
COLUMNS = {
    "layers": {"zh": "层数", "en": "layers"},
    "plain": {"zh": "不加限制：重建误差", "en": "unbounded: reconstruction error"},
    "bounded": {"zh": "限制 s：重建误差", "en": "bounded: reconstruction error"},
}
METRICS = {
    "error": {"zh": "重建误差，不加限制", "en": "reconstruction error, unbounded"},
    "error_bounded": {"zh": "重建误差，限制 s", "en": "reconstruction error, bounded"},
    "error_float64": {"zh": "重建误差，float64，不加限制", "en": "reconstruction error in float64, unbounded"},
    "largest": {"zh": "最大的 |z|，不加限制", "en": "largest |z|, unbounded"},
    "largest_bounded": {"zh": "最大的 |z|，限制 s", "en": "largest |z|, bounded"},
    "log_det": {"zh": "log 行列式的均值", "en": "mean log determinant"},
    "log_det_error": {"zh": "log 行列式的误差", "en": "error of the log determinant"},
}
CHART = {
    "transform": [{"fold": ["plain", "bounded"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layers", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]

Coupling = tuple[Tensor, Tensor]


def run(layers: int = 12, spread: float = 2.0, limit: float = 0.5) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 8)
    nets = [(torch.randn(4, 16) / 2, torch.randn(16, 8) * spread / 4) for _ in range(layers)]
    for depth in range(1, layers + 1):
        errors = [reconstruction(x, nets[:depth], most) for most in (math.inf, limit)]
        yield {"layers": depth, "plain": errors[0], "bounded": errors[1]}
    z, log_det = forward(x, nets, math.inf)
    exact = forward(x.double(), doubled(nets), math.inf)[1]
    return {
        "error": reconstruction(x, nets, math.inf),
        "error_bounded": reconstruction(x, nets, limit),
        "error_float64": reconstruction(x.double(), doubled(nets), math.inf),
        "largest": z.abs().max().item(),
        "largest_bounded": forward(x, nets, limit)[0].abs().max().item(),
        "log_det": log_det.double().mean().item(),
        "log_det_error": (log_det.double() - exact).abs().max().item(),
    }


def doubled(nets: list[Coupling]) -> list[Coupling]:
    return [(first.double(), second.double()) for first, second in nets]


def scale_and_shift(half: Tensor, net: Coupling, limit: float) -> tuple[Tensor, Tensor]:
    s, t = (torch.tanh(half @ net[0]) @ net[1]).chunk(2, dim=1)
    return (s if limit == math.inf else limit * torch.tanh(s / limit)), t


def forward(x: Tensor, nets: list[Coupling], limit: float) -> tuple[Tensor, Tensor]:
    """The result z and the log determinant of each sample."""
    kept, moved = x.chunk(2, dim=1)
    log_det = torch.zeros(len(x), dtype=x.dtype)
    for net in nets:
        s, t = scale_and_shift(kept, net, limit)
        kept, moved = moved * s.exp() + t, kept
        log_det = log_det + s.sum(1)
    return torch.cat([kept, moved], 1), log_det


def reconstruction(x: Tensor, nets: list[Coupling], limit: float) -> float:
    """Largest error of the inverse of the forward pass; inf if it is not finite."""
    kept, moved = forward(x, nets, limit)[0].chunk(2, dim=1)
    for net in reversed(nets):
        s, t = scale_and_shift(moved, net, limit)
        kept, moved = moved, (kept - t) * (-s).exp()
    error = (torch.cat([kept, moved], 1) - x).abs()
    return error.max().item() if error.isfinite().all() else math.inf


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
