"""A running sum in a short number format stops growing: float16 adds 0.0001 twenty thousand times and gets 0.25.

`n` copies of `x` are added one by one in `dtype`, rounding after every addition. A running sum s stops at the smallest
power of two 2^e with |x| ≤ ulp(2^e)/2 = 2^(e−p), p being the bits of the significand: from there on s + x rounds back
to s. Beside it, the same terms are added by Kahan's compensated summation (all in `dtype`), pairwise (in `dtype`), in a
float32 accumulator, by torch.sum, and by torch.dot with a vector of ones. Relative errors are against n·x in float64;
nothing is random. Source: Higham 2002, Accuracy and Stability of Numerical Algorithms; Kahan 1965, Further remarks on
reducing truncation errors, CACM 8.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "低精度的累加", "en": "Running sums in low precision"}
PARAMS = {
    "x": {"zh": "每一项", "en": "the term", "nonfinite": True},
    "n": {"zh": "项数", "en": "how many terms", "ge": 1, "le": 20000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "加了几项", "en": "terms added"},
    "running": {"zh": "逐个累加", "en": "one by one"},
    "kahan": {"zh": "Kahan 求和", "en": "Kahan"},
    "float32": {"zh": "float32 累加器", "en": "float32 accumulator"},
}
METRICS = {
    "stored_term": {"zh": "x 存进该类型后的值", "en": "x as stored in this dtype"},
    "true_sum": {"zh": "准确的和 n·x", "en": "the true sum n·x"},
    "running_sum": {"zh": "逐个累加的和", "en": "sum one by one"},
    "stagnates_after_n_terms": {"zh": "加了这么多项以后不再变", "en": "stops changing after", "unit": "terms"},
    "theory_stall": {"zh": "理论上停住的值", "en": "where it stops in theory"},
    "stall_over_theory": {"zh": "停住的值与理论值之比", "en": "where it stops, over theory"},
    "kahan_sum": {"zh": "Kahan 求和", "en": "Kahan sum"},
    "pairwise_sum": {"zh": "两两求和", "en": "pairwise sum"},
    "float32_sum": {"zh": "float32 累加器的和", "en": "sum in a float32 accumulator"},
    "torch_sum": {"zh": "torch.sum 的结果", "en": "torch.sum"},
    "torch_dot": {"zh": "torch.dot（与全 1 向量的点积）", "en": "torch.dot with a vector of ones"},
    "rel_err_running": {"zh": "逐个累加的相对误差", "en": "relative error one by one"},
    "rel_err_kahan": {"zh": "Kahan 求和的相对误差", "en": "relative error of Kahan"},
    "rel_err_pairwise": {"zh": "两两求和的相对误差", "en": "relative error of pairwise"},
    "rel_err_float32": {"zh": "float32 累加器的相对误差", "en": "relative error of the float32 accumulator"},
    "rel_err_torch": {"zh": "torch.sum 的相对误差", "en": "relative error of torch.sum"},
    "rel_err_dot": {"zh": "torch.dot 的相对误差", "en": "relative error of torch.dot"},
}
CHART = {
    "transform": [{"fold": ["running", "kahan", "float32"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_ladder", "params": {"op": "add"}}]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    x: float = 1e-4,
    n: int = 20000,
    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float16",
) -> Generator[Row, None, Metrics]:
    term = torch.tensor(x, dtype=getattr(torch, dtype))
    running = kahan = lost = torch.zeros_like(term)
    wide_term = term.float()
    wide = torch.zeros_like(wide_term)
    stagnates = None
    every = max(1, n // 200)
    for step in range(1, n + 1):
        before, running = running, running + term
        kahan, lost = kahan_step(kahan, lost, term)
        wide = wide + wide_term
        if stagnates is None and term != 0 and running == before and running.isfinite():
            stagnates = step - 1
        if step % every == 0 or step in (1, n) or step - 1 == stagnates:
            yield {"step": step, "running": running.item(), "kahan": kahan.item(), "float32": wide.item()}
    copies = term.repeat(n)
    sums = {
        "running": running.item(),
        "kahan": kahan.item(),
        "pairwise": pairwise(copies).item(),
        "float32": wide.item(),
        "torch": copies.sum().item(),
    }
    theory = stall_in_theory(term)
    dot = torch.dot(copies, torch.ones_like(copies)).item()
    return (
        {
            "stored_term": term.item(),
            "true_sum": n * x,
            "stagnates_after_n_terms": stagnates,
            "theory_stall": theory,
            "stall_over_theory": running.item() / theory if theory and stagnates else None,
            "torch_dot": dot,
            "rel_err_dot": relative_error(dot, n * x),
        }
        | {f"{name}_sum": value for name, value in sums.items()}
        | {f"rel_err_{name}": relative_error(value, n * x) for name, value in sums.items()}
    )


def kahan_step(total: Tensor, lost: Tensor, term: Tensor) -> tuple[Tensor, Tensor]:
    """The new sum, and what rounding took from it: the next term has to pay that back."""
    owed = term - lost
    new = total + owed
    return new, (new - total) - owed


def pairwise(terms: Tensor) -> Tensor:
    """Neighbours are added, then neighbouring sums, until one number is left."""
    while len(terms) > 1:
        odd_one = terms[len(terms) & ~1 :]
        terms = torch.cat([terms[0:-1:2] + terms[1::2], odd_one])
    return terms[0]


def stall_in_theory(term: Tensor) -> float | None:
    """±2^e with e = p + ceil(log2|x|); None where the sum never stops there: x is 0 or not finite, or 2^e > max."""
    size = term.abs().item()
    if size == 0 or not math.isfinite(size):
        return None
    limits = torch.finfo(term.dtype)
    exponent = 1 - math.log2(limits.eps) + math.ceil(math.log2(size))
    return math.copysign(2.0**exponent, term.item()) if exponent <= math.log2(limits.max) else None


def relative_error(value: float, exact: float) -> float | None:
    """|value − exact| / |exact|; None where the exact sum is 0 or not finite."""
    return abs(value - exact) / abs(exact) if exact and math.isfinite(exact) else None


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
