"""Two tosses of a coin of unknown bias are independent given the bias and correlated without it: uniform bias, 1/3.

`n` coins; the bias p of each is drawn from Beta(a, a) (a = 1: uniform on [0, 1]; large a: almost fair), then each is
tossed twice. Marginal correlation in theory: Var p/(E p·(1 − E p)) = 1/(2a + 1). Given p: correlation of what is left
of the two tosses after subtracting p; in theory 0. Beside it, what batch normalisation does to samples that are
independent: `n` batches of `batch` numbers N(0, 1) have their batch mean subtracted; two numbers of one batch are then
correlated with −1/(batch − 1). The chart shows the correlations over the first k coins.
Source: de Finetti 1937; Ioffe & Szegedy 2015, Batch normalization.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {
    "zh": "条件独立与独立：同一枚硬币掷两次",
    "en": "Conditionally independent or independent: one coin tossed twice",
}
PARAMS = {
    "n": {"zh": "硬币数", "en": "how many coins", "ge": 10, "le": 1000000},
    "a": {"zh": "正面概率 ~ Beta(a, a)", "en": "bias ~ Beta(a, a)", "ge": 0.05, "le": 1000},
    "batch": {"zh": "批量大小", "en": "batch size", "unit": "sample", "ge": 2, "le": 256},
}
LIMITS = [{"product": ["n", "batch"], "le": 8000000}]
COLUMNS = {
    "coins": {"zh": "硬币数", "en": "coins"},
    "marginal": {"zh": "不知道正面概率", "en": "bias unknown"},
    "given_p": {"zh": "给定正面概率", "en": "given the bias"},
    "theory": {"zh": "理论值 1/(2a + 1)", "en": "theory, 1/(2a + 1)"},
}
METRICS = {
    "corr": {"zh": "两次结果的相关系数", "en": "correlation of the two tosses"},
    "theory_corr": {"zh": "理论值 1/(2a + 1)", "en": "theory, 1/(2a + 1)"},
    "corr_gap": {"zh": "与理论之差", "en": "distance to theory"},
    "corr_given_p": {"zh": "给定正面概率后的相关系数", "en": "correlation given the bias"},
    "heads_after_heads": {"zh": "第一次是正面，第二次也是的比例", "en": "fraction of heads after heads"},
    "theory_heads_after_heads": {"zh": "理论值 (a + 1)/(2a + 1)", "en": "theory, (a + 1)/(2a + 1)"},
    "bn_corr": {
        "zh": "减去批均值后，同批两个样本的相关系数",
        "en": "correlation in a batch after subtracting its mean",
    },
    "theory_bn_corr": {"zh": "理论值 −1/(批量 − 1)", "en": "theory, −1/(batch − 1)"},
}
CHART = {
    "transform": [{"fold": ["marginal", "given_p", "theory"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "coins", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(n: int = 20000, a: float = 1.0, batch: int = 8) -> Generator[Row, None, Metrics]:
    p = torch.distributions.Beta(torch.tensor(a).double(), torch.tensor(a).double()).sample((n,))
    first, second = (torch.rand(2, n, dtype=torch.float64) < p).double()
    sizes = sorted({round(2 * (n / 2) ** (i / 60)) for i in range(61)})
    for k in sizes:
        yield {
            "coins": k,
            "marginal": correlation(first[:k], second[:k]),
            "given_p": correlation(first[:k] - p[:k], second[:k] - p[:k]),
            "theory": 1 / (2 * a + 1),
        }
    h = torch.randn(n, batch)
    h = (h - h.mean(1, keepdim=True)).double()
    corr = correlation(first, second)
    heads = float(first.sum())
    return {
        "corr": corr,
        "theory_corr": 1 / (2 * a + 1),
        "corr_gap": abs(corr - 1 / (2 * a + 1)),
        "corr_given_p": correlation(first - p, second - p),
        "heads_after_heads": float((first * second).sum()) / heads if heads else None,
        "theory_heads_after_heads": (a + 1) / (2 * a + 1),
        "bn_corr": correlation(h[:, 0], h[:, 1]),
        "theory_bn_corr": -1 / (batch - 1),
    }


def correlation(u: Tensor, v: Tensor) -> float:
    """Pearson's coefficient; 0 where one of the two does not vary."""
    u, v = u - u.mean(), v - v.mean()
    size = float((u.square().sum() * v.square().sum()).sqrt())
    return float((u * v).sum()) / size if size else 0.0


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
