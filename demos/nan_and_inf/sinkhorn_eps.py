"""Sinkhorn with K = exp(−C/ε) divides by 0 once ε is a hundredth of the cost; with logarithms it runs at any ε.

Optimal transport between two clouds of `n` points, N(0, 1) in the plane, the second moved by `distance`, uniform
weights 1/n, cost C = squared distance, `n_iterations` iterations, float32:

plain   K = exp(−C/ε), u = a/(K v), v = b/(Kᵀ u), plan u K v
logs    f = −ε·logsumexp((g − C)/ε + log b), g the same, plan exp((f + g − C)/ε)·a·b

bad: fraction of the plan that is not finite; zero_rows: fraction of rows of K that are 0 throughout (exp(−C/ε) <
1.4e-45, C/ε > 103); marginal_plain and marginal: Σ|row sums − 1/n| of both plans (inf if not finite); cost: Σ plan·C.
Rows of the chart: the marginal error after each iteration. A smaller ε needs more iterations. Random: the points.
Source: Cuturi 2013, Sinkhorn distances; Peyré & Cuturi 2019, Computational optimal transport, 4.4.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "Sinkhorn：exp(−C/ε) 下溢", "en": "Sinkhorn: exp(−C/ε) underflows"}
PARAMS = {
    "eps": {"zh": "正则化 ε", "en": "regularisation ε", "ge": 1e-5, "le": 100},
    "distance": {"zh": "两团点的距离", "en": "distance of the clouds", "ge": 0, "le": 100},
    "n": {"zh": "每团的点数", "en": "points in a cloud", "ge": 2, "le": 100},
    "n_iterations": {"zh": "迭代次数", "en": "iterations", "ge": 1, "le": 500},
}
COLUMNS = {
    "iteration": {"zh": "迭代", "en": "iteration"},
    "plain": {"zh": "直接写：边缘误差", "en": "plain: marginal error"},
    "logs": {"zh": "对数：边缘误差", "en": "logarithms: marginal error"},
}
METRICS = {
    "bad": {"zh": "直接写：非有限值的比例", "en": "plain: non-finite fraction"},
    "zero_rows": {"zh": "K 全为 0 的行的比例", "en": "fraction of rows of K that are 0"},
    "marginal_plain": {"zh": "直接写：边缘误差", "en": "plain: marginal error"},
    "marginal": {"zh": "对数：边缘误差", "en": "logarithms: marginal error"},
    "cost": {"zh": "对数：输运代价", "en": "logarithms: transport cost"},
    "ratio": {"zh": "最小代价 / ε 的最大值", "en": "largest row minimum of C/ε"},
    "first_bad": {"zh": "直接写：首次非有限", "en": "plain: first not finite", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["plain", "logs"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "iteration", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float | None]


def run(eps: float = 0.1, distance: float = 4.0, n: int = 40, n_iterations: int = 200) -> Generator[Row, None, Metrics]:
    x, y = torch.randn(n, 2), torch.randn(n, 2) + torch.tensor([distance, 0.0])
    cost = (x[:, None] - y[None]).square().sum(2)
    kernel, weight = torch.exp(-cost / eps), torch.full((n,), 1 / n)
    u, v, f, g = torch.ones(n), torch.ones(n), torch.zeros(n), torch.zeros(n)
    first_bad, plain, logs = None, kernel, kernel
    for iteration in range(1, n_iterations + 1):
        u = weight / (kernel @ v)
        v = weight / (kernel.T @ u)
        f = -eps * torch.logsumexp((g[None] - cost) / eps + weight.log(), 1)
        g = -eps * torch.logsumexp((f[:, None] - cost) / eps + weight.log()[:, None], 0)
        plain = u[:, None] * kernel * v[None]
        logs = torch.exp((f[:, None] + g[None] - cost) / eps) / n**2
        if first_bad is None and not plain.isfinite().all():
            first_bad = iteration
        if iteration == 1 or iteration % max(n_iterations // 40, 1) == 0:
            yield {"iteration": iteration, "plain": marginal(plain, n), "logs": marginal(logs, n)}
    return {
        "bad": (~plain.isfinite()).double().mean().item(),
        "zero_rows": (kernel == 0).all(1).double().mean().item(),
        "marginal_plain": marginal(plain, n),
        "marginal": marginal(logs, n),
        "cost": (logs.double() * cost.double()).sum().item(),
        "ratio": (cost.min(1).values.max() / eps).item(),
        "first_bad": first_bad,
    }


def marginal(plan: Tensor, n: int) -> float:
    """Sum of the differences of the rows' sums from 1/n; inf if the plan is not finite."""
    return (plan.double().sum(1) - 1 / n).abs().sum().item() if plan.isfinite().all() else float("inf")


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
