"""Var(Σ wᵢxᵢ) = σ²Σxᵢ² survives without “identical” and even without “independent”, but not without “uncorrelated”.

One input x = relu(N(0, 1)) with n entries is drawn and kept; then `trials` weight vectors are drawn from each of seven
distributions with the same E[w²] = σ² per weight where not stated otherwise, and the mean of (Σ wᵢxᵢ)² is compared
with σ²Σxᵢ².

- iid normal, iid uniform: independent, identically distributed, mean 0.
- not identical: independent, each with a variance σᵢ² = σ²·U(0, 2) of its own. Exact: Σσᵢ²xᵢ².
- uncorrelated: all weights of a draw share one random factor N(0, 1): dependent, yet uncorrelated.
- correlated: every pair of weights has correlation rho. Exact: σ²[(1−ρ)Σxᵢ² + ρ(Σxᵢ)²].
- shifted: iid with mean m·σ and standard deviation σ. Exact: σ²[Σxᵢ² + m²(Σxᵢ)²].
- depends on x: a new x in every draw and wᵢ = σ(zᵢ + t(xᵢ − E x)), z ~ N(0, 1): mean 0, but dependent on the input, as
  weights can be after training. Compared with the mean of σ²Σxᵢ²; the exact value follows from the moments of relu(z).

Everything is in float64. Sources: Glorot & Bengio 2010; He et al. 2015.
"""

import math
from collections.abc import Generator

import torch

TITLE = {"zh": "方差公式需要独立同分布吗", "en": "Does the variance formula need i.i.d.?"}
PARAMS = {
    "n": {"zh": "输入个数", "en": "number of inputs", "ge": 1, "le": 10000},
    "std": {"zh": "权重的标准差 σ", "en": "standard deviation σ of a weight", "ge": 0, "le": 10},
    "rho": {"zh": "权重两两之间的相关系数", "en": "correlation between any two weights", "ge": 0, "le": 1},
    "mean": {
        "zh": "均值不为 0 的分布：均值 ÷ σ",
        "en": "distribution whose mean is not 0: mean over σ",
        "ge": 0,
        "le": 10,
    },
    "tie": {"zh": "依赖输入的权重：依赖的系数", "en": "weights that depend on the input: how much", "ge": 0, "le": 10},
    "trials": {"zh": "抽样次数", "en": "number of draws", "ge": 200, "le": 10000},
}
LIMITS = [{"product": ["n", "trials"], "le": 5000000}]
COLUMNS = {
    "law": {"zh": "权重的分布", "en": "distribution of the weights"},
    "measured": {"zh": "实测", "en": "measured"},
    "theory": {"zh": "该分布的精确值", "en": "exact for this distribution"},
    "iid_formula": {"zh": "独立同分布公式", "en": "i.i.d. formula"},
    "ratio": {"zh": "实测 ÷ 独立同分布公式", "en": "measured ÷ i.i.d. formula"},
}
METRICS = {
    "iid_ratio": {"zh": "独立同分布（正态）：比值", "en": "i.i.d. normal: ratio"},
    "uniform_ratio": {"zh": "独立同分布（均匀）：比值", "en": "i.i.d. uniform: ratio"},
    "not_identical_ratio": {"zh": "独立但不同分布：比值", "en": "independent, not identical: ratio"},
    "uncorrelated_ratio": {"zh": "不独立但不相关：比值", "en": "dependent but uncorrelated: ratio"},
    "correlated_ratio": {"zh": "相关：比值", "en": "correlated: ratio"},
    "theory_correlated_ratio": {"zh": "相关：理论比值", "en": "correlated: ratio in theory"},
    "shifted_ratio": {"zh": "均值不为 0：比值", "en": "mean not 0: ratio"},
    "theory_shifted_ratio": {"zh": "均值不为 0：理论比值", "en": "mean not 0: ratio in theory"},
    "depends_on_x_ratio": {"zh": "权重依赖输入：比值", "en": "weights depend on the input: ratio"},
    "theory_depends_on_x_ratio": {"zh": "权重依赖输入：理论比值", "en": "weights depend on the input: ratio in theory"},
    "iid_error": {"zh": "独立同分布：与公式的相对偏差", "en": "i.i.d.: distance from the formula"},
    "uncorrelated_error": {"zh": "不相关：与公式的相对偏差", "en": "uncorrelated: distance from the formula"},
    "correlated_error": {"zh": "相关：与公式的相对偏差", "en": "correlated: distance from the formula"},
    "correlated_exact_error": {"zh": "相关：与精确值的相对偏差", "en": "correlated: distance from its exact value"},
    "not_identical_exact_error": {
        "zh": "不同分布：与精确值的相对偏差",
        "en": "not identical: distance from its exact value",
    },
}
WORDS = {
    "iid normal": {"zh": "独立同分布，正态", "en": "iid normal"},
    "iid uniform": {"zh": "独立同分布，均匀", "en": "iid uniform"},
    "not identical": {"zh": "独立，不同分布", "en": "independent, not identical"},
    "uncorrelated": {"zh": "不相关，不独立", "en": "uncorrelated, not independent"},
    "correlated": {"zh": "相关", "en": "correlated"},
    "shifted": {"zh": "均值不为 0", "en": "mean not 0"},
    "depends on x": {"zh": "与 x 有关", "en": "depends on x"},
}
CHART = {
    "mark": {"type": "bar"},
    "encoding": {
        "x": {"field": "ratio", "type": "quantitative"},
        "y": {"field": "law", "type": "nominal", "sort": None},
    },
}

