"""A temperature T divides the gradient of a distillation loss by about T², which the factor T² restores.

Teacher's logits t ~ N(0, `size`²), student's s = t + N(0, `gap`²), `n` samples of `classes` classes, float64. The loss
is KL(softmax(t/T) ‖ softmax(s/T)), summed over classes, mean over samples (batchmean), its gradient that for s. The
rows scan temperatures from 1 to `x` in equal ratios. Theory: the gradient is (softmax(s/T) − softmax(t/T))/(n·T); for
large T it tends to (d − mean of d over classes)/(n·classes·T²), d = s − t, so T² times it to a constant.
mean: the same loss by reduction="mean", which divides by n·classes. swapped: kl_div with probabilities instead of their
logarithms as its first argument. half: elements that are −inf after softmax and then log of 10·s in float16; fused: by
log_softmax. Random: logits.
Source: Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network, section 2.
"""

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import kl_div

TITLE = {"zh": "蒸馏的温度与梯度", "en": "The temperature of distillation and its gradient"}
PARAMS = {
    "x": {"zh": "温度 T", "en": "temperature T", "ge": 1, "le": 100},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 1000},
    "size": {"zh": "教师 logit 的标准差", "en": "standard deviation of the teacher's logits", "ge": 0, "le": 20},
    "gap": {
        "zh": "学生与教师 logit 之差的标准差",
        "en": "standard deviation of their difference",
        "ge": 0.01,
        "le": 10,
    },
    "n": {"zh": "样本数", "en": "samples", "ge": 1, "le": 256},
}
COLUMNS = {
    "temperature": {"zh": "温度", "en": "temperature"},
    "plain": {"zh": "不乘 T²", "en": "without T²"},
    "restored": {"zh": "乘 T²", "en": "times T²"},
}
METRICS = {
    "gradient_ratio": {"zh": "梯度是温度 1 时的几倍", "en": "gradient over that at temperature 1"},
    "restored_ratio": {"zh": "乘 T² 后是温度 1 时的几倍", "en": "times T², over that at temperature 1"},
    "one_over_t2": {"zh": "1/T²", "en": "1/T²"},
    "limit_ratio": {
        "zh": "温度很大时 T² 倍的极限，与温度 1 之比",
        "en": "limit of T² times the gradient, over that at 1",
    },
    "loss": {"zh": "损失（batchmean）", "en": "loss (batchmean)"},
    "mean_share": {"zh": "mean 是 batchmean 的几倍", "en": "mean over batchmean"},
    "swapped": {"zh": "第一个参数给概率时的损失", "en": "loss with probabilities as first argument"},
    "half_bad": {"zh": "float16 里取对数得 −inf 的比例", "en": "fraction of −inf after a float16 softmax and log"},
    "fused_bad": {"zh": "float16 的 log_softmax 得 −inf 的比例", "en": "fraction of −inf by log_softmax in float16"},
}
CHART = {
    "transform": [{"fold": ["plain", "restored"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "temperature", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 4.0, classes: int = 100, size: float = 2.0, gap: float = 1.0, n: int = 64
) -> Generator[Row, None, Metrics]:
    t = size * torch.randn(n, classes).double()
    s = t + gap * torch.randn(n, classes).double()
    at_one = gradient(s, t, 1.0)
    for k in range(21):
        temperature = x ** (k / 20)
        size_of = gradient(s, t, temperature)
        yield {"temperature": temperature, "plain": size_of, "restored": temperature**2 * size_of}
    teacher, student = (t / x).softmax(1), (s / x).log_softmax(1)
    loss = kl_div(student, teacher, reduction="batchmean")
    d = s - t
    limit = (d - d.mean(1, keepdim=True)).norm().item() / (n * classes)
    half = (10 * s).half()
    return {
        "gradient_ratio": gradient(s, t, x) / at_one,
        "restored_ratio": x**2 * gradient(s, t, x) / at_one,
        "one_over_t2": 1 / x**2,
        "limit_ratio": limit / at_one,
        "loss": loss.item(),
        "mean_share": (kl_div(student, teacher, reduction="none").mean() / loss).item(),
        "swapped": kl_div(student.exp(), teacher, reduction="batchmean").item(),
        "half_bad": half.softmax(1).log().isinf().double().mean().item(),
        "fused_bad": half.log_softmax(1).isinf().double().mean().item(),
    }


def gradient(s: Tensor, t: Tensor, temperature: float) -> float:
    """Norm of the gradient of KL(softmax(t/T) ‖ softmax(s/T)), batchmean, with respect to s."""
    leaf = s.clone().requires_grad_()
    loss = kl_div((leaf / temperature).log_softmax(1), (t / temperature).softmax(1), reduction="batchmean")
    (slope,) = torch.autograd.grad(loss, leaf)
    return float(slope.norm())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
