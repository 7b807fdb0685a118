"""The gradient of eigenvectors contains 1/(λ_j − λ_i): equal eigenvalues make it nan, close ones a wrong giant.

A is a symmetric 3 × 3 matrix with eigenvalues 1, 1 + gap and 3, float32; its eigenvectors are the axes, or random
(`rotate`). c is a random vector N(0, 1). Gradients with respect to A, by torch's eigh and autograd:
values     of λ_1 + λ_2
one        of (v_1·c)², the eigenvector of the smallest eigenvalue; its true size is about 1/gap
plane      of (v_1·c)² + (v_2·c)², the part of c in the plane of both: no matter which two vectors span it
broadened  the same, with d/(d² + eps) for 1/d, d = λ_j − λ_i, in the backward pass
apart      the same number written as |c|² − (v_3·c)²: only differences to λ_3 count
The true gradient of the last three is −2·Σ_i (v_3·c)(v_i·c)/(3 − λ_i)·sym(v_3 v_iᵀ), i = 1, 2, finite for every gap.
Their errors are relative to it. Rows: gap times 1, √10, 10 … up to 1 (from 1e-8 if it is 0). eigh's backward divides by
every difference, also by those that cancel in the end: at gap 0 by 0. apart still calls it and is nan with it;
broadened is not. Random: c, rotation. Source: Ionescu et al. 2015, Matrix backpropagation, ICCV; Liao et al. 2019,
Differentiable programming tensor networks, Phys. Rev. X 9 (broadening).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "特征值相等时，特征向量的梯度", "en": "Gradient of eigenvectors near equal eigenvalues"}
PARAMS = {
    "gap": {"zh": "两个特征值之差", "en": "gap between two eigenvalues", "ge": 0, "le": 1},
    "rotate": {"zh": "特征向量随机旋转", "en": "random eigenvectors"},
    "eps": {"zh": "展宽 eps", "en": "broadening eps", "ge": 1e-20, "le": 0.1},
}
COLUMNS = {
    "gap": {"zh": "特征值之差", "en": "gap"},
    "one": {"zh": "单个向量：梯度范数", "en": "one vector: gradient norm"},
    "plane": {"zh": "平面：梯度范数", "en": "plane: gradient norm"},
    "broadened": {"zh": "平面，展宽：梯度范数", "en": "plane, broadened: gradient norm"},
    "truth": {"zh": "平面：真实的梯度范数", "en": "plane: true gradient norm"},
}
METRICS = {
    "values_norm": {"zh": "特征值的梯度范数", "en": "gradient norm of the eigenvalues"},
    "one_norm": {"zh": "单个特征向量的梯度范数", "en": "gradient norm of one eigenvector"},
    "plane_norm": {"zh": "平面的梯度范数", "en": "gradient norm of the plane"},
    "true_norm": {"zh": "平面真实的梯度范数", "en": "true gradient norm of the plane"},
    "plane_err": {"zh": "平面：相对误差", "en": "plane: relative error"},
    "broadened_err": {"zh": "展宽后：相对误差", "en": "broadened: relative error"},
    "apart_err": {"zh": "写成第三个的补：相对误差", "en": "written by the third: relative error"},
    "bad_gradients": {"zh": "平面的梯度里坏的比例", "en": "non-finite fraction of the plane's gradient"},
}
CHART = {
    "transform": [{"fold": ["one", "plane", "broadened", "truth"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "gap", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(gap: float = 0.0, rotate: bool = False, eps: float = 1e-12) -> Generator[Row, None, Metrics]:
    q = torch.linalg.qr(torch.randn(3, 3).double())[0] if rotate else torch.eye(3).double()
    c = torch.randn(3).double()
    width = gap or 1e-8
    for k in range(round(2 * math.log10(1 / width)) + 1):
        wide = width * 10 ** (k / 2)
        found = gradients(q, wide, c, eps)
        yield {"gap": wide} | {name: found[name].norm().item() for name in ("one", "plane", "broadened", "truth")}
    found = gradients(q, gap, c, eps)
    truth = found["truth"]
    return {
        "values_norm": found["values"].norm().item(),
        "one_norm": found["one"].norm().item(),
        "plane_norm": found["plane"].norm().item(),
        "true_norm": truth.norm().item(),
        "plane_err": ((found["plane"] - truth).norm() / truth.norm()).item(),
        "broadened_err": ((found["broadened"] - truth).norm() / truth.norm()).item(),
        "apart_err": ((found["apart"] - truth).norm() / truth.norm()).item(),
        "bad_gradients": (~found["plane"].isfinite()).double().mean().item(),
    }


def gradients(q: Tensor, gap: float, c: Tensor, eps: float) -> dict[str, Tensor]:
    """Name → gradient with respect to A, made symmetric, float64; computed in float32 except the truth."""
    values = torch.tensor([1, 1 + gap, 3], dtype=torch.float64)
    a, c32 = (q * values @ q.T).float(), c.float()
    parts = c @ q
    truth = -sum(
        parts[2] * parts[i] / (3 - values[i]) * (torch.outer(q[:, 2], q[:, i]) + torch.outer(q[:, i], q[:, 2]))
        for i in (0, 1)
    )

    def through_eigh(which: str) -> Tensor:
        x = a.clone().requires_grad_()
        eigenvalues, vectors = torch.linalg.eigh((x + x.T) / 2)
        squares = (c32 @ vectors).square()
        value = {
            "values": eigenvalues[:2].sum(),
            "one": squares[0],
            "plane": squares[:2].sum(),
            "apart": c32.square().sum() - squares[2],
        }[which]
        return torch.autograd.grad(value, x)[0].double()

    found = {name: through_eigh(name) for name in ("values", "one", "plane", "apart")}
    return found | {"broadened": broadened_gradient(a, c32, eps).double(), "truth": torch.as_tensor(truth)}


def broadened_gradient(a: Tensor, c: Tensor, eps: float) -> Tensor:
    """Of the plane's part of c, by the formula of eigh's backward pass with d/(d² + eps) for 1/d; float32."""
    eigenvalues, vectors = torch.linalg.eigh(a)
    parts = c @ vectors
    from_above = torch.outer(c, 2 * parts * torch.tensor([1.0, 1.0, 0.0]))  # d value / d vectors
    difference = eigenvalues - eigenvalues[:, None]  # λ_j − λ_i at i, j
    inner = vectors.T @ from_above * (difference / (difference.square() + eps))
    gradient = vectors @ inner @ vectors.T
    return (gradient + gradient.T) / 2


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
