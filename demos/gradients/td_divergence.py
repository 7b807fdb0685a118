"""Values learned from their own predictions diverge if γ times the growth of the features exceeds 1.

A critic with one weight w: this state has the value w, the next one `factor`·w, since the network's features for both
are alike. One transition with reward `reward` is learned again and again, as from a replay buffer, for `n` steps:

    w ← w + `lr`·(y − w),   y = `reward` + `gamma`·`factor`·w_target

w_target is a copy of w, taken anew every `period` steps (1: no target network). `masked`: the transition ends its
episode and the target knows it, y = `reward`. `huber`: the step is limited to lr (the gradient of smooth L1 is at most
1). `bounded`: y is limited to ± bound, bound = |reward|/(1 − gamma), the largest return that is possible at all.

Theory: while w_target stands, w covers ρ = 1 − (1 − lr)^period of the way to y, so in each period the distance to the
fixed point is multiplied by 1 + ρ·(gamma·factor − 1): it grows without end if gamma·factor > 1. Below 1 it ends at
reward/(1 − gamma·factor). A run stops once |w| exceeds 1e30. Nothing is random.
Source: Tsitsiklis & Van Roy 1997, An analysis of temporal-difference learning with function approximation (the example
in which the next state has twice the features); Mnih et al. 2015, Human-level control (target networks).
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "用自己的预测作目标：Q 值发散", "en": "Learned from its own predictions: Q diverges"}
PARAMS = {
    "factor": {
        "zh": "下一状态的特征是这一状态的几倍",
        "en": "features of the next state over those of this one",
        "ge": 0,
        "le": 10,
    },
    "gamma": {"zh": "折扣 γ", "en": "discount γ", "ge": 0, "le": 0.9999},
    "reward": {"zh": "奖励", "en": "reward", "ge": -1e3, "le": 1e3},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 1},
    "period": {
        "zh": "目标网络隔几步更新",
        "en": "steps between copies to the target",
        "unit": "step",
        "ge": 1,
        "le": 10000,
    },
    "masked": {"zh": "回合结束时不再加下一状态的值", "en": "no next value at the end of an episode"},
    "huber": {"zh": "Huber 损失", "en": "Huber loss"},
    "bounded": {"zh": "目标限制在可能的回报之内", "en": "targets limited to possible returns"},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 20000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "value": {"zh": "预测的值", "en": "predicted value"},
    "target": {"zh": "目标", "en": "target"},
    "bound": {"zh": "可能的最大回报", "en": "largest possible return"},
}
METRICS = {
    "value_end": {"zh": "最后的值", "en": "value at the end"},
    "bound": {"zh": "可能的最大回报", "en": "largest possible return"},
    "over_bound": {"zh": "最后的值 ÷ 可能的最大回报", "en": "value at the end over the largest possible return"},
    "first_above": {"zh": "首次超过可能的最大回报", "en": "first above the largest possible return", "unit": "step"},
    "loss_end": {"zh": "最后的 TD 损失", "en": "TD loss at the end"},
    "theory_growth": {"zh": "每个周期距离乘多少，理论", "en": "factor of the distance in a period, theory"},
    "product": {"zh": "γ 乘这个倍数", "en": "γ times that factor"},
    "steps": {"zh": "走了几步", "en": "steps made", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["value", "target", "bound"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
HOPELESS = 1e30


def run(
    factor: float = 1.1,
    gamma: float = 0.99,
    reward: float = 1.0,
    lr: float = 0.1,
    period: int = 1,
    masked: bool = False,
    huber: bool = False,
    bounded: bool = False,
    n: int = 2000,
) -> Generator[Row, None, Metrics]:
    bound = abs(reward) / (1 - gamma)
    value, copy, step, target, above = 0.0, 0.0, 0, 0.0, None
    while step < n and abs(value) < HOPELESS:
        if step % period == 0:
            copy = value
        target = reward + (0.0 if masked else gamma * factor * copy)
        target = max(-bound, min(bound, target)) if bounded else target
        error = target - value
        value += lr * (max(-1.0, min(1.0, error)) if huber else error)
        step += 1
        above = step if above is None and abs(value) > bound * (1 + 1e-9) else above
        if step % max(1, n // 200) == 0 or step == n or abs(value) >= HOPELESS:
            yield {"step": step, "value": value, "target": target, "bound": bound}
    error = target - value
    return {
        "value_end": value,
        "bound": bound,
        "over_bound": abs(value) / bound if bound else math.nan,
        "first_above": above,
        "loss_end": error * error / 2,
        "theory_growth": 1 + (1 - (1 - lr) ** period) * ((0.0 if masked else gamma * factor) - 1),
        "product": gamma * factor,
        "steps": step,
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
