"""Shifting the inputs of a batch-normalised layer at every step on purpose barely hurts its training.

Three nets start from the same weights (He, biases 0) and see the same mini-batches: plain, BN (with γ and β), and noisy
BN, where at every forward pass of training every unit after BN is multiplied by 1 + noise·N(0, 1) and shifted by
noise·N(0, 1), the same for the whole batch. Task: 512 points x ~ N(0, 1) in the plane, class 1 if
|x|² > 2 ln 2 (a disc and the ring around it); `layers` hidden ReLU layers, one logit, cross-entropy, n steps of SGD.

Two measures of internal covariate shift. The drift (Ioffe and Szegedy's sense): how far the mean of the last hidden
layer's input moves in 10 steps, ‖Δmean‖/‖sd‖ over its units, averaged. The gradient shift (Santurkar's sense): at every
step the last hidden layer's weight gradient is taken before and after the layers below it are updated, on the same
batch; cosine and distance of the two, averaged over the steps (a zero gradient has no cosine). No shift is cosine 1.
The noise is drawn afresh for the second gradient, so for noisy BN the cosine contains the shift that we inject.
Accuracy, loss and drift are measured over all points, with the noise off and with batch statistics.

Not shown: Santurkar et al. find that BN does not reduce the gradient shift of large nets; here it does. Nor is that
robust: from PyTorch's default initialisation the plain net hardly learns, its gradient hardly moves, and BN has more
shift. Source: Ioffe & Szegedy 2015, Batch normalization; Santurkar et al. 2018, How does batch normalization help
optimization?; Awais et al. 2021, Revisiting internal covariate shift for batch normalization (argue the opposite).
"""

