"""The gradient of v/|v| is 1/|v|: for a zero vector nan when written by hand, 10¹² through F.normalize.

u = v/|v| for a vector v of 16 entries in a random direction with |v| = `norm`, float32, and the number u·c with c ~
N(0, 1), as in a cosine similarity. Norms of the gradient with respect to v:

by_hand    v / v.norm()
normalize  torch.nn.functional.normalize(v), v / max(|v|, 1e-12)
cosine     torch.nn.functional.cosine_similarity(v, c)·|c|, whose eps is 1e-8
inside     v / √(Σv² + `eps`²): at most |c|/eps

bad: fraction of the gradient by hand that is not finite. length: |u| of the way inside, 1 if eps does not show. The
direction of a zero vector does not exist; all that an eps decides is how large the gradient may be. Rows: norms from
1e-15 to 10. Random: direction, c. Source: the PyTorch manual (normalize, cosine_similarity).
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

TITLE = {"zh": "归一化一个零向量", "en": "Normalising a zero vector"}
PARAMS = {
    "norm": {"zh": "向量的长度", "en": "length of the vector", "ge": 0, "le": 1e6},
    "eps": {"zh": "根号里的 ε", "en": "ε inside the root", "ge": 1e-15, "le": 10},
}
COLUMNS = {
    "norm": {"zh": "长度", "en": "length"},
    "by_hand": {"zh": "手写：梯度范数", "en": "by hand: gradient norm"},
    "normalize": {"zh": "F.normalize：梯度范数", "en": "F.normalize: gradient norm"},
    "inside": {"zh": "根号里加 ε：梯度范数", "en": "ε inside: gradient norm"},
}
METRICS = {
    "bad": {"zh": "手写：非有限梯度的比例", "en": "by hand: non-finite fraction of the gradient"},
    "by_hand": {"zh": "手写：梯度范数", "en": "by hand: gradient norm"},
    "normalize": {"zh": "F.normalize：梯度范数", "en": "F.normalize: gradient norm"},
    "cosine": {"zh": "cosine_similarity：梯度范数", "en": "cosine_similarity: gradient norm"},
    "inside": {"zh": "根号里加 ε：梯度范数", "en": "ε inside: gradient norm"},
    "length": {"zh": "根号里加 ε：结果的长度", "en": "ε inside: length of the result"},
}
CHART = {
    "transform": [{"fold": ["by_hand", "normalize", "inside"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "norm", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(norm: float = 0.0, eps: float = 1e-3) -> Generator[Row, None, Metrics]:
    direction, c = torch.randn(16).double(), torch.randn(16)
    direction /= direction.norm()
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "by_hand": lambda v: v / v.norm() @ c,
        "normalize": lambda v: normalize(v, dim=0) @ c,
        "cosine": lambda v: cosine_similarity(v, c, dim=0) * c.norm(),
        "inside": lambda v: v / (v.square().sum() + eps**2).sqrt() @ c,
    }

    def gradient(size: float, way: str) -> Tensor:
        v = (size * direction).float().requires_grad_()
        return torch.autograd.grad(ways[way](v), v)[0].double()

    for k in range(33):
        size = 10 ** (k / 2 - 15)
        yield {"norm": size} | {way: gradient(size, way).norm().item() for way in ways if way != "cosine"}
    v = (norm * direction).float()
    return (
        {"bad": (~gradient(norm, "by_hand").isfinite()).double().mean().item()}
        | {way: gradient(norm, way).norm().item() for way in ways}
        | {"length": (v / (v.square().sum() + eps**2).sqrt()).norm().item()}
    )


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
