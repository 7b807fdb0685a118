"""Cross-entropy leaves a shift common to all logits free; rounding then moves it, and a z-loss of 1e-4 brings it back.

Logits s + e of a 256-token vocabulary: e one parameter a token, s a single parameter common to all, as a direction
common to all hidden states. Targets are drawn anew at each step, 64 a batch, with probability proportional to 1/(rank
+ 1) (Zipf). s starts at `start`, e at 0. `n` steps of Adam (β 0.9, 0.999, eps 1e-8) at rate `lr`; the gradient with
respect to the logits is stored in bfloat16 (`rounded`), as in mixed precision, or exact. Four ways at once:

plain    the cross-entropy
zloss    `coefficient`·(log Z)² added, log Z = log Σ exp of the logits, its gradient not rounded
capped   the cross-entropy of `cap`·tanh(z/cap) instead of z, soft-capping
sgd      the cross-entropy by gradient descent at rate `lr`, without Adam

The gradient of the cross-entropy, p − y, sums to 0 over the tokens, so that s has no gradient but rounding errors. Adam
divides these by their own size and moves s all the same; it also makes the steps of a z-loss as large as any other,
small as its coefficient is. gradient_capped: norm of the gradient at the start relative to plain, 1 − tanh²(start/cap).
lost: mean absolute error of the log-probabilities at the end if the logits are stored in bfloat16. Random: targets.
Source: Chowdhery et al. 2022, PaLM (z-loss of 1e-4); Gemma team 2024, Gemma 2 (soft-capping at 30).
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "logit 的整体平移：z-loss 与 soft-cap", "en": "The common shift of logits: z-loss and soft-capping"}
PARAMS = {
    "start": {"zh": "开始时的平移", "en": "shift at the start", "ge": -1000, "le": 1000},
    "coefficient": {"zh": "z-loss 的系数", "en": "coefficient of the z-loss", "ge": 1e-7, "le": 1},
    "cap": {"zh": "soft-cap 的上限", "en": "cap of soft-capping", "ge": 1, "le": 1000},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 1},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 10, "le": 1500},
    "rounded": {"zh": "logit 的梯度存成 bf16", "en": "gradient of the logits stored in bf16"},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "plain": {"zh": "log Z：Adam", "en": "log Z: Adam"},
    "zloss": {"zh": "log Z：z-loss", "en": "log Z: z-loss"},
    "capped": {"zh": "log Z：soft-cap", "en": "log Z: soft-capping"},
    "sgd": {"zh": "log Z：SGD", "en": "log Z: SGD"},
}
METRICS = {
    "logz_plain": {"zh": "最后的 log Z：Adam", "en": "final log Z: Adam"},
    "logz_zloss": {"zh": "最后的 log Z：z-loss", "en": "final log Z: z-loss"},
    "logz_capped": {"zh": "最后的 log Z：soft-cap", "en": "final log Z: soft-capping"},
    "moved_plain": {"zh": "共同平移的移动：Adam", "en": "movement of the common shift: Adam"},
    "moved_sgd": {"zh": "共同平移的移动：SGD", "en": "movement of the common shift: SGD"},
    "loss_plain": {"zh": "最后的交叉熵：Adam", "en": "final cross-entropy: Adam"},
    "loss_zloss": {"zh": "最后的交叉熵：z-loss", "en": "final cross-entropy: z-loss"},
    "loss_capped": {"zh": "最后的交叉熵：soft-cap", "en": "final cross-entropy: soft-capping"},
    "lost_plain": {"zh": "存成 bf16 的误差：Adam", "en": "error when stored in bf16: Adam"},
    "lost_zloss": {"zh": "存成 bf16 的误差：z-loss", "en": "error when stored in bf16: z-loss"},
    "gradient_capped": {"zh": "开始时梯度的倍数：soft-cap", "en": "gradient at the start, relative: soft-capping"},
    "theory_best": {"zh": "交叉熵的下界（熵）", "en": "least cross-entropy, the entropy"},
}
CHART = {
    "transform": [{"fold": ["plain", "zloss", "capped", "sgd"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("plain", "zloss", "capped", "sgd")
V, BATCH = 256, 64


def run(
    start: float = 30.0,
    coefficient: float = 1e-4,
    cap: float = 30.0,
    lr: float = 0.1,
    n: int = 600,
    rounded: bool = True,
) -> Generator[Row, None, Metrics]:
    target = 1 / torch.arange(1, V + 1, dtype=torch.float64)
    target /= target.sum()
    weights = torch.zeros(4, V + 1, dtype=torch.float64)  # e, then s
    weights[:, -1] = start
    m, v = torch.zeros_like(weights), torch.zeros_like(weights)
    first = gradients(weights, target, coefficient, cap, rounded=False)
    for t in range(1, n + 1):
        tokens = torch.multinomial(target, BATCH, replacement=True)
        y = torch.bincount(tokens, minlength=V).double() / BATCH
        gradient = gradients(weights, y, coefficient, cap, rounded)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        step = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        step[3] = gradient[3]
        weights = weights - lr * step
        yield {"step": t, **dict(zip(WAYS, logits(weights, cap).logsumexp(1).tolist(), strict=True))}
    out = logits(weights, cap)
    logz = out.logsumexp(1)
    loss = -(target * out.log_softmax(1)).sum(1)
    stored = out.bfloat16().double()
    lost = (stored.log_softmax(1) - out.log_softmax(1)).abs().mean(1)
    return {
        **{f"logz_{way}": logz[k].item() for k, way in enumerate(WAYS[:3])},
        "moved_plain": abs(weights[0, -1].item() - start),
        "moved_sgd": abs(weights[3, -1].item() - start),
        **{f"loss_{way}": loss[k].item() for k, way in enumerate(WAYS[:3])},
        **{f"lost_{way}": lost[k].item() for k, way in enumerate(WAYS[:2])},
        "gradient_capped": (first[2].norm() / first[0].norm()).item(),
        "theory_best": -(target * target.log()).sum().item(),
    }


def logits(weights: Tensor, cap: float) -> Tensor:
    """What the softmax gets, way × token."""
    z = weights[:, :-1] + weights[:, -1:]
    return torch.stack([z[0], z[1], cap * (z[2] / cap).tanh(), z[3]])


def gradients(weights: Tensor, y: Tensor, coefficient: float, cap: float, rounded: bool) -> Tensor:
    """The gradient of each way's loss with respect to e and s, y being the fractions of the targets."""
    out = logits(weights, cap)
    p = out.softmax(1)
    gradient = p - y
    gradient[2] *= 1 - (out[2] / cap) ** 2
    if rounded:
        gradient = gradient.bfloat16().double()
    gradient[1] += 2 * coefficient * out[1].logsumexp(0) * p[1]
    return torch.cat([gradient, gradient.sum(1, keepdim=True)], 1)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
