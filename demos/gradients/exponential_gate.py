"""Exponential gates overflow as they stand; kept in the log domain, relative to the largest so far, they do not.

One sLSTM cell in the manner of xLSTM, n steps: c ← f·c + exp(i)·z, m ← f·m + exp(i), output h = c/m, with f =
sigmoid(3), the input gate's pre-activation i = x·(1 + ½·sin(t)) and the cell input z = cos(t)/2 + ½ at step t. It is
computed
- naively in `dtype`: exp(i) overflows beyond 11.09 in float16 and 88.72 in float32, then c/m = inf/inf = nan;
- stabilised in `dtype`: s ← max(ln f + s, i) is the largest exponent so far and everything is kept divided by exp(s):
  c ← exp(ln f + s_old − s)·c + exp(i − s)·z, and m likewise. The output is the same number;
- exactly: stabilised in float64.
Nothing is random. Source: Beck et al. 2024, xLSTM.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "指数门：朴素算法与对数域稳定化", "en": "An exponential gate, naive and stabilised"}
PARAMS = {
    "x": {"zh": "输入门的预激活", "en": "pre-activation of the input gate", "ge": -1000, "le": 1000},
    "n": {"zh": "时间步数", "en": "time steps", "ge": 1, "le": 2000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "naive": {"zh": "朴素", "en": "naive"},
    "stabilised": {"zh": "稳定化", "en": "stabilised"},
    "exact": {"zh": "精确", "en": "exact"},
}
METRICS = {
    "naive": {"zh": "朴素算法的输出", "en": "output, naive"},
    "stabilised": {"zh": "稳定化之后的输出", "en": "output, stabilised"},
    "exact": {"zh": "精确的输出", "en": "output, exact"},
    "stabilised_error": {"zh": "稳定化：各步最大的误差", "en": "stabilised: largest error of all steps"},
    "first_bad_step": {"zh": "朴素算法首次不是有限数", "en": "naive: first not finite", "unit": "step"},
    "largest_exponent": {"zh": "最大的指数", "en": "largest exponent"},
    "exponent_limit": {"zh": "exp 从这里起溢出", "en": "exp overflows from here"},
}
CHART = {
    "transform": [{"fold": ["naive", "stabilised", "exact"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the gate's exponential on the way to x
BESIDE = [{"parameter": "dtype", "experiment": "dtype_functions", "params": {"f": "exp", "spacing": "even"}}]

Row = dict[str, float]
Metrics = dict[str, float | None]
LOG_F = -math.log1p(math.exp(-3.0))


def run(
    x: float = 60.0, n: int = 50, dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32"
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    gates = [x * (1 + math.sin(t) / 2) for t in range(n)]
    inputs = [math.cos(t) / 2 + 0.5 for t in range(n)]
    curves = {
        "naive": naive(gates, inputs, kind),
        "stabilised": stabilised(gates, inputs, kind),
        "exact": stabilised(gates, inputs, torch.float64),
    }
    for step in range(0, n, max(1, n // 200)):
        yield {"step": step + 1} | {name: curve[step] for name, curve in curves.items()}
    errors = [abs(a - b) for a, b in zip(curves["stabilised"], curves["exact"], strict=True)]
    return {
        "naive": curves["naive"][-1],
        "stabilised": curves["stabilised"][-1],
        "exact": curves["exact"][-1],
        "stabilised_error": max(errors),
        "first_bad_step": next((i + 1 for i, h in enumerate(curves["naive"]) if not math.isfinite(h)), None),
        "largest_exponent": max(gates),
        "exponent_limit": math.log(torch.finfo(kind).max),
    }


def naive(gates: list[float], inputs: list[float], kind: torch.dtype) -> list[float]:
    """c/m of every step, with exp(i) computed as it stands."""
    c = m = torch.zeros((), dtype=kind)
    f = torch.tensor(math.exp(LOG_F), dtype=kind)
    found = []
    for gate, z in zip(gates, inputs, strict=True):
        i = torch.tensor(gate, dtype=kind).exp()
        c, m = f * c + i * torch.tensor(z, dtype=kind), f * m + i
        found.append((c / m).item())
    return found


def stabilised(gates: list[float], inputs: list[float], kind: torch.dtype) -> list[float]:
    """c/m of every step, both kept divided by exp(s), s the largest exponent so far."""
    c = m = torch.zeros((), dtype=kind)
    log_f, s = torch.tensor(LOG_F, dtype=kind), torch.tensor(-math.inf, dtype=kind)
    found = []
    for gate, z in zip(gates, inputs, strict=True):
        i = torch.tensor(gate, dtype=kind)
        before, s = log_f + s, torch.maximum(log_f + s, i)
        keep, add = (before - s).exp(), (i - s).exp()
        c, m = keep * c + add * torch.tensor(z, dtype=kind), keep * m + add
        found.append((c / m).item())
    return found


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
