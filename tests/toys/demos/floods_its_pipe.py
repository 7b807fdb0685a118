"""Sends more than the pipe should take: long rows, messages without end, half a message, or invalid values."""

import os
import time
from typing import Literal

TITLE = {"zh": "floods its pipe", "en": "floods its pipe"}
PARAMS = {"what": {"zh": "什么", "en": "what"}}
COLUMNS = {"step": {"zh": "步", "en": "step"}, "value": {"zh": "值", "en": "value"}}
METRICS = {"last": {"zh": "最后一个", "en": "the last"}}
CHART = {"mark": "point", "encoding": {"x": {"field": "step", "type": "quantitative"}}}
_RAN = '["ran",{"metrics":{"last":1.0},"seconds":%s,"random":true}]\n'


def _send(text: str) -> None:
    """To the pipe, the only descriptor from 3 on that can be written to."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, text.encode())
        except OSError:
            continue


def run(
    what: Literal[
        "long_rows", "without_end", "half_a_message", "huge_integer", "huge_metric", "half_a_character",
        "half_an_exception", "nan_seconds", "endless_seconds", "negative_seconds",
    ] = "long_rows",
):  # fmt: skip
    if what == "long_rows":
        for step in range(100):
            yield {"step": step, "value": "x" * (1 << 20)}
            time.sleep(0.05)
    elif what == "without_end":
        end = time.monotonic() + 10
        while time.monotonic() < end:
            _send('["rows",[]]\n')
            time.sleep(0.002)
    elif what == "half_a_message":
        _send('["rows",[')
        time.sleep(60)
    elif what == "huge_integer":
        yield {"step": 1, "value": 10**400}
    elif what == "huge_metric":
        return {"last": 10**400}
    elif what == "half_a_character":
        yield {"step": 1, "value": "\ud800"}
    elif what == "half_an_exception":
        raise ValueError("half a pair: \ud800")
    else:
        _send(_RAN % {"nan_seconds": "NaN", "endless_seconds": "1e999", "negative_seconds": "-1.0"}[what])
        time.sleep(60)
    return {"last": 1.0}
