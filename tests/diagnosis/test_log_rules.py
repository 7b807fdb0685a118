"""Each rule is tested on a series with the feature that it detects, and on a similar series without it."""

import math

import pytest
from checking import each_case
from runs_by_hand import INF, NAN, constant_level, decay, message, run_of

from qa_service.diagnosis import log_rules as rules
from qa_service.diagnosis.causes import CAUSES
from qa_service.diagnosis.growth_rules import critical_rate
from qa_service.diagnosis.skipping_harm import loss_scale_trend
from qa_service.diagnosis.weights import CALIBRATION, CALIBRATION_OF_MEASURED, PRIORS, WEIGHTS, calibrate
from qa_service.model.training_run import Record, TrainingEvent, TrainingRun


def features(rule, run):
    return {finding.feature for finding in rule(run)}


def rising(count, factor, first=2.0):
    return [first * factor**i for i in range(count)]


CASES = [
    # (rule, feature, run that shows it, neighbour that does not)
    (
        rules.nonfinite_loss,
        "nan_at_first_record",
        run_of([NAN, NAN, NAN]),
        run_of([NAN, NAN, NAN], from_start=False, steps=False),
    ),
    (rules.nonfinite_loss, "nan_after_first_update", run_of([2.3, NAN, NAN]), run_of([2.3, 2.2, NAN, NAN])),
    (rules.nonfinite_loss, "nan_soon", run_of([2.3, NAN, NAN], every=10), run_of([*decay(9), NAN, NAN])),
    (rules.nonfinite_loss, "rose_before_nan", run_of([*decay(6), 3.0, 20.0, NAN, NAN]), run_of([*decay(8), NAN, NAN])),
    (rules.nonfinite_loss, "sudden_nan", run_of([*decay(8), NAN, NAN]), run_of([*rising(6, 2.0), NAN, NAN])),
    (
        rules.nonfinite_loss,
        "nan_once_confident",
        run_of([*decay(9, 2.3, 0.1), NAN]),
        run_of([*decay(9, 2.3, 1.5), NAN]),
    ),
    (rules.nonfinite_loss, "loss_inf_first", run_of([*decay(8), INF, NAN]), run_of([*decay(8), NAN, NAN])),
    (
        rules.intermittent_nan_loss,
        "nan_comes_and_goes",
        run_of([1.5, NAN, 1.2, NAN, 0.9, 0.7, 0.6]),
        run_of([1.5, 1.2, NAN, NAN, NAN]),
    ),
    (
        rules.nonfinite_gradient,
        "gradient_nan_first",
        run_of([*decay(6), NAN], grad_norm=[*constant_level(5, 1.0), NAN, NAN]),
        run_of([*decay(6), NAN], grad_norm=[*constant_level(6, 1.0), NAN]),
    ),
    (
        rules.nonfinite_gradient,
        "gradient_inf_first",
        run_of([*decay(6), NAN], grad_norm=[*constant_level(5, 1.0), INF, NAN]),
        run_of([*decay(6), NAN], grad_norm=[*constant_level(6, 1.0), INF]),
    ),
    (
        rules.nonfinite_gradient,
        "gradient_rose",
        run_of([*decay(9), NAN], grad_norm=[*constant_level(5, 1.0), 3.0, 9.0, 50.0, 300.0, NAN]),
        run_of([*decay(9), NAN], grad_norm=[*constant_level(9, 1.0, 0.1), NAN]),
    ),
    (rules.geometric_growth, "geometric_growth", run_of(rising(6, 1.5)), run_of(decay(12))),
    (rules.divergence_of_loss, "rises_from_start", run_of(rising(8, 1.5)), run_of(decay(12))),
    (
        rules.divergence_of_loss,
        "lost_after_learning",
        run_of([*decay(10, 4, 1), *rising(8, 1.6, 1.0)]),
        run_of(decay(12)),
    ),
    (
        rules.initial_loss_spike,
        "thrown_up",
        run_of([1.5, 240.0, 20.0, *constant_level(20, 1.4, 0.03)]),
        run_of([1.5, 240.0, *decay(20, 3.0, 0.2)]),
    ),
    (
        rules.gradient_adds_up,
        "gradient_adds_up",
        run_of(decay(16), grad_norm=[0.8 * (i + 1) for i in range(16)]),
        run_of(decay(16), grad_norm=constant_level(16, 1.0, 0.1)),
    ),
    (
        rules.gradient_adds_up,
        "gradient_adds_up_while_flat",
        run_of(constant_level(16, 1.6, 0.02), grad_norm=[0.8 * (i + 1) for i in range(16)]),
        run_of(constant_level(16, 1.6, 0.02), grad_norm=constant_level(16, 1.0, 0.1)),
    ),
    (
        rules.gradient_against_loss,
        "gradient_against_loss",
        run_of(decay(30, 2.3, 0.05), grad_norm=[2.0, *[10.0 + 2 * i for i in range(29)]]),
        run_of(decay(30, 2.3, 0.05), grad_norm=decay(30, 3.0, 0.1)),
    ),
    (
        rules.turn_by_schedule,
        "rate_at_peak",
        run_of([*decay(8, 9, 6), NAN, NAN], lr=[1e-4 * i for i in range(1, 9)] + [8e-4, 8e-4]),
        run_of([*decay(8, 9, 6), NAN, NAN], lr=[8e-4 - 5e-5 * i for i in range(10)]),
    ),
    (
        rules.turn_by_schedule,
        "rate_rose_again",
        run_of([*decay(9, 9, 6), NAN], lr=[1e-3, 8e-4, 6e-4, 4e-4, 2e-4, 1e-4, 1e-3, 1e-3, 1e-3, 1e-3]),
        run_of([*decay(9, 9, 6), NAN], lr=[1e-3] * 10),
    ),
    (
        rules.loss_after_restart,
        "jump_at_restart",
        run_of([*decay(8), 9.0, 8.0], events=[TrainingEvent(kind="restart", text="resuming", line=9)]),
        run_of([*decay(8), 0.4, 0.41], events=[TrainingEvent(kind="restart", text="resuming", line=9)]),
    ),
    (
        rules.unusual_learning_rate,
        "rate_zero",
        run_of(constant_level(9, 2.3), lr=[0.0] * 9),
        run_of(constant_level(9, 2.3), lr=[1e-3] * 9),
    ),
    (
        rules.unusual_learning_rate,
        "rate_tiny",
        run_of(constant_level(9, 2.3), lr=[1e-7] * 9),
        run_of(constant_level(9, 2.3), lr=[1e-3] * 9),
    ),
    (
        rules.unusual_learning_rate,
        "rate_high",
        run_of(constant_level(9, 2.3), lr=[1e-2] * 9, settings={"optimizer": "AdamW"}),
        run_of(constant_level(9, 2.3), lr=[1e-2] * 9, settings={"optimizer": "SGD"}),
    ),
    (
        rules.single_loss_jump,
        "jump",
        run_of([*decay(20), *constant_level(12, 30.0, 0.1)]),
        run_of([*decay(20), 30.0, *constant_level(20, 0.4, 0.02)]),
    ),
    (rules.first_loss, "huge_first_loss", run_of([840.0, 600.0]), run_of([2.3, 2.2])),
    (
        rules.first_loss,
        "first_loss_is_batch_times_chance",
        run_of([75.0, 70.0], settings={"classes": 10, "batch_size": 32}),
        run_of([2.4, 2.3], settings={"classes": 10, "batch_size": 32}),
    ),
    (rules.loss_at_chance, "at_chance", run_of(constant_level(20, math.log(10), 0.0005)), run_of(decay(20))),
    (
        rules.loss_at_chance,
        "fell_to_chance",
        run_of([30.0, *constant_level(20, math.log(2), 0.0005)]),
        run_of(constant_level(20, math.log(2), 0.0005)),
    ),
    (rules.flat_loss, "exactly_constant", run_of([3.1416] * 8), run_of(constant_level(8, 3.14, 0.01))),
    (rules.flat_loss, "at_clamp", run_of(constant_level(8, 7.6666, 0.0004)), run_of(constant_level(8, 7.31, 0.0004))),
    (
        rules.flat_loss,
        "creeps",
        run_of([2.412 - 0.0004 * i for i in range(40)], every=100),
        run_of(constant_level(40, 2.412, 0.002), every=100),
    ),
    (
        rules.flat_loss,
        "flat_beside_chance",
        run_of(constant_level(40, 1.66, 0.01), every=10),
        run_of(decay(40), every=10),
    ),
    (
        rules.gradient_while_flat,
        "gradient_zero",
        run_of(constant_level(9, math.log(2), 1e-4), grad_norm=[0.0] * 9),
        run_of(decay(9), grad_norm=[0.0, *constant_level(8, 1.0)]),
    ),
    (
        rules.gradient_while_flat,
        "gradient_tiny",
        run_of(constant_level(9, math.log(2), 1e-4), grad_norm=[1e-8] * 9),
        run_of(constant_level(9, math.log(2), 1e-4), grad_norm=[1.0] * 9),
    ),
    (
        rules.gradient_while_flat,
        "gradient_scaled",
        run_of(
            constant_level(20, 1.6, 0.01), grad_norm=constant_level(20, 5e4, 0.1), loss_scale=[65536.0] * 20, every=10
        ),
        run_of(
            constant_level(20, 1.6, 0.01), grad_norm=constant_level(20, 1.0, 0.1), loss_scale=[65536.0] * 20, every=10
        ),
    ),
    (
        rules.gradient_while_flat,
        "high_without_gradient",
        run_of(constant_level(9, 28.0, 0.2), grad_norm=[0.0] * 9),
        run_of(constant_level(9, 0.69, 0.0), grad_norm=[0.0] * 9),
    ),
    (
        rules.zero_loss,
        "hidden_by_log",
        run_of([1.0, 0.0, 0.0], grad_norm=[1.0, NAN, NAN]),
        run_of([1.0, 0.0, 0.0], grad_norm=[1.0, 0.0, 0.0]),
    ),
    (
        rules.zero_loss,
        "zero_loss_and_gradient",
        run_of([0.0] * 5, grad_norm=[0.0] * 5),
        run_of([1.0, 0.5, 0.0, 0.0, 0.0]),
    ),
    (
        rules.constant_accuracy,
        "accuracy_collapsed",
        run_of(decay(9), accuracy=[0.5, 0.7, 0.8, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5]),
        run_of(decay(9), accuracy=[0.5, 0.6, 0.7, 0.8, 0.9, 0.91, 0.92, 0.93, 0.94]),
    ),
    (
        rules.loss_scale,
        "scale_falls",
        run_of(constant_level(18, 2.0), loss_scale=[65536.0 / 2**i for i in range(18)]),
        run_of(constant_level(18, 2.0), loss_scale=[65536.0 / 2**i for i in range(5)] + [4096.0] * 13),
    ),
    (
        rules.bad_validation,
        "validation_not_finite",
        run_of(decay(6), val_loss=[1.0, NAN, NAN]),
        run_of([*decay(4), NAN, NAN], val_loss=[1.0, NAN, NAN]),
    ),
    (
        rules.bad_validation,
        "validation_turns",
        run_of(decay(30, 2.3, 0.01), val_loss=[1.9, 1.2, 0.9, 1.1, 1.3, 1.5, 1.8]),
        run_of(decay(30, 2.3, 0.01), val_loss=[1.9, 1.2, 0.9, 0.8, 0.75, 0.7, 0.7]),
    ),
    (
        rules.bad_validation,
        "validation_never_learns",
        run_of(decay(12, 2.3, 0.1), val_loss=[2.4, 2.6, 2.9, 3.2, 3.3]),
        run_of(decay(12, 2.3, 0.1), val_loss=[1.4, 0.9, 0.5, 0.4, 0.4]),
    ),
    (
        rules.loss_spikes,
        "late_spike",
        run_of([*decay(40), 8.0, 9.0, NAN, NAN], every=100),
        run_of([*decay(40), 8.0, 9.0, NAN, NAN], every=1),
    ),
    (
        rules.number_format,
        "half",
        run_of([1.0], settings={"dtype": "float16"}),
        run_of([1.0], settings={"dtype": "bfloat16"}),
    ),
]


