"""Yields a row and then prints forever."""

TITLE = {"zh": "hangs", "en": "hangs"}
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
    yield {"step": 1, "value": 1.0}
    while True:
        print("still here")
