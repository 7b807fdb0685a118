"""A state kept in bfloat16 stops where a step's change is below half a unit in its last place; in float32 it goes on.

A leaky average h_t = h_{t−1} + `delta`·(u_t − h_{t−1}) from 0 over `n` steps, as in state-space layers, gated
recurrences and running statistics, with u_t = 1 + `noise`·N(0, 1). Each way computes a step in float32:

float32   the state stays in float32
bfloat16  the state is rounded to bfloat16 after every step
stored    the state is rounded to bfloat16 after every `chunk` steps only
inputs    the inputs u_t are rounded to bfloat16, the state stays in float32

Errors are relative to the same recurrence in float64. Theory without noise: the bfloat16 state h stops as soon as
delta·(1 − h) ≤ half the distance of bfloat16 numbers at h, which is 2^(e − 8) for 2^e ≤ h < 2^(e + 1); `stops_at`.
Random: u. Source: Gu & Dao 2023, Mamba; Higham 2002, Accuracy and stability of numerical algorithms, 4.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "循环状态存成 bfloat16", "en": "A recurrent state in bfloat16"}
PARAMS = {
    "delta": {"zh": "每步的步长 Δ", "en": "step size Δ", "ge": 1e-5, "le": 1},
    "n": {"zh": "序列长度", "en": "length of the sequence", "unit": "step", "ge": 2, "le": 5000},
    "chunk": {"zh": "每块多少步", "en": "steps in a chunk", "unit": "step", "ge": 1, "le": 1024},
    "noise": {"zh": "输入的噪声", "en": "noise on the inputs", "ge": 0, "le": 10},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "exact": {"zh": "准确", "en": "exact"},
    "bfloat16": {"zh": "状态 bfloat16", "en": "state in bfloat16"},
    "stored": {"zh": "块间 bfloat16", "en": "bfloat16 between chunks"},
    "float32": {"zh": "状态 float32", "en": "state in float32"},
}
METRICS = {
    "exact": {"zh": "最后的状态，准确", "en": "last state, exact"},
    "state": {"zh": "最后的状态，bfloat16", "en": "last state, bfloat16"},
    "error_float32": {"zh": "float32 状态：相对误差", "en": "float32 state: relative error"},
    "error_bfloat16": {"zh": "bfloat16 状态：相对误差", "en": "bfloat16 state: relative error"},
    "error_stored": {"zh": "块间 bfloat16：相对误差", "en": "bfloat16 between chunks: relative error"},
    "error_inputs": {"zh": "bfloat16 输入：相对误差", "en": "bfloat16 inputs: relative error"},
    "unchanged": {"zh": "状态不动的步的比例", "en": "fraction of steps that leave the state as it is"},
    "stops_at": {"zh": "理论上停在", "en": "where theory says it stops"},
}
CHART = {
    "transform": [{"fold": ["exact", "bfloat16", "stored", "float32"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(delta: float = 0.001, n: int = 3000, chunk: int = 256, noise: float = 0.0) -> Generator[Row, None, Metrics]:
    u = 1 + noise * torch.randn(n, dtype=torch.float64)
    exact, unchanged = 0.0, 0
    single = torch.tensor(delta, dtype=torch.float32)
    # the columns: float32, bfloat16, stored, inputs
    state = torch.zeros(4)
    inputs = torch.stack([u.float()] * 3 + [u.bfloat16().float()], dim=1)
    for step in range(1, n + 1):
        exact += delta * (u[step - 1].item() - exact)
        before = state[1].item()
        state = rounded(state + single * (inputs[step - 1] - state), step % chunk == 0)
        unchanged += state[1].item() == before
        if step % math.ceil(n / 60) == 0 or step == n:
            yield {"step": step, "exact": exact} | dict(
                zip(("float32", "bfloat16", "stored"), state[:3].tolist(), strict=True)
            )
    errors = ((state.double() - exact).abs() / abs(exact)).tolist()
    return {
        "exact": exact,
        "state": state[1].item(),
        "error_float32": errors[0],
        "error_bfloat16": errors[1],
        "error_stored": errors[2],
        "error_inputs": errors[3],
        "unchanged": unchanged / n,
        "stops_at": where_it_stops(delta),
    }


def rounded(state: Tensor, end_of_chunk: bool) -> Tensor:
    """The states with the second, and at the end of a chunk the third, rounded to bfloat16."""
    short = state.bfloat16().float()
    return torch.stack([state[0], short[1], short[2] if end_of_chunk else state[2], state[3]])


def where_it_stops(delta: float) -> float:
    """The least bfloat16 number h ≤ 1 with delta·(1 − h) at most half the distance to the next; 1 if there is none."""
    for exponent in range(-40, 0):
        half = 2.0 ** (exponent - 8)
        least = max(1 - half / delta, 2.0**exponent)  # h ≥ this stops, if it lies in the binade
        h = math.ceil(least / (2 * half)) * 2 * half
        if h < 2.0 ** (exponent + 1):
            return h
    return 1.0


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
