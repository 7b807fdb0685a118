"""Rows and metrics with values that JSON has no numbers for: inf, -inf, nan, None."""

TITLE = {"zh": "nonfinite", "en": "nonfinite"}
PARAMS = {"given": {"zh": "给定的数", "en": "the number given", "nonfinite": True}}
COLUMNS = {"step": {"zh": "步", "en": "step"}, "value": {"zh": "值", "en": "value"}}
METRICS = {
    "inf": {"zh": "inf", "en": "inf"},
    "minus_inf": {"zh": "minus_inf", "en": "minus_inf"},
    "nan": {"zh": "nan", "en": "nan"},
    "never": {"zh": "never", "en": "never"},
    "zero": {"zh": "zero", "en": "zero"},
    "given": {"zh": "given", "en": "given"},
}
CHART = {
    "mark": "line",
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
    },
}


def run(given: float = 1.0):
    values = {"inf": float("inf"), "minus_inf": -float("inf"), "nan": float("nan"), "never": None, "zero": 0.0}
    for step, value in enumerate([1.0, *values.values()]):
        yield {"step": step, "value": value}
    return values | {"given": given}
