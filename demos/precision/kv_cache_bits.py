"""A key cache with outlier channels needs a scale for each channel, or many bits; values tolerate 4 bits.

One attention head of 64 numbers a token, `n` cached tokens. Keys are N(0, 1), of which 2 channels are shifted by 1 and
then `x` times larger, as in trained models (with x = 1 none is); values N(0, 1); 32 queries N(0, 1), divided by x at
these channels so that all channels count alike, and scaled so that scores have a standard deviation of 3. Keys or
values are quantised to integers of `bits` bits, symmetric, with one scale for each token (over its 64 channels), as a
cache that grows token by token does, or one for each channel (over the cached tokens).

Measured: the rms error of the attention output over its rms, with keys alone, values alone or both quantised, by token
and by channel; and the fraction of queries whose heaviest key changes. Theory: a step d gives an entry an error of
d/√12; by token the step follows the outlier, about x·3/(2^(bits−1) − 1), and the score's error grows with x; averaging
over many values hides their errors, a score's error is exponentiated. Random: keys, values, queries.
Source: Liu et al. 2024, KIVI; Hooper et al. 2024, KVQuant.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "量化 KV 缓存", "en": "A quantised key-value cache"}
PARAMS = {
    "bits": {"zh": "位数", "en": "bits", "ge": 2, "le": 16},
    "x": {"zh": "键的离群通道放大", "en": "outlier channels of the keys times", "ge": 1, "le": 100},
    "n": {"zh": "缓存的 token 数", "en": "cached tokens", "ge": 8, "le": 4096},
}
COLUMNS = {
    "factor": {"zh": "离群倍数", "en": "outlier factor"},
    "keys_token": {"zh": "键，按 token", "en": "keys, by token"},
    "keys_channel": {"zh": "键，按通道", "en": "keys, by channel"},
    "values_token": {"zh": "值，按 token", "en": "values, by token"},
}
METRICS = {
    "keys_token": {"zh": "键按 token 量化：误差", "en": "keys by token: error"},
    "keys_channel": {"zh": "键按通道量化：误差", "en": "keys by channel: error"},
    "values_token": {"zh": "值按 token 量化：误差", "en": "values by token: error"},
    "both_token": {"zh": "键和值都按 token：误差", "en": "keys and values by token: error"},
    "flips_token": {
        "zh": "键按 token：最重的键改变的比例",
        "en": "keys by token: fraction of queries whose heaviest key changes",
    },
    "flips_channel": {
        "zh": "键按通道：最重的键改变的比例",
        "en": "keys by channel: fraction of queries whose heaviest key changes",
    },
}
CHART = {
    "transform": [{"fold": ["keys_token", "keys_channel", "values_token"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "factor", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
D, QUERIES, OUTLIERS = 64, 32, 2


def run(bits: int = 4, x: float = 20.0, n: int = 512) -> Generator[Row, None, Metrics]:
    keys, values = (torch.randn(n, D, dtype=torch.float64) for _ in range(2))
    queries = torch.randn(QUERIES, D, dtype=torch.float64)
    for factor in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0):
        found = errors(keys, values, queries, bits, factor)
        yield {"factor": factor, **{name: found[name] for name in ("keys_token", "keys_channel", "values_token")}}
    return errors(keys, values, queries, bits, x)


def errors(keys: Tensor, values: Tensor, queries: Tensor, bits: int, x: float) -> Metrics:
    """The measured numbers for an outlier factor of x."""
    keys, queries = keys.clone(), queries.clone()
    keys[:, :OUTLIERS] = x * (keys[:, :OUTLIERS] + (1 if x > 1 else 0))
    queries[:, :OUTLIERS] /= x
    scores = queries @ keys.T
    queries = queries * 3 / scores.std()
    exact, top = attention(queries, keys, values)
    by_token, by_channel = quantised(keys, bits, 1), quantised(keys, bits, 0)
    wrong_token, top_token = attention(queries, by_token, values)
    wrong_channel, top_channel = attention(queries, by_channel, values)
    coarse = quantised(values, bits, 1)
    size = exact.norm()
    return {
        "keys_token": ((wrong_token - exact).norm() / size).item(),
        "keys_channel": ((wrong_channel - exact).norm() / size).item(),
        "values_token": ((attention(queries, keys, coarse)[0] - exact).norm() / size).item(),
        "both_token": ((attention(queries, by_token, coarse)[0] - exact).norm() / size).item(),
        "flips_token": (top_token != top).double().mean().item(),
        "flips_channel": (top_channel != top).double().mean().item(),
    }


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs, QUERIES × D, and for each query the key of the largest weight."""
    weights = (queries @ keys.T).softmax(1)
    return weights @ values, weights.argmax(1)


def quantised(tensor: Tensor, bits: int, dim: int) -> Tensor:
    """Rounded to integers times a step, the step from the largest absolute value along `dim`."""
    step = tensor.abs().amax(dim, keepdim=True) / (2 ** (bits - 1) - 1)
    return (tensor / step).round() * step


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
