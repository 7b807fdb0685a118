"""PPO's value loss grows with the square of the rewards; value clipping slows the critic, its gradient stays as large.

A critic V, one number, learns returns R = `x`·(1 + ε/4), ε ~ N(0, 1), from `n` batches of 64, 10 steps of gradient
descent a batch at rate `lr`, starting at V = 0. Loss ½·mean (V − R)², four ways:

plain    as it is: its gradient at the start is x
clipped  ½·mean max((V − R)², (V_old ± `clip` − R)²), V_old its value at the start of the batch, as in PPO2: while V is
         inside the clip the gradient is the plain one; once outside it is 0, and V waits for the next batch
scaled   R is divided by a running standard deviation of the returns, V·std is the prediction (return normalisation)
huber    smooth L1 with δ = 1: its gradient is at most 1

gradient: of the first step, to be compared with that of the policy loss, whose advantages are normalised: `policy` is
the norm of mean A·score over the first batch, A normalised, 64 scores of N(0, 1) a sample, about 1. left: the policy's
part of the global norm of both, the value loss times `coefficient`: what clipping leaves it. missing: |V − x|/x at the
end. Random: returns, scores. Source: Schulman et al. 2017, PPO; Engstrom et al. 2020, Implementation matters in deep
policy gradients.
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "PPO 的价值损失与价值裁剪", "en": "PPO's value loss and value clipping"}
PARAMS = {
    "x": {"zh": "回报的大小", "en": "size of the returns", "ge": 1e-3, "le": 1e6},
    "clip": {"zh": "价值裁剪范围", "en": "range of value clipping", "ge": 1e-3, "le": 1e6},
    "coefficient": {"zh": "价值损失的系数", "en": "coefficient of the value loss", "ge": 1e-4, "le": 10},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 1},
    "n": {"zh": "批数", "en": "batches", "ge": 2, "le": 200},
}
COLUMNS = {
    "batch": {"zh": "第几批", "en": "batch"},
    "plain": {"zh": "还差多少：照常", "en": "missing: plain"},
    "clipped": {"zh": "还差多少：价值裁剪", "en": "missing: value clipping"},
    "scaled": {"zh": "还差多少：回报归一化", "en": "missing: returns normalised"},
    "huber": {"zh": "还差多少：Huber", "en": "missing: Huber"},
}
METRICS = {
    "gradient_plain": {"zh": "第一步的梯度：照常", "en": "first gradient: plain"},
    "gradient_clipped": {"zh": "第一步的梯度：价值裁剪", "en": "first gradient: value clipping"},
    "gradient_scaled": {"zh": "第一步的梯度：回报归一化", "en": "first gradient: returns normalised"},
    "gradient_huber": {"zh": "第一步的梯度：Huber", "en": "first gradient: Huber"},
    "loss_plain": {"zh": "第一批的价值损失：照常", "en": "first value loss: plain"},
    "policy": {"zh": "策略损失的梯度", "en": "gradient of the policy loss"},
    "left_plain": {"zh": "裁剪后留给策略的比例：照常", "en": "left for the policy after clipping: plain"},
    "left_scaled": {"zh": "裁剪后留给策略的比例：回报归一化", "en": "left for the policy after clipping: normalised"},
    "missing_plain": {"zh": "还差多少：照常", "en": "missing: plain"},
    "missing_clipped": {"zh": "还差多少：价值裁剪", "en": "missing: value clipping"},
    "missing_scaled": {"zh": "还差多少：回报归一化", "en": "missing: returns normalised"},
    "missing_huber": {"zh": "还差多少：Huber", "en": "missing: Huber"},
}
CHART = {
    "transform": [{"fold": ["plain", "clipped", "scaled", "huber"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "batch", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("plain", "clipped", "scaled", "huber")
BATCH, STEPS = 64, 10


def run(
    x: float = 100.0, clip: float = 0.2, coefficient: float = 0.5, lr: float = 0.01, n: int = 50
) -> Generator[Row, None, Metrics]:
    values = dict.fromkeys(WAYS, 0.0)
    first: dict[str, float] = {}
    seen = torch.zeros(0, dtype=torch.float64)
    loss = policy = 0.0
    for batch in range(1, n + 1):
        returns = x * (1 + torch.randn(BATCH).double() / 4)
        seen = torch.cat([seen, returns])
        std = seen.square().mean().sqrt().item()
        for way in WAYS:
            targets = returns / std if way == "scaled" else returns
            old = values[way]
            for _ in range(STEPS):
                slope = gradient(way, values[way], old, targets, clip)
                first.setdefault(way, abs(slope))
                values[way] -= lr * slope
        if batch == 1:
            loss = 0.5 * returns.square().mean().item()
            advantages = (returns - returns.mean()) / returns.std()
            policy = (advantages[:, None] * torch.randn(BATCH, BATCH).double()).mean(0).norm().item()
        missing = {way: abs(values[way] * (std if way == "scaled" else 1) - x) / x for way in WAYS}
        yield {"batch": batch, **missing}
    return {
        **{f"gradient_{way}": first[way] for way in WAYS},
        "loss_plain": loss,
        "policy": policy,
        "left_plain": policy / math.hypot(policy, coefficient * first["plain"]),
        "left_scaled": policy / math.hypot(policy, coefficient * first["scaled"]),
        **{f"missing_{way}": missing[way] for way in WAYS},
    }


def gradient(way: str, value: float, old: float, targets: torch.Tensor, clip: float) -> float:
    """The derivative of the way's loss by the value."""
    error = value - targets
    if way == "huber":
        return float(error.clamp(-1, 1).mean().item())
    if way == "clipped":
        held = min(max(value, old - clip), old + clip) - targets
        inside = abs(value - old) < clip
        return float(torch.where(held.abs() > error.abs(), held * inside, error).mean().item())
    return float(error.mean().item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
