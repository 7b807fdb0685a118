"""The training loss falls like stairs at each new epoch, because samples that come back are remembered one by one.

`samples` samples y = z·u + `noise`·ε with 10 shared inputs z ~ N(0, 1)/√10, u ~ N(0, 1) and ε ~ N(0, 1). The model is
linear in z and in one input of its own for each sample, of size √`memory`, with which it can remember that sample and
no other. Weights start at 0; one sample a step, w ← w + `lr`·(y − prediction)·x, `epochs` times as many steps as there
are samples. `order`: once per epoch in random order; drawn with replacement; or fresh, new samples all the time.
The loss of a step is that before its update, as logs print it; `log` says what is printed: the loss of each step, or
the mean since the epoch began. Rows are means over a twentieth of an epoch.

Theory: once the shared part is learned, a visit takes lr·memory of a sample's error away, so at the next one its loss
is (1 − lr·memory)² times as large, all at once where the second epoch begins. Evaluation on 2000 new samples never sees
that memory. Random: data, order. Source: Howard & Whitaker 2023, Can LLMs learn from a single example?
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "训练损失在每个 epoch 开头下台阶", "en": "A training loss like stairs, one step down per epoch"}
PARAMS = {
    "samples": {"zh": "样本数", "en": "samples", "ge": 100, "le": 4000},
    "memory": {
        "zh": "每个样本的记忆（特征大小的平方）",
        "en": "memory for a sample (its input squared)",
        "ge": 0,
        "le": 10,
    },
    "noise": {"zh": "标签噪声", "en": "noise of the labels", "ge": 0, "le": 10},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 1},
    "order": {"zh": "取样方式", "en": "order of samples"},
    "log": {"zh": "日志打印什么", "en": "what the log prints"},
    "epochs": {"zh": "epoch 数", "en": "epochs", "ge": 2, "le": 5},
}
LIMITS = [{"product": ["samples", "epochs"], "le": 10000}]
WORDS = {
    "shuffled": {"zh": "每个 epoch 打乱，各取一次", "en": "shuffled, once per epoch"},
    "replacement": {"zh": "有放回", "en": "with replacement"},
    "fresh": {"zh": "总是新样本", "en": "always new samples"},
    "step": {"zh": "每一步的损失", "en": "the loss of each step"},
    "running": {"zh": "epoch 内的累计平均", "en": "the mean since the epoch began"},
}
COLUMNS = {
    "epoch": {"zh": "epoch", "en": "epoch"},
    "train": {"zh": "日志里的训练损失", "en": "training loss in the log"},
    "evaluation": {"zh": "评估损失", "en": "evaluation loss"},
}
METRICS = {
    "drop": {"zh": "第二个 epoch 开头 ÷ 第一个结尾", "en": "start of the second epoch over end of the first"},
    "theory_drop": {"zh": "(1 − lr·记忆)²", "en": "(1 − lr·memory)²"},
    "within": {"zh": "第一个 epoch 结尾 ÷ 开头", "en": "end of the first epoch over its start"},
    "train_end": {"zh": "最后的训练损失", "en": "training loss at the end"},
    "evaluation_first": {"zh": "第一个 epoch 之后的评估损失", "en": "evaluation loss after the first epoch"},
    "evaluation_end": {"zh": "最后的评估损失", "en": "evaluation loss at the end"},
}
CHART = {
    "transform": [{"fold": ["train", "evaluation"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "epoch", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    samples: int = 2000,
    memory: float = 2.0,
    noise: float = 1.0,
    lr: float = 0.2,
    order: Literal["shuffled", "replacement", "fresh"] = "shuffled",
    log: Literal["step", "running"] = "step",
    epochs: int = 3,
) -> Generator[Row, None, Metrics]:
    u = torch.randn(10)
    z, y = data(samples * (epochs if order == "fresh" else 1), u, noise)
    new_z, new_y = data(2000, u, noise)
    shared, own = torch.zeros(10), [0.0] * len(y)
    printed: list[float] = []
    evaluations: list[float] = []
    part = samples // 20
    for epoch in range(epochs):
        losses: list[float] = []
        for nth, i in enumerate(indices(order, samples, epoch)):
            error = float(y[i] - z[i] @ shared) - math.sqrt(memory) * own[i]
            shared = shared + lr * error * z[i]
            own[i] += lr * error * math.sqrt(memory)
            losses.append(error * error)
            printed.append(sum(losses) / len(losses) if log == "running" else losses[-1])
            if (nth + 1) % part == 0:
                evaluation = float((new_y - new_z @ shared).square().mean())
                evaluations.append(evaluation)
                yield {
                    "epoch": epoch + (nth + 1) / samples,
                    "train": sum(printed[-part:]) / part,
                    "evaluation": evaluation,
                }
    fifth = samples // 5
    first_end = sum(printed[samples - fifth : samples])
    return {
        "drop": sum(printed[samples : samples + fifth]) / first_end if first_end else math.nan,
        "theory_drop": (1 - lr * memory) ** 2,
        "within": first_end / sum(printed[:fifth]) if any(printed[:fifth]) else math.nan,
        "train_end": sum(printed[-fifth:]) / fifth,
        "evaluation_first": evaluations[len(evaluations) // epochs - 1],
        "evaluation_end": evaluations[-1],
    }


def data(n: int, u: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Shared inputs and labels of n samples."""
    z = torch.randn(n, 10) / math.sqrt(10)
    return z, z @ u + noise * torch.randn(n)


def indices(order: str, samples: int, epoch: int) -> list[int]:
    """The samples of an epoch, in the order in which they come."""
    if order == "replacement":
        return [int(i) for i in torch.randint(samples, (samples,))]
    start = epoch * samples if order == "fresh" else 0
    return [start + int(i) for i in torch.randperm(samples)]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
