"""A generator's step that also changes the discriminator teaches it to call fakes real: G's loss goes to 0.

Real points are N(0, I) in 2 dimensions, 256, fixed; the generator is G(z) = A·z + b from A = I and b = (`distance`, 0),
for 256 fixed z ~ N(0, I). The discriminator is 2 - 16 - 1 with LeakyReLU of slope 0.2. Losses from logits: D's
softplus(−D(real)) + softplus(D(fake)), G's softplus(−D(fake)), means over the points. Each of `n` rounds is a step of D
and then one of G on all points, each by an Adam of its own (β = 0.5, 0.999), D's at rate `lr`, G's at `lr`·`ratio`.
`fault`: none; undetached, D's step differentiates into G, whose gradients are cleared before G's own step; shared, G's
Adam holds D's parameters, too; stale, the gradients that G's loss leaves in D are not cleared before D's backward pass.
Theory: if D minimises both losses at equal weight, softplus(−D(real)) + softplus(D(fake)) + softplus(−D(fake)), and
real and generated points are alike, the best D is 2/3 for all: G's loss is ln 1.5 = 0.405, D's ln 1.5 + ln 3 = 1.504.
With sound steps it is 1/2: ln 2 and 2 ln 2. Losses at the end are means over the last tenth. Random: points, weights.
Source: Goodfellow et al. 2014, Generative adversarial nets, algorithm 1.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import softplus

TITLE = {"zh": "生成器那一步也更新判别器", "en": "A generator's step that updates the discriminator, too"}
PARAMS = {
    "fault": {"zh": "写错的地方", "en": "what is wrong"},
    "ratio": {"zh": "G 的学习率是 D 的几倍", "en": "G's rate over D's", "ge": 0.01, "le": 100},
    "lr": {"zh": "D 的学习率", "en": "D's learning rate", "ge": 0, "le": 0.1},
    "distance": {
        "zh": "开始时真假样本的距离",
        "en": "distance of fake from real points at first",
        "ge": 0,
        "le": 10,
    },
    "n": {"zh": "轮数", "en": "rounds", "unit": "step", "ge": 10, "le": 600},
}
COLUMNS = {
    "step": {"zh": "轮", "en": "round"},
    "loss_d": {"zh": "判别器的损失", "en": "loss of the discriminator"},
    "loss_g": {"zh": "生成器的损失", "en": "loss of the generator"},
}
METRICS = {
    "loss_g_end": {"zh": "生成器最后的损失", "en": "generator's loss at the end"},
    "loss_d_end": {"zh": "判别器最后的损失", "en": "discriminator's loss at the end"},
    "fake_end": {"zh": "最后 D 对假样本的平均输出", "en": "mean D of generated points at the end"},
    "distance_end": {"zh": "最后真假均值的距离", "en": "distance of the means at the end"},
    "d_moved": {"zh": "G 第一步里 D 权重的最大变化", "en": "largest change of a weight of D in G's first step"},
    "theory_g": {"zh": "D 兼顾两种损失时 G 的损失", "en": "G's loss if D minimises both losses"},
    "theory_d": {"zh": "D 兼顾两种损失时 D 的损失", "en": "D's loss if D minimises both losses"},
    "two_ln_two": {"zh": "2 ln 2", "en": "2 ln 2"},
}
CHART = {
    "transform": [{"fold": ["loss_d", "loss_g"], "as": ["series", "value"]}],
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
    fault: Literal["none", "undetached", "shared", "stale"] = "shared",
    ratio: float = 5.0,
    lr: float = 0.002,
    distance: float = 3.0,
    n: int = 400,
) -> Generator[Row, None, Metrics]:
    real, z = torch.randn(256, 2), torch.randn(256, 2)
    g, d = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    with torch.no_grad():
        g.weight.copy_(torch.eye(2))
        g.bias.copy_(torch.tensor([distance, 0.0]))
    held = [*g.parameters(), *(d.parameters() if fault == "shared" else ())]
    adam_g = torch.optim.Adam(held, lr=lr * ratio, betas=(0.5, 0.999), fused=True)
    adam_d = torch.optim.Adam(d.parameters(), lr=lr, betas=(0.5, 0.999), fused=True)
    rows: list[Row] = []
    moved = 0.0
    for step in range(1, n + 1):
        fake = g(z)
        if fault != "stale":
            d.zero_grad()
        loss_d = softplus(-d(real)).mean() + softplus(d(fake if fault == "undetached" else fake.detach())).mean()
        loss_d.backward(retain_graph=fault == "undetached")
        adam_d.step()
        d.zero_grad()
        g.zero_grad()
        loss_g = softplus(-d(fake)).mean()
        loss_g.backward()
        if step == 1:
            before = torch.cat([p.detach().flatten() for p in d.parameters()])
        adam_g.step()
        if step == 1:
            moved = float((torch.cat([p.detach().flatten() for p in d.parameters()]) - before).abs().max())
        rows.append({"step": step, "loss_d": float(loss_d.item()), "loss_g": float(loss_g.item())})
        yield rows[-1]
    last = rows[-max(1, n // 10) :]
    with torch.no_grad():
        fake = g(z)
        judged = d(fake).sigmoid().double().mean()
    return {
        "loss_g_end": sum(row["loss_g"] for row in last) / len(last),
        "loss_d_end": sum(row["loss_d"] for row in last) / len(last),
        "fake_end": judged.item(),
        "distance_end": (fake.mean(0) - real.mean(0)).double().norm().item(),
        "d_moved": moved,
        "theory_g": math.log(1.5),
        "theory_d": math.log(4.5),
        "two_ln_two": 2 * math.log(2),
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
