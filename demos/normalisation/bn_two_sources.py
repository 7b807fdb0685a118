"""One batch norm, two sources in batches of their own: what tells the sources apart is normalised away.

Two sources of points in 8 dimensions, N(−`shift`/2, 1) and N(`shift`/2, 1) in every coordinate, 1,000 training and
1,000 test points of each. A net Linear(8, 16) - norm - ReLU - Linear(16, 1) learns which source a point is from, as
the discriminator of a GAN does: cross-entropy, `n` steps of gradient descent at rate 0.1 on 64 points of each source,
given to the net as `way` says:

separate  two forward passes, one a source, each normalised by its own batch statistics
joint     one forward pass with both
layer     two forward passes, with LayerNorm, which looks at one sample
own       two forward passes with running statistics for each source (domain-specific BN)

train: accuracy on test points in train mode, each source in a batch of its own (joint: both in one); eval: with the
running statistics (own: those of the true source); mean_gap: largest distance between the running mean of a unit and
the mean of either source, over the standard deviation within a source. Random: points and weights.
Source: Ioffe & Szegedy 2015, Batch normalization; Li et al. 2017, Revisiting batch normalization for domain adaptation.
"""

import copy
import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "两种来源共用一个 BN", "en": "Two sources through one batch norm"}
PARAMS = {
    "way": {"zh": "两种来源怎么送进网络", "en": "how the two sources go through the net"},
    "shift": {"zh": "两种来源的均值之差", "en": "difference of the sources' means", "ge": 0, "le": 10},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 200},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "train": {"zh": "准确率，train 模式", "en": "accuracy, train mode"},
    "eval": {"zh": "准确率，eval 模式", "en": "accuracy, eval mode"},
}
METRICS = {
    "train": {"zh": "准确率，train 模式", "en": "accuracy, train mode"},
    "eval": {"zh": "准确率，eval 模式", "en": "accuracy, eval mode"},
    "loss": {"zh": "训练损失", "en": "training loss"},
    "theory_best": {"zh": "最好的准确率，理论值", "en": "best possible accuracy"},
    "mean_gap": {
        "zh": "滑动均值离来源均值多远（标准差）",
        "en": "running mean from a source's, in standard deviations",
    },
}
CHART = {
    "transform": [{"fold": ["train", "eval"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
FEATURES, HIDDEN, POINTS, BATCH, RATE = 8, 16, 1000, 64, 0.1


def run(
    way: Literal["separate", "joint", "layer", "own"] = "separate", shift: float = 1.0, n: int = 60
) -> Generator[Row, None, Metrics]:
    training, test = (
        [torch.randn(POINTS, FEATURES) + side * shift / 2 for side in (-1, 1)] for _ in range(2)
    )  # source 0, source 1
    norm = nn.LayerNorm(HIDDEN) if way == "layer" else nn.BatchNorm1d(HIDDEN)
    net = nn.ModuleList([nn.Linear(FEATURES, HIDDEN), norm, copy.deepcopy(norm), nn.Linear(HIDDEN, 1)])
    parameters = [*net[0].parameters(), *net[1].parameters(), *net[3].parameters()]
    for step in range(n + 1):
        if step % max(1, n // 10) == 0 or step == n:
            found = {"train": accuracy(net, test, way, training=True), "eval": accuracy(net, test, way, training=False)}
            yield {"step": step} | found
        picked = [source[torch.randint(POINTS, (BATCH,))] for source in training]
        loss = cross_entropy(net, picked, way)
        if step < n:
            with torch.no_grad():
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.sub_(RATE * gradient)
    return found | {
        "loss": loss.item(),
        "theory_best": (1 + math.erf(shift * math.sqrt(FEATURES / 8))) / 2,
        "mean_gap": math.nan if way == "layer" else gap(net, training),
    }


def logits(net: nn.ModuleList, x: Tensor, source: int, way: str) -> Tensor:
    """Of the points of one batch; with `own` each source has statistics of its own and shares γ and β."""
    norm = net[1]
    if way == "own" and source:
        net[2].weight, net[2].bias = net[1].weight, net[1].bias
        norm = net[2]
    scores: Tensor = net[3](torch.relu(norm(net[0](x))))
    return scores[:, 0]


def scores(net: nn.ModuleList, sources: list[Tensor], way: str) -> tuple[Tensor, Tensor]:
    """The logits of all points, and their labels."""
    labels = torch.cat([torch.full((len(x),), float(k)) for k, x in enumerate(sources)])
    if way == "joint":
        return logits(net, torch.cat(sources), 0, way), labels
    return torch.cat([logits(net, x, k, way) for k, x in enumerate(sources)]), labels


def cross_entropy(net: nn.ModuleList, sources: list[Tensor], way: str) -> Tensor:
    return binary_cross_entropy_with_logits(*scores(net, sources, way))


def accuracy(net: nn.ModuleList, sources: list[Tensor], way: str, *, training: bool) -> float:
    """Of a copy, as a pass in train mode moves the running statistics."""
    judged = copy.deepcopy(net).train(training)
    with torch.no_grad():
        found, labels = scores(judged, sources, way)
    return float(((found > 0) == (labels > 0.5)).double().mean())


def gap(net: nn.ModuleList, sources: list[Tensor]) -> float:
    """The largest, over units and sources, in standard deviations of that unit within the source."""
    with torch.no_grad():
        hidden = [net[0](x).double() for x in sources]
    running = net[1].running_mean.double()
    return max(float(((h.mean(0) - running).abs() / h.std(0)).max()) for h in hidden)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
