"""Describes a pasted log in one line, for people."""

import math

from qa_service.model import Lang
from qa_service.parsing.logs.reading import LogReading


def describe_log(reading: LogReading, lang: Lang) -> str:
    """Such as "Log · 5 lines · DeepSpeed OVERFLOW ×4, scale 65536→4096"."""
    count = reading.count
    parts = [f"日志 · {count} 行" if lang == "zh" else f"Log · {count} line{'s' if count != 1 else ''}"]
    details = [reading.framework] if reading.framework else []
    if reading.overflows:
        details = [f"{reading.framework} OVERFLOW ×{reading.overflows}".strip()]
    if reading.scale:
        first, last = (_format_scale(value) for value in reading.scale)
        label = "缩放系数" if lang == "zh" else "scale"
        details.append(f"{label} {first}→{last}" if first != last else f"{label} {last}")
    if reading.first_nonfinite:
        details.append(_first_nonfinite(reading, lang))
    elif reading.classes:
        stays = f"loss 停在 ln {reading.classes}" if lang == "zh" else f"loss stays at ln {reading.classes}"
        details.append(stays)
    joint = "，" if lang == "zh" else ", "
    return " · ".join([*parts, joint.join(details)] if details else parts)


def _format_scale(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else repr(value)


def _first_nonfinite(reading: LogReading, lang: Lang) -> str:
    assert reading.first_nonfinite
    line, key = reading.first_nonfinite
    value = "nan" if math.isnan(line.values[key]) else "inf"
    if line.step is not None:
        return f"第 {line.step} 步起 {key} 为 {value}" if lang == "zh" else f"{key} {value} from step {line.step}"
    return f"第 {line.number} 行起 {key} 为 {value}" if lang == "zh" else f"{key} {value} from line {line.number}"
