"""log(1 − tanh²u) is −inf from u = 9 on in float32; written as 2·(log 2 − u − softplus(−2u)) it is right for every u.

A tanh-squashed Gaussian policy (SAC): a = tanh(u), log π(a) = log N(u) − log(1 − tanh²u). Only the last term, the log
determinant, in float32 at the pre-activation `u`, against float64 by the stable formula:

naive   log(1 − tanh(u)²)
eps     log(1 − tanh(u)² + `eps`), as in many codes
stable  2·(log 2 − u − softplus(−2u))

Errors are absolute; gradients with respect to u, true value −2·tanh(u). back: atanh(a) of the stored action a =
tanh(u), inf when a was rounded to 1; theory: a rounds to 1 once 2·e^(−2u) < 2⁻²⁵, u > 9.01. Nothing is random. Source:
Haarnoja et al. 2018, Soft actor-critic, appendix C.
"""

import math
from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import softplus

TITLE = {"zh": "tanh 压缩的策略：log(1 − tanh²)", "en": "Tanh-squashed policy: log(1 − tanh²)"}
PARAMS = {
    "u": {"zh": "压缩前的动作 u", "en": "action u before tanh", "ge": -100, "le": 100},
    "eps": {"zh": "括号里的 ε", "en": "ε in the parenthesis", "ge": 1e-12, "le": 0.1},
}
COLUMNS = {
    "u": {"zh": "u", "en": "u"},
    "naive": {"zh": "直接写", "en": "naive"},
    "eps": {"zh": "加 ε", "en": "with ε"},
    "stable": {"zh": "稳定的写法", "en": "stable"},
}
METRICS = {
    "naive": {"zh": "直接写", "en": "naive"},
    "eps": {"zh": "加 ε", "en": "with ε"},
    "stable": {"zh": "稳定的写法", "en": "stable"},
    "exact": {"zh": "准确值", "en": "exact"},
    "eps_error": {"zh": "加 ε：误差", "en": "with ε: error"},
    "stable_error": {"zh": "稳定的写法：误差", "en": "stable: error"},
    "naive_gradient": {"zh": "直接写：梯度", "en": "naive: gradient"},
    "eps_gradient": {"zh": "加 ε：梯度", "en": "with ε: gradient"},
    "stable_gradient": {"zh": "稳定的写法：梯度", "en": "stable: gradient"},
    "back": {"zh": "atanh(a)", "en": "atanh(a)"},
}
CHART = {
    "transform": [{"fold": ["naive", "eps", "stable"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "u", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(u: float = 10.0, eps: float = 1e-6) -> Generator[Row, None, Metrics]:
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "naive": lambda x: (1 - x.tanh().square()).log(),
        "eps": lambda x: (1 - x.tanh().square() + eps).log(),
        "stable": stable,
    }
    for k in range(61):
        x = torch.tensor(k / 4)
        yield {"u": k / 4} | {name: way(x).item() for name, way in ways.items()}
    x = torch.tensor(u, requires_grad=True)
    values = {name: way(x) for name, way in ways.items()}
    gradients = {name: torch.autograd.grad(value, x)[0].item() for name, value in values.items()}
    exact = stable(torch.tensor(u, dtype=torch.float64)).item()
    return {
        "naive": values["naive"].item(),
        "eps": values["eps"].item(),
        "stable": values["stable"].item(),
        "exact": exact,
        "eps_error": abs(values["eps"].item() - exact),
        "stable_error": abs(values["stable"].item() - exact),
        "naive_gradient": gradients["naive"],
        "eps_gradient": gradients["eps"] + 0.0,
        "stable_gradient": gradients["stable"],
        "back": torch.atanh(x.detach().tanh()).item(),
    }


def stable(u: Tensor) -> Tensor:
    """log(1 − tanh²u) without a difference of nearly equal numbers."""
    return 2 * (math.log(2) - u - softplus(-2 * u))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