import copy
import math
from collections.abc import Generator, Iterable
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "内部协变量偏移与批量归一化", "en": "Internal covariate shift and batch normalisation"}
PARAMS = {
    "layers": {"zh": "隐层数", "en": "hidden layers", "ge": 2, "le": 10},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 2, "le": 64},
    "n": {"zh": "训练步数", "en": "training steps", "ge": 1, "le": 300},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0.0, "le": 10.0},
    "noise": {"zh": "BN 之后注入的噪声", "en": "noise injected after BN", "ge": 0.0, "le": 10.0},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 2, "le": 256},
}
COLUMNS = {
    "step": {"zh": "训练步", "en": "training step"},
    "plain": {"zh": "梯度余弦，无 BN", "en": "gradient cosine, no BN"},
    "bn": {"zh": "梯度余弦，BN", "en": "gradient cosine, BN"},
    "noisy": {"zh": "梯度余弦，BN 加噪声", "en": "gradient cosine, noisy BN"},
    "plain_acc": {"zh": "准确率，无 BN", "en": "accuracy, no BN"},
    "bn_acc": {"zh": "准确率，BN", "en": "accuracy, BN"},
    "noisy_acc": {"zh": "准确率，BN 加噪声", "en": "accuracy, noisy BN"},
}
METRICS = {
    "plain_acc": {"zh": "准确率，无 BN", "en": "accuracy, no BN"},
    "bn_acc": {"zh": "准确率，BN", "en": "accuracy, BN"},
    "noisy_acc": {"zh": "准确率，BN 加噪声", "en": "accuracy, noisy BN"},
    "plain_loss": {"zh": "损失，无 BN", "en": "loss, no BN"},
    "bn_loss": {"zh": "损失，BN", "en": "loss, BN"},
    "noisy_loss": {"zh": "损失，BN 加噪声", "en": "loss, noisy BN"},
    "plain_drift": {"zh": "每 10 步均值漂移，无 BN", "en": "drift of the mean per 10 steps, no BN", "unit": "sd"},
    "bn_drift": {"zh": "每 10 步均值漂移，BN", "en": "drift of the mean per 10 steps, BN", "unit": "sd"},
    "noisy_drift": {"zh": "每 10 步均值漂移，BN 加噪声", "en": "drift per 10 steps, noisy BN", "unit": "sd"},
    "plain_cos": {"zh": "更新前后梯度的余弦，无 BN", "en": "gradient cosine, no BN"},
    "bn_cos": {"zh": "更新前后梯度的余弦，BN", "en": "gradient cosine, BN"},
    "noisy_cos": {"zh": "更新前后梯度的余弦，BN 加噪声", "en": "gradient cosine, noisy BN"},
    "plain_ics_l2": {"zh": "梯度的改变量，无 BN", "en": "change of the gradient, no BN"},
    "bn_ics_l2": {"zh": "梯度的改变量，BN", "en": "change of the gradient, BN"},
    "noisy_ics_l2": {"zh": "梯度的改变量，BN 加噪声", "en": "change of the gradient, noisy BN"},
    "noise_cos_drop": {"zh": "噪声使余弦下降", "en": "drop of the cosine by the noise"},
    "bn_cos_gain": {"zh": "BN 的余弦比无 BN 高出", "en": "cosine with BN minus without"},
    "drift_ratio": {"zh": "无 BN 的漂移是 BN 的几倍", "en": "drift without BN over drift with BN"},
}
CHART = {
    "transform": [{"fold": ["plain", "bn", "noisy"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [-0.5, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
EVERY = 10


def run(
    layers: int = 5, width: int = 32, n: int = 120, lr: float = 0.1, noise: float = 0.3, batch: int = 64
) -> Generator[Row, None, Metrics]:
    x = torch.randn(512, 2)
    y = (x.pow(2).sum(1) > 2 * math.log(2)).float()
    linears = [nn.Linear(2 if layer == 0 else width, width) for layer in range(layers)] + [nn.Linear(width, 1)]
    for linear in linears:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    nets = {kind: network(linears, kind) for kind in ("plain", "bn", "noisy")}
    trained = {kind: (list(net[:-2].parameters()), list(net[-2:].parameters())) for kind, net in nets.items()}
    drifts: dict[str, list[float]] = {kind: [] for kind in nets}
    shifts: dict[str, list[tuple[float, float]]] = {kind: [] for kind in nets}
    before: dict[str, Tensor] = {}
    for step in range(n):
        if step % EVERY == 0:
            for kind, net in nets.items():
                centre, sd = last_hidden_input(net, x)
                if kind in before:
                    drifts[kind].append(quotient(float((centre - before[kind]).norm()), float(sd.norm())))
                before[kind] = centre
        picked = torch.randint(len(x), (batch,))
        for kind, net in nets.items():
            own_noise = noise if kind == "noisy" else 0.0
            shifts[kind].append(train_step(net, *trained[kind], x[picked], y[picked], lr, own_noise))
        if (step + 1) % EVERY == 0 or step + 1 == n:
            row: Row = {"step": step + 1}
            for kind, net in nets.items():
                row[kind] = mean([cosine for cosine, _ in shifts[kind][-EVERY:]])
                row[f"{kind}_acc"] = judge(net, x, y)[0]
            yield row

    measured: Metrics = {}
    for kind, net in nets.items():
        measured[f"{kind}_acc"], measured[f"{kind}_loss"] = judge(net, x, y)
        measured[f"{kind}_drift"] = fmean(drifts[kind]) if drifts[kind] else None
    cos = {kind: mean([cosine for cosine, _ in shifts[kind]]) for kind in nets}
    return measured | {
        **{f"{kind}_cos": value for kind, value in cos.items()},
        **{f"{kind}_ics_l2": fmean(distance for _, distance in shifts[kind]) for kind in nets},
        "noise_cos_drop": cos["bn"] - cos["noisy"],
        "bn_cos_gain": cos["bn"] - cos["plain"],
        "drift_ratio": quotient(fmean(drifts["plain"]), fmean(drifts["bn"])) if drifts["bn"] else None,
    }


def network(linears: list[nn.Linear], kind: str) -> nn.Sequential:
    """Copies of the linear layers, all but the last followed by BN (batch statistics always) unless plain."""
    *hidden, logit = copy.deepcopy(linears)
    norms = [
        nn.Identity() if kind == "plain" else nn.BatchNorm1d(linear.out_features, track_running_stats=False)
        for linear in hidden
    ]
    return nn.Sequential(*map(nn.Sequential, hidden, norms), logit)


def forward(blocks: Iterable[nn.Module], x: Tensor, noise: float = 0.0) -> Tensor:
    """Every block, then the same random scale and shift of each unit for the whole batch, then ReLU."""
    for linear, norm in blocks:
        z = norm(linear(x))
        drawn = torch.randn(2, z.shape[1])  # by all nets: they share the random numbers
        if noise:
            scale, shift = noise * drawn
            z = z * (1 + scale) + shift
        x = torch.relu(z)
    return x


def loss(net: nn.Sequential, x: Tensor, y: Tensor, noise: float = 0.0) -> Tensor:
    return binary_cross_entropy_with_logits(logits(net, x, noise), y)


def logits(net: nn.Sequential, x: Tensor, noise: float = 0.0) -> Tensor:
    *blocks, last = net
    out: Tensor = last(forward(blocks, x, noise)).squeeze(1)
    return out


def train_step(
    net: nn.Sequential, lower: list[Tensor], upper: list[Tensor], x: Tensor, y: Tensor, lr: float, noise: float
) -> tuple[float, float]:
    """One step of SGD, lower layers first; cosine and distance of the last hidden gradient before and after those."""
    gradients = torch.autograd.grad(loss(net, x, y, noise), lower + upper)
    descend(lower, gradients[: len(lower)], lr)
    for parameter in lower:
        parameter.requires_grad_(False)  # there is no need for their gradients at the second pass
    (after,) = torch.autograd.grad(loss(net, x, y, noise), upper[:1])
    for parameter in lower:
        parameter.requires_grad_()
    descend(upper, gradients[len(lower) :], lr)
    a, b = gradients[len(lower)].double(), after.double()
    return quotient(float((a * b).sum()), float(a.norm() * b.norm())), float((a - b).norm())


def descend(parameters: list[Tensor], gradients: tuple[Tensor, ...], lr: float) -> None:
    """Subtract lr·gradient from every parameter."""
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(lr * gradient)


def last_hidden_input(net: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every unit that feeds the last hidden layer, noise off."""
    h = forward(net[:-2], x).detach().double()
    return h.mean(0), h.std(0, correction=0)


def judge(net: nn.Sequential, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy and loss over all points, noise off."""
    with torch.no_grad():
        right = (logits(net, x) > 0) == (y > 0.5)
        return float(right.double().mean()), float(loss(net, x, y))


def mean(values: list[float]) -> float:
    """The mean of those that are defined; nan if none is."""
    defined = [value for value in values if not math.isnan(value)]
    return fmean(defined) if defined else math.nan


def quotient(a: float, b: float) -> float:
    """a/b as IEEE 754 has it: 1/0 is inf and 0/0 is nan."""
    return a / b if b else a * math.inf


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
