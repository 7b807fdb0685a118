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
from qa_service.diagnosis.message_rules import messages
from qa_service.diagnosis.nan_rules import intermittent_nan_loss, nonfinite_gradient, nonfinite_loss
from qa_service.diagnosis.schedule_rules import jump, learning_rate, restart, schedule, spikes
from qa_service.diagnosis.stalled_loss_rules import accuracy, at_chance, flat, gradient_while_flat, tiny_loss, zero_loss
from qa_service.diagnosis.start_rules import first_gradient, first_loss
from qa_service.diagnosis.validation_rules import validation

RULES: tuple[DiagnosticRule, ...] = (
    nonfinite_loss, intermittent_nan_loss, nonfinite_gradient, first_gradient,
    geometric_growth, divergence_of_loss, initial_loss_spike, gradient_adds_up, gradient_against_loss,
    schedule, restart, learning_rate, spikes, jump, first_loss,
    at_chance, flat, gradient_while_flat, zero_loss, tiny_loss, accuracy,
    loss_scale, number_format, network_architecture, validation, messages,
)  # fmt: skip
