"""The gradient of softmax with cross-entropy is p minus the one-hot label, over the batch size for a mean loss.

Logits N(0, std²), shape (batch, classes), random labels. The gradient of torch's cross_entropy (mean over the batch)
with respect to the logits, by autograd in `dtype`, against (p − onehot)/batch with p the softmax of the same logits
in float64. Errors are the largest deviation over the largest entry of the formula. Every row of the gradient sums to
0, and no entry of p − onehot exceeds 1 in size.

Beside it the gradient of the squared error Σ(p − onehot)² through the same softmax, 2p∘(d − p·d), d = p − onehot: it
loses its size where the softmax is confident and wrong, as for large std. mse_over_ce is the median over the samples
whose most probable class is wrong of the quotient of the two gradient norms. Source: Goodfellow, Bengio & Courville
2016, Deep Learning; Griewank & Walther 2008, Evaluating derivatives.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch.nn.functional import cross_entropy, one_hot

TITLE = {"zh": "softmax 与交叉熵的梯度", "en": "The gradient of softmax and cross-entropy"}
PARAMS = {
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 1000},
    "batch": {"zh": "样本数", "en": "samples", "unit": "sample", "ge": 1, "le": 512},
    "std": {"zh": "logit 的标准差", "en": "standard deviation of the logits", "ge": 0, "le": 1000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "class": {"zh": "类别（第一个样本）", "en": "class, of the first sample"},
    "autograd": {"zh": "自动微分 × 样本数", "en": "autograd × batch size"},
    "formula": {"zh": "p − onehot", "en": "p − onehot"},
}
METRICS = {
    "max_err": {"zh": "自动微分与公式的相对误差", "en": "relative error, autograd against formula"},
    "max_err_no_mean": {"zh": "同上，忘了除以样本数", "en": "the same, batch size forgotten"},
    "row_sum": {"zh": "每行梯度之和的最大值", "en": "largest sum over a row of the gradient"},
    "largest": {"zh": "p − onehot 的最大值", "en": "largest entry of p − onehot"},
    "probability": {"zh": "第一个样本正确类的概率", "en": "probability of the right class, first sample"},
    "mse_over_ce": {"zh": "均方误差与交叉熵的梯度之比", "en": "gradient, squared error over cross-entropy"},
}
CHART = {
    "transform": [{"fold": ["autograd", "formula"], "as": ["series", "value"]}],
    "mark": {"type": "point", "filled": True},
    "encoding": {
        "x": {"field": "class", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
        "shape": {"field": "series", "type": "nominal"},
    },
}
# p − 1 where the right class leads by v, up to v = std
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "softmax_gradient", "spacing": "even", "n": 100, "x": ["std"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    classes: int = 5,
    batch: int = 8,
    std: float = 1.0,
    dtype: Literal["float32", "float64"] = "float64",
) -> Generator[Row, None, Metrics]:
    logits = (torch.randn(batch, classes, dtype=torch.float64) * std).to(getattr(torch, dtype)).requires_grad_()
    labels = torch.randint(classes, (batch,))
    (gradient,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    p = logits.detach().double().softmax(1)
    formula = p - one_hot(labels, classes)
    scaled = gradient.double() * batch
    for k in range(min(classes, 100)):
        yield {"class": k, "autograd": scaled[0, k].item(), "formula": formula[0, k].item()}
    size = formula.abs().max().item()
    squared = 2 * p * (formula - (p * formula).sum(1, keepdim=True))
    wrong = p.argmax(1) != labels
    return {
        "max_err": (scaled - formula).abs().max().item() / size if size else 0.0,
        "max_err_no_mean": (gradient.double() - formula).abs().max().item() / size if size else 0.0,
        "row_sum": scaled.sum(1).abs().max().item(),
        "largest": size,
        "probability": p[0, labels[0]].item(),
        "mse_over_ce": (squared.norm(dim=1) / formula.norm(dim=1))[wrong].median().item() if wrong.any() else None,
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
