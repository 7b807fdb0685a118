"""Messages and exceptions that frameworks print, with the signs that they show."""

import re
from dataclasses import dataclass

from qa_service.patterns import lazy_pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMessage:
    """A known message."""

    id: str
    hint: str
    """A substring, in lower case, that it has."""
    pattern: re.Pattern[str]
    signs: tuple[str, ...] = ()
    """The signs, as "kind:value"."""


def _message(id_: str, hint: str, pattern: str, *signs: str) -> KnownMessage:
    return KnownMessage(id=id_, hint=hint, pattern=lazy_pattern(pattern, re.IGNORECASE), signs=signs)


_SCALER = ("in:float16", "in:grad_scaler")
MESSAGES = (
    _message(
        "anomaly", "returned nan", r"function '\w+?backward\d*' returned nan values",
        "what:nan", "where:gradient", "when:backward",
    ),
    _message(
        "scale_minimum", "scale already at minimum", r"current loss scale already at minimum",
        "what:minimum", "where:scale", *_SCALER,
    ),
    _message(
        "scale_minimum", "loss scale",
        r"(?:attempted|dynamic) loss scale:? (?:from )?1(?:\.0+)?(?:,| to| reducing){1,3} (?:to )?1(?:\.0+)?(?![\d.])",
        "what:minimum", "where:scale", *_SCALER,
    ),
    _message(
        "scale_minimum_fairseq", "minimum loss scale reached", r"minimum loss scale reached",
        "what:minimum", "where:scale", "in:fairseq", *_SCALER,
    ),
    _message(
        "scale_zero", "float division by zero", r"zerodivisionerror: float division by zero", "what:zero", "where:scale"
    ),
    _message(
        "deepspeed_overflow", "overflow! rank", r"overflow! rank \d+ skipping step",
        "what:skip", "what:inf", "where:gradient", *_SCALER,
    ),
    _message(
        "deepspeed_overflow_short", "scale overflow", r"dynamic loss scale overflow! skipping step",
        "what:skip", "what:inf", "where:gradient", *_SCALER,
    ),
    _message(
        "attempted_scale", "attempted loss scale", r"attempted loss scale: *[\d.]+.{0,60}",
        "what:skip", "where:scale", *_SCALER,
    ),
    _message(
        "gradient_overflow", "overflow", r"(?:gradient|grad) overflow(?: detected|\. +skipping step| on iteration)"
        r"|overflowerror: setting loss scale to|overflow detected, (?:ignoring gradient, )?setting loss scale",
        "what:skip", "what:inf", "where:gradient", *_SCALER,
    ),
    _message(
        "jax_nan", "invalid value (nan)", r"invalid value \(nan\) encountered in \w+", "what:nan", "in:jax"
    ),
    _message("detectron_nan", "infinite or nan", r"loss became infinite or nan", "what:nan", "where:loss"),
    _message("histogram", "autodetected range", r"autodetected range of \[nan, nan\] is not finite", "what:nan"),
    _message(
        "boxes", "assert (boxes1", r"assert \(boxes1\[:, 2:\] >= boxes1\[:, :2\]\)",
        "what:nan", "where:activation",
    ),
    _message(
        "sampling", "probability tensor contains", r"probability tensor contains either `?inf",
        "what:nan", "where:logit",
    ),
    _message(
        "distribution", "expected parameter", r"expected parameter \w+ .*to satisfy the constraint", "what:nan",
        "where:activation",
    ),
    _message(
        "total_norm", "non-finite", r"total norm .*is non-finite", "what:nan", "where:gradient"
    ),
    _message(
        "bce_range", "input_val >= zero", r"assertion `?input_val >= zero && input_val <= one",
        "where:activation",
    ),
    _message("label_range", "is out of bounds", r"target -?\d+ is out of bounds", "where:label"),
    _message(
        "batch_of_one", "more than 1 value per channel", r"expected more than 1 value per channel",
        "in:batch_norm",
    ),
    _message("numpy_overflow", "overflow encountered", r"overflow encountered in \w+", "what:inf", "in:numpy"),
    _message(
        "numpy_zero", "divide by zero encountered", r"divide by zero encountered in \w+",
        "what:inf", "in:numpy",
    ),
    _message(
        "numpy_invalid", "invalid value encountered", r"invalid value encountered in \w+",
        "what:nan", "in:numpy",
    ),
    _message("sklearn_nan", "contains ", r"\binput(?: \w+)? contains (?:nan|infinity)", "what:nan"),
    _message("input_nonfinite", "found in input tensor", r"nan or inf found in input tensor", "what:nan"),
    _message(
        "megatron_nan", "local forward loss", r"found nan in local forward loss",
        "what:nan", "where:loss", "in:megatron",
    ),
    _message("megatron_spike", "spiky loss", r"spiky loss", "what:spike", "where:loss", "in:megatron"),
    _message(
        "loss_stops", "ing training", r"^\W*(?:warning: *)?(?:non-finite loss|(?:the )?loss (?:is|was|=) (?:nan"
        r"|inf)(?:inity)?),? "
        r"(?:stopping|ending|aborting|terminating|exiting)|^\W*warning: non-finite loss",
        "what:nan", "where:loss",
    ),
    _message(
        "gradient_norm_nan", "norm is", r"grad(?:ient)? norm is (?:nan|inf)[^.]{0,20}\. +(?:skipping|do not) updat",
        "what:nan", "what:skip", "where:gradient",
    ),
    _message("ctc_nan", "nan grad", r"samples in this mini-batch got nan grad"
    r"|samples got nan grad", "what:nan", "in:ctc"),
    _message(
        "tensorflow_nan_loss", "nan", r"nanlossduringtrainingerror|model diverged with loss = nan",
        "what:nan", "where:loss", "in:keras",
    ),
    _message(
        "tensorflow_check", "tensor had ", r"tensor had (?:nan|inf)(?: and (?:nan|inf))? values", "what:nan", "in:keras"
    ),
    _message(
        "keras_terminates", "invalid loss, terminating", r"batch \d+: invalid loss, terminating training",
        "what:nan", "where:loss", "in:keras",
    ),
    _message(
        "nan_to_integer", "cannot convert float", r"cannot convert float (?:nan|infinity) to integer", "what:nan"
    ),
    _message(
        "lightning_nan", "nan or inf", r"the loss returned in `?\w+\.?\w*`? is nan or inf"
        r"|the gradients? .*is nan or inf",
        "what:nan", "in:lightning",
    ),
    _message(
        "not_positive_definite", "positive", r"the (?:input|factorization|leading minor).*not positive[- ]definite",
        "where:activation",
    ),
    _message(
        "svd_nonfinite", "failed to converge", r"algorithm failed to converge because the input .*(?:non-finite"
        r"|ill-conditioned)",
    ),
    _message("out_of_memory", "out of memory", r"(?:cuda|hip|npu|mps) (?:error: )?out of memory|outofmemoryerror"),
    _message("shapes", "size mismatch", r"size mismatch|mat1 and mat2 shapes cannot be multiplied"),
    _message("device_assert", "device-side assert", r"device-side assert triggered"),
)  # fmt: skip
"""Tried in this order; those without signs are listed to recognise failures that are not numerical."""
_HINTS = tuple(dict.fromkeys(each.hint for each in MESSAGES))


def find_message(line: str) -> tuple[KnownMessage, str] | None:
    """The known message in a line, and its words; None if there is none."""
    lower = line.lower()
    if not any(hint in lower for hint in _HINTS):
        return None
    for message in MESSAGES:
        if message.hint in lower and (match := message.pattern.search(line)):
            return message, match[0]
    return None
