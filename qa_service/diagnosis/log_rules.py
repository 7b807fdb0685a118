"""Rules on the series and messages of a run: what a log shows, with its lines and numbers, for and against causes.

A rule is a function of a run that yields findings; the weights of features are in `weights.py`. Rules are called only
for runs with a harm, so they may yield findings for healthy ones.
"""

from qa_service.diagnosis.evidence import DiagnosticRule
from qa_service.diagnosis.format_rules import loss_scale, network_architecture, number_format
from qa_service.diagnosis.growth_rules import (
    divergence_of_loss,
    geometric_growth,
    gradient_adds_up,
    gradient_against_loss,
    initial_loss_spike,
)
from qa_service.diagnosis.message_rules import known_messages
from qa_service.diagnosis.nan_rules import intermittent_nan_loss, nonfinite_gradient, nonfinite_loss
from qa_service.diagnosis.schedule_rules import (
    loss_after_restart,
    loss_spikes,
    single_loss_jump,
    turn_by_schedule,
    unusual_learning_rate,
)
from qa_service.diagnosis.stalled_loss_rules import (
    constant_accuracy,
    flat_loss,
    gradient_while_flat,
    loss_at_chance,
    tiny_loss,
    zero_loss,
)
from qa_service.diagnosis.start_rules import first_gradient, first_loss
from qa_service.diagnosis.validation_rules import bad_validation

RULES: tuple[DiagnosticRule, ...] = (
    nonfinite_loss, intermittent_nan_loss, nonfinite_gradient, first_gradient,
    geometric_growth, divergence_of_loss, initial_loss_spike, gradient_adds_up, gradient_against_loss,
    turn_by_schedule, loss_after_restart, unusual_learning_rate, loss_spikes, single_loss_jump, first_loss,
    loss_at_chance, flat_loss, gradient_while_flat, zero_loss, tiny_loss, constant_accuracy,
    loss_scale, number_format, network_architecture, bad_validation, known_messages,
)  # fmt: skip
