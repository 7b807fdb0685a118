"""Findings of a rule, with their texts."""

import math
from collections.abc import Iterator

from qa_service.model.diagnosis import Finding
from qa_service.model.values import Text
from qa_service.presentation.numbers import format_in_text


def findings(
    feature: str, zh: str, en: str, *numbers: float, step: int | None = None, layer: str = "", **weights: float
) -> Iterator[Finding]:
    """A finding for each cause in `weights`, with its weight. {0}, {1} … in the texts are the numbers, {layer} is the
    layer.
    """

    def text(lang: str, pattern: str) -> str:
        shown = [format_in_text(_rounded(each), "zh" if lang == "zh" else "en") for each in numbers]
        return pattern.format(*shown, layer=f"`{layer}`")

    both = Text(zh=text("zh", zh), en=text("en", en))
    for cause, weight in weights.items():
        if weight:
            yield Finding(feature=feature, cause=cause, weight=weight, text=both, step=step, layer=layer)


def _rounded(value: float) -> float | int:
    """Rounded to two significant digits, from 100 on to three; a whole number below a million as an int."""
    if not math.isfinite(value):
        return value
    rounded = float(f"{value:.2g}") if abs(value) < 100 else float(f"{value:.3g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded


def log10(value: float) -> float:
    """The decimal logarithm; of 0 and below −300."""
    return math.log10(max(value, 1e-300))
