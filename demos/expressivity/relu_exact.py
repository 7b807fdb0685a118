"""|x|, max and min take two or three ReLUs and are exact; a parabola and a step can only be approached.

`case` picks the function; its ReLU form is compared with torch's own on `n` random pairs (a, b), a ~ N(0, std²),
b ~ N(0, 1), in `dtype`, every operation rounded. The functions of one number take a.

abs     relu(a) + relu(−a)                        2 ReLUs
max     relu(b − a) + relu(a) − relu(−a)          3 ReLUs; a = relu(a) − relu(−a) passes a through
min     relu(a) − relu(−a) − relu(a − b)          3 ReLUs
clip    relu(a + 1) − relu(a − 1) − 1             2 ReLUs, a confined to [−1, 1]
hat     relu(a + 1) − 2·relu(a) + relu(a − 1)     3 ReLUs, the triangle on [−1, 1]
xor     relu(p + q) − 2·relu(p + q − 1)           2 ReLUs, p and q being 1 where a and b are positive, else 0
square  the broken line through a² at −2, −1, 0, 1, 2 (straight on outside), 4 ReLUs
step    relu(100a + ½) − relu(100a − ½)           2 ReLUs, a steep ramp in place of the jump

Theory: a ReLU net is continuous and piecewise linear, and every such function is a ReLU net. Exact means in real
arithmetic; b − a and what is added to it round once each, so max errs by a few eps·max(|a|, |b|).
Source: Arora et al. 2018, Understanding deep neural networks with rectified linear units, ICLR.
"""

from collections.abc import Callable, Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "ReLU 能精确表示什么", "en": "What ReLUs represent exactly"}
PARAMS = {
    "case": {"zh": "函数", "en": "function"},
    "n": {"zh": "随机数对的个数", "en": "random pairs", "ge": 1, "le": 100000},
    "std": {"zh": "a 的标准差（b 的为 1）", "en": "standard deviation of a (that of b is 1)", "ge": 0, "le": 1e30},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "a": {"zh": "a（b = 1/2）", "en": "a (b = 1/2)"},
    "function": {"zh": "函数本身", "en": "the function"},
    "relus": {"zh": "ReLU 写法", "en": "its ReLU form"},
}
METRICS = {
    "max_err": {"zh": "最大误差", "en": "largest error"},
    "equal_share": {"zh": "逐位相等的比例", "en": "fraction that is equal to the last bit"},
    "err_in_eps": {"zh": "最大误差 / (eps·max(|a|, |b|))", "en": "largest error / (eps·max(|a|, |b|))"},
    "n_relus": {"zh": "用了几个 ReLU", "en": "ReLUs used"},
}
CHART = {
    "transform": [{"fold": ["function", "relus"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "a", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
        "strokeDash": {
            "field": "series",
            "type": "nominal",
            "scale": {"domain": ["function", "relus"], "range": [[1, 0], [5, 5]]},
            "legend": None,
        },
    },
}
# max(b, a) for b = 1, a = −v: relu(b − a) + a is (v + 1) − v, up to v = std
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "neighbour", "spacing": "doubling", "n": 60, "x": ["std"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]
Form = Callable[[Tensor, Tensor], Tensor]
relu = torch.relu


def ones(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """1 where positive, else 0."""
    return (a > 0).to(a.dtype), (b > 0).to(a.dtype)


def xor(a: Tensor, b: Tensor) -> Tensor:
    """Exclusive or of the signs by two ReLUs."""
    p, q = ones(a, b)
    return relu(p + q) - 2 * relu(p + q - 1)


CASES: dict[str, tuple[int, Form, Form]] = {  # how many ReLUs, the function, its ReLU form
    "abs": (2, lambda a, _: a.abs(), lambda a, _: relu(a) + relu(-a)),
    "max": (3, torch.maximum, lambda a, b: relu(b - a) + (relu(a) - relu(-a))),
    "min": (3, torch.minimum, lambda a, b: (relu(a) - relu(-a)) - relu(a - b)),
    "clip": (2, lambda a, _: a.clamp(-1, 1), lambda a, _: relu(a + 1) - relu(a - 1) - 1),
    "hat": (3, lambda a, _: (1 - a.abs()).clamp(min=0), lambda a, _: relu(a + 1) - 2 * relu(a) + relu(a - 1)),
    "xor": (2, lambda a, b: (ones(a, b)[0] != ones(a, b)[1]).to(a.dtype), xor),
    "square": (4, lambda a, _: a * a, lambda a, _: relu(a) + relu(-a) + 2 * relu(a - 1) + 2 * relu(-a - 1)),
    "step": (2, lambda a, _: (a > 0).to(a.dtype), lambda a, _: relu(100 * a + 0.5) - relu(100 * a - 0.5)),
}


def run(
    case: Literal["abs", "max", "min", "clip", "hat", "xor", "square", "step"] = "max",
    n: int = 10000,
    std: float = 1.0,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float64",
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    n_relus, function, form = CASES[case]
    for at in torch.linspace(-2.5, 2.5, 101, dtype=kind):
        half = torch.full_like(at, 0.5)
        yield {"a": at.item(), "function": function(at, half).item(), "relus": form(at, half).item()}
    a, b = (std * torch.randn(n, dtype=torch.float64)).to(kind), torch.randn(n, dtype=torch.float64).to(kind)
    wanted, got = function(a, b), form(a, b)
    errors = torch.where(wanted == got, 0.0, (wanted.double() - got.double()).abs())
    sizes = torch.maximum(a.abs(), b.abs()).double() * torch.finfo(kind).eps
    return {
        "max_err": errors.max().item(),
        "equal_share": (wanted == got).double().mean().item(),
        "err_in_eps": (errors / sizes).max().item(),
        "n_relus": n_relus,
    }


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
