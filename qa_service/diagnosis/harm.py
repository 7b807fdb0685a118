"""The harm gate: whether anything goes wrong in a run at all, decided before any cause is considered.

A healthy run has no harm. Each test asks for what lasts: one bad step, a spike that recovers, a loss scale that settles
and an average that holds an old nan do no harm.
"""

import re
from collections.abc import Iterator

from qa_service.diagnosis.curves import (
    finite_records,
    format_text,
    records,
)
from qa_service.diagnosis.divergence_harm import divergence_harms
from qa_service.diagnosis.evaluation_harm import evaluation_harms
from qa_service.diagnosis.layer_harm import measured_harms
from qa_service.diagnosis.nonfinite_harm import nonfinite_harms
from qa_service.diagnosis.skipping_harm import skipping_harms
from qa_service.diagnosis.stalled_loss_harm import stalled_loss_harms
from qa_service.model.diagnosis import Harm
from qa_service.model.training_run import TrainingRun

_FATAL = {
    "anomaly", "scale_minimum", "scale_minimum_fairseq", "scale_zero", "jax_nan", "detectron_nan", "histogram", "boxes",
    "sampling", "distribution", "total_norm", "bce_range", "label_range", "batch_of_one", "sklearn_nan",
    "input_nonfinite", "megatron_nan", "out_of_memory", "shapes", "device_assert",
}  # fmt: skip
_WARNINGS = {"numpy_overflow", "numpy_zero", "numpy_invalid"}
_CALLED_OFF = re.compile(r"KeyboardInterrupt|SystemExit|BrokenPipe|GeneratorExit")


def find_harms(run: TrainingRun) -> tuple[Harm, ...]:
    """The harms of a run, by kind, from "nonfinite" to "stopped"; empty for a healthy run."""
    harms = [
        *nonfinite_harms(run),
        *divergence_harms(run),
        *stalled_loss_harms(run),
        *skipping_harms(run),
        *evaluation_harms(run),
    ]
    if not harms:
        harms = [*measured_harms(run)]
    return tuple(harms) + tuple(_stopped(run, known=bool(harms)))


def _stopped(run: TrainingRun, *, known: bool) -> Iterator[Harm]:
    """The harm "stopped": the first message or traceback that ends the run; or a numpy warning, if there is no loss and
    no other harm.
    """
    has_loss = bool(finite_records(records(run, "loss")))
    for event in run.events:
        fatal = event.kind in ("message", "traceback") and (event.name in _FATAL or event.kind == "traceback")
        warning = event.name in _WARNINGS and not has_loss and not known
        if (fatal or warning) and not _CALLED_OFF.search(f"{event.name} {event.text}"):
            yield Harm(
                id="stopped",
                lines=(event.line,) if event.line else (),
                step=event.step,
                text=format_text("日志里写着：{words}", "The log says: {words}", words=_shorten(event.text)),
            )
            return


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
