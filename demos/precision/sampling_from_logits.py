"""A model that overflows in float16 has nan logits: greedy decoding takes token 0 every time, sampling raises.

A last block of a language model, at `n` contexts h ~ N(0, 1)⁶⁴: h + relu(h·A)·B, RMS norm (in float32), logits over
128 tokens; A is 64 × 256 with N(0, 2/64), B is 256 × 64 with N(0, 1/256), the output matrix N(0, 1). The hidden
activations are multiplied by `x` and the block's output is divided by it again: the same function in exact
arithmetic, as in a model that was trained with large activations in bfloat16. All products are in `dtype`; the logits
are divided by `temperature`, the softmax is in float32, as in Hugging Face's generate.

Beyond 65504 float16 has only inf; inf − inf in the next product is nan, the norm spreads it over its context, and every
logit of that context is nan. The argmax of a row of nan is 0, whatever token that is ("!" in GPT-2's vocabulary);
torch.multinomial refuses nan. A temperature scales logits and cannot mend nan. Exact are the tokens in float64.
Random: weights, contexts. Source: IEEE 754-2019; Kalamkar et al. 2019, A study of BFLOAT16 for deep learning training.
"""

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "从 nan 的 logit 里采样", "en": "Sampling from logits that are nan"}
PARAMS = {
    "dtype": {"zh": "数据类型", "en": "dtype"},
    "x": {"zh": "激活值乘以", "en": "activations multiplied by", "ge": 1e-3, "le": 1e30},
    "temperature": {"zh": "温度", "en": "temperature", "ge": 1e-3, "le": 1000},
    "n": {"zh": "上下文个数", "en": "contexts", "ge": 1, "le": 512},
}
COLUMNS = {
    "context": {"zh": "第几个上下文", "en": "context"},
    "token": {"zh": "贪心解码的 token", "en": "greedy token"},
    "exact": {"zh": "准确的 token", "en": "exact token"},
    "largest": {"zh": "最大的激活值", "en": "largest activation"},
}
METRICS = {
    "largest": {"zh": "最大的激活值（准确）", "en": "largest activation (exact)"},
    "nan_share": {"zh": "logit 是 nan 的上下文比例", "en": "fraction of contexts with nan logits"},
    "token_zero_share": {"zh": "贪心解码得 token 0 的比例", "en": "fraction of contexts whose greedy token is 0"},
    "agreement": {"zh": "token 与 float64 相同的比例", "en": "fraction of greedy tokens as in float64"},
    "sampling_fails": {"zh": "采样报错", "en": "sampling raises"},
    "theory_limit": {"zh": "该类型的最大值", "en": "largest number of the dtype"},
}
CHART = {
    "transform": [{"fold": ["token", "exact"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "context", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}
# x and up to 2²⁴ times less as each format stores it
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "unscaled", "spacing": "doubling", "n": 25, "x": ["x"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
    x: float = 1e5,
    temperature: float = 1.0,
    n: int = 64,
) -> Generator[Row, None, Metrics]:
    shapes = {"h": (n, 64), "a": (64, 256), "b": (256, 64), "out": (64, 128)}
    drawn = {name: torch.randn(*shape) for name, shape in shapes.items()}
    drawn["a"] *= (2 / 64) ** 0.5
    drawn["b"] *= (1 / 256) ** 0.5
    form = getattr(torch, dtype)
    _, exact = decode(drawn, x, torch.float64)
    logits, _ = decode(drawn, x, form)
    largest = hidden(drawn, x, torch.float64).amax(1)
    tokens = (logits.float() / temperature).argmax(1)
    for context in range(n):
        yield {
            "context": context,
            "token": tokens[context].item(),
            "exact": exact[context].item(),
            "largest": largest[context].item(),
        }
    return {
        "largest": largest.max().item(),
        "nan_share": logits.isnan().any(1).double().mean().item(),
        "token_zero_share": (tokens == 0).double().mean().item(),
        "agreement": (tokens == exact).double().mean().item(),
        "sampling_fails": float(sampling_fails(logits, temperature)),
        "theory_limit": torch.finfo(form).max,
    }


def hidden(drawn: dict[str, Tensor], x: float, form: torch.dtype) -> Tensor:
    """The hidden activations, multiplied by x: contexts × 256."""
    return (drawn["h"].to(form) @ drawn["a"].to(form)).relu() * x


def decode(drawn: dict[str, Tensor], x: float, form: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits, contexts × 128, and greedy tokens, with all products in `form`."""
    wide = torch.promote_types(form, torch.float32)
    stream = drawn["h"].to(form) + (hidden(drawn, x, form) @ drawn["b"].to(form)) / x
    normed = stream.to(wide) * stream.to(wide).square().mean(1, keepdim=True).rsqrt()
    logits = normed.to(form) @ drawn["out"].to(form)
    return logits, logits.argmax(1)


def sampling_fails(logits: Tensor, temperature: float) -> bool:
    """Whether torch.multinomial raises for any of the contexts."""
    try:
        torch.multinomial((logits.float() / temperature).softmax(1), 1)
    except RuntimeError:
        return True
    return False


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
