"""float16 has no 2049: above 2048 it keeps even integers only, above 4096 multiples of 4, and so on.

`x` is stored in `dtype` and read back, together with 2047 … 2050 and 4097, and with every position 0 … n − 1. With p
bits every integer up to 2^p is exact, and 2^p + 1 is the first that is lost; from 2^e on the numbers are 2^(e−p+1)
apart. The chart shows what becomes of the integers around `x`. Nothing is random. Source: IEEE 754-2019.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch

TITLE = {"zh": "哪些整数存得下", "en": "Which integers a format can hold"}
PARAMS = {
    "x": {"zh": "要存的数", "en": "the number to store", "ge": -1e12, "le": 1e12},
    "n": {"zh": "位置编号 0 … n − 1", "en": "positions 0 … n − 1", "ge": 1, "le": 1000000},
    "dtype": {"zh": "数据类型", "en": "dtype"},
}
COLUMNS = {
    "integer": {"zh": "整数", "en": "integer"},
    "stored": {"zh": "存成", "en": "stored as"},
    "itself": {"zh": "它自己", "en": "itself"},
}
METRICS = {
    "stored": {"zh": "这个数存成", "en": "the number is stored as"},
    "error": {"zh": "差了多少", "en": "off by"},
    "gap": {"zh": "它附近相邻两数的间隔", "en": "gap between neighbours there"},
    "stored_2047": {"zh": "2047 存成", "en": "2047 is stored as"},
    "stored_2048": {"zh": "2048 存成", "en": "2048 is stored as"},
    "stored_2049": {"zh": "2049 存成", "en": "2049 is stored as"},
    "stored_2050": {"zh": "2050 存成", "en": "2050 is stored as"},
    "stored_4097": {"zh": "4097 存成", "en": "4097 is stored as"},
    "exact_up_to": {"zh": "整数精确到（理论 2^p）", "en": "integers are exact up to (theory, 2^p)"},
    "distinct": {"zh": "n 个位置存成了几个不同的数", "en": "distinct numbers among the n positions"},
    "wrong_share": {"zh": "存错的位置占比", "en": "fraction of positions stored wrong"},
    "overflowed_share": {"zh": "变成 inf 的位置占比", "en": "fraction of positions that became inf"},
}
CHART = {
    "transform": [{"fold": ["stored", "itself"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "integer", "type": "quantitative", "scale": {"zero": False}},
        "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}},
        "color": {"field": "series", "type": "nominal"},
    },
}
# whether v and v + 1 are told apart: v = 1, 2, 4, …, lost from 2ᵖ on; and v = x
BESIDE = [
    {
        "parameter": "dtype",
        "experiment": "dtype_functions",
        "params": {"f": "neighbour", "spacing": "doubling", "n": 60, "x": 5.764607523034235e17},
    },
    {"parameter": "dtype", "experiment": "dtype_functions", "params": {"f": "neighbour", "spacing": "even", "n": 1}},
]

Row = dict[str, float]
Metrics = dict[str, float | None]


def run(
    x: float = 2049.0, n: int = 4096, dtype: Literal["float16", "bfloat16", "float32"] = "float16"
) -> Generator[Row, None, Metrics]:
    form = getattr(torch, dtype)
    middle = round(x)
    for integer in range(middle - 8, middle + 9):
        yield {"integer": integer, "stored": stored(integer, form), "itself": integer}
    bits = 1 - round(math.log2(torch.finfo(form).eps))
    lowest = round(math.log2(torch.finfo(form).smallest_normal))
    kept = stored(x, form)
    positions = torch.arange(n, dtype=torch.float64)
    back = positions.to(form).double()
    power = max(lowest, math.frexp(kept)[1] - 1) if math.isfinite(kept) else 0
    return {
        "stored": kept,
        "error": abs(kept - x),
        "gap": 2.0 ** (power - bits + 1) if math.isfinite(kept) else math.inf,
        **{f"stored_{integer}": stored(integer, form) for integer in (2047, 2048, 2049, 2050, 4097)},
        "exact_up_to": 2**bits,
        "distinct": len(back.unique()),
        "wrong_share": float((back != positions).double().mean()),
        "overflowed_share": float(back.isinf().double().mean()),
    }


def stored(number: float, form: torch.dtype) -> float:
    """What comes back of a number that was kept in this format."""
    return float(torch.tensor(number, dtype=torch.float64).to(form))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
