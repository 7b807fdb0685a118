"""In many dimensions the steepest direction alone sets the limit: gradient descent diverges exactly when lr > 2/λ_max.

f(x) = ½·xᵀAx with A = BBᵀ/(2·dim), B of dim × 2·dim entries N(0, 1), and x_0 ~ N(0, 1), all random; x ← x − lr·Ax for
`n` steps in float64. The rate is given as a multiple of the critical one: lr = ratio·2/λ_max. Every run also follows
the ratios 0.99 and 1.01. The growth is the factor of ‖x‖ in the last step; the alignment is |cos| between the last
finite x and the eigenvector of λ_max. λ_max is also estimated as one does it for a network: 100 rounds of power
iteration with products A·v only.
Theory: along eigenvector i the iterate is multiplied by 1 − lr·λ_i per step, so the growth tends to max |1 − lr·λ_i|.
Source: the linear recurrence itself; Goodfellow, Bengio & Courville 2016, Deep Learning, ch. 4.3.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "多维时学习率的上限", "en": "The largest learning rate in many dimensions"}
PARAMS = {
    "dim": {"zh": "维数", "en": "dimensions", "ge": 1, "le": 200},
    "ratio": {"zh": "学习率是 2/λ_max 的几倍", "en": "learning rate as a multiple of 2/λ_max", "ge": 0, "le": 10},
    "n": {"zh": "步数", "en": "how many steps", "unit": "step", "ge": 1, "le": 10000},
}
LIMITS = [{"product": ["dim", "n"], "le": 1000000}]
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "own": {"zh": "所选学习率", "en": "your rate"},
    "below": {"zh": "0.99 倍临界", "en": "0.99 of the critical rate"},
    "above": {"zh": "1.01 倍临界", "en": "1.01 of the critical rate"},
}
METRICS = {
    "lambda_max": {"zh": "最大曲率 λ_max", "en": "largest curvature λ_max"},
    "lambda_min": {"zh": "最小曲率 λ_min", "en": "smallest curvature λ_min"},
    "lr_critical": {"zh": "临界学习率 2/λ_max", "en": "critical rate 2/λ_max"},
    "lr": {"zh": "所用学习率", "en": "rate used"},
    "growth": {"zh": "最后一步 ‖x‖ 的倍数", "en": "factor of ‖x‖ in the last step"},
    "theory_growth": {"zh": "理论倍数 max|1 − lr·λ|", "en": "factor in theory, max|1 − lr·λ|"},
    "final_over_start": {"zh": "最后与开始的 ‖x‖ 之比", "en": "‖x‖ at the end over the start"},
    "below_over_start": {"zh": "0.99 倍临界：最后与开始之比", "en": "0.99 of critical: end over start"},
    "above_over_start": {"zh": "1.01 倍临界：最后与开始之比", "en": "1.01 of critical: end over start"},
    "alignment": {"zh": "最后的 x 与最陡方向的 |cos|", "en": "|cos| of the last x and the steepest direction"},
    "steps_to_shrink": {
        "zh": "0.99 倍临界：缩到千分之一要几步",
        "en": "0.99 of critical: steps to a thousandth",
        "unit": "step",
    },
    "power_estimate": {"zh": "幂迭代估计的 λ_max", "en": "λ_max by power iteration"},
    "power_rel_err": {"zh": "该估计的相对误差", "en": "relative error of that estimate"},
}
CHART = {
    "transform": [{"fold": ["own", "below", "above"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(dim: int = 20, ratio: float = 1.01, n: int = 3000) -> Generator[Row, None, Metrics]:
    b, start = torch.randn(dim, 2 * dim, dtype=torch.float64), torch.randn(dim, dtype=torch.float64)
    a = b @ b.T / (2 * dim)
    curvatures, directions = torch.linalg.eigh(a)
    top, every = curvatures[-1].item(), max(1, n // 200)
    x = torch.stack([start] * 3)
    rates = torch.tensor([ratio, 0.99, 1.01], dtype=torch.float64)[:, None] * 2 / top
    before = norms = finite = x.norm(dim=1)
    last, shrunk = start, None
    for step in range(1, n + 1):
        x, before = x - rates * (x @ a), norms
        norms = x.norm(dim=1)
        if norms[0].isfinite():
            last, finite = x[0], torch.stack([before[0], norms[0]])
        if shrunk is None and norms[1] < start.norm() / 1000:
            shrunk = step
        if step % every == 0 or step in (1, n):
            yield {"step": step, "own": norms[0].item(), "below": norms[1].item(), "above": norms[2].item()}
    ratios = (norms / start.norm()).tolist()
    estimate = power_iteration(a)
    return {
        "lambda_max": top,
        "lambda_min": curvatures[0].item(),
        "lr_critical": 2 / top,
        "lr": rates[0].item(),
        "growth": (finite[1] / finite[0]).item() if finite[0] else None,
        "theory_growth": (1 - rates[0] * curvatures).abs().max().item(),
        "final_over_start": ratios[0],
        "below_over_start": ratios[1],
        "above_over_start": ratios[2],
        "alignment": abs((last @ directions[:, -1]).item()) / last.norm().item() if last.norm() else None,
        "steps_to_shrink": shrunk,
        "power_estimate": estimate,
        "power_rel_err": abs(estimate - top) / top,
    }


def power_iteration(a: Tensor, rounds: int = 100) -> float:
    """The largest curvature from products with a vector only, as by Hessian-vector products of a network."""
    v = torch.randn(len(a), dtype=torch.float64)
    size = math.nan
    for _ in range(rounds):
        v = a @ (v / v.norm())
        size = v.norm().item()
    return size


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
