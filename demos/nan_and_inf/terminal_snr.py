"""With zero terminal signal-to-noise the step from predicted noise to the image divides by 0; v-prediction does not.

Diffusion: x_t = a·x₀ + b·ε, a = √ᾱ_t, b = √(1 − ᾱ_t), x₀ and ε ~ N(0, 1) with 1024 entries, float32. Schedule: β from
1e-4 to 0.02 in equal steps, T = 1000, whose last a is 0.0064, not 0. `rescale` moves and stretches a so that the last
is exactly 0 and the first stays (Lin et al. 2023). Prediction with a relative error `error`, as a random vector of
that rms:

noise   ε is predicted; x₀ = (x_t − b·ε)/a, an error of b/a times that of ε: inf or nan at a = 0
v       v = a·ε − b·x₀ is predicted; x₀ = a·x_t − b·v, an error of b times that of v
x0      x₀ itself is predicted

rms errors of x₀ at step `step` of T, relative to the rms of x₀. mean_left: what the last x_t keeps of the mean of an
image: a, which a sampler that starts from pure noise does not have. Random: x₀, ε, the predictions' errors.
Source: Lin et al. 2023, Common diffusion noise schedules are flawed; Salimans & Ho 2022, Progressive distillation.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "扩散的最后一步：信噪比为 0", "en": "Zero signal-to-noise at the last diffusion step"}
PARAMS = {
    "step": {"zh": "第几步", "en": "time step", "unit": "step", "ge": 1, "le": 1000},
    "rescale": {"zh": "末步信噪比缩放为 0", "en": "rescaled to zero terminal signal"},
    "error": {"zh": "预测的相对误差", "en": "relative error of the prediction", "ge": 0, "le": 1},
}
COLUMNS = {
    "step": {"zh": "步", "en": "time step"},
    "noise": {"zh": "预测噪声", "en": "noise predicted"},
    "v": {"zh": "预测 v", "en": "v predicted"},
    "x0": {"zh": "预测 x₀", "en": "x₀ predicted"},
}
METRICS = {
    "root_alpha": {"zh": "√ᾱ", "en": "√ᾱ"},
    "amplification": {"zh": "噪声误差的放大倍数 b/a", "en": "factor on the noise's error, b/a"},
    "noise": {"zh": "x₀ 的误差，预测噪声", "en": "error of x₀, noise predicted"},
    "v": {"zh": "x₀ 的误差，预测 v", "en": "error of x₀, v predicted"},
    "x0": {"zh": "x₀ 的误差，预测 x₀", "en": "error of x₀, x₀ predicted"},
    "bad": {"zh": "非有限值的比例，预测噪声", "en": "non-finite fraction, noise predicted"},
    "mean_left": {"zh": "末步里图像均值剩下的比例", "en": "what the last step keeps of an image's mean"},
}
CHART = {
    "transform": [{"fold": ["noise", "v", "x0"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(step: int = 1000, rescale: bool = True, error: float = 0.01) -> Generator[Row, None, Metrics]:
    roots = schedule(rescale)
    x0, noise, wrong = (torch.randn(1024) for _ in range(3))
    for t in [1, *range(50, 1001, 50), 990, 999]:
        yield {"step": t} | {name: part[0] for name, part in errors(roots[t - 1], x0, noise, error * wrong).items()}
    found = errors(roots[step - 1], x0, noise, error * wrong)
    a = roots[step - 1]
    return {
        "root_alpha": a.item(),
        "amplification": ((1 - a * a).sqrt() / a).item(),
        "noise": found["noise"][0],
        "v": found["v"][0],
        "x0": found["x0"][0],
        "bad": found["noise"][1],
        "mean_left": roots[-1].item(),
    }


def schedule(rescale: bool) -> Tensor:
    """√ᾱ of the 1000 steps, float32."""
    roots = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0).sqrt()
    if rescale:
        roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    return roots.float()


def errors(a: Tensor, x0: Tensor, noise: Tensor, wrong: Tensor) -> dict[str, tuple[float, float]]:
    """Relative rms error of x₀ (inf if not finite) and the fraction of bad entries, by what is predicted."""
    b = (1 - a * a).sqrt()
    x = a * x0 + b * noise
    found = {
        "noise": (x - b * (noise + wrong)) / a,
        "v": a * x - b * (a * noise - b * x0 + wrong),
        "x0": x0 + wrong,
    }
    return {name: (relative(value, x0), (~value.isfinite()).double().mean().item()) for name, value in found.items()}


def relative(value: Tensor, x0: Tensor) -> float:
    if not value.isfinite().all():
        return float("inf")
    return float((value - x0).double().norm() / x0.double().norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
