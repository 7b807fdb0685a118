"""Of the usual suspects only an overflow makes accuracy rise for two epochs, then fall to 50 % and stay there.

Data: two Gaussian blobs of unit variance, centres at (±1, 0), 1000 samples to train on and 1000 to validate on, both
balanced; the best possible accuracy is Φ(1) = 0.841. Nets: 2 - 32 - 32 - 2, ReLU, cross-entropy, PyTorch's default
initialisation, plain SGD with learning rate `lr` on batches of 50; logistic units: one weight per input, one logit.
Random: blobs, weights, order of the samples. healthy, sorted and overflow start from the same weights.

The seven runs. healthy: shuffled in every epoch. sorted: all of class 0, then all of class 1, in every epoch.
sorted_bn: the same with batch normalisation after both hidden layers, judged in eval mode. logistic_no_bias and
logistic_bias: one logistic unit without and with a bias on inputs moved away from 0 by `shift`. sigmoid_no_bias: the
net with sigmoids and no biases. overflow: healthy, but the first step of epoch 3 uses 1e40 times the learning rate.

The symptom (1 or 0): more than 0.8 in one of the first two epochs, and within 0.03 of 0.5 in the last one. It needs at
least three epochs, four to see that it stays. Sigmoid(0) = 1/2 does a bias's work in a hidden layer; what hurts
the logistic unit is the shift, not the missing bias. Source: Lu et al. 2020, Dying ReLU and initialization; De & Smith
2020 (batch normalisation).
"""

import copy
import math
from collections.abc import Generator

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

