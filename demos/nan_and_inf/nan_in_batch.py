"""One bad sample spoils one row without batch norm and every row with it; the weights' gradients it spoils either way.

A batch of `batch` samples with 8 features passes Linear(8, width) - norm - ReLU - Linear(width, 1), PyTorch's default
initialisation, in float32; inputs N(0, 1). One feature of one sample, in the middle of the batch, is `x` (inf unless
you change it; nan does the same). norm: none; batch (training mode, statistics of this batch); batch_eval (running
statistics, which are 0 and 1 here); layer (each row on its own). The loss is the mean square of the outputs. "Bad"
means not finite; fractions are of rows, of the entries of all gradients and of the running statistics after the forward
pass. `drop` leaves bad rows out of the batch before the forward pass. Batch norm refuses a single sample, so batch
starts at 3. Random: inputs, weights. Source: Ioffe & Szegedy 2015, Batch normalization; Goldberg 1991.
"""

import copy
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor, nn

TITLE = {"zh": "一个坏样本会传染多少", "en": "How far one bad sample spreads"}
PARAMS = {
    "x": {"zh": "坏样本里的数值", "en": "the number in the bad sample", "nonfinite": True},
    "batch": {"zh": "样本数", "en": "samples in the batch", "unit": "sample", "ge": 3, "le": 512},
    "width": {"zh": "隐藏层宽度", "en": "width of the hidden layer", "unit": "unit", "ge": 1, "le": 512},
    "norm": {"zh": "归一化", "en": "normalisation"},
    "drop": {"zh": "先去掉坏样本", "en": "bad samples left out first"},
}
COLUMNS = {
    "row": {"zh": "第几个样本", "en": "sample"},
    "bad": {"zh": "坏掉的单元所占比例", "en": "fraction of bad units in its row"},
}
METRICS = {
    "bad_input_rows": {"zh": "坏的输入样本数", "en": "bad samples going in", "unit": "sample"},
    "bad_rows": {"zh": "坏的输出样本数", "en": "bad samples coming out", "unit": "sample"},
    "bad_rows_share": {"zh": "坏的输出样本比例", "en": "fraction of bad samples coming out"},
    "loss": {"zh": "损失", "en": "loss"},
    "loss_without": {"zh": "去掉坏样本的损失", "en": "loss without the bad samples"},
    "bad_gradients": {"zh": "坏梯度的比例", "en": "fraction of bad gradient entries"},
    "bad_running_stats": {"zh": "BN 滑动统计量坏掉的比例", "en": "fraction of bad running statistics of batch norm"},
}
CHART = {
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "row", "type": "ordinal"},
        "y": {"field": "bad", "type": "quantitative", "scale": {"domain": [0, 1]}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
FEATURES = 8


def run(
    x: float = 1e999,
    batch: int = 8,
    width: int = 16,
    norm: Literal["none", "batch", "batch_eval", "layer"] = "batch",
    drop: bool = False,
) -> Generator[Row, None, Metrics]:
    data = torch.randn(batch, FEATURES)
    data[batch // 2, 0] = torch.tensor(x, dtype=torch.float64).float()  # 1e308 is inf
    first, last = nn.Linear(FEATURES, width), nn.Linear(width, 1)
    middle = {"none": nn.Identity, "layer": nn.LayerNorm}.get(norm, nn.BatchNorm1d)(width)
    middle.train(norm == "batch")
    bad_in = bad_rows(data)
    good = last(copy.deepcopy(middle)(first(data[~bad_in])).relu())
    if drop:
        data = data[~bad_in]
    hidden = middle(first(data)).relu()
    out = last(hidden)
    loss = out.pow(2).mean()
    params = [p for part in (first, middle, last) for p in part.parameters()]
    grads = torch.cat([g.flatten() for g in torch.autograd.grad(loss, params)])
    for row, units in enumerate(torch.cat([hidden, out], 1)):
        yield {"row": row, "bad": bad_share(units)}
    stats = [t for t in middle.buffers() if t.is_floating_point()]
    spoilt = int(bad_rows(out).sum())
    return {
        "bad_input_rows": int(bad_in.sum()),
        "bad_rows": spoilt,
        "bad_rows_share": spoilt / len(out) if len(out) else 0.0,
        "loss": loss.item(),
        "loss_without": good.pow(2).mean().item(),
        "bad_gradients": bad_share(grads),
        "bad_running_stats": bad_share(torch.cat(stats)) if stats else None,
    }


def bad_rows(t: Tensor) -> Tensor:
    """Which rows hold anything that is not finite."""
    return ~t.isfinite().all(1)


def bad_share(t: Tensor) -> float:
    """The share of entries that are not finite."""
    return 1 - float(t.isfinite().double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
