"""An LSTM step by hand: three gates between 0 and 1, one candidate between −1 and 1, one addition.

One unit with readable weights. It reads x = 1 at the first step and 0 afterwards, from h = c = 0:
  f = sigmoid(forget_bias), i = sigmoid(4x − 2), g = tanh(2x), o = sigmoid(2), c ← f·c + i·g, h ← o·tanh(c);
the three gates get h as well, with weight 0.1. So the first step writes, and all later ones only keep: c ← f·c. The
same weights are given to torch.nn.LSTMCell, whose rows are in the order i, f, g, o; order="f, i, g, o" gives them in
the order in which many texts list the gates, which is another net. Everything is in float64. Source: Hochreiter &
Schmidhuber 1997; Gers et al. 2000.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "手算一步 LSTM", "en": "An LSTM step by hand"}
PARAMS = {
    "n": {"zh": "时间步数", "en": "time steps", "ge": 1, "le": 500},
    "forget_bias": {"zh": "遗忘门偏置", "en": "forget-gate bias", "ge": -20, "le": 20},
    "order": {"zh": "交给 PyTorch 的门的次序", "en": "order of the gates given to PyTorch"},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "f": {"zh": "遗忘门 f", "en": "forget gate f"},
    "i": {"zh": "输入门 i", "en": "input gate i"},
    "g": {"zh": "候选 g", "en": "candidate g"},
    "o": {"zh": "输出门 o", "en": "output gate o"},
    "c": {"zh": "记忆 c", "en": "cell c"},
    "h": {"zh": "输出 h", "en": "output h"},
}
METRICS = {
    "f1": {"zh": "第 1 步：遗忘门 f", "en": "step 1: forget gate f"},
    "i1": {"zh": "第 1 步：输入门 i", "en": "step 1: input gate i"},
    "g1": {"zh": "第 1 步：候选 g", "en": "step 1: candidate g"},
    "o1": {"zh": "第 1 步：输出门 o", "en": "step 1: output gate o"},
    "c1": {"zh": "第 1 步后的记忆 c", "en": "cell c after step 1"},
    "h1": {"zh": "第 1 步后的输出 h", "en": "output h after step 1"},
    "c2": {"zh": "第 2 步后的记忆 c", "en": "cell c after step 2"},
    "i2": {"zh": "第 2 步：输入门 i", "en": "step 2: input gate i"},
    "c_last": {"zh": "最后一步的记忆 c", "en": "cell c after the last step"},
    "kept": {"zh": "记忆保住的比例", "en": "fraction of the cell that is kept"},
    "torch_difference": {"zh": "与 torch.nn.LSTMCell 的最大差", "en": "largest distance from torch.nn.LSTMCell"},
}
CHART = {
    "transform": [{"fold": ["c", "h", "i", "f"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
FROM_X = {"i": 4.0, "f": 0.0, "g": 2.0, "o": 0.0}
FROM_H = {"i": 0.1, "f": 0.1, "g": 0.0, "o": 0.1}


def run(
    n: int = 20, forget_bias: float = 3.0, order: Literal["i, f, g, o", "f, i, g, o"] = "i, f, g, o"
) -> Generator[Row, None, Metrics]:
    bias = {"i": -2.0, "f": forget_bias, "g": 0.0, "o": 2.0}
    xs = [1.0, *[0.0] * (n - 1)]
    h = c = 0.0
    rows: list[Row] = []
    for step, x in enumerate(xs, 1):
        z = {gate: FROM_X[gate] * x + FROM_H[gate] * h + bias[gate] for gate in bias}
        f, i, o, g = sigmoid(z["f"]), sigmoid(z["i"]), sigmoid(z["o"]), math.tanh(z["g"])
        c = f * c + i * g
        h = o * math.tanh(c)
        rows.append({"step": step, "f": f, "i": i, "g": g, "o": o, "c": c, "h": h})
    yield from rows
    theirs = by_torch(xs, bias, order.split(", "))
    first, second, last = rows[0], rows[min(1, n - 1)], rows[-1]
    at_first: Metrics = {f"{name}1": first[name] for name in ("f", "i", "g", "o", "c", "h")}
    return at_first | {
        "c2": second["c"],
        "i2": second["i"],
        "c_last": last["c"],
        "kept": last["c"] / first["c"],
        "torch_difference": max(abs(row["c"] - c) for row, c in zip(rows, theirs, strict=True)),
    }


def by_torch(xs: list[float], bias: dict[str, float], order: list[str]) -> list[float]:
    """The cell after every step from torch.nn.LSTMCell, its rows filled in this order."""
    cell = torch.nn.LSTMCell(1, 1).double()
    with torch.no_grad():
        cell.weight_ih.copy_(column([FROM_X[gate] for gate in order]))
        cell.weight_hh.copy_(column([FROM_H[gate] for gate in order]))
        cell.bias_ih.copy_(column([bias[gate] for gate in order])[:, 0])
        cell.bias_hh.zero_()
        state = column([0.0]), column([0.0])
        found = []
        for x in xs:
            state = cell(column([x]), state)
            found.append(float(state[1]))
    return found


def column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
