"""A classifier that learns while the printed accuracy says 0: the metric compares the wrong things, the model is fine.

Net 8 - 32 - `classes`, ReLU, PyTorch's default initialisation; three or more Gaussian classes N(c_k, 1), centres
N(0, 2²) in 8 dimensions, 512 samples; Adam, rate 0.01, `n` full-batch steps on the cross-entropy. At each step the
accuracy is printed as `case` computes it, beside the true one (argmax over classes, equal to the label):
right      the true one
axis       argmax over the batch, not over the classes: indices of samples compared with labels
column     predictions of shape (samples) against labels of shape (samples, 1): broadcasting compares all pairs
shifted    the labels of the metric count from 1, those of the loss from 0
floats     the largest probability is compared with the label, for equality
integer    correct // samples, a division of whole numbers
last_batch the correct ones of the last of eight batches over all samples
labels     the metric is the true one; the loss is given the labels plus 1, so that the model learns another class
Data and weights are random. By chance one in `classes` is right.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

TITLE = {"zh": "损失在降，准确率却显示 0", "en": "The loss falls, the printed accuracy says 0"}
PARAMS = {
    "case": {"zh": "准确率怎么算", "en": "how accuracy is computed"},
    "classes": {"zh": "类别数", "en": "classes", "ge": 2, "le": 20},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 300},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "printed": {"zh": "显示的准确率", "en": "printed accuracy"},
    "true": {"zh": "真实的准确率", "en": "true accuracy"},
    "loss_ratio": {"zh": "损失 / ln C", "en": "loss / ln C"},
}
METRICS = {
    "printed_end": {"zh": "最后显示的准确率", "en": "printed accuracy at the end"},
    "printed_largest": {"zh": "显示过的最大准确率", "en": "largest printed accuracy"},
    "true_end": {"zh": "最后真实的准确率", "en": "true accuracy at the end"},
    "loss_start": {"zh": "开始的损失", "en": "loss at the start"},
    "loss_end": {"zh": "最后的损失", "en": "loss at the end"},
    "chance": {"zh": "随机水平", "en": "chance"},
    "on_four": {"zh": "答案已知的四个样本：显示的准确率", "en": "four samples with known answer, all right: printed"},
}
CHART = {
    "transform": [{"fold": ["printed", "true", "loss_ratio"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    case: Literal["right", "axis", "column", "shifted", "floats", "integer", "last_batch", "labels"] = "floats",
    classes: int = 5,
    n: int = 60,
) -> Generator[Row, None, Metrics]:
    centres, y = 2 * torch.randn(classes, 8), torch.randint(classes, (512,))
    x = centres[y] + torch.randn(512, 8)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, classes))
    adam = torch.optim.Adam(net.parameters(), lr=0.01, fused=True)
    target = (y + 1) % classes if case == "labels" else y
    rows: list[Row] = []
    losses = []
    for step in range(n + 1):
        logits = net(x)
        loss = cross_entropy(logits, target)
        losses.append(loss.item())
        printed, true = accuracy(case, logits, y), accuracy("right", logits, y)
        rows.append({"step": step, "printed": printed, "true": true, "loss_ratio": losses[-1] / math.log(classes)})
        yield rows[-1]
        adam.zero_grad()
        loss.backward()
        adam.step()
    known = torch.tensor([0, 1, 1, 0])
    return {
        "printed_end": rows[-1]["printed"],
        "printed_largest": max(row["printed"] for row in rows),
        "true_end": rows[-1]["true"],
        "loss_start": losses[0],
        "loss_end": losses[-1],
        "chance": 1 / classes,
        "on_four": accuracy(case, 3 * nn.functional.one_hot(known, classes).float(), known),
    }


def accuracy(case: str, logits: Tensor, y: Tensor) -> float:
    """The accuracy of logits of samples × classes, as this case computes it."""
    guess, count = logits.argmax(1), len(y)
    correct = int((guess == y).sum())
    if case == "axis":
        indices = logits.argmax(0)
        return (indices == y[: len(indices)]).double().mean().item() if len(indices) <= count else 0.0
    if case == "column":
        return float((guess == y.unsqueeze(1)).double().mean().item())
    if case == "shifted":
        return float((guess == y + 1).double().mean().item())
    if case == "floats":
        return float((logits.softmax(1).amax(1) == y).double().mean().item())
    if case == "last_batch":
        tail = max(count // 8, 1)
        return int((guess[-tail:] == y[-tail:]).sum()) / count
    return correct // count if case == "integer" else correct / count


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
