"""He keeps the gradient's size on average only: over 50 narrow layers single nets differ by orders of magnitude.

`n` nets h_l = relu(W_l·h_{l−1}), l = 1 … layers, of one `width`, no biases, W ~ N(0, 2/width) (He), each with its own
`batch` inputs N(0, 1) and a random linear read-out; float32. Noted is log10 of the ratio of gradient norms (batch ×
units, float64), first layer over last, for every net; spread is the standard deviation of these logarithms over the
nets (population).

Theory: the logarithm of the squared norm of one sample's gradient gains a variance of about 5/width per layer
(Hanin), that is spread ≈ √(5·layers/width)/(2·ln 10), and its mean falls by half of that variance. Several samples
share the weights, so they average this out only in part; the spread measured over a batch is smaller. Source:
Schoenholz et al. 2017, Deep information propagation; Hanin 2018, Which neural net architectures give rise to
exploding and vanishing gradients?, NeurIPS.
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "He 初始化的起伏", "en": "The spread of He initialisation"}
PARAMS = {
    "layers": {"zh": "层数", "en": "layers", "unit": "layer", "ge": 1, "le": 100},
    "width": {"zh": "每层宽度", "en": "width of every layer", "unit": "unit", "ge": 2, "le": 256},
    "n": {"zh": "抽多少个网络", "en": "networks drawn", "unit": "draw", "ge": 5, "le": 100},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 64},
}
LIMITS = [{"product": ["layers", "width", "width", "n"], "le": 66000000}]
COLUMNS = {
    "draw": {"zh": "第几个网络", "en": "network"},
    "ratio": {"zh": "首层与末层的梯度之比", "en": "first over last gradient"},
}
METRICS = {
    "spread": {"zh": "梯度之比的 log10 的标准差", "en": "standard deviation of log10 of the ratio"},
    "theory_spread": {"zh": "单个样本的理论值", "en": "theory for a single sample"},
    "middle": {"zh": "梯度之比的中位数", "en": "median of the ratio"},
    "smallest": {"zh": "最小的梯度之比", "en": "smallest ratio"},
    "largest": {"zh": "最大的梯度之比", "en": "largest ratio"},
    "largest_over_smallest": {"zh": "最大与最小之比", "en": "largest over smallest"},
    "dead_share": {"zh": "梯度恰好为 0 的网络比例", "en": "networks with gradient exactly 0"},
}
CHART = {
    "mark": {"type": "point", "filled": True},
    "encoding": {
        "x": {"field": "draw", "type": "quantitative"},
        "y": {"field": "ratio", "type": "quantitative", "scale": {"type": "log"}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(layers: int = 50, width: int = 32, n: int = 20, batch: int = 16) -> Generator[Row, None, Metrics]:
    ratios = []
    for draw in range(1, n + 1):
        x = torch.randn(batch, width).requires_grad_()
        h = x
        for _ in range(layers):
            h = torch.relu(h @ (torch.randn(width, width) * math.sqrt(2 / width)))
        read_out = torch.randn(width, 1)
        (back,) = torch.autograd.grad((h @ read_out).sum(), x)
        ratios.append(float(back.double().norm() / (read_out.double().norm() * math.sqrt(batch))))
        yield {"draw": draw, "ratio": ratios[-1]}
    alive = torch.tensor([ratio for ratio in ratios if ratio > 0], dtype=torch.float64)
    found = torch.tensor(ratios, dtype=torch.float64)
    return {
        "spread": alive.log10().std(correction=0).item() if len(alive) else None,
        "theory_spread": math.sqrt(5 * layers / width) / (2 * math.log(10)),
        "middle": found.median().item(),
        "smallest": found.min().item(),
        "largest": found.max().item(),
        "largest_over_smallest": (found.max() / found.min()).item() if found.max() > 0 else None,
        "dead_share": (found == 0).double().mean().item(),
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
