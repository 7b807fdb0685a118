"""The loss of a 100,000-token vocabulary in bf16: the sum of exponentials stalls, log-probabilities have steps of 0.06.

Logits of `n` positions over `v` tokens, N(0, `spread`²), the target's raised by `raised`. The cross-entropy, in four
ways beside the exact one in float64:

stored   logits stored in `dtype`, everything after in float32
output   the log-probabilities themselves are stored in `dtype`, as a log_softmax that returns it
summed   logits in `dtype`, maximum subtracted, exponentials and their sum in `dtype`, added in 64 lanes one after
         another and then the lanes, the logarithm in float32: a lane no longer grows when a term is below half its gap
float32  logits in float32

error: root mean square over the positions of loss − exact loss; bias: its mean. zeros: fraction of the gradient's
entries p − y, divided by `batch` tokens, that are 0 when stored in `dtype`: float16 ends at 6e-8. The rows are the
positions. Random: logits, targets. Source: IEEE 754-2019; Higham 2002, Accuracy and Stability of Numerical Algorithms,
ch. 4.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "大词表的交叉熵", "en": "Cross-entropy of a large vocabulary"}
PARAMS = {
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "v": {"zh": "词表大小", "en": "vocabulary", "ge": 64, "le": 200000},
    "spread": {"zh": "logit 的标准差", "en": "standard deviation of the logits", "ge": 0.01, "le": 10},
    "raised": {"zh": "目标 token 的 logit 高出", "en": "logit of the target raised by", "ge": 0, "le": 30},
    "batch": {"zh": "一批的 token 数", "en": "tokens of a batch", "ge": 1, "le": 10000000},
    "n": {"zh": "位置数", "en": "positions", "ge": 2, "le": 32},
}
COLUMNS = {
    "position": {"zh": "第几个位置", "en": "position"},
    "stored": {"zh": "误差：logit 存成低精度", "en": "error: logits stored"},
    "output": {"zh": "误差：对数概率存成低精度", "en": "error: log-probabilities stored"},
    "summed": {"zh": "误差：求和也用低精度", "en": "error: summed in dtype"},
}
METRICS = {
    "exact": {"zh": "准确的损失", "en": "exact loss"},
    "error_stored": {"zh": "误差：logit 存成低精度", "en": "error: logits stored"},
    "error_output": {"zh": "误差：对数概率存成低精度", "en": "error: log-probabilities stored"},
    "error_summed": {"zh": "误差：求和也用低精度", "en": "error: summed in dtype"},
    "error_float32": {"zh": "误差：float32", "en": "error: float32"},
    "bias_stored": {"zh": "平均误差：logit 存成低精度", "en": "mean error: logits stored"},
    "bias_summed": {"zh": "平均误差：求和也用低精度", "en": "mean error: summed in dtype"},
    "kept": {"zh": "求和得到的是准确值的几成", "en": "sum in dtype, relative to the exact sum"},
    "zeros": {"zh": "梯度变成 0 的比例", "en": "fraction of the gradient that becomes 0"},
}
CHART = {
    "transform": [{"fold": ["stored", "output", "summed"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "position", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "add", "x": 1.0, "n": 2000}}]

Row = dict[str, float]
Metrics = dict[str, float]
LANES = 64


def run(
    dtype: Literal["float16", "bfloat16", "float32"] = "bfloat16",
    v: int = 100_000,
    spread: float = 1.0,
    raised: float = 5.0,
    batch: int = 8192,
    n: int = 8,
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    logits = spread * torch.randn(n, v)
    y = torch.randint(v, (n,))
    logits[torch.arange(n), y] += raised
    exact = loss(logits.double(), y)
    low = logits.to(kind)
    total = low_sum((low - low.amax(1, keepdim=True)).exp())
    at_target = low.gather(1, y[:, None]).squeeze(1)
    errors = {
        "stored": loss(low.float(), y) - exact,
        "output": loss(logits, y).to(kind).double() - exact,
        "summed": total.float().log() + low.amax(1).float() - at_target.float() - exact,
        "float32": loss(logits, y) - exact,
    }
    for k in range(n):
        yield {"position": k + 1, **{way: errors[way][k].item() for way in ("stored", "output", "summed")}}
    wide = low.double()
    whole = (wide - wide.amax(1, keepdim=True)).exp().sum(1)
    gradient = logits.double().softmax(1)
    gradient[torch.arange(n), y] -= 1
    return {
        "exact": exact.mean().item(),
        **{f"error_{way}": error.double().square().mean().sqrt().item() for way, error in errors.items()},
        "bias_stored": errors["stored"].double().mean().item(),
        "bias_summed": errors["summed"].double().mean().item(),
        "kept": (total.double() / whole).mean().item(),
        "zeros": ((gradient / batch).float().to(kind) == 0).double().mean().item(),
    }


def loss(logits: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def low_sum(terms: Tensor) -> Tensor:
    """The sum of each row in the dtype of the terms, rounded after each addition, in LANES lanes."""
    columns = torch.nn.functional.pad(terms, (0, -terms.shape[1] % LANES)).view(len(terms), -1, LANES)
    lanes = torch.zeros_like(columns[:, 0])
    for k in range(columns.shape[1]):
        lanes = lanes + columns[:, k]
    while lanes.shape[1] > 1:
        lanes = lanes[:, ::2] + lanes[:, 1::2]
    return lanes[:, 0]


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
