"""log(exp(y) − 1), the inverse of softplus, is inf from y = 88.7 on and −inf at 10⁻⁸; y + log(−expm1(−y)) is right.

The number x with softplus(x) = y, for initialising a positive parameter (a scale, a step size Δ) at `y`. Ways, float32,
against float64 by the stable formula:

naive   log(exp(y) − 1)
expm1   log(expm1(y)): right for small y, inf for large ones
stable  y + log(−expm1(−y)): exponents are never positive

back: relative error of softplus(x) against y, for the naive and the stable x. Beside it softplus(−`y`) by
log(1 + exp(−y)) and by torch's softplus. Rows: y from 1e-10 to 1000. Nothing is random.
Source: Higham 2002, Accuracy and stability of numerical algorithms, 1.14 (expm1, log1p).
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import softplus

TITLE = {"zh": "softplus 的反函数", "en": "The inverse of softplus"}
PARAMS = {
    "y": {"zh": "softplus 的值 y", "en": "value y of softplus", "ge": 1e-30, "le": 10000},
}
COLUMNS = {
    "y": {"zh": "y", "en": "y"},
    "naive": {"zh": "直接写", "en": "naive"},
    "expm1": {"zh": "log(expm1(y))", "en": "log(expm1(y))"},
    "stable": {"zh": "稳定的写法", "en": "stable"},
}
METRICS = {
    "naive": {"zh": "直接写", "en": "naive"},
    "expm1": {"zh": "log(expm1(y))", "en": "log(expm1(y))"},
    "stable": {"zh": "稳定的写法", "en": "stable"},
    "exact": {"zh": "准确值", "en": "exact"},
    "naive_back": {"zh": "直接写：回到 y 的相对误差", "en": "naive: relative error on the way back"},
    "stable_back": {"zh": "稳定的写法：回到 y 的相对误差", "en": "stable: relative error on the way back"},
    "log_form": {"zh": "log(1 + e^(−y))", "en": "log(1 + e^(−y))"},
    "softplus_form": {"zh": "softplus(−y)", "en": "softplus(−y)"},
    "true_form": {"zh": "softplus(−y)，准确值", "en": "softplus(−y), exact"},
    "gradient": {"zh": "直接写：对 y 的梯度", "en": "naive: gradient"},
    "stable_gradient": {"zh": "稳定的写法：对 y 的梯度", "en": "stable: gradient"},
}
CHART = {
    "transform": [{"fold": ["naive", "expm1", "stable"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "y", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(y: float = 100.0) -> Generator[Row, None, Metrics]:
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "naive": lambda v: (v.exp() - 1).log(),
        "expm1": lambda v: torch.expm1(v).log(),
        "stable": stable,
    }
    for k in range(53):
        size = 10 ** (k / 4 - 10)
        yield {"y": size} | {name: way(torch.tensor(size)).item() for name, way in ways.items()}
    value, exact = torch.tensor(y, requires_grad=True), torch.tensor(y, dtype=torch.float64)
    found = {name: way(value) for name, way in ways.items()}
    return {
        "naive": found["naive"].item(),
        "expm1": found["expm1"].item(),
        "stable": found["stable"].item(),
        "exact": stable(exact).item(),
        "naive_back": abs(softplus(found["naive"]).item() / y - 1),
        "stable_back": abs(softplus(found["stable"]).item() / y - 1),
        "log_form": (1 + (-value).exp()).log().item(),
        "softplus_form": softplus(-value).item(),
        "true_form": torch.log1p((-exact).exp()).item(),
        "gradient": torch.autograd.grad(found["naive"], value)[0].item(),
        "stable_gradient": torch.autograd.grad(found["stable"], value)[0].item(),
    }


def stable(y: Tensor) -> Tensor:
    """The x with softplus(x) = y > 0."""
    return y + (-torch.expm1(-y)).log()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
