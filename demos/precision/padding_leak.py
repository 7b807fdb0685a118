"""Padding changes a result by tens of per cent where a mask, a mean or a position counts it; rounding is a millionth.

100 sequences of `length` tokens, a vector of 32 numbers each, N(0, 1), go through one small encoder twice: alone, and
filled up with `padding` tokens, all the same vector. The encoder adds sinusoidal positions to the tokens, takes one
layer of attention (random projections, N(0, 1/32)) with a residual, and reads off one vector; a linear classifier of 50
classes, random but for biases that make them equal on average without padding, names one. What is wrong:

none       attention and mean leave the padding out, positions count from the first real token
attention  attention sees the padding as keys; the mean leaves it out
mean       attention is masked; the mean is taken over all positions
positions  padding on the left, masked, but positions count it
last       causal attention, padding on the right, the vector is read from the last column, which is padding

Measured: |padded − alone| over |alone|, rms over the sequences, in float32 and in float64, and the fraction of
sequences whose class changes. Theory: with padding left out everywhere the function is the same, so only rounding is
left, and float64 reduces it by 2²⁹; an error of logic is the same in both. Random: tokens, weights, classes.
Source: Vaswani et al. 2017, Attention is all you need (masks and positions).
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

TITLE = {"zh": "填充改变了结果", "en": "Padding that changes a result"}
PARAMS = {
    "case": {"zh": "哪里把填充算了进去", "en": "what counts the padding"},
    "length": {"zh": "真实 token 数", "en": "real tokens", "ge": 1, "le": 64},
    "padding": {"zh": "填充 token 数", "en": "tokens of padding", "ge": 0, "le": 128},
}
COLUMNS = {
    "padding": {"zh": "填充 token 数", "en": "tokens of padding"},
    "difference": {"zh": "输出的相对差", "en": "relative difference of the output"},
}
METRICS = {
    "difference": {"zh": "输出的相对差（float32）", "en": "relative difference of the output (float32)"},
    "difference_double": {"zh": "输出的相对差（float64）", "en": "relative difference of the output (float64)"},
    "changed": {"zh": "类别改变的比例", "en": "fraction of sequences whose class changes"},
}
CHART = {
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "padding", "type": "quantitative"},
        "y": {"field": "difference", "type": "quantitative", "scale": {"type": "log"}},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
N, D, CLASSES = 100, 32, 50


def run(
    case: Literal["none", "attention", "mean", "positions", "last"] = "attention", length: int = 12, padding: int = 52
) -> Generator[Row, None, Metrics]:
    tokens = torch.randn(N, length, D, dtype=torch.float64)
    filler = torch.randn(D, dtype=torch.float64)
    weights = [torch.randn(D, D, dtype=torch.float64) / D**0.5 for _ in range(3)]
    classes = torch.randn(D, CLASSES, dtype=torch.float64)
    for k in range(9):
        count = round(padding * k / 8)
        yield {"padding": count, "difference": compare(tokens, filler, weights, case, count, torch.float32)[0]}
    alone, padded = (encode(tokens, filler, weights, case, count) for count in (0, padding))
    scores, scores_padded = ((value - alone.mean(0)) @ classes for value in (alone, padded))
    return {
        "difference": compare(tokens, filler, weights, case, padding, torch.float32)[0],
        "difference_double": compare(tokens, filler, weights, case, padding, torch.float64)[0],
        "changed": (scores.argmax(1) != scores_padded.argmax(1)).double().mean().item(),
    }


def compare(
    tokens: Tensor, filler: Tensor, weights: list[Tensor], case: str, padding: int, form: torch.dtype
) -> tuple[float, Tensor]:
    """The relative difference that `padding` makes, everything being computed in `form`; and the padded output."""
    narrow = [value.to(form) for value in (tokens, filler, *weights)]
    alone, padded = (encode(narrow[0], narrow[1], narrow[2:], case, count).double() for count in (0, padding))
    return ((padded - alone).norm() / alone.norm()).item(), padded


def encode(tokens: Tensor, filler: Tensor, weights: list[Tensor], case: str, padding: int) -> Tensor:
    """One vector a sequence: N × D."""
    length = tokens.shape[1]
    fill = filler.expand(len(tokens), padding, D)
    left = case == "positions"
    x = torch.cat([fill, tokens] if left else [tokens, fill], 1)
    place = torch.arange(length + padding)
    real = place >= padding if left else place < length
    x = x + sinusoids(length + padding, x.dtype)
    seen = torch.ones_like(real) if case == "attention" else real
    forbidden = ~seen.expand(length + padding, -1)
    if case == "last":
        forbidden = ~torch.ones(length + padding, length + padding, dtype=torch.bool).tril()
    query, key, value = (x @ weight for weight in weights)
    scores = (query @ key.mT / math.sqrt(D)).masked_fill(forbidden, torch.finfo(x.dtype).min)
    x = x + scores.softmax(-1) @ value
    if case == "last":
        return x[:, -1]
    return x.mean(1) if case == "mean" else x[:, real].mean(1)


def sinusoids(count: int, form: torch.dtype) -> Tensor:
    """The usual positions, count × D: sines and cosines of wave lengths from 2π to 20000π."""
    angles = torch.arange(count, dtype=torch.float64)[:, None] / 1e4 ** (torch.arange(0, D, 2) / D)
    return torch.cat([angles.sin(), angles.cos()], 1).to(form)


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
