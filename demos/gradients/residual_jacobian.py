"""A residual net still multiplies: its Jacobian is the product of all I + c·J_l, and a sum only while c is small.

h_{l+1} = h_l + α_l·V_l relu(W_l h_l), l = 1 … `layers`, one sample h_0 ~ N(0, 1) of `width` units, no biases,
W ~ N(0, 2/width), V ~ N(0, 1/width), all α_l = c with c = 1, 1/√L, 1/L or 0 (`scale`), in `dtype`. J_l is the Jacobian
V_l·diag(W_l h_l > 0)·W_l of a branch. Automatic differentiation's Jacobian of h_L with respect to h_0 is compared with
the product of the factors I + c·J_l, multiplied out in float64, and with I + c·ΣJ_l, what it would be if the layers
only added. Deviations are Frobenius norms over that of the Jacobian; sizes are ‖·‖_F/√width, the rms stretch of a
random vector. In expectation the stretch is (1 + c²)^{L/2}: 2^{L/2}, (1 + 1/L)^{L/2} → √e, (1 + 1/L²)^{L/2}, and 1.

A random gradient N(0, 1) at h_L gives the norms of the gradients of all α (alpha_grad) and of all V and W
(branch_grad): with c = 0 the weights of the branches stand still at first, but the α move.
Source: He et al. 2016, Identity mappings in deep residual networks; Bachlechner et al. 2021, ReZero.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "残差网络的雅可比：积还是和", "en": "The Jacobian of a residual net: product or sum"}
PARAMS = {
    "layers": {"zh": "残差块数 L", "en": "residual blocks L", "ge": 1, "le": 300},
    "width": {"zh": "每层宽度", "en": "width", "ge": 1, "le": 64},
    "scale": {"zh": "分支的系数 c", "en": "factor c on the branch"},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
LIMITS = [{"product": ["layers", "width"], "le": 6400}]
COLUMNS = {
    "layer": {"zh": "第几块", "en": "block"},
    "product": {"zh": "真正的雅可比 ∏(I + c·J)", "en": "the Jacobian, ∏(I + c·J)"},
    "added": {"zh": "若只是相加 I + c·ΣJ", "en": "if it only added, I + c·ΣJ"},
    "without": {"zh": "去掉恒等的 ∏ J", "en": "without the identity, ∏ J"},
}
METRICS = {
    "stretch": {"zh": "雅可比的平均放大", "en": "rms stretch of the Jacobian"},
    "theory_stretch": {"zh": "理论值 (1 + c²)^(L/2)", "en": "in theory, (1 + c²)^(L/2)"},
    "stretch_off_one": {"zh": "放大偏离 1 多少", "en": "how far the stretch is from 1"},
    "added_stretch": {"zh": "若只是相加：平均放大", "en": "if it only added: rms stretch"},
    "without_stretch": {"zh": "去掉恒等：平均放大", "en": "without the identity: rms stretch"},
    "product_error": {"zh": "与连乘的相对偏差", "en": "relative deviation from the product"},
    "sum_error": {"zh": "与连加的相对偏差", "en": "relative deviation from the sum"},
    "variance_gain": {"zh": "h² 均值的放大倍数", "en": "gain of the mean of h²"},
    "alpha_grad": {"zh": "所有 α 的梯度范数", "en": "gradient norm of all α"},
    "branch_grad": {"zh": "分支权重的梯度范数", "en": "gradient norm of the branch weights"},
}
CHART = {
    "transform": [{"fold": ["product", "added", "without"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# the rms stretch of a block with c = 1: √2
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_ladder",
        "params": {"op": "multiply", "x": 1.4142135623730951, "n": ["layers"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    layers: int = 50,
    width: int = 32,
    scale: Literal["one", "inv_sqrt", "inv_depth", "zero"] = "one",
    dtype: Literal["float32", "float64"] = "float64",
) -> Generator[Row, None, Metrics]:
    kind = getattr(torch, dtype)
    c = {"one": 1.0, "inv_sqrt": 1 / math.sqrt(layers), "inv_depth": 1 / layers, "zero": 0.0}[scale]
    h = start = torch.randn(width, dtype=torch.float64).to(kind).requires_grad_()
    alpha = torch.full((layers,), c, dtype=kind, requires_grad=True)
    weights: list[Tensor] = []
    product = added = without = identity = torch.eye(width, dtype=torch.float64)
    every = max(1, layers // 200)
    for layer in range(layers):
        w, v = (
            (torch.randn(width, width, dtype=torch.float64) * math.sqrt(power / width)).to(kind).requires_grad_()
            for power in (2, 1)
        )
        weights += [w, v]
        inside = w @ h
        h = h + alpha[layer] * (v @ inside.relu())
        jacobian = v.detach().double() @ ((inside.detach() > 0).double()[:, None] * w.detach().double())
        product = (identity + c * jacobian) @ product
        added, without = added + c * jacobian, jacobian @ without
        if layer == 0 or (layer + 1) % every == 0 or layer + 1 == layers:
            sizes = {"product": size(product), "added": size(added), "without": size(without)}
            yield {"layer": layer + 1} | sizes
    (true,) = torch.autograd.grad(h, start, torch.eye(width, dtype=kind), retain_graph=True, is_grads_batched=True)
    gradients = torch.autograd.grad(h, [alpha, *weights], torch.randn(width, dtype=torch.float64).to(kind))
    exact = true.double()
    return {
        "stretch": size(exact),
        "theory_stretch": (1 + c * c) ** (layers / 2),
        "stretch_off_one": abs(size(exact) - 1),
        "added_stretch": size(added),
        "without_stretch": size(without),
        "product_error": size(exact - product) / size(exact),
        "sum_error": size(exact - added) / size(exact),
        "variance_gain": float(h.detach().double().square().mean() / start.detach().double().square().mean()),
        "alpha_grad": float(gradients[0].double().norm()),
        "branch_grad": math.sqrt(sum(float(g.double().square().sum()) for g in gradients[1:])),
    }


def size(matrix: Tensor) -> float:
    """‖M‖_F/√width: the rms factor by which a random vector is stretched."""
    return float(matrix.norm()) / math.sqrt(len(matrix))


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
