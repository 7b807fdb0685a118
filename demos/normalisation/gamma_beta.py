"""A ReLU net with batch normalisation trains without γ and β; γ can be folded into the next layer, β cannot be dropped.

Four nets start from the same weights (PyTorch's default initialisation) and see the same mini-batches: no BN, BN with
γ and β, BN without them, and BN with γ and β where nothing but γ and β is trained (the weights stay random). Task: 1024
points x ~ N(0, 1) in the plane, class 1 if |x|² > 2 ln 2 (half of them: a disc and the ring around it); `layers`
hidden layers, one logit, cross-entropy, n steps of SGD. Accuracies and losses are over all 1024 points with
batch statistics ("train mode"). Points, weights and batches are random.

Without β nothing shifts the normalised values: with tanh or sigmoid (odd about their centre) the net is then an odd
function of x, up to a constant, and cannot fit a class that is the same at x and −x. ReLU is not odd and gets by.

Folding, in float64 on one random layer with γ > 0: φ(γz) W = φ(z) (γW) if φ(γz) = γφ(z), as for ReLU; with β,
φ(γz + β) W = φ(z + β/γ) (γW). Errors are the largest deviation of an output. Source: Ioffe & Szegedy 2015, Batch
normalization; Frankle, Schwab & Morcos 2021, Training BatchNorm and only BatchNorm.
"""

import copy
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

TITLE = {"zh": "γ 和 β：可以去掉吗", "en": "γ and β: can they be removed"}
PARAMS = {
    "layers": {"zh": "隐层数", "en": "hidden layers", "ge": 1, "le": 8},
    "width": {"zh": "每层宽度", "en": "units per layer", "ge": 1, "le": 64},
    "n": {"zh": "训练步数", "en": "training steps", "ge": 0, "le": 400},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0.0, "le": 10.0},
    "batch": {"zh": "批量大小", "en": "batch size", "ge": 2, "le": 256},
    "act": {"zh": "激活函数", "en": "activation"},
}
COLUMNS = {
    "step": {"zh": "训练步", "en": "training step"},
    "none": {"zh": "无 BN", "en": "no BN"},
    "affine": {"zh": "BN，有 γ、β", "en": "BN with γ, β"},
    "no_affine": {"zh": "BN，无 γ、β", "en": "BN without γ, β"},
    "only_affine": {"zh": "只训练 γ、β", "en": "only γ, β trained"},
}
METRICS = {
    "none_acc": {"zh": "准确率，无 BN", "en": "accuracy, no BN"},
    "affine_acc": {"zh": "准确率，BN 有 γ、β", "en": "accuracy, BN with γ, β"},
    "no_affine_acc": {"zh": "准确率，BN 无 γ、β", "en": "accuracy, BN without γ, β"},
    "only_affine_acc": {"zh": "准确率，只训练 γ、β", "en": "accuracy, only γ, β trained"},
    "affine_gain": {"zh": "有 γ、β 比没有高出的准确率", "en": "accuracy gained by γ, β"},
    "none_loss": {"zh": "损失，无 BN", "en": "loss, no BN"},
    "affine_loss": {"zh": "损失，BN 有 γ、β", "en": "loss, BN with γ, β"},
    "no_affine_loss": {"zh": "损失，BN 无 γ、β", "en": "loss, BN without γ, β"},
    "only_affine_loss": {"zh": "损失，只训练 γ、β", "en": "loss, only γ, β trained"},
    "fold_gamma_error": {"zh": "折叠 γ 的误差（β = 0）", "en": "error of folding γ (β = 0)"},
    "fold_gamma_keep_beta_error": {"zh": "折叠 γ、保留 β/γ 的误差", "en": "error of folding γ, keeping β/γ"},
    "dropping_beta_error": {"zh": "折叠 γ、扔掉 β 的误差", "en": "error of folding γ, dropping β"},
}
CHART = {
    "transform": [{"fold": ["none", "affine", "no_affine", "only_affine"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def run(
    layers: int = 3,
    width: int = 32,
    n: int = 150,
    lr: float = 0.1,
    batch: int = 64,
    act: Literal["relu", "sigmoid", "tanh"] = "relu",
) -> Generator[Row, None, Metrics]:
    x = torch.randn(1024, 2)
    y = (x.pow(2).sum(1) > 2 * torch.log(torch.tensor(2.0))).float()
    linears = [nn.Linear(2 if layer == 0 else width, width) for layer in range(layers)] + [nn.Linear(width, 1)]
    nets = {name: network(linears, act, name) for name in ("none", "affine", "no_affine", "only_affine")}
    trained = {name: [p for p in net.parameters() if p.requires_grad] for name, net in nets.items()}
    every = max(1, n // 15)
    for step in range(n + 1):
        if step % every == 0 or step == n:
            yield {"step": step} | {name: accuracy(net, x, y) for name, net in nets.items()}
        if step < n:
            picked = torch.randint(len(x), (batch,))
            for name, net in nets.items():
                sgd_step(net, trained[name], x[picked], y[picked], lr)
    acc = {name: accuracy(net, x, y) for name, net in nets.items()}
    return {
        **{f"{name}_acc": value for name, value in acc.items()},
        "affine_gain": acc["affine"] - acc["no_affine"],
        **{f"{name}_loss": loss(net, x, y).item() for name, net in nets.items()},
        **fold(ACTIVATIONS[act]()),
    }


def network(linears: list[nn.Linear], act: str, kind: str) -> nn.Sequential:
    """Copies of the linear layers, with BN (batch statistics always) and the activation after all but the last."""
    modules: list[nn.Module] = []
    for linear in copy.deepcopy(linears[:-1]):
        modules.append(linear.requires_grad_(kind != "only_affine"))
        if kind != "none":
            affine = kind != "no_affine"
            modules.append(nn.BatchNorm1d(linear.out_features, affine=affine, track_running_stats=False))
        modules.append(ACTIVATIONS[act]())
    return nn.Sequential(*modules, copy.deepcopy(linears[-1]).requires_grad_(kind != "only_affine"))


def loss(net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(net(x).squeeze(1), y)


def sgd_step(net: nn.Sequential, trained: list[nn.Parameter], x: Tensor, y: Tensor, lr: float) -> None:
    """One step of p ← p − lr·∂loss/∂p for the parameters that are trained."""
    gradients = torch.autograd.grad(loss(net, x, y), trained)
    with torch.no_grad():
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.sub_(lr * gradient)


def accuracy(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(((net(x).squeeze(1) > 0) == (y > 0.5)).double().mean())


def fold(phi: nn.Module) -> Metrics:
    """How exactly γ moves into the next weights, and what is lost when β goes; float64, 64 samples, 32 → 16 units."""
    z, weight = torch.randn(64, 32, dtype=torch.float64), torch.randn(32, 16, dtype=torch.float64)
    gamma, beta = torch.rand(32, dtype=torch.float64) + 0.5, torch.randn(32, dtype=torch.float64)
    folded = gamma[:, None] * weight
    with_beta = phi(gamma * z + beta) @ weight
    return {
        "fold_gamma_error": deviation(phi(gamma * z) @ weight, phi(z) @ folded),
        "fold_gamma_keep_beta_error": deviation(with_beta, phi(z + beta / gamma) @ folded),
        "dropping_beta_error": deviation(with_beta, phi(z) @ folded),
    }


def deviation(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
