"""Rules on messages and tracebacks: the operation or the mistake that they name."""

import math
import re
from collections.abc import Iterator, Sequence

from qa_service.diagnosis.curves import format_text
from qa_service.diagnosis.evidence import feature_findings
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Record, TrainingRun

_ROOTS = r"Sqrt|(?<!Layer)(?<!Batch)(?<!Group)Norm|Pow|Acos|Asin|Std|Var|Cdist|Atan2|Rsqrt|Arccos"
_OPERATIONS = (
    (_ROOTS, "message_square_root"),
    (r"LogSoftmax|Softmax|ScaledDot", "message_softmax"),
    (r"Log|Xlogy|NllLoss|BinaryCrossEntropy(?!WithLogits)|KlDiv", "message_logarithm_backward"),
    (r"Div|Reciprocal|Mean", "message_division"),
    (r"Exp(?!and)|Cosh", "message_exponential"),
    (r"Mul|Where|MaskedFill", "message_product"),
    (r"Addmm|Mm|Bmm|Convolution|Linear|Baddbmm|Native|Cudnn|Mkldnn", "message_matrix_product"),
)
_WORDS_OF_NUMPY = (
    (r"overflow encountered in exp", "message_exponential"),
    (r"divide by zero encountered in log", "message_logarithm"),
    (r"divide by zero|invalid value encountered in (?:\w*divide|double_scalars|scalar divide)", "message_division"),
    (r"invalid value encountered in log", "message_invalid_logarithm"),
    (r"invalid value encountered in sqrt", "message_invalid_square_root"),
    (r"overflow encountered", "message_exponential"),
)
_BY_ID = {
    "scale_minimum": "message_scale_at_minimum", "scale_minimum_fairseq": "message_scale_at_minimum",
    "scale_zero": "message_scale_at_minimum", "boxes": "message_boxes", "sampling": "message_sampling",
    "distribution": "message_distribution", "bce_range": "message_range_of_probability", "label_range": "message_label",
    "device_assert": "message_device_assert", "batch_of_one": "message_batch_of_one",
    "input_nonfinite": "message_input_not_finite", "sklearn_nan": "message_metric_not_finite",
    "out_of_memory": "message_out_of_memory", "shapes": "message_shapes",
}  # fmt: skip
_IN_TRACEBACKS = (
    (r"more than 1 value per channel", "message_batch_of_one"),
    (r"out of memory|OutOfMemory|MemoryError|Killed", "message_out_of_memory"),
    (r"size mismatch|shapes cannot be|must match the (?:existing )?size|Expected .*size|shape", "message_shapes"),
    (r"Target -?\d+ is out of bounds|t >= 0 && t < n_classes", "message_label"),
    (r"float division by zero|already at minimum|[Mm]inimum loss scale", "message_scale_at_minimum"),
)


def known_messages(run: TrainingRun) -> Iterator[Finding]:
    """Findings for the known messages and exceptions of a run, one set for each feature."""
    seen: set[str] = set()
    for event in run.events:
        if event.kind not in ("message", "traceback"):
            continue
        feature = _feature_of(event.name, event.text)
        if feature and feature not in seen:
            seen.add(feature)
            words = " ".join(event.text.split())[:120]
            text = format_text("日志里写着“{words}”", "The log says “{words}”", words=words)
            at = Record(event.step, event.line, math.nan) if event.line or event.step else None
            yield from feature_findings(feature, text, at)


def _feature_of(name: str, text: str) -> str:
    if match := re.search(r"[Ff]unction '(\w+?)Backward\w*' returned nan", text):
        return _first(_OPERATIONS, match[1])
    if name == "jax_nan" or (match := re.search(r"invalid value \(\w+\) encountered in (\w+)", text)):
        words = re.search(r"encountered in (\w+)", text)
        return _first(_OPERATIONS, words[1].capitalize()) if words else ""
    if name.startswith("numpy") or "encountered in" in text:
        return _first(_WORDS_OF_NUMPY, text)
    return _BY_ID.get(name, "") or _first(_IN_TRACEBACKS, f"{name}: {text}")


def _first(table: Sequence[tuple[str, str]], text: str) -> str:
    return next((feature for pattern, feature in table if re.search(pattern, text)), "")