@each_case(("rule", "feature", "shows", "neighbour"), CASES)
def test_a_rule_finds_its_feature_and_not_beside_it(rule, feature, shows, neighbour):
    assert feature in features(rule, shows)
    assert feature not in features(rule, neighbour)


@each_case(
    ("event", "cause"),
    [
        (
            message("anomaly", "RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output."),
            "gradient_at_zero",
        ),
        (message("anomaly", "Function 'LinalgVectorNormBackward0' returned nan values"), "gradient_at_zero"),
        (message("anomaly", "Function 'PowBackward0' returned nan values"), "gradient_at_zero"),
        (message("anomaly", "Function 'AcosBackward0' returned nan values"), "gradient_at_zero"),
        (message("anomaly", "Function 'NativeLayerNormBackward0' returned nan values"), "forward_overflow"),
        (message("anomaly", "Function 'LogBackward0' returned nan values"), "log_of_zero"),
        (message("anomaly", "Function 'DivBackward0' returned nan values"), "zero_over_zero"),
        (message("anomaly", "Function 'SoftmaxBackward0' returned nan values"), "empty_attention_row"),
        (message("anomaly", "Function 'MulBackward0' returned nan values"), "where_backward"),
        (message("anomaly", "Function 'ExpBackward0' returned nan values"), "forward_overflow"),
        (message("jax_nan", "FloatingPointError: invalid value (nan) encountered in log"), "log_of_zero"),
        (message("numpy_zero", "RuntimeWarning: divide by zero encountered in log"), "log_of_zero"),
        (message("numpy_overflow", "RuntimeWarning: overflow encountered in exp"), "forward_overflow"),
        (message("numpy_invalid", "RuntimeWarning: invalid value encountered in true_divide"), "zero_over_zero"),
        (message("scale_minimum", "Exception: Current loss scale already at minimum"), "loss_scale_collapse"),
        (
            message("scale_minimum_fairseq", "FloatingPointError: Minimum loss scale reached (0.0001)."),
            "loss_scale_collapse",
        ),
        (message("label_range", "IndexError: Target 10 is out of bounds."), "bad_labels"),
        (message("batch_of_one", "ValueError: Expected more than 1 value per channel when training"), "batch_norm"),
        (message("bce_range", "Assertion `input_val >= zero && input_val <= one` failed"), "wrong_output"),
        (message("boxes", "assert (boxes1[:, 2:] >= boxes1[:, :2]).all()"), "step_too_large"),
        (message("out_of_memory", "CUDA out of memory"), "out_of_memory"),
        (
            TrainingEvent(kind="traceback", name="OutOfMemoryError", text="torch.OutOfMemoryError: CUDA out of memory"),
            "out_of_memory",
        ),
        (
            TrainingEvent(kind="traceback", name="RuntimeError", text="mat1 and mat2 shapes cannot be multiplied"),
            "shapes",
        ),
    ],
)
def test_messages_seed_causes(event, cause):
    """The heaviest finding from a log message is for the cause that the message names."""
    found = list(rules.known_messages(run_of(events=[event])))
    assert max(found, key=lambda each: each.weight).cause == cause


