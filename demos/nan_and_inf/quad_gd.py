"""Gradient descent on λx²/2 blows up exactly when lr > 2/λ, and it reaches inf one step before it reaches nan.

The update x ← x − lr·(λx) starts at `x0` and is carried out in `dtype`, rounding after every operation; nothing is
random. Each step multiplies x by 1 − lr·λ, so |x| grows exactly when r = |1 − lr·λ| > 1. The gradient λx, the update
lr·λ·x or x overflows first, in step 1 + ceil((ln max − ln(max(λ, lr·λ, r, 1)·|x0|)) / ln r); one step later inf − inf
gives nan, and the run stops there. The end of the run is also measured at 0.95, 1 and 1.05 times the critical rate,
whatever `lr` is. With `clip` > 0 the gradient is first shortened to that size: a step is then at most lr·clip long, so
|x| can no longer run away, but it cannot settle either while lr > 2/λ.
Source: the linear recurrence itself; Goodfellow, Bengio & Courville 2016, Deep Learning, ch. 4.3; IEEE 754-2019.
"""

import math
from collections.abc import Generator, Iterator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "学习率多大才会发散", "en": "Which learning rate diverges"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": -10, "le": 1e6},
    "lam": {"zh": "曲率 λ", "en": "curvature λ", "ge": 0, "le": 1e6},
    "x0": {"zh": "起点", "en": "starting point", "nonfinite": True},
    "n": {"zh": "步数", "en": "how many steps", "ge": 1, "le": 10000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "clip": {"zh": "梯度裁剪到（0 = 不裁剪）", "en": "gradient clipped to (0: off)", "ge": 0, "le": 1e6},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "abs_x": {"zh": "|x|", "en": "|x|"},
}
METRICS = {
    "factor": {"zh": "每步的放大倍数 |1 − lr·λ|", "en": "growth per step |1 − lr·λ|"},
    "lr_critical": {"zh": "临界学习率 2/λ", "en": "critical learning rate 2/λ"},
    "first_inf_step": {"zh": "首次出现 inf", "en": "first inf", "unit": "step"},
    "theory_first_inf_step": {"zh": "理论上首次出现 inf", "en": "first inf in theory", "unit": "step"},
    "steps_off_theory": {"zh": "首次 inf 与理论相差几步", "en": "first inf, steps away from theory", "unit": "step"},
    "first_nan_step": {"zh": "首次出现 nan", "en": "first nan", "unit": "step"},
    "steps_from_inf_to_nan": {"zh": "从 inf 到 nan 隔几步", "en": "steps from inf to nan", "unit": "step"},
    "final_abs": {"zh": "最后的 |x|", "en": "|x| at the end"},
    "largest_abs": {"zh": "第一步以后 |x| 的最大值", "en": "largest |x| after the first step"},
    "final_abs_below_critical": {"zh": "学习率为 0.95·2/λ 时最后的 |x|", "en": "|x| at the end with lr = 0.95·2/λ"},
    "final_abs_at_critical": {"zh": "学习率为 2/λ 时最后的 |x|", "en": "|x| at the end with lr = 2/λ"},
    "final_abs_above_critical": {"zh": "学习率为 1.05·2/λ 时最后的 |x|", "en": "|x| at the end with lr = 1.05·2/λ"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "abs_x", "type": "quantitative", "scale": {"type": "log"}},
    },
}
# x ← x − (lr·λ)·x, the factor rounded once
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_ladder",
        "params": {"op": "descend", "x": ["lr", "lam"], "start": ["x0"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    lr: float = 2.5,
    lam: float = 1.0,
    x0: float = 1.0,
    n: int = 1000,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32",
    clip: float = 0.0,
) -> Generator[Row, None, Metrics]:
    x = start = torch.tensor(x0, dtype=getattr(torch, dtype))
    first_inf = first_nan = None
    largest = 0.0
    every = max(1, n // 200)
    yield {"step": 0, "abs_x": x.abs().item()}
    for step, x in enumerate(descend(start, lr, lam, n, clip), 1):
        largest = max(largest, x.abs().item())
        if first_inf is None and x.isinf():
            first_inf = step
        if first_nan is None and x.isnan():
            first_nan = step
        if step % every == 0 or step == n or step in (first_inf, first_nan):
            yield {"step": step, "abs_x": x.abs().item()}
    critical = 2 / lam if lam else None
    theory = None if clip else first_inf_in_theory(start, lr, lam)
    return {
        "factor": abs(1 - lr * lam),
        "lr_critical": critical,
        "first_inf_step": first_inf,
        "theory_first_inf_step": theory,
        "steps_off_theory": abs(first_inf - theory) if first_inf and theory else None,
        "first_nan_step": first_nan,
        "steps_from_inf_to_nan": first_nan - first_inf if first_nan and first_inf else None,
        "final_abs": x.abs().item(),
        "largest_abs": largest,
        "final_abs_below_critical": final_abs(start, 0.95 * critical, lam, n, clip) if critical else None,
        "final_abs_at_critical": final_abs(start, critical, lam, n, clip) if critical else None,
        "final_abs_above_critical": final_abs(start, 1.05 * critical, lam, n, clip) if critical else None,
    }


def descend(x: Tensor, lr: float, lam: float, n: int, clip: float) -> Iterator[Tensor]:
    """The iterates of n steps; a nan is the last of them, since nothing changes after it."""
    limit = min(clip, torch.finfo(x.dtype).max)
    for _ in range(n):
        gradient = lam * x
        x = x - lr * (gradient.clamp(-limit, limit) if clip else gradient)
        yield x
        if x.isnan():
            return


def final_abs(x: Tensor, lr: float, lam: float, n: int, clip: float) -> float:
    """|x| where n steps have led."""
    *_, last = descend(x, lr, lam, n, clip)
    return float(last.abs())


def first_inf_in_theory(start: Tensor, lr: float, lam: float) -> int | None:
    """The step in which λx, lr·λ·x or x overflows; None where x does not grow, or the start is 0, inf or nan."""
    factor, origin = abs(1 - lr * lam), start.abs().item()
    if factor <= 1 or origin == 0 or not math.isfinite(origin):
        return None
    room = math.log(torch.finfo(start.dtype).max) - math.log(max(lam, lr * lam, factor, 1)) - math.log(origin)
    return 1 + max(0, math.ceil(room / math.log(factor)))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
