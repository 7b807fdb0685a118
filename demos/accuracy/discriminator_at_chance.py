"""A discriminator's loss of 2 ln 2 means that it says one half to everything: equal samples, or a dead discriminator.

Real points are N(0, I) in 2 dimensions, generated ones N((`distance`, 0), I), 512 of each, fixed. A discriminator
2 - 16 - 1 with ReLU, PyTorch's default initialisation, is trained for `n` full-batch steps of Adam at rate 0.01; its
loss is that of a GAN, cross-entropy of the real points plus that of the generated ones, so 2 ln 2 = 1.386 for logits
of 0. `fault`: none; dead, the biases of the hidden layer are −100, no unit is ever active, and the output is one number
for all points; leaky, the same biases with LeakyReLU of slope 0.2, whose units always have a gradient. Beside it a
fresh discriminator without the fault is trained on the same points in the same way.
Theory: the best discriminator of these two normals has logits −distance·x + distance²/2; its expected loss is
2·E softplus(−distance²/2 + distance·N(0, 1)), 2 ln 2 at distance 0. Random: points, weights.
Source: Goodfellow et al. 2014, Generative adversarial nets, section 4.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

TITLE = {"zh": "判别器的损失停在 2 ln 2", "en": "A discriminator's loss at 2 ln 2"}
PARAMS = {
    "fault": {"zh": "判别器的毛病", "en": "fault of the discriminator"},
    "distance": {"zh": "真假样本的距离", "en": "distance of generated from real points", "ge": 0, "le": 20},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "判别器的损失", "en": "loss of the discriminator"},
    "fresh": {"zh": "新判别器的损失", "en": "loss of a fresh discriminator"},
}
METRICS = {
    "loss_end": {"zh": "判别器最后的损失", "en": "loss at the end"},
    "fresh_end": {"zh": "新判别器最后的损失", "en": "loss of the fresh one at the end"},
    "theory_best": {"zh": "最优判别器的期望损失", "en": "expected loss of the best one"},
    "two_ln_two": {"zh": "2 ln 2", "en": "2 ln 2"},
    "spread": {"zh": "输出 logit 的标准差", "en": "standard deviation of its logits"},
    "fresh_accuracy": {"zh": "新判别器的准确率", "en": "accuracy of the fresh one"},
    "gradient": {"zh": "隐藏层梯度范数", "en": "gradient norm of the hidden layer"},
}
CHART = {
    "transform": [{"fold": ["loss", "fresh"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"zero": True}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    fault: Literal["none", "dead", "leaky"] = "dead", distance: float = 3.0, n: int = 200
) -> Generator[Row, None, Metrics]:
    real, fake = torch.randn(512, 2), torch.randn(512, 2) + torch.tensor([distance, 0.0])
    own, fresh = discriminator(nn.LeakyReLU(0.2) if fault == "leaky" else nn.ReLU()), discriminator(nn.ReLU())
    if fault != "none":
        nn.init.constant_(own[0].bias, -100.0)
    adams = [torch.optim.Adam(net.parameters(), lr=0.01, fused=True) for net in (own, fresh)]
    rows: list[Row] = []
    for step in range(1, n + 1):
        losses = [update(net, adam, real, fake) for net, adam in zip((own, fresh), adams, strict=True)]
        rows.append({"step": step, "loss": losses[0], "fresh": losses[1]})
        yield rows[-1]
    with torch.no_grad():
        right = torch.cat([fresh(real) > 0, fresh(fake) < 0]).double().mean()
        spread = own(torch.cat([real, fake])).double().std()
    (gradient,) = torch.autograd.grad(gan_loss(own, real, fake), [own[0].weight])
    return {
        "loss_end": rows[-1]["loss"],
        "fresh_end": rows[-1]["fresh"],
        "theory_best": best_loss(distance),
        "two_ln_two": 2 * math.log(2),
        "spread": spread.item(),
        "fresh_accuracy": right.item(),
        "gradient": gradient.double().norm().item(),
    }


def discriminator(activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 16), activation, nn.Linear(16, 1))


def gan_loss(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """−log D(real) − log(1 − D(fake)), each averaged, from logits."""
    return softplus(-net(real)).mean() + softplus(net(fake)).mean()


def update(net: nn.Module, adam: torch.optim.Optimizer, real: Tensor, fake: Tensor) -> float:
    """One step; the loss before it."""
    loss = gan_loss(net, real, fake)
    adam.zero_grad()
    loss.backward()
    adam.step()
    return float(loss.item())


def best_loss(distance: float) -> float:
    """2·E softplus(−distance²/2 + distance·z), z normal, by the trapezoidal rule."""
    z = torch.linspace(-12, 12, 24001, dtype=torch.float64)
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    return 2 * float(torch.trapezoid(softplus(distance * z - distance**2 / 2) * density, z))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
