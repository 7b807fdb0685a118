"""A rare reward makes the value loss spike in every run; clipped steps leave the policy alone, unclipped ones ruin it.

Actor and critic share a hidden layer: 4 - 32 - (4 logits, 1 value), tanh, PyTorch's default initialisation. A state is
N(0, I₄), the right action is the largest of four fixed random projections of it. The reward is 1 for the right action,
plus noise of mean 0 and standard deviation `sd` that no action influences: with probability `rare` a bonus, the same
size each time, else its mean taken off. So the noise has the same variance at any `rare`; the rarer, the larger a
bonus. `n` iterations: 128 states, actions drawn from the policy, advantages reward − value, normalised over the batch;
one step of SGD at rate `lr` on policy gradient + ½·squared error of the value, the gradient's norm clipped to `clip`.

Measured: the value loss of each batch before its step; a spike is one of more than ten times the median of the finite
ones. Beside it the return without noise: the mean probability of the right action over 512 other states, which no bonus
enters. Its fall after a spike is the largest one from before a spike to any of the ten iterations after it. KL is that
of the policy after the step from the one before, on the batch. Random: all. Source: Schulman et al. 2017, Proximal
policy optimization algorithms; Andrychowicz et al. 2021, What matters for on-policy deep actor-critic methods?
"""

import math
from collections.abc import Generator
from statistics import median

import torch
from torch import Tensor, nn

TITLE = {"zh": "罕见的大奖励与价值损失的尖峰", "en": "Rare rewards and spikes of the value loss"}
PARAMS = {
    "rare": {"zh": "大奖励的概率", "en": "probability of a bonus", "ge": 1e-4, "le": 0.5},
    "sd": {"zh": "奖励噪声的标准差", "en": "standard deviation of the reward's noise", "ge": 0, "le": 10},
    "clip": {"zh": "梯度范数裁剪到（0 = 不裁剪）", "en": "gradient norm clipped to (0: off)", "ge": 0, "le": 1e6},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "迭代次数", "en": "iterations", "unit": "iteration", "ge": 20, "le": 500},
}
COLUMNS = {
    "iteration": {"zh": "迭代", "en": "iteration"},
    "value_loss": {"zh": "价值损失", "en": "value loss"},
    "true_return": {"zh": "无噪声的回报", "en": "return without noise"},
    "kl": {"zh": "KL", "en": "KL"},
}
METRICS = {
    "spikes": {"zh": "价值损失的尖峰数", "en": "spikes of the value loss"},
    "spike_ratio": {"zh": "最大的价值损失与中位数之比", "en": "largest value loss over the median"},
    "first_spike": {"zh": "第一个尖峰的迭代", "en": "iteration of the first spike"},
    "median_loss": {"zh": "价值损失的中位数", "en": "median value loss"},
    "fall_after": {"zh": "尖峰之后无噪声回报的最大降幅", "en": "largest fall of the noise-free return after a spike"},
    "start_return": {"zh": "开始时的无噪声回报", "en": "noise-free return at the start"},
    "end_return": {"zh": "最后的无噪声回报", "en": "noise-free return at the end"},
    "largest_kl": {"zh": "最大的 KL", "en": "largest KL"},
    "bonus": {"zh": "一次大奖励的大小", "en": "size of a bonus"},
    "finite": {"zh": "最后的权重是有限数", "en": "the weights are finite at the end"},
}
CHART = {
    "transform": [{"fold": ["value_loss", "true_return"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "iteration", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
ACTIONS, BATCH, SPIKE, AFTER = 4, 128, 10, 10


def run(
    rare: float = 5e-4, sd: float = 1.0, clip: float = 0.5, lr: float = 1.0, n: int = 200
) -> Generator[Row, None, Metrics]:
    right = torch.randn(4, ACTIONS)
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, ACTIONS + 1))
    probe = torch.randn(512, 4)
    best = (probe @ right).argmax(1, keepdim=True)
    bonus = sd / math.sqrt(rare * (1 - rare))
    rows: list[Row] = []
    start = true_return(net, probe, best)
    for iteration in range(1, n + 1):
        x, noise = torch.randn(BATCH, 4), bonus * ((torch.rand(BATCH) < rare).float() - rare)
        value_loss, kl = step(net, x, (x @ right).argmax(1), noise, lr, clip)
        rows.append(
            {"iteration": iteration, "value_loss": value_loss, "true_return": true_return(net, probe, best), "kl": kl}
        )
        yield rows[-1]
    losses, returns = [row["value_loss"] for row in rows], [start, *(row["true_return"] for row in rows)]
    middle = median(loss for loss in losses if math.isfinite(loss))
    spikes = [nth for nth, loss in enumerate(losses) if loss > SPIKE * middle]
    return {
        "spikes": len(spikes),
        "spike_ratio": max(losses) / middle if middle else None,
        "first_spike": spikes[0] + 1 if spikes else None,
        "median_loss": middle,
        "fall_after": max(returns[nth] - min(returns[nth + 1 : nth + 1 + AFTER]) for nth in spikes) if spikes else None,
        "start_return": start,
        "end_return": returns[-1],
        "largest_kl": max(row["kl"] for row in rows),
        "bonus": bonus,
        "finite": int(all(bool(p.isfinite().all()) for p in net.parameters())),
    }


def step(net: nn.Module, x: Tensor, best: Tensor, noise: Tensor, lr: float, clip: float) -> tuple[float, float]:
    """One iteration; the value loss before the step, and how far the step moved the policy."""
    out = net(x)
    log_policy, value = out[:, :ACTIONS].log_softmax(1), out[:, ACTIONS]
    action = (log_policy.detach() - (-torch.rand(BATCH, ACTIONS).log()).log()).argmax(
        1
    )  # Gumbel: drawn from the policy
    reward = (action == best).float() + noise
    advantage = reward - value.detach()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    chosen = log_policy.gather(1, action[:, None]).squeeze(1)
    value_loss = (reward - value).square().mean()
    parameters = list(net.parameters())
    grads = torch.autograd.grad(-(advantage * chosen).mean() + value_loss / 2, parameters)
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
    factor = clip / norm if 0 < clip < norm else 1.0
    with torch.no_grad():
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.sub_(lr * factor * grad)
        after = net(x)[:, :ACTIONS].log_softmax(1)
        kl = (after.exp() * (after - log_policy)).sum(1).double().mean()
    return value_loss.item(), float(kl)


def true_return(net: nn.Module, probe: Tensor, best: Tensor) -> float:
    """The mean probability of the right action: what the policy earns without noise; 0 once the weights are nan."""
    with torch.no_grad():
        return float(net(probe)[:, :ACTIONS].softmax(1).gather(1, best).double().mean().nan_to_num(0.0))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
