"""A VAE's first KL grows like e^(σ²/2) with the spread σ of the log-variances: inputs of 0 to 255 make it huge.

Inputs of `pixels` numbers uniform in [0, `largest`], 128 samples; an encoder `pixels` → 64 with ReLU and two linear
heads for 16 means μ and 16 log-variances s, PyTorch's default initialisation, float32. KL = ½·Σ(μ² + e^s − 1 − s) over
the latents, mean over the samples, before any training. Ways:

raw      as it is
unit     inputs divided by `largest`
zero     raw inputs, weight and bias of the log-variance head 0, so that s = 0
limited  raw inputs, s limited to ±`limit` by limit·tanh(s/limit)

gradient: norm of the KL's gradient. spread is the standard deviation of s; the mean of e^s for a normal s of mean 0 is
e^(spread²/2). At s above 88.7 e^s is inf in float32 (11.1 in float16). Random: inputs, weights.
Source: Kingma & Welling 2014, Auto-encoding variational Bayes (the KL).
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn

TITLE = {"zh": "VAE 第一步的 KL", "en": "A VAE's KL at the first step"}
PARAMS = {
    "largest": {"zh": "输入的最大值", "en": "largest input", "ge": 1e-3, "le": 1e6},
    "pixels": {"zh": "输入的维数", "en": "numbers of an input", "ge": 1, "le": 4096},
    "limit": {"zh": "s 限制在 ± 多少", "en": "s limited to ±", "ge": 0.1, "le": 100},
}
COLUMNS = {
    "largest": {"zh": "输入的最大值", "en": "largest input"},
    "raw": {"zh": "原样", "en": "raw"},
    "zero": {"zh": "log 方差从 0 开始", "en": "log-variance starts at 0"},
    "limited": {"zh": "限制 log 方差", "en": "log-variance limited"},
}
METRICS = {
    "raw": {"zh": "KL，原样", "en": "KL, raw"},
    "unit": {"zh": "KL，输入在 0 到 1", "en": "KL, inputs from 0 to 1"},
    "zero": {"zh": "KL，log 方差从 0 开始", "en": "KL, log-variance starts at 0"},
    "limited": {"zh": "KL，限制 log 方差", "en": "KL, log-variance limited"},
    "gradient": {"zh": "KL 的梯度范数，原样", "en": "gradient norm of the KL, raw"},
    "gradient_unit": {"zh": "KL 的梯度范数，输入在 0 到 1", "en": "gradient norm of the KL, inputs from 0 to 1"},
    "spread": {"zh": "log 方差的标准差，原样", "en": "standard deviation of s, raw"},
    "largest_s": {"zh": "最大的 log 方差，原样", "en": "largest s, raw"},
}
CHART = {
    "transform": [{"fold": ["raw", "zero", "limited"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "largest", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(largest: float = 255.0, pixels: int = 784, limit: float = 6.0) -> Generator[Row, None, Metrics]:
    x = torch.rand(128, pixels)
    encoder = nn.Sequential(nn.Linear(pixels, 64), nn.ReLU())
    mean, log_variance = nn.Linear(64, 16), nn.Linear(64, 16)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "raw": log_variance,
        "zero": lambda h: 0 * log_variance(h),
        "limited": lambda h: limit * torch.tanh(log_variance(h) / limit),
    }

    def kl(size: float, way: str) -> Tensor:
        h = encoder(size * x)
        mu, s = mean(h), ways[way](h)
        return 0.5 * (mu.square() + s.exp() - 1 - s).sum(1).mean()

    for size in [1, 3, 10, 30, 100, 255, 500, 1000, 2000]:
        yield {"largest": size} | {way: kl(size, way).item() for way in ways}
    parameters = [*encoder.parameters(), *mean.parameters(), *log_variance.parameters()]
    raw, unit = kl(largest, "raw"), kl(1.0, "raw")
    s = log_variance(encoder(largest * x)).detach().double()
    return {
        "raw": raw.item(),
        "unit": unit.item(),
        "zero": kl(largest, "zero").item(),
        "limited": kl(largest, "limited").item(),
        "gradient": norm(torch.autograd.grad(raw, parameters)),
        "gradient_unit": norm(torch.autograd.grad(unit, parameters)),
        "spread": s.std().item(),
        "largest_s": s.max().item(),
    }


def norm(gradients: tuple[Tensor, ...]) -> float:
    return float(torch.cat([part.double().flatten() for part in gradients]).norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
