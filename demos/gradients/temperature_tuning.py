"""SAC's temperature grows by a constant factor per step for ever if no policy can have the entropy that it is told to.

A state with `actions` actions of values Q ~ N(0, 1); the policy is the best one for the temperature α, softmax(Q/α).
Its entropy H(α) rises from 0 to ln(actions) and no further. The target is `target`·ln(actions). log α starts at 0 and
follows the gradient of SAC's loss −log α·(log π + target), so log α changes by `lr`·(target − H) a step. `n` steps.
Theory: beyond ln(actions) the target is never met, and in the end each step multiplies α by
exp(lr·(target − ln actions)). Below it α settles where H(α) is the target. Random: Q.
Source: Haarnoja et al. 2018, Soft actor-critic algorithms and applications, section 5.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "SAC 的温度：目标熵达不到就会爆", "en": "SAC's temperature explodes if its target is out of reach"}
PARAMS = {
    "target": {"zh": "目标熵 ÷ 最大熵", "en": "target entropy over the largest possible", "ge": 0, "le": 3},
    "actions": {"zh": "动作数", "en": "actions", "ge": 2, "le": 100},
    "lr": {"zh": "温度的学习率", "en": "learning rate of the temperature", "ge": 0, "le": 1},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 5000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "alpha": {"zh": "温度 α", "en": "temperature α"},
    "entropy": {"zh": "策略的熵", "en": "entropy of the policy"},
}
METRICS = {
    "alpha_end": {"zh": "最后的温度", "en": "temperature at the end"},
    "entropy_end": {"zh": "最后的熵", "en": "entropy at the end"},
    "target_entropy": {"zh": "目标熵", "en": "target entropy"},
    "largest_entropy": {"zh": "可能的最大熵", "en": "largest possible entropy"},
    "growth": {"zh": "最后一步 α 乘了多少", "en": "factor of α in the last step"},
    "theory_growth": {"zh": "达不到时每步的倍数", "en": "factor of a step if out of reach, theory"},
    "value_end": {"zh": "最后的期望 Q", "en": "expected Q at the end"},
    "largest_value": {"zh": "最大的 Q", "en": "largest Q"},
}
CHART = {
    "transform": [{"fold": ["alpha", "entropy"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
SMALLEST = 1e-3  # temperatures nearer to 0 have the same policy in float64


def run(target: float = 1.2, actions: int = 6, lr: float = 0.01, n: int = 2000) -> Generator[Row, None, Metrics]:
    values = torch.randn(actions).double()
    aim = target * math.log(actions)
    log_alpha, growth = 0.0, 1.0
    for step in range(1, n + 1):
        change = lr * (aim - entropy(values, exponential(log_alpha)))
        log_alpha, growth = log_alpha + change, math.exp(change)
        if step % max(1, n // 200) == 0 or step == n:
            alpha = exponential(log_alpha)
            yield {"step": step, "alpha": alpha, "entropy": entropy(values, alpha)}
    alpha = exponential(log_alpha)
    return {
        "alpha_end": alpha,
        "entropy_end": entropy(values, alpha),
        "target_entropy": aim,
        "largest_entropy": math.log(actions),
        "growth": growth,
        "theory_growth": math.exp(lr * (aim - math.log(actions))),
        "value_end": float((policy(values, alpha) * values).sum()),
        "largest_value": values.max().item(),
    }


def exponential(x: float) -> float:
    """exp(x), inf where it overflows."""
    return math.exp(x) if x < 709 else math.inf


def policy(values: Tensor, alpha: float) -> Tensor:
    """softmax(values/α), with a temperature of at least SMALLEST."""
    return (values / max(alpha, SMALLEST)).softmax(0)


def entropy(values: Tensor, alpha: float) -> float:
    """In nats."""
    p = policy(values, alpha)
    return float(-torch.xlogy(p, p).sum())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
