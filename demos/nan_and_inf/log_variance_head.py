"""A log-variance without a floor sinks for as long as the residuals are 0; the next residual is multiplied by exp(−s).

Gaussian negative log-likelihood ½·(s + (y − m)²·e^(−s)) of one target y, m and s = log σ² learned by descent at
rate `lr` from 0, in float32. The target is 0 for `quiet` steps (a constant, memorised or padded target: its residual is
0, the gradient of s is ½, so s falls by lr/2 a step and the loss towards −∞) and `outlier` at every step from then on.
n steps in all. Ways, side by side:

plain     as it is. After the quiet time the gradients are multiplied by e^(−s): with s = −10 by 22,000
floored   s put back into [−`floor`, `floor`] after each step
softplus  σ² = softplus(a) + e^(−`floor`), the same likelihood, a from the value that gives σ² = 1

kl: the term e^s of a Gaussian KL divergence (VAE), ½·(m² + e^s − 1 − s), in float32 at the largest s that the plain way
reaches: inf from s = 88.7 on. Nothing is random.
Source: Kendall & Gal 2017, What uncertainties do we need; Seitzer et al. 2022, On the pitfalls of heteroscedastic
uncertainty estimation.
"""

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import softplus

TITLE = {"zh": "对数方差没有下限", "en": "A log-variance without a floor"}
PARAMS = {
    "quiet": {"zh": "残差为 0 的步数", "en": "steps with residual 0", "unit": "step", "ge": 0, "le": 400},
    "outlier": {"zh": "之后的目标值", "en": "target afterwards", "ge": -1000, "le": 1000},
    "floor": {"zh": "s 限制在 ± 多少", "en": "s limited to ±", "ge": 0.1, "le": 80},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "n": {"zh": "总步数", "en": "steps in all", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "plain": {"zh": "损失：不加限制", "en": "loss: plain"},
    "floored": {"zh": "损失：限制 s", "en": "loss: s limited"},
    "softplus": {"zh": "损失：softplus 加下限", "en": "loss: softplus plus floor"},
}
METRICS = {
    "lowest_s": {"zh": "s 的最小值，不加限制", "en": "lowest s, plain"},
    "largest_s": {"zh": "s 的最大值，不加限制", "en": "largest s, plain"},
    "largest_gradient": {"zh": "最大的梯度，不加限制", "en": "largest gradient, plain"},
    "largest_gradient_floored": {"zh": "最大的梯度，限制 s", "en": "largest gradient, s limited"},
    "lowest_loss": {"zh": "最低的损失，不加限制", "en": "lowest loss, plain"},
    "end_loss": {"zh": "最后的损失，不加限制", "en": "last loss, plain"},
    "end_loss_floored": {"zh": "最后的损失，限制 s", "en": "last loss, s limited"},
    "end_loss_softplus": {"zh": "最后的损失，softplus 加下限", "en": "last loss, softplus plus floor"},
    "first_bad_step": {"zh": "损失首次超过 1000 或非有限", "en": "loss first above 1000 or not finite", "unit": "step"},
    "first_bad_step_floored": {"zh": "同上，限制 s", "en": "the same, s limited", "unit": "step"},
    "kl": {"zh": "KL 项", "en": "KL term"},
    "theory_s": {"zh": "−lr·quiet/2", "en": "−lr·quiet/2"},
}
CHART = {
    "transform": [{"fold": ["plain", "floored", "softplus"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "symlog"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    quiet: int = 200, outlier: float = 1.0, floor: float = 4.0, lr: float = 0.1, n: int = 300
) -> Generator[Row, None, Metrics]:
    least = math.exp(-floor)
    start = math.log(math.expm1(max(1 - least, 1e-3)))
    targets = [0.0 if step <= quiet else outlier for step in range(1, n + 1)]
    plain = descend(targets, lr, 0.0, lambda s: s, math.inf)
    floored = descend(targets, lr, 0.0, lambda s: s, floor)
    soft = descend(targets, lr, start, lambda a: (softplus(a) + least).log(), math.inf)
    for k in range(n):
        if k % math.ceil(n / 100) == 0 or k in (quiet, quiet + 1, quiet + 2, n - 1):
            yield {"step": k + 1, "plain": plain[k][0], "floored": floored[k][0], "softplus": soft[k][0]}
    largest_s = torch.tensor(max((run[2] for run in plain if not math.isnan(run[2])), default=0.0))
    return {
        "lowest_s": min(run[2] for run in plain if not math.isnan(run[2])),
        "largest_s": largest_s.item(),
        "largest_gradient": largest(plain),
        "largest_gradient_floored": largest(floored),
        "lowest_loss": min(run[0] for run in plain if not math.isnan(run[0])),
        "end_loss": plain[-1][0],
        "end_loss_floored": floored[-1][0],
        "end_loss_softplus": soft[-1][0],
        "first_bad_step": first_bad(plain),
        "first_bad_step_floored": first_bad(floored),
        "kl": (0.5 * (largest_s.exp() - 1 - largest_s)).item(),
        "theory_s": -lr * quiet / 2,
    }


def descend(
    targets: list[float], lr: float, start: float, log_variance: Callable[[Tensor], Tensor], most: float
) -> list[tuple[float, float, float]]:
    """Loss, size of the gradient and log-variance at each step; `most` limits the parameter after each step."""
    p = torch.tensor([0.0, start], requires_grad=True)
    found = []
    for y in targets:
        s = log_variance(p[1])
        loss = 0.5 * (s + (y - p[0]).square() * (-s).exp())
        (gradient,) = torch.autograd.grad(loss, p)
        found.append((loss.item(), gradient.double().norm().item(), s.item()))
        with torch.no_grad():
            p -= lr * gradient
            p[1].clamp_(-most, most)
    return found


def largest(steps: list[tuple[float, float, float]]) -> float:
    """The largest gradient; inf if one is not finite."""
    return max(size if math.isfinite(size) else math.inf for _, size, _ in steps)


def first_bad(steps: list[tuple[float, float, float]]) -> int | None:
    return next((k for k, (loss, _, _) in enumerate(steps, 1) if not loss <= 1000), None)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
