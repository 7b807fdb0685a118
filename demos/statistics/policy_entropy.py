"""The entropy of a policy falls even if rewards are pure noise, and a large vocabulary lets a small bonus blow it up.

A softmax policy over `actions` actions; action 0 starts with the probability `known` (0: all equal), the others divide
the rest. At each of `n` steps `group` actions are drawn, each rewarded with `gap` if it is action 0, plus `noise`·ε,
ε ~ N(0, 1). The logits follow, at rate `lr`, the gradient of mean A·logp + `bonus`·H: A is the reward minus the mean
of the others in the group, or, `normalised`, (r − mean)/(std + 1e-8) as in GRPO; H is the entropy.

Theory: the expected gradient has its maximum at the Gibbs policy, action 0 having e^(gap/bonus)/(e^(gap/bonus) +
actions − 1). The bonus wins about where gap/bonus falls below ln(actions): `critical` = gap/ln(actions). Without gap
and bonus the expected gradient is 0, but what happens to be drawn with a good reward becomes more likely to be drawn:
a random walk whose only resting places are policies without entropy. The bonus of H is also the penalty of the KL to a
uniform reference. Float64. Random: actions, rewards. Not `normalised`, the theory is exact; normalised, noise of any
size counts as 1. Source: Williams 1992, Simple statistical gradient-following algorithms; Cui et al. 2025, The entropy
mechanism of reinforcement learning for reasoning language models.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "策略的熵：噪声使它塌缩，奖励项使它爆", "en": "Noise collapses an entropy, a bonus blows it up"}
PARAMS = {
    "actions": {"zh": "动作数（词表大小）", "en": "actions (size of the vocabulary)", "ge": 2, "le": 200000},
    "known": {"zh": "动作 0 开始的概率", "en": "probability of action 0 at the start", "ge": 0, "le": 0.9999},
    "gap": {"zh": "动作 0 多得的奖励", "en": "extra reward of action 0", "ge": 0, "le": 10},
    "noise": {"zh": "奖励的噪声", "en": "noise of the rewards", "ge": 0, "le": 10},
    "normalised": {"zh": "除以组内标准差", "en": "divided by the group's deviation"},
    "bonus": {"zh": "熵的系数", "en": "entropy coefficient", "ge": 0, "le": 10},
    "group": {"zh": "组的大小", "en": "group size", "ge": 2, "le": 1024},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 10},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 4000},
}
LIMITS = [{"product": ["actions", "n"], "le": 40000000}, {"product": ["group", "n"], "le": 2000000}]
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "entropy": {"zh": "熵", "en": "entropy"},
    "best": {"zh": "动作 0 的概率", "en": "probability of action 0"},
}
METRICS = {
    "entropy_start": {"zh": "开始的熵", "en": "entropy at the start"},
    "entropy_end": {"zh": "最后的熵", "en": "entropy at the end"},
    "left": {"zh": "最后的熵 ÷ 最大的熵", "en": "entropy at the end over the largest possible"},
    "largest_entropy": {"zh": "最大的熵 ln(动作数)", "en": "largest possible entropy, ln(actions)"},
    "best_end": {"zh": "最后动作 0 的概率", "en": "probability of action 0 at the end"},
    "theory_best": {"zh": "Gibbs 策略里动作 0 的概率", "en": "that of the Gibbs policy"},
    "critical": {"zh": "熵系数的界限", "en": "where the bonus begins to win"},
    "actions": {"zh": "动作数", "en": "actions"},
    "first_half": {"zh": "熵首次低于开始的一半", "en": "entropy first below half of the start", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["entropy", "best"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    actions: int = 100,
    known: float = 0.0,
    gap: float = 0.0,
    noise: float = 1.0,
    normalised: bool = True,
    bonus: float = 0.0,
    group: int = 8,
    lr: float = 0.5,
    n: int = 2000,
) -> Generator[Row, None, Metrics]:
    logits = torch.zeros(actions, dtype=torch.float64)
    if known > 0:
        logits[0] = math.log(known / (1 - known)) + math.log(actions - 1)
    start = entropy(logits.log_softmax(0))
    half = None
    for step in range(1, n + 1):
        logp = logits.log_softmax(0)
        p = logp.exp()
        drawn = sample(p, group)
        rewards = gap * (drawn == 0).double() + noise * torch.randn(group).double()
        gradient = policy_gradient(p, drawn, advantages(rewards, normalised))
        if bonus:
            gradient -= bonus * p * (logp + entropy(logp))
        logits += lr * gradient
        now = entropy(logits.log_softmax(0))
        half = step if half is None and now < start / 2 else half
        if step % max(1, n // 200) == 0 or step == n:
            yield {"step": step, "entropy": now, "best": logits.softmax(0)[0].item()}
    end = entropy(logits.log_softmax(0))
    return {
        "entropy_start": start,
        "entropy_end": end,
        "left": end / math.log(actions),
        "largest_entropy": math.log(actions),
        "best_end": logits.softmax(0)[0].item(),
        "theory_best": gibbs(gap, bonus, actions),
        "critical": gap / math.log(actions),
        "actions": actions,
        "first_half": half,
    }


def sample(p: Tensor, group: int) -> Tensor:
    """Indices drawn from p by inversion."""
    return torch.searchsorted(p.cumsum(0), torch.rand(group).double() * p.sum()).clamp(max=len(p) - 1)


def advantages(rewards: Tensor, normalised: bool) -> Tensor:
    """Minus the mean of the others in the group; or as in GRPO, 0 for rewards that are all equal."""
    if normalised:
        centred = rewards - rewards.mean()
        return centred / (rewards.std() + 1e-8)
    return (rewards - rewards.mean()) * len(rewards) / (len(rewards) - 1)


def policy_gradient(p: Tensor, drawn: Tensor, advantage: Tensor) -> Tensor:
    """Of mean A·logp with respect to the logits."""
    gradient = -p * advantage.mean()
    return gradient.index_add_(0, drawn, advantage / len(drawn))


def entropy(logp: Tensor) -> float:
    """In nats."""
    return float(-(logp.exp() * logp).sum())


def gibbs(gap: float, bonus: float, actions: int) -> float:
    """Probability of action 0 where reward plus bonus·entropy is largest."""
    if bonus == 0:
        return 1.0 if gap else 1 / actions
    return 1 / (1 + (actions - 1) * math.exp(-gap / bonus))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
