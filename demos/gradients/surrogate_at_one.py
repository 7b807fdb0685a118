"""At a ratio of 1 the loss of GRPO or PPO is 0, its gradient is the policy gradient, and the clip has nothing to do.

A softmax policy over `actions` actions with logits ~ N(0, 1). A group of `group` actions is drawn from it; an action
whose number is even is rewarded with 1, an odd one with 0. Advantages A = (r − mean)/(std + 1e-4) of the group, or, not
`centred`, A = r. The same group is used for `updates` steps of gradient descent at rate `lr` on

    −mean min(ratio·A, clip(ratio, 1 − `clip`, 1 + `clip`)·A),   ratio = exp(logp − old)

`old` says where the old log-probabilities come from:
kept        logp before the first update, kept as a constant, as the algorithm has it
every_step  logp of this very update, as a constant: the ratio is 1 at every update, nothing is ever clipped
attached    logp of this very update, through which the gradient flows as well: both cancel, the gradient is 0

At a ratio of 1 the derivative of exp(logp − old) is that of logp, so the first gradient is that of −mean A·logp
(REINFORCE with a baseline), although the loss is −mean A = 0. clipped: the part of the group whose gradient the clip
removes (ratio > 1 + clip with A > 0, ratio < 1 − clip with A < 0). In float64. Random: the first logits, the group.
Source: Schulman et al. 2017, Proximal policy optimization algorithms; Shao et al. 2024, DeepSeekMath (GRPO).
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "ratio 恒为 1 时的损失、梯度与裁剪", "en": "Loss, gradient and clip at a ratio of 1"}
PARAMS = {
    "updates": {"zh": "每批更新几次", "en": "updates per batch", "ge": 1, "le": 200},
    "old": {"zh": "旧对数概率从哪来", "en": "where old log-probabilities come from"},
    "centred": {"zh": "优势减去组内均值", "en": "advantages minus the mean of the group"},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 10},
    "clip": {"zh": "裁剪范围 ε", "en": "clip range ε", "ge": 0, "le": 1},
    "group": {"zh": "组的大小", "en": "group size", "ge": 8, "le": 1024},
    "actions": {"zh": "动作数", "en": "actions", "ge": 2, "le": 100},
}
WORDS = {
    "kept": {"zh": "更新前存下的", "en": "kept from before the first update"},
    "every_step": {"zh": "每次更新重算", "en": "computed anew at each update"},
    "attached": {"zh": "没有 detach", "en": "not detached"},
}
COLUMNS = {
    "update": {"zh": "第几次更新", "en": "update"},
    "loss": {"zh": "损失", "en": "loss"},
    "gradient": {"zh": "梯度范数", "en": "gradient norm"},
    "clipped": {"zh": "被裁剪的比例", "en": "clipped"},
    "ratio_off": {"zh": "|ratio − 1| 的最大值", "en": "largest |ratio − 1|"},
}
METRICS = {
    "first_loss": {"zh": "第一次更新的损失的大小", "en": "size of the loss at the first update"},
    "first_gradient": {"zh": "第一次更新的梯度范数", "en": "gradient norm at the first update"},
    "reinforce_gradient": {"zh": "−mean A·logp 的梯度范数", "en": "gradient norm of −mean A·logp"},
    "difference": {"zh": "两个梯度的相对差", "en": "relative difference of the two gradients"},
    "first_ratio_off": {"zh": "第一次更新时 |ratio − 1| 的最大值", "en": "largest |ratio − 1| at the first update"},
    "ratio_off": {"zh": "最后一次更新时 |ratio − 1| 的最大值", "en": "largest |ratio − 1| at the last update"},
    "clipped": {"zh": "最后一次更新时被裁剪的比例", "en": "clipped at the last update"},
    "first_clipped": {"zh": "首次裁剪发生在第几次更新", "en": "first update with a clipped sample"},
    "updates": {"zh": "更新次数", "en": "updates made"},
    "learned": {"zh": "有奖励的动作的概率增加了", "en": "gain in probability of rewarded actions"},
}
CHART = {
    "transform": [{"fold": ["loss", "gradient", "clipped", "ratio_off"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "update", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    updates: int = 1,
    old: Literal["kept", "every_step", "attached"] = "kept",
    centred: bool = True,
    lr: float = 1.0,
    clip: float = 0.2,
    group: int = 64,
    actions: int = 8,
) -> Generator[Row, None, Metrics]:
    logits = torch.randn(actions).double().requires_grad_()
    drawn = torch.multinomial(logits.detach().softmax(0), group, replacement=True)
    start = logits.detach().softmax(0)[::2].sum().item()
    rewards = (drawn % 2 == 0).double()
    advantage = (rewards - rewards.mean()) / (rewards.std() + 1e-4) if centred else rewards
    before = logits.log_softmax(0)[drawn].detach()
    reinforce = gradient_of(-(advantage * logits.log_softmax(0)[drawn]).mean(), logits)
    rows: list[Row] = []
    first = torch.zeros_like(reinforce)
    for update in range(1, updates + 1):
        logp = logits.log_softmax(0)[drawn]
        ratio = (logp - {"kept": before, "every_step": logp.detach(), "attached": logp}[old]).exp()
        plain, limited = ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage
        loss = -torch.minimum(plain, limited).mean()
        gradient = gradient_of(loss, logits)
        first = gradient if update == 1 else first
        cut = ((ratio > 1 + clip) & (advantage > 0)) | ((ratio < 1 - clip) & (advantage < 0))
        rows.append(
            {
                "update": update,
                "loss": loss.item(),
                "gradient": gradient.norm().item(),
                "clipped": cut.double().mean().item(),
                "ratio_off": (ratio - 1).abs().max().item(),
            }
        )
        yield rows[-1]
        with torch.no_grad():
            logits -= lr * gradient
    probability = logits.detach().softmax(0)[::2].sum().item()
    return {
        "first_loss": abs(rows[0]["loss"]),
        "first_gradient": rows[0]["gradient"],
        "reinforce_gradient": reinforce.norm().item(),
        "difference": ((first - reinforce).norm() / reinforce.norm().clamp(min=1e-300)).item(),
        "first_ratio_off": rows[0]["ratio_off"],
        "ratio_off": rows[-1]["ratio_off"],
        "clipped": rows[-1]["clipped"],
        "first_clipped": next((row["update"] for row in rows if row["clipped"]), None),
        "updates": updates,
        "learned": probability - start,
    }


def gradient_of(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits)[0]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
