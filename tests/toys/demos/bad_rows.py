"""Yields a list instead of a row."""

TITLE = {"zh": "bad_rows", "en": "bad_rows"}
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
    yield [1, 2, 3]
    return {"last": 1.0}
