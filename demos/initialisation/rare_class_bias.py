"""A detector's head that starts at p = 0.5 has a huge first loss and may ruin the net; a bias of −log((1 − π)/π) cures.

A ReLU net, 16 → 32 → 32 → 1, He initialisation, head N(0, 0.01²), classifies `anchors` points x ~ N(0, I); the
fraction `share` of them are positives, shifted by 3 along one direction. The loss is RetinaNet's focal loss, sigmoid,
α = 0.25, exponent `gamma`, summed and divided by the number of positives. Two nets with the same initial weights are
trained for `steps` steps on the same points by SGD (momentum 0.9) or Adam with rate `lr`, after `warm` steps of linear
warm-up: the head's bias starts at −log((1 − prior)/prior) in one, at 0 in the other.

first: loss before the first step; norm: the norm of its gradient; end: loss after the last step, the largest float32
number if not finite; times: the one with the bias at 0 over the one with the prior. negative_share: the fraction of the
first loss, with the bias at 0, that comes from negatives. Theory at p = q for all points:
α (1 − q)^γ (−log q) + (1 − share)/share · (1 − α) q^γ (−log(1 − q)). Source: Lin et al. 2017, Focal loss for dense
object detection, ICCV, section 3.3.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

TITLE = {"zh": "稀有正类的偏置从先验开始", "en": "The bias for a rare class starts from its prior"}
PARAMS = {
    "share": {"zh": "正样本的比例", "en": "fraction of positives", "ge": 0.0005, "le": 0.5},
    "prior": {"zh": "先验 π", "en": "prior π", "ge": 0.0001, "le": 0.9},
    "gamma": {"zh": "focal loss 的 γ", "en": "γ of the focal loss", "ge": 0, "le": 5},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0.000001, "le": 1},
    "steps": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 100},
    "warm": {"zh": "预热步数", "en": "steps of warm-up", "unit": "step", "ge": 0, "le": 100},
    "optimiser": {"zh": "优化器", "en": "optimiser"},
    "anchors": {"zh": "锚框数", "en": "anchors", "ge": 2000, "le": 8000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "loss": {"zh": "损失", "en": "loss"},
    "series": {"zh": "偏置的起点", "en": "the bias starts at"},
}
METRICS = {
    "bias": {"zh": "偏置 −log((1−π)/π)", "en": "bias −log((1 − π)/π)"},
    "positives": {"zh": "正样本数", "en": "positives"},
    "first_prior": {"zh": "先验：第一步的损失", "en": "prior: first loss"},
    "first_zero": {"zh": "偏置 0：第一步的损失", "en": "bias 0: first loss"},
    "theory_prior": {"zh": "先验：公式算的第一步损失", "en": "prior: first loss by the formula"},
    "theory_zero": {"zh": "偏置 0：公式算的第一步损失", "en": "bias 0: first loss by the formula"},
    "norm_prior": {"zh": "先验：第一步的梯度范数", "en": "prior: norm of the first gradient"},
    "norm_zero": {"zh": "偏置 0：第一步的梯度范数", "en": "bias 0: norm of the first gradient"},
    "negative_share": {"zh": "偏置 0：负样本占损失", "en": "bias 0: negatives' fraction of the loss"},
    "end_prior": {"zh": "先验：最后的损失", "en": "prior: loss at the end"},
    "end_zero": {"zh": "偏置 0：最后的损失", "en": "bias 0: loss at the end"},
    "times": {"zh": "最后的损失：偏置 0 是先验的几倍", "en": "loss at the end: bias 0 over prior"},
}
CHART = {
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "loss", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
WORDS = {"prior": {"zh": "先验", "en": "the prior"}, "zero": {"zh": "0", "en": "0"}}

Row = dict[str, float | str]
Metrics = dict[str, float]
ALPHA = 0.25


def run(
    share: float = 0.001,
    prior: float = 0.01,
    gamma: float = 2.0,
    lr: float = 0.01,
    steps: int = 40,
    warm: int = 0,
    optimiser: Literal["sgd", "adam"] = "sgd",
    anchors: int = 8000,
) -> Generator[Row, None, Metrics]:
    positives = max(1, round(share * anchors))
    labels = torch.arange(anchors) < positives
    points = torch.randn(anchors, 16)
    points[labels, 0] += 3
    made = net()
    start = {name: value.clone() for name, value in made.state_dict().items()}
    bias = -math.log((1 - prior) / prior)
    metrics: Metrics = {"bias": bias, "positives": positives}
    metrics |= {f"theory_{name}": flat_loss(q, share, gamma) for name, q in (("prior", prior), ("zero", 0.5))}
    for name, first_bias in (("prior", bias), ("zero", 0.0)):
        made.load_state_dict(start)
        nn.init.constant_(made[-1].bias, first_bias)
        kind = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
        chosen = kind(made.parameters(), lr=lr, **({} if optimiser == "adam" else {"momentum": 0.9}))
        for step in range(steps):
            for group in chosen.param_groups:
                group["lr"] = lr * min(1.0, (step + 1) / (warm + 1))
            each = focal_loss(made(points)[:, 0], labels, gamma) / positives
            loss = each.sum()
            chosen.zero_grad()
            loss.backward()
            if step == 0:
                metrics[f"first_{name}"] = loss.item()
                metrics[f"norm_{name}"] = gradient_norm(made)
                if name == "zero":
                    metrics["negative_share"] = (each[~labels].double().sum() / each.double().sum()).item()
            yield {"step": step, "loss": bounded(loss.item()), "series": name}
            chosen.step()
        with torch.no_grad():
            logits = made(points)[:, 0]
            metrics[f"end_{name}"] = bounded((focal_loss(logits, labels, gamma).sum() / positives).item())
    return metrics | {"times": metrics["end_zero"] / max(metrics["end_prior"], 1e-12)}


def net() -> nn.Sequential:
    made = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    for layer in (made[0], made[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.normal_(made[4].weight, std=0.01)
    return made


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Of each point."""
    right = torch.where(labels, logits, -logits)
    weight = torch.where(labels, ALPHA, 1 - ALPHA)
    return -weight * (gamma * logsigmoid(-right)).exp() * logsigmoid(right)


def flat_loss(q: float, share: float, gamma: float) -> float:
    """The loss per positive if every point has the probability q."""
    negatives = (1 - share) / share
    return float(-ALPHA * (1 - q) ** gamma * math.log(q) - negatives * (1 - ALPHA) * q**gamma * math.log1p(-q))


def gradient_norm(made: nn.Module) -> float:
    return math.sqrt(sum(float(each.grad.double().square().sum()) for each in made.parameters()))


def bounded(loss: float) -> float:
    return loss if math.isfinite(loss) else torch.finfo(torch.float32).max
