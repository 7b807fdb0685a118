"""A gradient of 1e-8 is 0 in float16; multiplied by 1024 before it is stored, and divided after, it comes back whole.

One gradient `x` on its way through mixed precision: stored in `dtype` as it is (plain), or as x·`scale` and then
divided by `scale` in float32 (recovered). The same is done for 301 sizes from 1e-15 to 1e15: the chart shows the
relative error of what comes back, 1 for a gradient that became 0, inf for one that overflowed. The window of a format
is the range between the smallest size whose error stays below 1 % and the largest that does not overflow; scaling does
not widen it, it moves it down by a factor `scale`. Theory: with p bits and the smallest number s, x survives within 1 %
from about 50·s on, is 0 up to s/2, overflows from max. The largest scale that x allows is max/|x|. Nothing is random.
Source: Micikevicius et al. 2018, Mixed precision training.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "损失缩放：把小梯度移进能存的范围", "en": "Loss scaling: moving small gradients into range"}
PARAMS = {
    "x": {"zh": "梯度", "en": "the gradient", "nonfinite": True},
    "scale": {"zh": "损失缩放的倍数", "en": "loss scale", "ge": 1e-6, "le": 16777216},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "size": {"zh": "梯度的大小", "en": "size of the gradient"},
    "plain": {"zh": "不放大：相对误差", "en": "unscaled: relative error"},
    "scaled": {"zh": "放大：相对误差", "en": "scaled: relative error"},
}
METRICS = {
    "plain": {"zh": "不放大，存成", "en": "unscaled, stored as"},
    "scaled": {"zh": "放大后存成", "en": "scaled, stored as"},
    "recovered": {"zh": "再除回来得到", "en": "divided back, it is"},
    "plain_rel_err": {"zh": "不放大的相对误差", "en": "relative error unscaled"},
    "recovered_rel_err": {"zh": "放大再除回来的相对误差", "en": "relative error scaled and divided back"},
    "plain_window_low": {"zh": "不放大：还准到 1% 的最小梯度", "en": "unscaled: smallest gradient right to 1 %"},
    "plain_window_high": {"zh": "不放大：不溢出的最大梯度", "en": "unscaled: largest gradient without overflow"},
    "scaled_window_low": {"zh": "放大：还准到 1% 的最小梯度", "en": "scaled: smallest gradient right to 1 %"},
    "scaled_window_high": {"zh": "放大：不溢出的最大梯度", "en": "scaled: largest gradient without overflow"},
    "window_decades": {"zh": "能用的范围有多少个数量级", "en": "width of the window", "unit": "decades"},
    "largest_scale": {"zh": "这个梯度容许的最大放大倍数", "en": "largest scale this gradient allows"},
}
CHART = {
    "transform": [{"fold": ["plain", "scaled"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "size", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# x·scale as it is stored, and up to 2²⁴ times larger: where digits are lost, a larger scale saves them
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "unscaled", "spacing": "halving", "n": 25, "x": ["x", "scale"]},
    }
]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    x: float = 1e-8,
    scale: float = 1024.0,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    limits = torch.finfo(form)
    windows: dict[str, list[float]] = {"plain": [], "scaled": []}
    finite: dict[str, list[float]] = {"plain": [], "scaled": []}
    for tenth in range(-150, 151):
        size = 10 ** (tenth / 10)
        row: Row = {"size": size}
        for name, factor in (("plain", 1.0), ("scaled", scale)):
            row[name] = worst_error(size, factor, form)
            if row[name] < 0.01:
                windows[name].append(size)
            if not math.isinf(row[name]):
                finite[name].append(size)
        yield row
    ends = {name: (min(found), max(finite[name])) if found else (None, None) for name, found in windows.items()}
    low, high = ends["scaled"]
    back = through(x, scale, form)
    return {
        "plain": through(x, 1.0, form),
        "scaled": float(torch.tensor(x * scale, dtype=form)),
        "recovered": back,
        "plain_rel_err": error(through(x, 1.0, form), x),
        "recovered_rel_err": error(back, x),
        "plain_window_low": ends["plain"][0],
        "plain_window_high": ends["plain"][1],
        "scaled_window_low": low,
        "scaled_window_high": high,
        "window_decades": math.log10(high / low) if low and high else None,
        "largest_scale": limits.max / abs(x) if x else math.inf,
    }


def through(x: float, factor: float, form: torch.dtype) -> float:
    """x·factor stored in the format, then divided by the factor in float32."""
    return float(torch.tensor(x * factor, dtype=form).float() / factor)


def error(found: float, exact: float) -> float | None:
    """Relative error; None where x is 0 or not finite."""
    return abs(found - exact) / abs(exact) if exact and math.isfinite(exact) else None


def worst_error(size: float, factor: float, form: torch.dtype) -> float:
    """The largest relative error among 8 numbers between `size` and 1.22 times that."""
    exact = [size * (1 + part / 37) for part in range(1, 9)]
    back = torch.tensor([number * factor for number in exact], dtype=form).float() / factor
    return max(abs(float(b) - e) / e for b, e in zip(back.tolist(), exact, strict=True))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
