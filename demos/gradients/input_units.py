"""The gradient of a first-layer weight is proportional to its input: a column in large units gets all of the gradient.

Two features, x₁ ~ N(0, 1) and x₂ = `offset` + `spread`·N(0, 1), 256 samples; the target is (x₁ + standardised x₂)/√2.
A net 2 → 32 → 1 with ReLU, PyTorch's default initialisation, squared error, `n` steps of gradient descent at `lr`,
float32. ∂L/∂W = Σ δ·xᵀ, so the columns' gradients are as different as the inputs. Four ways from the same weights:

raw           the features as they are
standardised  each less its mean, over its standard deviation
clipped       raw, the gradient clipped to norm 1
slow          raw, the learning rate lowered by the mean of x₁² + x₂²

ratio: norm of the gradient of the second column of W over that of the first, at the start. first_bad: first step with
a loss above 10⁶ or not finite. Random: features, weights.
Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, 4.3.
"""

import copy
from collections.abc import Generator

import torch
from torch import Tensor, nn

TITLE = {"zh": "输入的单位与第一层的梯度", "en": "Units of the inputs and the first layer's gradient"}
PARAMS = {
    "spread": {"zh": "第二个特征的标准差", "en": "standard deviation of the second feature", "ge": 1e-3, "le": 1e6},
    "offset": {"zh": "第二个特征的均值", "en": "mean of the second feature", "ge": -1e6, "le": 1e6},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-6, "le": 10},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 500},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "raw": {"zh": "原样", "en": "raw"},
    "standardised": {"zh": "标准化", "en": "standardised"},
    "clipped": {"zh": "原样，裁剪", "en": "raw, clipped"},
    "slow": {"zh": "原样，小学习率", "en": "raw, low rate"},
}
METRICS = {
    "ratio": {"zh": "两列梯度之比，原样", "en": "ratio of the columns' gradients, raw"},
    "ratio_standardised": {"zh": "两列梯度之比，标准化", "en": "ratio of the columns' gradients, standardised"},
    "gradient": {"zh": "第一步的梯度范数，原样", "en": "gradient norm at the start, raw"},
    "gradient_standardised": {"zh": "第一步的梯度范数，标准化", "en": "gradient norm at the start, standardised"},
    "first_bad": {"zh": "损失首次失控，原样", "en": "loss first out of hand, raw", "unit": "step"},
    "end": {"zh": "最后的损失，原样", "en": "last loss, raw"},
    "end_standardised": {"zh": "最后的损失，标准化", "en": "last loss, standardised"},
    "end_clipped": {"zh": "最后的损失，裁剪", "en": "last loss, clipped"},
    "end_slow": {"zh": "最后的损失，小学习率", "en": "last loss, low rate"},
}
CHART = {
    "transform": [{"fold": ["raw", "standardised", "clipped", "slow"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(spread: float = 1000.0, offset: float = 0.0, lr: float = 0.05, n: int = 200) -> Generator[Row, None, Metrics]:
    z = torch.randn(256, 2, dtype=torch.float64)
    x = torch.stack([z[:, 0], offset + spread * z[:, 1]], dim=1)
    standardised = ((x - x.mean(0)) / x.std(0)).float()
    y = ((z[:, 0] + standardised[:, 1]) / 2**0.5).float()
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
    x = x.float()
    slow = lr / x.double().square().sum(1).mean().item()
    found = {
        "raw": descend(model, x, y, lr, n, None),
        "standardised": descend(model, standardised, y, lr, n, None),
        "clipped": descend(model, x, y, lr, n, 1.0),
        "slow": descend(model, x, y, slow, n, None),
    }
    for step in range(0, n, max(n // 60, 1)):
        yield {"step": step + 1} | {name: losses[step] for name, losses in found.items()}
    columns, size = first_gradient(model, x, y)
    columns_standardised, size_standardised = first_gradient(model, standardised, y)
    return {
        "ratio": columns,
        "ratio_standardised": columns_standardised,
        "gradient": size,
        "gradient_standardised": size_standardised,
        "first_bad": next((k for k, loss in enumerate(found["raw"], 1) if not loss <= 1e6), None),
        "end": found["raw"][-1],
        "end_standardised": found["standardised"][-1],
        "end_clipped": found["clipped"][-1],
        "end_slow": found["slow"][-1],
    }


def first_gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Ratio of the norms of the gradients of the first layer's columns, and the norm of the whole gradient."""
    gradients = torch.autograd.grad((model(x)[:, 0] - y).square().mean(), list(model.parameters()))
    columns = gradients[0].double().norm(dim=0)
    return (columns[1] / columns[0]).item(), torch.cat([part.double().flatten() for part in gradients]).norm().item()


def descend(model: nn.Module, x: Tensor, y: Tensor, lr: float, n: int, clip: float | None) -> list[float]:
    """The loss before each of n steps; the model keeps its weights."""
    model = copy.deepcopy(model)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr, fused=True), []
    for _ in range(n):
        loss = (model(x)[:, 0] - y).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return losses


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
