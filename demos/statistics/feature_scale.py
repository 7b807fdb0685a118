"""The variance formula survives features of different scale, but then one feature is nearly all of the variance.

Inputs x ~ N(0, 1) with n features, the first of them multiplied by `scale`; a linear unit y = Σ wᵢxᵢ, weights N(0,
σ²), σ² = 1/n, `trials` independent draws of w for one and the same x of typical size (x₁² = scale², the others' mean
square as drawn). Measured: Var(y) against σ²Σxᵢ², the fraction of the first feature in that sum, and the same after
every feature has been standardised (scale divided out). Then the steepest and the flattest curvature of least squares
on 1000 such inputs: 2·λ(XᵀX/1000); their ratio, the condition number, is what makes gradient descent slow. The largest
stable learning rate is 2/largest curvature. Everything is in float64. Theory: Var = σ²Σxᵢ² with whatever x; share =
scale²/(scale² + n − 1); curvature of the first feature 2·scale². Source: Glorot & Bengio 2010; Bottou, Curtis &
Nocedal 2018.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "特征尺度不同时的方差公式", "en": "The variance formula with features of different scale"}
PARAMS = {
    "n": {"zh": "特征数", "en": "features", "ge": 2, "le": 512},
    "scale": {"zh": "第一个特征放大多少倍", "en": "the first feature is larger by", "ge": 0, "le": 100000},
    "trials": {"zh": "抽样次数", "en": "number of draws", "ge": 200, "le": 10000},
}
LIMITS = [{"product": ["n", "trials"], "le": 5000000}]
COLUMNS = {
    "inputs": {"zh": "输入", "en": "inputs"},
    "measured": {"zh": "实测方差", "en": "variance, measured"},
    "theory": {"zh": "公式 σ²Σxᵢ²", "en": "formula σ²Σxᵢ²"},
    "share": {"zh": "第一个特征的份额", "en": "fraction of the first feature"},
}
METRICS = {
    "variance": {"zh": "实测方差", "en": "variance, measured"},
    "theory_variance": {"zh": "公式 σ²Σxᵢ²", "en": "formula σ²Σxᵢ²"},
    "formula_error": {"zh": "公式的相对误差", "en": "relative error of the formula"},
    "share": {"zh": "第一个特征在方差里的份额", "en": "fraction of the first feature in the variance"},
    "theory_share": {"zh": "第一个特征的理论份额", "en": "fraction of the first feature in theory"},
    "standardised_share": {"zh": "标准化之后的份额", "en": "fraction after standardising"},
    "condition": {"zh": "最小二乘的条件数", "en": "condition number of least squares"},
    "standardised_condition": {"zh": "标准化之后的条件数", "en": "condition number after standardising"},
    "largest_lr": {"zh": "稳定的最大学习率", "en": "largest stable learning rate"},
    "standardised_largest_lr": {"zh": "标准化之后稳定的最大学习率", "en": "largest stable rate after standardising"},
}
WORDS = {
    "as they are": {"zh": "原样", "en": "as they are"},
    "standardised": {"zh": "标准化之后", "en": "standardised"},
}
CHART = {
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "share", "type": "quantitative"},
        "y": {"field": "inputs", "type": "nominal", "sort": None},
    },
}

Row = dict[str, float | str]
Metrics = dict[str, float | None]
SAMPLES = 1000


def run(n: int = 256, scale: float = 100.0, trials: int = 4000) -> Generator[Row, None, Metrics]:
    plain = torch.randn(n, dtype=torch.float64)
    plain[0] = 1.0
    data = torch.randn(SAMPLES, n, dtype=torch.float64)
    weights = torch.randn(trials, n, dtype=torch.float64) / n**0.5
    factors = torch.ones(n, dtype=torch.float64)
    factors[0] = scale
    found = {}
    for name, by in (("as they are", factors), ("standardised", torch.ones_like(factors))):
        x = plain * by
        squares = x.pow(2)
        measured, theory = float((weights @ x).pow(2).mean()), float(squares.sum() / n)
        share = float(squares[0] / squares.sum())
        steepest, flattest = curvatures(data * by)
        found[name] = measured, theory, share, steepest / flattest if flattest > 0 else float("inf"), 2 / steepest
        yield {"inputs": name, "measured": measured, "theory": theory, "share": share}
    variance, theory, share, condition, largest = found["as they are"]
    _, _, standardised_share, standardised_condition, standardised_largest = found["standardised"]
    return {
        "variance": variance,
        "theory_variance": theory,
        "formula_error": abs(variance / theory - 1),
        "share": share,
        "theory_share": scale**2 / (scale**2 + n - 1),
        "standardised_share": standardised_share,
        "condition": condition,
        "standardised_condition": standardised_condition,
        "largest_lr": largest,
        "standardised_largest_lr": standardised_largest,
    }


def curvatures(data: Tensor) -> tuple[float, float]:
    """The largest and the smallest eigenvalue of the Hessian 2·XᵀX/N of the mean squared error."""
    eigenvalues = torch.linalg.eigvalsh(2 * data.T @ data / len(data))
    return float(eigenvalues[-1]), float(eigenvalues[0])


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
