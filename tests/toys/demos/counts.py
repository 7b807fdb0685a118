"""A well-behaved demo: counts from 1 to `steps`, a row per step."""

import torch

TITLE = {"zh": "counts", "en": "counts"}
PARAMS = {"steps": {"zh": "步数", "en": "steps", "ge": 1, "le": 100000}}
COLUMNS = {"step": {"zh": "步", "en": "step"}, "value": {"zh": "值", "en": "value"}}
METRICS = {"last": {"zh": "最后一个", "en": "the last"}, "random": {"zh": "随机数", "en": "a random number"}}
CHART = {
    "mark": "line",
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
    },
}


def run(steps: int = 3):
    for step in range(1, steps + 1):
        yield {"step": step, "value": float(torch.tensor(step))}
    return {"last": float(steps), "random": torch.rand(()).item()}
