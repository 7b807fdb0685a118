"""Yields a row every 50 ms."""

import time

TITLE = {"zh": "sleeps", "en": "sleeps"}
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
    for step in range(steps):
        time.sleep(0.05)
        yield {"step": step, "value": 1.0}
    return {"last": 1.0}
