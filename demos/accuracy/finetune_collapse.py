"""Fine-tuning with Adam falls to chance if its first steps are too long; without bias correction they are 3 to 6 times.

A pretrained net: `depth` post-norm residual blocks h ← LayerNorm(h + relu(h·A)·B) of width 16, A 16 × 32 from
N(0, 2/16), B 32 × 16 from N(0, 1/32), and a linear head; 100 steps of Adam at 1e-3 with warm-up on 8 classes (the
largest of 8 random linear functions of x ~ N(0, 1)¹⁶). Fine-tuning: a new head, 64 samples of two classes (the first 4
of the 8 against the last 4), `n` steps of Adam (β 0.9, 0.999, eps 1e-6), batches of 16, the rate falling linearly from
`lr` to 0. Five runs a way, with other heads and other orders of the data:

plain        Adam as it is
uncorrected  without bias correction: the first step is 0.1/√0.001 = 3.16 times as long, the next ones up to 6.5 times
warmup       the rate rises over the first `warm` of the steps, then falls
low          a tenth of the rate

A run has collapsed if its mean loss over the last quarter of the steps is above 0.65; guessing costs ln 2 = 0.693.
Random: weights, data, heads, batches. Source: Mosbach et al. 2021, On the stability of fine-tuning BERT; Zhang et al.
2021, Revisiting few-sample BERT fine-tuning.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm

TITLE = {"zh": "微调塌到瞎猜的水平", "en": "Fine-tuning that falls to chance"}
PARAMS = {
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-5, "le": 1},
    "depth": {"zh": "层数", "en": "blocks", "ge": 1, "le": 10},
    "warm": {"zh": "预热占的比例", "en": "fraction of the steps for warm-up", "ge": 0.01, "le": 0.9},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 8, "le": 100},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "plain": {"zh": "损失：Adam", "en": "loss: Adam"},
    "uncorrected": {"zh": "损失：没有偏差校正", "en": "loss: no bias correction"},
    "warmup": {"zh": "损失：预热", "en": "loss: warm-up"},
    "low": {"zh": "损失：学习率除以 10", "en": "loss: a tenth of the rate"},
}
METRICS = {
    "collapsed_plain": {"zh": "塌掉的比例：Adam", "en": "fraction collapsed: Adam"},
    "collapsed_uncorrected": {"zh": "塌掉的比例：没有偏差校正", "en": "fraction collapsed: no bias correction"},
    "collapsed_warmup": {"zh": "塌掉的比例：预热", "en": "fraction collapsed: warm-up"},
    "collapsed_low": {"zh": "塌掉的比例：学习率除以 10", "en": "fraction collapsed: a tenth of the rate"},
    "loss_plain": {"zh": "最后的损失：Adam", "en": "final loss: Adam"},
    "loss_uncorrected": {"zh": "最后的损失：没有偏差校正", "en": "final loss: no bias correction"},
    "loss_warmup": {"zh": "最后的损失：预热", "en": "final loss: warm-up"},
    "loss_low": {"zh": "最后的损失：学习率除以 10", "en": "final loss: a tenth of the rate"},
    "theory_chance": {"zh": "ln 2", "en": "ln 2"},
    "theory_first": {"zh": "没有校正时第一步的倍数", "en": "first step without correction, as a multiple"},
}
CHART = {
    "transform": [{"fold": ["plain", "uncorrected", "warmup", "low"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
WAYS = ("plain", "uncorrected", "warmup", "low")
RUNS, WIDTH, SAMPLES = 5, 16, 64


def run(lr: float = 0.01, depth: int = 8, warm: float = 0.2, n: int = 80) -> Generator[Row, None, Metrics]:
    model = {
        "a": torch.randn(1, depth, WIDTH, 2 * WIDTH) * math.sqrt(2 / WIDTH),
        "b": torch.randn(1, depth, 2 * WIDTH, WIDTH) * math.sqrt(1 / (2 * WIDTH)),
        "head": torch.randn(1, WIDTH, 8) / math.sqrt(WIDTH),
    }
    classes = torch.randn(WIDTH, 8)
    x = torch.randn(1, 1024, WIDTH)
    pretraining = 1e-3 * (torch.arange(1, 101) / 50).clamp(max=1).expand(1, -1)
    for _ in train(model, x, (x @ classes).argmax(-1), pretraining, torch.tensor([True]), 32):
        pass
    x = torch.randn(SAMPLES, WIDTH)
    y = ((x @ classes).argmax(-1) >= 4).long()
    orders = torch.stack([torch.randperm(SAMPLES) for _ in range(RUNS)]).repeat(len(WAYS), 1)
    model = {name: value.expand(len(orders), *value.shape[1:]).clone() for name, value in model.items()}
    model["head"] = (0.02 * torch.randn(RUNS, WIDTH, 2)).repeat(len(WAYS), 1, 1)
    step = torch.arange(n)
    falling = (n - step) / n
    ramped = ((step + 1) / (warm * n)).clamp(max=1) * ((n - step) / ((1 - warm) * n)).clamp(max=1)
    rates = torch.stack([lr * falling, lr * falling, lr * ramped, lr / 10 * falling]).repeat_interleave(RUNS, 0)
    corrected = torch.tensor([True, False, True, True]).repeat_interleave(RUNS)
    losses = []
    for t, loss in enumerate(train(model, x[orders], y[orders], rates, corrected, 16), 1):
        losses.append(loss.double().view(len(WAYS), RUNS))
        yield {"step": t, **dict(zip(WAYS, losses[-1].mean(1).tolist(), strict=True))}
    final = torch.stack(losses[-(n // 4) :]).mean(0)
    failed = ~(final <= 0.65)
    return {
        **{f"collapsed_{way}": failed[k].double().mean().item() for k, way in enumerate(WAYS)},
        **{f"loss_{way}": final[k].mean().item() for k, way in enumerate(WAYS)},
        "theory_chance": math.log(2),
        "theory_first": 0.1 / math.sqrt(0.001),
    }


def train(
    model: dict[str, Tensor], x: Tensor, y: Tensor, rates: Tensor, corrected: Tensor, batch: int
) -> Generator[Tensor, None, None]:
    """Trains all runs at once with Adam, run × step `rates`; yields their losses, changes `model`."""
    first = {name: torch.zeros_like(value) for name, value in model.items()}
    second = {name: torch.zeros_like(value) for name, value in model.items()}
    for t in range(1, rates.shape[1] + 1):
        rows = torch.randint(x.shape[1], (batch,))
        for value in model.values():
            value.requires_grad_()
        logits = outputs(model, x[:, rows])
        losses = cross_entropy(logits.transpose(1, 2), y[:, rows], reduction="none").mean(1)
        slopes = torch.autograd.grad(losses.sum(), list(model.values()))
        for name, slope in zip(list(model), slopes, strict=True):
            shape = (-1,) + (1,) * (slope.dim() - 1)
            first[name].mul_(0.9).add_(slope, alpha=0.1)
            second[name].mul_(0.999).addcmul_(slope, slope, value=0.001)
            bias = torch.where(corrected, 1 - 0.9**t, 1.0), torch.where(corrected, 1 - 0.999**t, 1.0)
            size = (second[name] / bias[1].view(shape)).sqrt() + 1e-6
            step = (rates[:, t - 1] / bias[0]).view(shape) * first[name] / size
            model[name] = model[name].detach() - step
        yield losses.detach()


def outputs(model: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits, run × sample × class."""
    h = x
    for a, b in zip(model["a"].unbind(1), model["b"].unbind(1), strict=True):
        h = layer_norm(h + (h @ a).relu() @ b, h.shape[-1:])
    return h @ model["head"]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
