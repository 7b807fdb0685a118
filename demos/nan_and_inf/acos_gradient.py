"""The gradient of arccos is −1/√(1 − c²): inf for parallel vectors, nan after the chain rule; by atan2 it stays 1.

The angle between unit vectors a and b in space, `angle` apart, for 64 pairs, float32. The gradient of an angle with
respect to a has, at any angle but 0 and π, norm 1 across a. Ways:

acos     arccos(a·b / (|a|·|b|)), the textbook formula
clamped  arccos of the same, clamped to ±(1 − `margin`)
atan2    2·atan2(| |b|a − |a|b |, | |b|a + |a|b |) (Kahan)

error: mean relative error of the angles (absolute at angle 0); gradient: largest norm of a pair's gradient, nan if one
is not finite; bad: fraction of the pairs whose gradient is not finite. Cosines near 1 are 6e-8 apart in float32, so
arccos cannot tell angles below 3.5e-4 from 0, and whether the cosine of parallel vectors is 1 or 1 − 6e-8 is a matter
of rounding. Rows: angles from 1e-6 to π. Random: the directions of the pairs.
Source: Kahan 2006, How futile are mindless assessments of roundoff; the PyTorch manual (acos).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "夹角的梯度", "en": "Gradient of an angle"}
PARAMS = {
    "angle": {"zh": "夹角", "en": "angle between the vectors", "unit": "rad", "ge": 0, "le": 3.14159},
    "margin": {"zh": "截断离 1 的距离", "en": "margin of the clamp", "ge": 0, "le": 0.5},
}
COLUMNS = {
    "angle": {"zh": "夹角", "en": "angle"},
    "acos": {"zh": "arccos：梯度范数", "en": "arccos: gradient norm"},
    "clamped": {"zh": "截断：梯度范数", "en": "clamped: gradient norm"},
    "atan2": {"zh": "atan2：梯度范数", "en": "atan2: gradient norm"},
}
METRICS = {
    "acos_bad": {"zh": "arccos：梯度非有限的对的比例", "en": "arccos: pairs with a non-finite gradient"},
    "acos_gradient": {"zh": "arccos：梯度范数", "en": "arccos: gradient norm"},
    "acos_error": {"zh": "arccos：夹角的相对误差", "en": "arccos: relative error of the angle"},
    "clamped_gradient": {"zh": "截断：梯度范数", "en": "clamped: gradient norm"},
    "clamped_error": {"zh": "截断：夹角的相对误差", "en": "clamped: relative error of the angle"},
    "atan2_bad": {"zh": "atan2：梯度非有限的对的比例", "en": "atan2: pairs with a non-finite gradient"},
    "atan2_gradient": {"zh": "atan2：梯度范数", "en": "atan2: gradient norm"},
    "atan2_error": {"zh": "atan2：夹角的相对误差", "en": "atan2: relative error of the angle"},
}
CHART = {
    "transform": [{"fold": ["acos", "clamped", "atan2"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "angle", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(angle: float = 0.0, margin: float = 1e-6) -> Generator[Row, None, Metrics]:
    q = torch.linalg.qr(torch.randn(64, 3, 3).double())[0]
    for k in range(27):
        wide = min(10 ** (k / 4 - 6), math.pi)
        found = ways(q, wide, margin)
        yield {"angle": wide} | {name: found[name][1] for name in ("acos", "clamped", "atan2")}
    found = ways(q, angle, margin)
    return {
        "acos_bad": found["acos"][2],
        "acos_gradient": found["acos"][1],
        "acos_error": found["acos"][0],
        "clamped_gradient": found["clamped"][1],
        "clamped_error": found["clamped"][0],
        "atan2_bad": found["atan2"][2],
        "atan2_gradient": found["atan2"][1],
        "atan2_error": found["atan2"][0],
    }


def ways(q: Tensor, angle: float, margin: float) -> dict[str, tuple[float, float, float]]:
    """Name → mean error of the angle, largest norm of a gradient, fraction of pairs with a bad one."""
    exact = q[:, :, 0]
    b = (math.cos(angle) * exact + math.sin(angle) * q[:, :, 1]).float() if angle else exact.float()
    found = {}
    for name in ("acos", "clamped", "atan2"):
        a = exact.float().requires_grad_()
        value = angle_by(name, a, b, margin)
        (gradient,) = torch.autograd.grad(value.sum(), a)
        error = (value.detach().double() - angle).abs().mean().item() / (angle or 1.0)
        bad = (~gradient.isfinite()).any(1).double().mean().item()
        found[name] = error, gradient.double().norm(dim=1).max().item(), bad
    return found


def angle_by(name: str, a: Tensor, b: Tensor, margin: float) -> Tensor:
    """The angles of the pairs."""
    left, right = b.norm(dim=1, keepdim=True) * a, a.norm(dim=1, keepdim=True) * b
    if name == "atan2":
        return 2 * torch.atan2((left - right).norm(dim=1), (left + right).norm(dim=1))
    cosine = ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).clamp(-1, 1)
    return torch.acos(cosine if name == "acos" else cosine.clamp(-1 + margin, 1 - margin))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