Row = dict[str, float | str | None]
Metrics = dict[str, float | None]
E_X = 1 / math.sqrt(2 * math.pi)  # the mean of relu(N(0, 1))


def run(
    n: int = 256, std: float = 0.0625, rho: float = 0.1, mean: float = 0.5, tie: float = 0.5, trials: int = 4000
) -> Generator[Row, None, Metrics]:
    x = randn(n).relu()
    squares, square = x.pow(2).sum().item(), x.sum().item() ** 2
    own = 2 * torch.rand(n, dtype=torch.float64)
    exact = {
        "iid normal": squares,
        "iid uniform": squares,
        "not identical": (own * x.pow(2)).sum().item(),
        "uncorrelated": squares,
        "correlated": (1 - rho) * squares + rho * square,
        "shifted": squares + mean**2 * square,
        "depends on x": n * depends_in_theory(n, tie) / 2,
    }
    measured, formula = {}, dict.fromkeys(exact, squares)
    factors = dict.fromkeys(exact, rho) | {"shifted": mean, "depends on x": tie}
    for law, value in exact.items():
        xs = randn(trials, n).relu() if law == "depends on x" else x
        measured[law] = (weights(law, xs, own, factors[law], trials) * xs).sum(1).pow(2).mean().item()
        formula[law] = xs.pow(2).sum(-1).mean().item()
        yield {
            "law": law,
            "measured": std**2 * measured[law],
            "theory": std**2 * value,
            "iid_formula": std**2 * formula[law],
            "ratio": ratio(measured[law], formula[law], std),
        }
    return {
        "iid_ratio": ratio(measured["iid normal"], squares, std),
        "uniform_ratio": ratio(measured["iid uniform"], squares, std),
        "not_identical_ratio": ratio(measured["not identical"], squares, std),
        "uncorrelated_ratio": ratio(measured["uncorrelated"], squares, std),
        "correlated_ratio": ratio(measured["correlated"], squares, std),
        "theory_correlated_ratio": ratio(exact["correlated"], squares, std),
        "shifted_ratio": ratio(measured["shifted"], squares, std),
        "theory_shifted_ratio": ratio(exact["shifted"], squares, std),
        "depends_on_x_ratio": ratio(measured["depends on x"], formula["depends on x"], std),
        "theory_depends_on_x_ratio": depends_in_theory(n, tie),
        "iid_error": error(measured["iid normal"], squares, std),
        "uncorrelated_error": error(measured["uncorrelated"], squares, std),
        "correlated_error": error(measured["correlated"], squares, std),
        "correlated_exact_error": error(measured["correlated"], exact["correlated"], std),
        "not_identical_exact_error": error(measured["not identical"], exact["not identical"], std),
    }


def weights(law: str, x: torch.Tensor, own: torch.Tensor, factor: float, trials: int) -> torch.Tensor:
    """`trials` weight vectors of one law, in units of σ; `factor` is its correlation, mean or dependence on x."""
    z, common = randn(trials, len(own)), randn(trials, 1)
    match law:
        case "iid uniform":
            return math.sqrt(12) * (torch.rand_like(z) - 0.5)
        case "not identical":
            return own.sqrt() * z
        case "uncorrelated":
            return common * z
        case "correlated":
            return math.sqrt(1 - factor) * z + math.sqrt(factor) * common
        case "shifted":
            return z + factor
        case "depends on x":
            return z + factor * (x - E_X)
        case _:
            return z


def depends_in_theory(n: int, tie: float) -> float:
    """E(Σwᵢxᵢ)² over E σ²Σxᵢ² for weights that depend on the input, from E x² = ½, E x³ = 2·E x, E x⁴ = 3/2."""
    same, different = 1 / 2 + tie**2 * (3 / 2 - 7 / 2 * E_X**2), tie * (1 / 2 - E_X**2)  # E w²x², E wx
    return 2 * (same + (n - 1) * different**2)


def ratio(value: float, reference: float, std: float) -> float | None:
    """The quotient value / reference; None where both are 0 because all weights or all inputs are."""
    return value / reference if std and reference else None


def error(value: float, reference: float, std: float) -> float | None:
    """The relative distance |value / reference − 1|."""
    quotient = ratio(value, reference, std)
    return None if quotient is None else abs(quotient - 1)


def randn(*shape: int) -> torch.Tensor:
    """Standard normal numbers: drawn in float32, which is much faster, and kept in float64."""
    return torch.randn(*shape).double()


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
