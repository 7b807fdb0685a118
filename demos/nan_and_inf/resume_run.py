"""A resumed run goes on to the bit if all its state is loaded; without Adam's moments or with lr at its start it jumps.

Net 8 - 32 - 1, tanh, weights N(0, 1/fan_in); regression on x1·x2 + x3 with 256 samples, x ~ N(0, 1), in batches of 32
in a fixed order; Adam (β = 0.9, 0.999), the learning rate falls from `lr` to 0 by a cosine over 400 steps. The run is
saved after step 300 and resumed for the other 100. Beside it the same run, never interrupted. `case`:
complete         weights, Adam's state and the place in the schedule are loaded
no_moments       a new optimiser: moments and step count are 0
schedule_again   the learning rate starts from `lr` again
both             a new optimiser and the learning rate from the start
float16_weights  the weights were saved in float16
nan_weights      a nan step just before saving: the checkpoint holds nan
inf_moments      good weights, but one weight's two moments in the saved state are inf, as after an inf gradient
Steps count from 0 at the resumption. The jump is the largest loss (over all samples) after it over that at saving.
Random: samples, weights. Source: Kingma & Ba 2015, Adam; Loshchilov & Hutter 2017, SGDR.
"""

import copy
import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "断点续训：接得上还是跳起来", "en": "Resuming a run: it goes on, or it jumps"}
PARAMS = {
    "case": {"zh": "怎么恢复", "en": "how it is resumed"},
    "lr": {"zh": "开始时的学习率", "en": "learning rate at the start", "ge": 1e-6, "le": 1},
}
COLUMNS = {
    "step": {"zh": "恢复后第几步", "en": "step after resuming"},
    "resumed": {"zh": "恢复的训练", "en": "resumed run"},
    "uninterrupted": {"zh": "没有中断的训练", "en": "uninterrupted run"},
}
METRICS = {
    "loss_at_save": {"zh": "保存时的损失", "en": "loss at saving"},
    "loss_peak": {"zh": "恢复后最大的损失", "en": "largest loss after resuming"},
    "jump": {"zh": "它是保存时的几倍", "en": "times that at saving"},
    "uninterrupted_jump": {"zh": "没有中断：同一段最大是几倍", "en": "uninterrupted: largest over that at saving"},
    "first_nan_step": {"zh": "恢复后首次 nan", "en": "first nan after resuming", "unit": "step"},
    "nan_weights": {"zh": "检查点里 nan 权重的比例", "en": "fraction of nan weights in the checkpoint"},
    "bad_state": {"zh": "检查点的优化器状态里非有限值的个数", "en": "non-finite numbers in the saved state"},
    "weight_difference": {
        "zh": "与没有中断相比，权重最大的差",
        "en": "largest difference of a weight from uninterrupted",
    },
}
CHART = {
    "transform": [{"fold": ["resumed", "uninterrupted"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
SAVED, TOTAL = 300, 400


def run(
    case: Literal[
        "complete", "no_moments", "schedule_again", "both", "float16_weights", "nan_weights", "inf_moments"
    ] = "both",
    lr: float = 0.03,
) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 8)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
    whole = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    for layer in (whole[0], whole[2]):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    adam = torch.optim.Adam(whole.parameters(), lr=lr, fused=True)
    for step in range(SAVED):
        train_step(whole, adam, x, y, step, rate(lr, step))
    resumed, resumed_adam = resume(case, whole, adam, lr)
    began = SAVED if case in ("schedule_again", "both") else 0
    found: Metrics = {
        "loss_at_save": loss_of(whole, x, y).item(),
        "nan_weights": sum(int(p.isnan().sum()) for p in resumed.parameters())
        / sum(p.numel() for p in resumed.parameters()),
        "bad_state": sum(int((~t.isfinite()).sum()) for state in resumed_adam.state.values() for t in state.values()),
    }
    rows = [{"step": 0, "resumed": loss_of(resumed, x, y).item(), "uninterrupted": loss_of(whole, x, y).item()}]
    yield rows[0]
    for step in range(SAVED, TOTAL):
        train_step(whole, adam, x, y, step, rate(lr, step))
        train_step(resumed, resumed_adam, x, y, step, rate(lr, step - began))
        losses = {"resumed": loss_of(resumed, x, y).item(), "uninterrupted": loss_of(whole, x, y).item()}
        rows.append({"step": step - SAVED + 1} | losses)
        yield rows[-1]
    finite = [row["resumed"] for row in rows if math.isfinite(row["resumed"])]
    saved, pairs = rows[0]["uninterrupted"], zip(whole.parameters(), resumed.parameters(), strict=True)
    peak = max(finite) if len(finite) == len(rows) else math.nan
    return found | {
        "loss_peak": peak,
        "jump": peak / saved,
        "uninterrupted_jump": max(row["uninterrupted"] for row in rows) / saved,
        "first_nan_step": next((int(row["step"]) for row in rows if math.isnan(row["resumed"])), None),
        "weight_difference": torch.stack([(a - b).abs().max() for a, b in pairs]).max().item(),
    }


def resume(case: str, saved: nn.Module, adam: torch.optim.Adam, lr: float) -> tuple[nn.Module, torch.optim.Adam]:
    """The net and the optimiser with which the run goes on."""
    net = copy.deepcopy(saved)
    fresh = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    if case not in ("no_moments", "both"):
        fresh.load_state_dict(copy.deepcopy(adam.state_dict()))
    with torch.no_grad():
        for p in net.parameters():
            if case == "float16_weights":
                p.copy_(p.half().float())
            elif case == "nan_weights":
                p.fill_(math.nan)
    if case == "inf_moments":
        state = fresh.state[next(net.parameters())]
        state["exp_avg"][0, 0] = state["exp_avg_sq"][0, 0] = math.inf
    return net, fresh


def rate(lr: float, step: int) -> float:
    """The cosine schedule."""
    return lr * (1 + math.cos(math.pi * step / TOTAL)) / 2


def train_step(net: nn.Module, adam: torch.optim.Adam, x: Tensor, y: Tensor, step: int, lr: float) -> None:
    """One step on the batch of that step."""
    rows = slice(32 * (step % 8), 32 * (step % 8) + 32)
    adam.param_groups[0]["lr"] = lr
    adam.zero_grad()
    loss_of(net, x[rows], y[rows]).backward()
    adam.step()


def loss_of(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error."""
    loss: Tensor = (net(x) - y).square().mean()
    return loss


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
