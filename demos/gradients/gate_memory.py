"""What survives of a gradient after n steps is the gate to the power n: 0.5, 0.73, 0.95 and 0.993 are worlds apart.

A memory cell whose gates stand still at the value of their bias, 32 units, 8 samples; autograd measures the mean
gradient of the last state with respect to the first, along the cell path alone:
- lstm: c ← f·c + ½·g, f = sigmoid(bias).
- cec: the same with f = 1, the constant error carousel of 1997, which had no forget gate.
- gru: h ← (1 − z)·h + z·g, z = sigmoid(bias): a closed gate (bias < 0) keeps. (PyTorch's GRU has z and 1 − z
  exchanged.)
g = tanh(N(0, 1)), fresh in every step, so that one also sees what happens to the state: with f = 1 it is a random
walk.
Theory: f^n, 1 and (1 − z)^n; half of the gradient is left after ln ½ / ln f steps. The chart shows f^t for the bias
chosen and for the biases 0, 1, 3 and 5 of an LSTM. Everything is in float64.
Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000; Cho et al. 2014; Jozefowicz et al. 2015.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "门停在某个值，梯度还剩多少", "en": "What a gate leaves of the gradient"}
PARAMS = {
    "n": {"zh": "时间步数", "en": "time steps", "ge": 1, "le": 2000},
    "forget_bias": {"zh": "门的偏置", "en": "bias of the gate", "ge": -100, "le": 100},
    "cell": {"zh": "单元", "en": "cell"},
}
COLUMNS = {
    "step": {"zh": "相隔的时间步", "en": "steps back in time"},
    "chosen": {"zh": "所选的门", "en": "the gate chosen"},
    "bias_0": {"zh": "遗忘门偏置 0", "en": "forget bias 0"},
    "bias_1": {"zh": "遗忘门偏置 1", "en": "forget bias 1"},
    "bias_3": {"zh": "遗忘门偏置 3", "en": "forget bias 3"},
    "bias_5": {"zh": "遗忘门偏置 5", "en": "forget bias 5"},
}
METRICS = {
    "kept": {"zh": "门每步保留的比例", "en": "what the gate keeps per step"},
    "gradient": {"zh": "实测：n 步后剩下的梯度", "en": "measured: gradient left after n steps"},
    "theory": {"zh": "理论：n 步后剩下的梯度", "en": "in theory: gradient left after n steps"},
    "relative_error": {"zh": "实测与理论的相对偏差", "en": "measured against theory, relative"},
    "half_life": {"zh": "梯度减半要多少步", "en": "steps until half is left"},
    "bias_for_n": {"zh": "n 步后剩 1/e 所需的偏置", "en": "bias that leaves 1/e after n steps"},
    "state_rms": {"zh": "n 步后状态的均方根", "en": "rms of the state after n steps"},
    "left_bias_0": {"zh": "遗忘门偏置 0：剩下", "en": "forget bias 0: left"},
    "left_bias_1": {"zh": "遗忘门偏置 1：剩下", "en": "forget bias 1: left"},
    "left_bias_3": {"zh": "遗忘门偏置 3：剩下", "en": "forget bias 3: left"},
    "left_bias_5": {"zh": "遗忘门偏置 5：剩下", "en": "forget bias 5: left"},
}
CHART = {
    "transform": [{"fold": ["chosen", "bias_0", "bias_1", "bias_3", "bias_5"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
BIASES = (0, 1, 3, 5)


def run(
    n: int = 100, forget_bias: float = 1.0, cell: Literal["lstm", "cec", "gru"] = "lstm"
) -> Generator[Row, None, Metrics]:
    kept, added = gates(forget_bias, cell)
    state = start = torch.zeros(8, 32, dtype=torch.float64, requires_grad=True)
    for _ in range(n):
        state = kept * state + added * torch.randn(8, 32, dtype=torch.float64).tanh()
    (gradient,) = torch.autograd.grad(state.sum(), start)
    for step in sorted({*range(0, n, max(1, n // 150)), n}):
        yield {"step": step, "chosen": kept**step} | {f"bias_{b}": sigmoid(b) ** step for b in BIASES}
    measured, theory = gradient.mean().item(), kept**n
    return {
        "kept": kept,
        "gradient": measured,
        "theory": theory,
        "relative_error": abs(measured / theory - 1) if theory else None,
        "half_life": -math.log(2) / math.log(kept) if 0 < kept < 1 else math.inf if kept else 0.0,
        "bias_for_n": -math.log(math.expm1(1 / n)),
        "state_rms": state.detach().pow(2).mean().sqrt().item(),
    } | {f"left_bias_{b}": sigmoid(b) ** n for b in BIASES}


def gates(bias: float, cell: str) -> tuple[float, float]:
    """What a step keeps of the state, and by how much the candidate is multiplied."""
    if cell == "gru":
        return sigmoid(-bias), sigmoid(bias)
    return (1.0 if cell == "cec" else sigmoid(bias)), 0.5


def sigmoid(x: float) -> float:
    return float(torch.tensor(x, dtype=torch.float64).sigmoid())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