TITLE = {"zh": "准确率停在 50%：逐个排查原因", "en": "Stuck at 50 %: the suspects one by one"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 100},
    "epochs": {"zh": "训练轮数", "en": "epochs", "unit": "epoch", "ge": 1, "le": 20},
    "shift": {"zh": "逻辑单元的输入偏移", "en": "shift of the logistic units' inputs", "ge": 0, "le": 1000},
}
COLUMNS = {
    "epoch": {"zh": "轮次", "en": "epoch"},
    "series": {"zh": "情形", "en": "run"},
    "accuracy": {"zh": "验证准确率", "en": "validation accuracy"},
}
METRICS = {
    "healthy_final": {"zh": "正常训练：最后的准确率", "en": "healthy: accuracy at the end"},
    "sorted_first": {"zh": "按类别排序：第一轮的准确率", "en": "sorted: accuracy after one epoch"},
    "sorted_final": {"zh": "按类别排序：最后的准确率", "en": "sorted: accuracy at the end"},
    "sorted_loss": {"zh": "按类别排序：比正常低多少", "en": "sorted: accuracy lost against healthy"},
    "sorted_bn_final": {"zh": "排序且有 BN：最后的准确率", "en": "sorted, batch norm: accuracy at the end"},
    "logistic_no_bias_final": {"zh": "无偏置逻辑单元：最后的准确率", "en": "logistic, no bias: accuracy at the end"},
    "logistic_no_bias_mean": {"zh": "无偏置逻辑单元：各轮平均", "en": "logistic, no bias: mean over the epochs"},
    "logistic_bias_final": {"zh": "有偏置逻辑单元：最后的准确率", "en": "logistic, bias: accuracy at the end"},
    "logistic_bias_mean": {"zh": "有偏置逻辑单元：各轮平均", "en": "logistic, bias: mean over the epochs"},
    "sigmoid_no_bias_final": {
        "zh": "无偏置 sigmoid 网络：最后的准确率",
        "en": "sigmoid net, no bias: accuracy at the end",
    },
    "overflow_before": {"zh": "溢出：前两轮的最好准确率", "en": "overflow: best accuracy of epochs 1 and 2"},
    "overflow_final": {"zh": "溢出：最后的准确率", "en": "overflow: accuracy at the end"},
    "symptom_healthy": {"zh": "正常训练有没有这个症状", "en": "healthy shows the symptom"},
    "symptom_sorted": {"zh": "按类别排序有没有这个症状", "en": "sorted shows the symptom"},
    "symptom_logistic": {"zh": "两个逻辑单元有几个有症状", "en": "logistic units that show the symptom"},
    "symptom_sigmoid": {"zh": "无偏置 sigmoid 有没有这个症状", "en": "sigmoid without bias shows the symptom"},
    "symptom_overflow": {"zh": "溢出有没有这个症状", "en": "overflow shows the symptom"},
    "theory_best": {"zh": "理论最高准确率 Φ(1)", "en": "best possible accuracy, Φ(1)"},
}
WORDS = {
    "healthy": {"zh": "正常", "en": "healthy"},
    "sorted": {"zh": "按类别排序", "en": "sorted by class"},
    "sorted_bn": {"zh": "排序 + BN", "en": "sorted, batch norm"},
    "logistic_no_bias": {"zh": "无偏置逻辑单元", "en": "logistic, no bias"},
    "logistic_bias": {"zh": "有偏置逻辑单元", "en": "logistic, bias"},
    "sigmoid_no_bias": {"zh": "无偏置 sigmoid", "en": "sigmoid, no bias"},
    "overflow": {"zh": "溢出", "en": "overflow"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "epoch", "type": "quantitative"},
        "y": {"field": "accuracy", "type": "quantitative", "scale": {"domain": [0, 1]}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
SAMPLES, BATCH, HIDDEN = 1000, 50, 32


def run(lr: float = 0.5, epochs: int = 6, shift: float = 20.0) -> Generator[Row, None, Metrics]:
    (x, y), (x_val, y_val) = blobs(), blobs()
    shuffled = [torch.randperm(SAMPLES) for _ in range(epochs)]
    in_order = [torch.arange(SAMPLES)] * epochs  # the blobs come sorted by class
    net = mlp(nn.ReLU, bias=True)
    runs = {
        "healthy": (net, shuffled, 0.0, 1.0),
        "sorted": (copy.deepcopy(net), in_order, 0.0, 1.0),
        "sorted_bn": (mlp(nn.ReLU, bias=True, norm=True), in_order, 0.0, 1.0),
        "logistic_no_bias": (nn.Linear(2, 1, bias=False), shuffled, shift, 1.0),
        "logistic_bias": (nn.Linear(2, 1), shuffled, shift, 1.0),
        "sigmoid_no_bias": (mlp(nn.Sigmoid, bias=False), shuffled, 0.0, 1.0),
        "overflow": (copy.deepcopy(net), shuffled, 0.0, 1e40),
    }
    found: dict[str, list[float]] = {}
    for name, (model, orders, moved, spike) in runs.items():
        accuracy = found[name] = []
        for epoch, order in enumerate(orders, 1):
            model.train()
            for step, batch in enumerate(order.split(BATCH)):
                rate = lr * spike if epoch == 3 and step == 0 else lr
                descend(model, loss_of(model(x[batch] + moved), y[batch]), rate)
            model.eval()
            with torch.no_grad():
                accuracy.append((label(model(x_val + moved)) == y_val).sum().item() / SAMPLES)
            yield {"epoch": epoch, "series": name, "accuracy": accuracy[-1]}
    symptom = {name: int(max(a[:2]) > 0.8 and abs(a[-1] - 0.5) < 0.03) for name, a in found.items()}
    final = {name: a[-1] for name, a in found.items()}
    return {
        "healthy_final": final["healthy"],
        "sorted_first": found["sorted"][0],
        "sorted_final": final["sorted"],
        "sorted_loss": final["healthy"] - final["sorted"],
        "sorted_bn_final": final["sorted_bn"],
        "logistic_no_bias_final": final["logistic_no_bias"],
        "logistic_no_bias_mean": sum(found["logistic_no_bias"]) / epochs,
        "logistic_bias_final": final["logistic_bias"],
        "logistic_bias_mean": sum(found["logistic_bias"]) / epochs,
        "sigmoid_no_bias_final": final["sigmoid_no_bias"],
        "overflow_before": max(found["overflow"][:2]),
        "overflow_final": final["overflow"],
        "symptom_healthy": symptom["healthy"],
        "symptom_sorted": symptom["sorted"],
        "symptom_logistic": symptom["logistic_no_bias"] + symptom["logistic_bias"],
        "symptom_sigmoid": symptom["sigmoid_no_bias"],
        "symptom_overflow": symptom["overflow"],
        "theory_best": 0.5 * (1 + math.erf(1 / math.sqrt(2))),
    }


def blobs() -> tuple[Tensor, Tensor]:
    """Points and labels, class 0 first."""
    y = torch.arange(SAMPLES) // (SAMPLES // 2)
    centre = torch.stack([1.0 - 2 * y, torch.zeros(SAMPLES)], 1)
    return centre + torch.randn(SAMPLES, 2), y


def mlp(act: type[nn.Module], bias: bool, norm: bool = False) -> nn.Module:
    """2 - 32 - 32 - 2."""
    layers: list[nn.Module] = []
    for fan_in in (2, HIDDEN):
        layers += [nn.Linear(fan_in, HIDDEN, bias=bias), *([nn.BatchNorm1d(HIDDEN)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, 2, bias=bias))


def loss_of(out: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, of one logit or of two."""
    return binary_cross_entropy_with_logits(out[:, 0], y.float()) if out.shape[1] == 1 else cross_entropy(out, y)


def label(out: Tensor) -> Tensor:
    """The predicted class."""
    return (out[:, 0] > 0).long() if out.shape[1] == 1 else out.argmax(1)


def descend(model: nn.Module, loss: Tensor, lr: float) -> None:
    """One step of plain gradient descent."""
    params = list(model.parameters())
    with torch.no_grad():
        for p, g in zip(params, torch.autograd.grad(loss, params), strict=True):
            p.sub_(lr * g)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
