"""Rules on what a trace measures inside a run: in its layers, its updates, the graph of its loss.

A share or a size alone is no evidence: a sound network has layers with 80 % zeros, updates that bfloat16 swallows near
the minimum, gradients that shrink a millionfold. So a rule compares with what the architecture and the optimizer give,
asks what holds from the first steps on or for a unit over a window, and, unless it reads the cause itself (a loss that
is summed, gradients that were never set to zero), speaks only of a run that does not learn.
"""

from collections.abc import Callable, Iterable, Iterator

from qa_service.diagnosis.layer_rules import (
    activations,
    data,
    formats,
    gradients,
    initial,
    loss,
    normalisation,
    updates,
)
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingRun


def layer_findings(run: TrainingRun) -> Iterator[Finding]:
    """The findings of all these rules on a run; none for a run without a trace."""
    if not run.layers and not run.settings.get("operations"):
        return
    traced = TracedRun(run)
    for rule in TRACE_RULES:
        yield from rule(traced)


TRACE_RULES: tuple[Callable[[TracedRun], Iterable[Finding]], ...] = (
    updates.step_size,
    initial.initial_weights,
    gradients.vanishing,
    activations.saturation,
    activations.dead_units,
    activations.faded_signal,
    initial.symmetry,
    loss.reduction,
    data.inputs,
    data.labels,
    data.targets,
    data.outliers,
    data.repeated_samples,
    formats.overflow,
    formats.underflow,
    updates.loss_after_rate_jump,
    updates.clipping,
    formats.swallowed,
    updates.stale_state,
    updates.accumulation,
    updates.no_update,
    normalisation.batch_statistics,
    normalisation.running_statistics,
    normalisation.post_norm_without_warm_up,
    gradients.recurrence,
    loss.loss_input,
    updates.adam_eps,
    data.data_by_elimination,
    gradients.nonfinite_gradient_of_finite_loss,
)
"""The rules on traced runs, a function for each kind of evidence."""
RULES: tuple[Callable[[TrainingRun], Iterable[Finding]], ...] = (layer_findings,)
"""The rules of this package in the form that the engine calls: functions of any run."""
