"""Forks a child process that never ends."""

import os
import time

TITLE = {"zh": "forks", "en": "forks"}
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
    child = os.fork()
    while child == 0:
        time.sleep(0.1)
    return {"last": float(child)}
