"""One nan in a running average stays there for ever, while the loss itself is finite again at the next step.

`n` losses, 2·e^(−3k/n) + 0.3·|N(0, 1)| at step k, of which one, at `bad_step`, is `bad`. Four averages that loggers
keep: `running`, the sum of all losses over their number; `ema`, m ← 0.98·m + 0.02·loss; `window`, the mean of the last
50; `finite`, the running mean of the finite losses, beside which a counter says how many were not. The averages are in
float64; `bad` huge is the finite loss 10¹², one step before it would have been inf.

Theory: nan + a = nan, so running and ema are nan from `bad_step` on; inf stays inf; the window forgets both after 50
steps; a finite 10¹² leaves the ema after ln(10¹²)/−ln 0.98, 1368 steps, the running mean hardly ever.
Random: the losses. Source: IEEE 754-2019, 6.2.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "被一个 nan 毒化的滑动平均", "en": "A running average poisoned by one nan"}
PARAMS = {
    "bad": {"zh": "坏掉的那一步", "en": "the bad step's loss"},
    "bad_step": {"zh": "坏在第几步", "en": "where it is bad", "unit": "step", "ge": 1, "le": 1000},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 100, "le": 5000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "running": {"zh": "累计平均", "en": "running mean"},
    "ema": {"zh": "指数滑动平均", "en": "exponential average"},
    "window": {"zh": "最近 50 步平均", "en": "mean of the last 50"},
    "finite": {"zh": "只计有限值的平均", "en": "mean of the finite ones"},
}
METRICS = {
    "running_bad": {"zh": "累计平均不是有限数的步数比例", "en": "fraction of steps with a non-finite running mean"},
    "ema_bad": {"zh": "指数滑动平均不是有限数的比例", "en": "the same of the exponential average"},
    "window_bad": {"zh": "窗口平均不是有限数的比例", "en": "the same of the window"},
    "loss_bad": {"zh": "损失本身不是有限数的比例", "en": "the same of the loss itself"},
    "running_end": {"zh": "累计平均的终值", "en": "running mean at the end"},
    "ema_end": {"zh": "指数滑动平均的终值", "en": "exponential average at the end"},
    "window_end": {"zh": "窗口平均的终值", "en": "window at the end"},
    "finite_end": {"zh": "只计有限值的终值", "en": "mean of the finite ones at the end"},
    "finite_rel_err": {"zh": "它与没有坏步时的相对偏差", "en": "its deviation from a run without the bad step"},
    "bad_count": {"zh": "计数器记下的坏步数", "en": "bad steps counted"},
}
CHART = {
    "transform": [{"fold": ["running", "ema", "window", "finite"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
BAD = {"nan": math.nan, "inf": math.inf, "huge": 1e12}


def run(
    bad: Literal["nan", "inf", "huge", "none"] = "nan", bad_step: int = 100, n: int = 400
) -> Generator[Row, None, Metrics]:
    steps = torch.arange(1, n + 1, dtype=torch.float64)
    clean = (2 * torch.exp(-3 * steps / n) + 0.3 * torch.randn(n, dtype=torch.float64).abs()).tolist()
    losses = list(clean)
    if bad in BAD and bad_step <= n:
        losses[bad_step - 1] = BAD[bad]
    total, ema, good, wrong = 0.0, losses[0], 0.0, 0
    rows: list[Row] = []
    for step, loss in enumerate(losses, 1):
        total += loss
        ema = 0.98 * ema + 0.02 * loss
        if math.isfinite(loss):
            good += loss
        else:
            wrong += 1
        recent = losses[max(0, step - 50) : step]
        rows.append(
            {
                "step": step,
                "loss": loss,
                "running": total / step,
                "ema": ema,
                "window": sum(recent) / len(recent),
                "finite": good / max(step - wrong, 1),
            }
        )
        yield rows[-1]
    kept = sum(clean) / n
    return {
        **{f"{name}_bad": not_finite(rows, name) for name in ("running", "ema", "window", "loss")},
        **{f"{name}_end": rows[-1][name] for name in ("running", "ema", "window", "finite")},
        "finite_rel_err": abs(rows[-1]["finite"] / kept - 1),
        "bad_count": wrong,
    }


def not_finite(rows: list[Row], name: str) -> float:
    """The fraction of the rows in which this column is nan or inf."""
    return sum(not math.isfinite(row[name]) for row in rows) / len(rows)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
