"""A first loss of a million says nothing by itself: its ratio to the loss of predicting the mean does.

256 samples x ~ N(0, I₈), targets of `outputs` numbers y = `scale`·(x·A/√8 + noise/10), A and noise N(0, 1). A net
8 - 32 - outputs with tanh, PyTorch's default initialisation, its last layer times `gain`, predicts targets in units of
`scale`. The squared error is averaged over the batch; over the outputs it is summed or averaged (`reduction`).

baseline: the loss of the best constant, the targets' mean. ratio: the loss over the baseline; a healthy start has about
1 (it predicts about 0), whatever the units and the reduction. `n` steps of Adam at rate 0.01 on the same loss in units
of `scale`; ratio_end is 1 − R². The baseline is about scale²·1.01 per output in theory, times `outputs` if summed.
Random: data, weights. Source: Goodfellow, Bengio & Courville 2016, Deep Learning, section 11.5.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "一开始损失就很大：和基线比", "en": "A large first loss, against its baseline"}
PARAMS = {
    "scale": {"zh": "目标的大小", "en": "size of the targets", "ge": 1e-6, "le": 1e6},
    "outputs": {"zh": "每个样本的输出数", "en": "outputs of a sample", "ge": 1, "le": 1000},
    "reduction": {"zh": "对输出怎样归约", "en": "over the outputs"},
    "gain": {"zh": "最后一层放大的倍数", "en": "factor on the last layer", "ge": 0, "le": 1e6},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "baseline": {"zh": "只猜均值的损失", "en": "loss of guessing the mean"},
}
METRICS = {
    "loss_start": {"zh": "第一步的损失", "en": "loss of the first step"},
    "baseline": {"zh": "只猜均值的损失", "en": "loss of guessing the mean"},
    "ratio": {"zh": "第一步的损失 ÷ 基线", "en": "first loss over the baseline"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "ratio_end": {"zh": "最后的损失 ÷ 基线", "en": "loss at the end over the baseline"},
    "theory_baseline": {"zh": "基线的理论值", "en": "baseline in theory"},
}
CHART = {
    "transform": [{"fold": ["loss", "baseline"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    scale: float = 1000.0,
    outputs: int = 100,
    reduction: Literal["sum", "mean"] = "sum",
    gain: float = 1.0,
    n: int = 200,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 8)
    targets = x @ torch.randn(8, outputs) / 8**0.5 + torch.randn(256, outputs) / 10
    last = nn.Linear(32, outputs)
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), last)
    with torch.no_grad():
        last.weight.mul_(gain)
        last.bias.mul_(gain)
    units = scale**2 * (outputs if reduction == "sum" else 1)
    baseline = units * squared_error(targets.mean(0), targets).item()
    adam = torch.optim.Adam(net.parameters(), lr=0.01, fused=True)
    losses: list[float] = []
    for step in range(1, n + 1):
        error = squared_error(net(x), targets)
        losses.append(units * error.item())
        yield {"step": step, "loss": losses[-1], "baseline": baseline}
        adam.zero_grad()
        error.backward()
        adam.step()
    return {
        "loss_start": losses[0],
        "baseline": baseline,
        "ratio": losses[0] / baseline,
        "loss_end": losses[-1],
        "ratio_end": losses[-1] / baseline,
        "theory_baseline": 1.01 * units,
    }


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Averaged over samples and outputs."""
    return (predictions - targets).square().mean()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
