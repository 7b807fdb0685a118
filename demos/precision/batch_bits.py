"""A kernel that splits a sum differently changes the last bits of a row; in bfloat16 greedy texts soon diverge.

A small recurrent language model, h ← tanh(h·R + E[token]), logits = h·O over 512 tokens, h of 128 numbers; R ~ N(0,
1/128), E ~ N(0, 1), O ~ N(0, 1/128)·4. 32 prompts are continued greedily for `n` tokens by two kernels. The first
computes each dot product in one piece, as for a batch of one; the second adds `parts` partial sums, each stored in
`dtype`, as a split for another batch size does. Products and partial sums are accumulated in float32 and rounded to
`dtype` (for float32 and float64, in that dtype itself). Weights and results are in `dtype`.

Measured: the differences of the first logits, the fraction of prompts whose texts diverge, the median token at which
they do, and the gap between the two best logits there. Theory: a token flips when that gap is below the rounding of the
logits, about an ulp, 2^(1−p)·|logit|; the chance per token is proportional to it, so three digits more mean a thousand
times more tokens. From the first flip on the texts have nothing in common. Random: the weights, the prompts.
Source: Higham 2002, ch. 3; Yuan et al. 2025, Understanding and mitigating numerical sources of nondeterminism.
"""

import statistics
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "同一行换批量：末位与贪心文本", "en": "The same row in another batch: last bits and greedy text"}
PARAMS = {
    "parts": {"zh": "第二个内核把和分成几段", "en": "pieces of the second kernel's sums", "ge": 1, "le": 16},
    "n": {"zh": "生成的 token 数", "en": "tokens", "ge": 1, "le": 500},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "step": {"zh": "第几个 token", "en": "token"},
    "parted": {"zh": "已分开的文本比例", "en": "fraction of texts that have parted"},
    "difference": {"zh": "还没分开的文本的 logit 差", "en": "logit difference of texts still together"},
}
METRICS = {
    "equal_logits": {"zh": "首个 logit 逐位相同的比例", "en": "fraction of first logits equal to the bit"},
    "difference": {"zh": "首个 logit 之差与其均方根之比", "en": "difference of first logits over their rms"},
    "parted": {"zh": "最终分开的文本比例", "en": "fraction of texts that part"},
    "first_parted": {"zh": "最早分开的 token", "en": "first token at which a text parts"},
    "median_parted": {"zh": "分开的中位 token", "en": "median token at which texts part"},
    "gap_there": {"zh": "分开处前两名 logit 之差", "en": "gap of the two best logits there"},
    "gap_typical": {"zh": "通常前两名 logit 之差（中位数）", "en": "the usual gap of the two best (median)"},
    "same_after": {"zh": "分开之后相同 token 的比例", "en": "fraction of equal tokens after that"},
}
CHART = {
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "parted", "type": "quantitative"},
    },
}
BESIDE = [{"parameter": "dtype", "experiment": "dtype_functions", "params": {"f": "mean", "spacing": "even"}}]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    parts: int = 4,
    n: int = 200,
    dtype: Literal["bfloat16", "float16", "float32", "float64"] = "bfloat16",
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    wide = torch.promote_types(form, torch.float32)
    mix, embedding, out = (torch.randn(*shape) for shape in ((128, 128), (512, 128), (128, 512)))
    mix, out = mix / 128**0.5, out * 4 / 128**0.5
    weights = [(value.to(form).to(wide)) for value in (mix, embedding, out)]
    start = torch.randint(512, (32,))
    hidden = [torch.zeros(32, 128, dtype=wide)] * 2
    tokens = [start, start]
    together = torch.ones(32, dtype=torch.bool)
    parted_at: list[int] = []
    gaps_there: list[float] = []
    gaps: list[float] = []
    equal = after = 0
    first: dict[str, float] = {}
    for step in range(1, n + 1):
        logits = []
        for kernel, pieces in enumerate((1, parts)):
            mixed = product(hidden[kernel], weights[0], pieces, form) + weights[1][tokens[kernel]]
            hidden[kernel] = torch.tanh(mixed.to(form).to(wide)).to(form).to(wide)
            logits.append(product(hidden[kernel], weights[2], pieces, form))
        difference = (logits[0] - logits[1]).double()
        if step == 1:
            first = {
                "equal_logits": (difference == 0).double().mean().item(),
                "difference": rms(difference) / rms(logits[0].double()),
            }
        best = logits[0].topk(2, dim=1).values.double()
        gap = best[:, 0] - best[:, 1]
        tokens = [value.argmax(1) for value in logits]
        parts_now = together & (tokens[0] != tokens[1])
        after += int((~together).sum())
        equal += int((~together & (tokens[0] == tokens[1])).sum())
        gaps += gap[together].tolist()
        gaps_there += gap[parts_now].tolist()
        parted_at += [step] * int(parts_now.sum())
        shown = rms(difference[together]) if together.any() else 0.0
        together = together & ~parts_now
        yield {"step": step, "parted": 1 - together.double().mean().item(), "difference": shown}
    return {
        **first,
        "parted": len(parted_at) / 32,
        "first_parted": parted_at[0] if parted_at else None,
        "median_parted": statistics.median(parted_at) if parted_at else None,
        "gap_there": statistics.median(gaps_there) if gaps_there else None,
        "gap_typical": statistics.median(gaps),
        "same_after": equal / after if after else None,
    }


def product(a: Tensor, b: Tensor, pieces: int, form: torch.dtype) -> Tensor:
    """a·b with the sum over the inner dimension in `pieces` parts, each rounded to `form`, as is each of their sums."""
    total = torch.zeros(len(a), b.shape[1], dtype=a.dtype)
    for left, right in zip(a.tensor_split(pieces, 1), b.tensor_split(pieces, 0), strict=True):
        total = (total + (left @ right).to(form).to(a.dtype)).to(form).to(a.dtype)
    return total


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
