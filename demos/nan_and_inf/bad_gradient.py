"""One gradient that is inf: clipping turns it into nan, Adam never recovers, skipping the step costs nothing.

Four weights start at 1 and fall down ½·‖w‖² (the gradient is w) for `n` steps of torch's SGD or Adam (β = 0.9, 0.999).
At step 5 the first component of the gradient is replaced by `x`, once. `handling` says what is done in that step.
apply: nothing. clip: clip_grad_norm_ to 1 first (in every step); a norm of inf makes the factor 1/inf = 0, and inf·0 is
nan. zero: nan_to_num with 0 for nan and inf. skip: if any component is not finite the step is left out, as GradScaler
does. reload: apply, then put back the weights of before the step, but not the optimiser's state. reload_all: both.

An inf makes Adam's second moment inf for ever, an x of 1e10 makes it so large that the weight hardly moves for
thousands of steps. Step t counts from 1. Nothing is random. Source: Pascanu, Mikolov & Bengio 2013, On the difficulty
of training recurrent neural networks (clipping); Micikevicius et al. 2018, Mixed precision training (skipping).
"""

import copy
import math
from collections.abc import Generator
from typing import Any, Literal

import torch

TITLE = {"zh": "一次坏梯度之后", "en": "After one bad gradient"}
PARAMS = {
    "x": {"zh": "坏梯度的数值", "en": "the number in the bad gradient", "nonfinite": True},
    "optimizer": {"zh": "优化器", "en": "optimiser"},
    "handling": {"zh": "怎么处理", "en": "what is done about it"},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 5, "le": 2000},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "first_weight": {"zh": "第一个权重", "en": "first weight"},
    "other_weight": {"zh": "其余权重", "en": "the other weights"},
}
METRICS = {
    "norm_before": {"zh": "坏的那一步的梯度范数", "en": "gradient norm at the bad step"},
    "used_first": {"zh": "实际用的第一个梯度分量", "en": "first gradient component as used"},
    "used_others": {"zh": "实际用的其余梯度分量", "en": "other gradient components as used"},
    "bad_weights": {"zh": "最后坏掉的权重个数", "en": "weights that are bad at the end"},
    "first_bad_step": {"zh": "权重首次坏掉", "en": "first step with a bad weight", "unit": "step"},
    "first_weight": {"zh": "最后的第一个权重", "en": "first weight at the end"},
    "other_weight": {"zh": "最后的其余权重", "en": "other weights at the end"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "bad_state": {"zh": "优化器状态里非有限值的个数", "en": "bad numbers in the optimiser's state"},
    "skipped": {"zh": "跳过的步数", "en": "steps left out", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["first_weight", "other_weight"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
BAD_STEP = 5


def run(
    x: float = 1e999,
    optimizer: Literal["sgd", "adam"] = "adam",
    handling: Literal["apply", "clip", "zero", "skip", "reload", "reload_all"] = "apply",
    lr: float = 0.1,
    n: int = 60,
) -> Generator[Row, None, Metrics]:
    w = torch.ones(4, requires_grad=True)
    steps = (torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam)([w], lr=lr)
    found: Metrics = {"first_bad_step": None, "skipped": 0}
    yield {"step": 0, "first_weight": 1.0, "other_weight": 1.0}
    for step in range(1, n + 1):
        w.grad = w.detach().clone()
        if step == BAD_STEP:
            w.grad[0] = torch.tensor(x, dtype=torch.float64).float()  # 1e308 is inf
            found["norm_before"] = w.grad.double().norm().item()
        before, state = w.detach().clone(), copy.deepcopy(steps.state_dict())
        if handling == "clip":
            torch.nn.utils.clip_grad_norm_([w], 1.0)
        elif handling == "zero":
            w.grad.nan_to_num_(0.0, 0.0, 0.0)
        if step == BAD_STEP:
            found["used_first"], found["used_others"] = w.grad[0].item(), w.grad[1].item()
        if handling == "skip" and not w.grad.isfinite().all():
            found["skipped"] = (found["skipped"] or 0) + 1
        else:
            steps.step()
        if step == BAD_STEP and handling.startswith("reload"):
            with torch.no_grad():
                w.copy_(before)
            if handling == "reload_all":
                steps.load_state_dict(state)
        if found["first_bad_step"] is None and not w.isfinite().all():
            found["first_bad_step"] = step
        if step % math.ceil(n / 100) == 0 or step in (BAD_STEP, n):
            yield {"step": step, "first_weight": w[0].item(), "other_weight": w[1].item()}
    found |= {
        "bad_weights": int((~w.isfinite()).sum()),
        "first_weight": w[0].item(),
        "other_weight": w[1].item(),
        "loss_end": (w.detach().double() ** 2).sum().item() / 2,
        "bad_state": sum(bad_numbers(state) for state in steps.state.values()),
    }
    return {name: found[name] for name in METRICS}


def bad_numbers(state: dict[str, Any]) -> int:
    """How many numbers of an optimiser's state are not finite; plain SGD has none."""
    return sum(int((~t.isfinite()).sum()) for t in state.values() if isinstance(t, torch.Tensor))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
