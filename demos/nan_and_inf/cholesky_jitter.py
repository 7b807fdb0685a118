"""A kernel matrix is positive definite on paper; in float32 its least eigenvalues are noise and Cholesky fails.

K_ij = exp(−(x_i − x_j)²/(2·`length`²)) for `n` points x evenly spaced in [0, 1], the covariance of a Gaussian process,
float32, plus `jitter` on the diagonal. info ≠ 0 of torch.linalg.cholesky_ex counts as a failure. Rounding moves the
eigenvalues by about 2⁻²⁴·λ_max, so that a jitter well above that is needed: needed is the smallest power of 10 that
works, theory is n·2⁻²⁴ (the largest eigenvalue is at most n). float64: the same with K and jitter in float64. error:
largest entry of L Lᵀ − (K + jitter·I) where it works (nan where it fails). smallest, largest: eigenvalues of the
float32 K, computed in float64. Rows: jitters from 1e-10 to 1e-2, 1 where Cholesky works. Nothing is random.
Source: Higham 2002, Accuracy and stability of numerical algorithms, 10.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "Cholesky：加多少 jitter", "en": "Cholesky: how much jitter"}
PARAMS = {
    "n": {"zh": "点数", "en": "points", "ge": 2, "le": 400},
    "length": {"zh": "核的长度", "en": "length scale", "ge": 1e-3, "le": 10},
    "jitter": {"zh": "jitter", "en": "jitter", "ge": 0, "le": 1},
}
COLUMNS = {
    "jitter": {"zh": "jitter", "en": "jitter"},
    "float32": {"zh": "float32：成功", "en": "float32: works"},
    "float64": {"zh": "float64：成功", "en": "float64: works"},
}
METRICS = {
    "fails": {"zh": "float32：失败", "en": "float32: fails"},
    "fails_float64": {"zh": "float64：失败", "en": "float64: fails"},
    "needed": {"zh": "至少需要的 jitter（10 的幂）", "en": "smallest power of 10 that works"},
    "theory": {"zh": "n·2⁻²⁴", "en": "n·2⁻²⁴"},
    "smallest": {"zh": "最小特征值", "en": "smallest eigenvalue"},
    "largest": {"zh": "最大特征值", "en": "largest eigenvalue"},
    "error": {"zh": "分解的误差", "en": "error of the factorisation"},
}
CHART = {
    "transform": [{"fold": ["float32", "float64"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "jitter", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float | None]


def run(n: int = 100, length: float = 0.3, jitter: float = 0.0) -> Generator[Row, None, Metrics]:
    exact = kernel(n, length)
    k = exact.float()
    for power in range(-20, -3):
        size = 10 ** (power / 2)
        yield {"jitter": size, "float32": float(works(k, size)), "float64": float(works(exact, size))}
    values = torch.linalg.eigvalsh(k.double())
    needed = next((10.0**power for power in range(-12, 1) if works(k, 10.0**power)), None)
    return {
        "fails": float(not works(k, jitter)),
        "fails_float64": float(not works(exact, jitter)),
        "needed": needed,
        "theory": n * 2.0**-24,
        "smallest": values[0].item(),
        "largest": values[-1].item(),
        "error": error(k, jitter),
    }


def kernel(n: int, length: float) -> Tensor:
    x = torch.linspace(0, 1, n, dtype=torch.float64)
    return torch.exp(-(x[:, None] - x[None]).square() / (2 * length**2))


def with_jitter(k: Tensor, jitter: float) -> Tensor:
    return k + jitter * torch.eye(len(k), dtype=k.dtype)


def works(k: Tensor, jitter: float) -> bool:
    return int(torch.linalg.cholesky_ex(with_jitter(k, jitter))[1]) == 0


def error(k: Tensor, jitter: float) -> float:
    """Largest entry of L Lᵀ − (K + jitter·I), or nan."""
    if not works(k, jitter):
        return float("nan")
    factor = torch.linalg.cholesky(with_jitter(k, jitter)).double()
    return float((factor @ factor.T - with_jitter(k.double(), jitter)).abs().max())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