def test_growth_gives_the_critical_learning_rate():
    """For x ← (1 − ηλ)x with η = 0.5, λ = 6 the loss λx²/2 grows fourfold a step; the rule derives λ and 2/λ from
    that.
    """
    rate, curvature, limit = critical_rate(run_of(rising(10, 4.0), lr=[0.5] * 10))
    assert rate == 0.5 and curvature == pytest.approx(6.0) and limit == pytest.approx(1 / 3)
    every_tenth = run_of(rising(10, 4.0**10), lr=[0.5] * 10, every=10)
    assert critical_rate(every_tenth)[1] == pytest.approx(6.0)
    assert critical_rate(run_of(rising(10, 4.0), lr=[0.5] * 10, settings={"optimizer": "AdamW"})) is None


@each_case(
    ("scales", "path"),
    [
        ([65536.0 / 2**i for i in range(18)], "staircase"),
        ([65536.0, 32768.0, 16384.0, 16384.0, 16384.0], "startup"),
        ([65536.0, 32768.0, 65536.0, 32768.0, 65536.0], "hovering"),
        ([65536.0] * 4, ""),
        ([], ""),
    ],
)
def test_paths_of_the_loss_scale(scales, path):
    assert (
        loss_scale_trend(
            TrainingRun(source="log", series={"loss_scale": tuple(Record(i, i, s) for i, s in enumerate(scales))})
        )
        == path
    )


def test_the_tables_of_weights_name_known_causes():
    assert set(PRIORS) == set(CAUSES)
    assert {cause for row in WEIGHTS.values() for cause in row} <= set(CAUSES)


def test_calibration_rises_and_never_exaggerates():
    """The calibrated probability rises with the raw one and exceeds it by at most about 0.1 where that is at least
    ½.
    """
    grid = [i / 100 for i in range(101)]
    for measured, table in ((False, CALIBRATION), (True, CALIBRATION_OF_MEASURED)):
        values = [calibrate(each, measured=measured) for each in grid]
        assert values == sorted(values)
        assert all(value <= each + 0.105 for value, each in zip(values, grid, strict=True) if each >= 0.5)
        assert (table[0][0], table[-1][0]) == (0.0, 1.0)
