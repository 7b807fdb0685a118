"""Timestamps of 1.7e9 seconds are 128 seconds apart in float32; less their start they are good to microseconds.

Events `gap` seconds apart, `n` of them, from the Unix time `start` in seconds. Stored in float32 as they are (stamp),
or less the start, subtracted in float64 and then stored (offset). spacing: distance of float32 numbers at the last
time; distinct: fraction of the n times that are still different numbers; gap_error: mean |difference of neighbours −
gap|/gap; phase_error: largest error of sin(2π·t/`period`), a feature for the time of day, from stamp and from offset
(phase of the start added), against float64. Rows: index of the event and both stored times less the start. Nothing is
random. Source: IEEE 754 (binary32 has 24 bits of precision).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "float32 里的时间戳", "en": "Timestamps in float32"}
PARAMS = {
    "start": {"zh": "起点（Unix 秒）", "en": "start (Unix seconds)", "unit": "s", "ge": 0, "le": 1e13},
    "gap": {"zh": "事件的间隔", "en": "time between events", "unit": "s", "ge": 1e-6, "le": 1e6},
    "n": {"zh": "事件数", "en": "events", "ge": 2, "le": 5000},
    "period": {"zh": "周期", "en": "period", "unit": "s", "ge": 1, "le": 1e9},
}
COLUMNS = {
    "event": {"zh": "事件", "en": "event"},
    "exact": {"zh": "准确", "en": "exact"},
    "stamp": {"zh": "时间戳存成 float32", "en": "stamp in float32"},
    "offset": {"zh": "先减起点", "en": "less the start"},
}
METRICS = {
    "spacing": {"zh": "相邻 float32 的间隔", "en": "distance of float32 numbers", "unit": "s"},
    "distinct": {"zh": "仍然不同的时间的比例", "en": "fraction of times still different"},
    "distinct_offset": {"zh": "先减起点：仍然不同的比例", "en": "less the start: fraction still different"},
    "gap_error": {"zh": "间隔的相对误差", "en": "relative error of the gaps"},
    "gap_error_offset": {"zh": "先减起点：间隔的相对误差", "en": "less the start: relative error of the gaps"},
    "phase_error": {"zh": "周期特征的误差", "en": "error of the periodic feature"},
    "phase_error_offset": {"zh": "先减起点：周期特征的误差", "en": "less the start: error of the periodic feature"},
}
CHART = {
    "transform": [{"fold": ["exact", "stamp", "offset"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "event", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float]


def run(start: float = 1.7e9, gap: float = 10.0, n: int = 100, period: float = 3600.0) -> Generator[Row, None, Metrics]:
    times = start + gap * torch.arange(n, dtype=torch.float64)
    stamp, offset = times.float(), (times - start).float()
    for k in range(0, n, max(n // 60, 1)):
        exact = (times[k] - start).item()
        yield {"event": k, "exact": exact, "stamp": stamp[k].item() - start, "offset": offset[k].item()}
    exact_phase = torch.sin(2 * math.pi * (times % period) / period)
    phase = torch.sin(2 * math.pi * (stamp / period))
    shifted = torch.sin(2 * math.pi * ((start % period + offset) / period))
    last = stamp[-1]
    return {
        "spacing": (torch.nextafter(last, torch.tensor(math.inf)).double() - last.double()).item(),
        "distinct": len(stamp.unique()) / n,
        "distinct_offset": len(offset.unique()) / n,
        "gap_error": gap_error(stamp, gap),
        "gap_error_offset": gap_error(offset, gap),
        "phase_error": (phase.double() - exact_phase).abs().max().item(),
        "phase_error_offset": (shifted.double() - exact_phase).abs().max().item(),
    }


def gap_error(times: Tensor, gap: float) -> float:
    """Mean relative error of the differences of neighbours, as float32 gives them."""
    return float(((times.diff().double() - gap).abs() / gap).mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
