"""Writes garbage into every open file descriptor."""

import os

TITLE = {"zh": "garbage", "en": "garbage"}
PARAMS = {"steps": {"zh": "步数", "en": "steps", "ge": 1, "le": 100000}}
COLUMNS = {"step": {"zh": "步", "en": "step"}, "value": {"zh": "值", "en": "value"}}
METRICS = {"last": {"zh": "最后一个", "en": "the last"}}
CHART = {
    "mark": "line",
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
    },
}


def run(steps: int = 3):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\x00\x00\x00\x05hello" * 10)
        except OSError:
            continue
    return {"last": 1.0}
