"""The standard deviation of one value is 0/0 = nan; that of a constant column is 0 or noise, and must not divide.

`n` samples of a column value + `spread`·N(0, 1), float32, standardised by (x − mean)/std; then a test column of the
same kind moved by `moved` is standardised with the training statistics. Ways:

plain    torch.std, which divides by n − 1: nan for n = 1
biased   std with correction = 0: 0 for n = 1, so that 0/0 = nan
eps      (x − mean)/(std + 1e-8), std with correction = 0
guarded  std with correction = 0; where it is at most a millionth of the largest |x| it is replaced by 1

bad: fraction of the standardised training column that is not finite; largest: largest absolute value of the training
column, test: of the test column (inf if one is not finite). A column that is constant in training has no scale: eps
makes a deviation of 1 in the test data 10⁸. Rows: deviations from 1e-6 to 10. Random: the column.
Source: the PyTorch manual (std).
"""

import warnings
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "一个值或常数列的标准差", "en": "Standard deviation of one value or a constant column"}
PARAMS = {
    "n": {"zh": "样本数", "en": "samples", "ge": 1, "le": 100000},
    "value": {"zh": "列的值", "en": "value of the column", "ge": -1e6, "le": 1e6},
    "spread": {"zh": "列的标准差", "en": "standard deviation of the column", "ge": 0, "le": 1e6},
    "moved": {"zh": "测试数据的偏移", "en": "shift of the test data", "ge": -1e6, "le": 1e6},
}
COLUMNS = {
    "moved": {"zh": "测试数据的偏移", "en": "shift of the test data"},
    "plain": {"zh": "直接除", "en": "plain"},
    "eps": {"zh": "加 ε", "en": "with ε"},
    "guarded": {"zh": "常数列不缩放", "en": "guarded"},
}
METRICS = {
    "std": {"zh": "torch.std", "en": "torch.std"},
    "plain_bad": {"zh": "直接除：非有限值的比例", "en": "plain: non-finite fraction"},
    "biased_bad": {"zh": "除以 n：非有限值的比例", "en": "over n: non-finite fraction"},
    "plain": {"zh": "直接除：最大的绝对值", "en": "plain: largest absolute value"},
    "eps": {"zh": "加 ε：最大的绝对值", "en": "with ε: largest absolute value"},
    "guarded": {"zh": "常数列不缩放：最大的绝对值", "en": "guarded: largest absolute value"},
    "plain_test": {"zh": "直接除：测试数据最大的绝对值", "en": "plain: largest in the test data"},
    "eps_test": {"zh": "加 ε：测试数据最大的绝对值", "en": "with ε: largest in the test data"},
    "guarded_test": {"zh": "常数列不缩放：测试数据最大的绝对值", "en": "guarded: largest in the test data"},
}
CHART = {
    "transform": [{"fold": ["plain", "eps", "guarded"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "moved", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(n: int = 1, value: float = 0.5, spread: float = 0.0, moved: float = 1.0) -> Generator[Row, None, Metrics]:
    x = (value + spread * torch.randn(n).double()).float()
    mean, biased = x.mean(), x.std(correction=0)
    small = biased <= 1e-6 * x.abs().amax()
    scales = {
        "plain": plain_std(x),
        "biased": biased,
        "eps": biased + 1e-8,
        "guarded": torch.where(small, torch.ones_like(biased), biased),
    }
    for k in range(15):
        test = 10 ** (k / 2 - 6) + x - mean
        yield {"moved": 10 ** (k / 2 - 6)} | {
            name: largest(test / scales[name]) for name in ("plain", "eps", "guarded")
        }
    train = {name: (x - mean) / scale for name, scale in scales.items()}
    test = {name: (x + moved - mean) / scale for name, scale in scales.items()}
    return {
        "std": scales["plain"].item(),
        "plain_bad": (~train["plain"].isfinite()).double().mean().item(),
        "biased_bad": (~train["biased"].isfinite()).double().mean().item(),
        "plain": largest(train["plain"]),
        "eps": largest(train["eps"]),
        "guarded": largest(train["guarded"]),
        "plain_test": largest(test["plain"]),
        "eps_test": largest(test["eps"]),
        "guarded_test": largest(test["guarded"]),
    }


def plain_std(x: Tensor) -> Tensor:
    """torch.std without its warning for one value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x.std()


def largest(x: Tensor) -> float:
    return x.abs().max().item() if x.isfinite().all() else float("inf")


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
