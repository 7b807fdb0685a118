"""Kinds of faults that were once missed or confused, each with a similar healthy run that must give no alarm."""

import math
from dataclasses import replace

from checking import each_case
from runs_by_hand import NAN, constant_level, decay, run_of

from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.harm import find_harms
from qa_service.diagnosis.log_rules import first_loss
from qa_service.diagnosis.schedule import rate_jump
from qa_service.diagnosis.stalled_loss import is_flat, multiples_of_clamp
from qa_service.diagnosis.trial_rules import faulty_operation
from qa_service.diagnosis.validation_rules import bad_validation
from qa_service.diagnosis.weights import EXPERT_WEIGHTS
from qa_service.model.training_run import Intervention, LayerRecord, OperationFault, Record, TrainingEvent, TrainingRun


def trace_of(losses, *, operations="", events=(), fault=None, facts=None, early=None, settings=None, **series):
    """A recorded classifier of four classes with four layers of weights."""
    facts = {
        "size": 64.0, "dimensions": 2.0, "fan_out": 8.0, "fan_in": 8.0, "bits": 32.0, "bfloat16": 0.0, "trained": 1.0,
        "held": 1.0, "init_rms": 0.5, "init_rows": 0.3, **(facts or {}),
    }  # fmt: skip
    early = {"update_ratio": 0.01, "update_rms": 0.001, "grad_rms": 0.01, "weight_rms": 0.5, **(early or {})}
    names = [f"{layer}.weight" for layer in "abcd"]
    layers = [LayerRecord(-1, name, "parameter", facts) for name in names]
    layers += [LayerRecord(step, name, "parameter", early) for step in (0, 5, 10) for name in names]
    named = {"loss": losses, **series}
    return TrainingRun(
        source="trace", format="trace", from_start=True, events=tuple(events), fault=fault, layers=tuple(layers),
        module_classes=dict.fromkeys("abcd", "Linear"),
        settings={
            "optimizer": "Adam", "optimizers": 1, "dtype": "float32", "loss": "NllLoss", "reduction": "mean",
            "classes": 4.0, "steps": float(len(losses)), "carried": 0.0, "eps": 1e-8, "operations": operations,
            **(settings or {}),
        },
        series={
            key: tuple(Record(index * (len(losses) // len(values)), None, value) for index, value in enumerate(values))
            for key, values in named.items()
        },
    )  # fmt: skip


def alarms(step, weights="a.weight"):
    return (
        TrainingEvent(kind="message", name="alarm_gradient", text="gradient is nan", step=step),
        TrainingEvent(kind="message", name="alarm_loss", text=f"loss is nan; not finite: {weights}", step=step + 1),
    )


def first_cause(run):
    return diagnose(run).hypotheses[0].cause


LATER = [*decay(40, 1.4, 0.3), *[NAN] * 40]


@each_case(
    ("operations", "cause"),
    [
        ("Add NllLoss Mul LogSoftmax Mean Where Addmm Mul Log", "where_backward"),
        ("Add NllLoss Mul LogSoftmax Sqrt Sum Pow Sub Addmm", "gradient_at_zero"),
        ("Neg Mean Gather Log Softmax Addmm", "log_of_zero"),
        ("NllLoss LogSoftmax Addmm Relu Addmm", "adam_stale"),
    ],
)
def test_a_gradient_that_alone_is_nan_is_told_by_the_operations_of_the_loss(operations, cause):
    passed_on = OperationFault(operation="relu", phase="forward", value=NAN, step=40, dtype="float32")
    run = trace_of(LATER, operations=operations, events=alarms(39), fault=passed_on)
    assert first_cause(run) == cause
    assert list(faulty_operation(run)) == []  # relu only passes on what its weights gave it


def test_an_operation_that_made_the_nan_itself_is_still_blamed():
    fault = OperationFault(operation="softmax", phase="forward", value=NAN, step=40, dtype="float32")
    run = trace_of(
        LATER, events=(TrainingEvent(kind="message", name="alarm_loss", text="loss is nan", step=40),), fault=fault
    )
    assert first_cause(run) == "empty_attention_row"


def test_adams_eps_in_float16_outweighs_the_overflow_that_follows():
    fault = OperationFault(operation="add", phase="forward", value=math.inf, step=1, dtype="float16")
    event = TrainingEvent(kind="message", name="alarm_loss", text="loss is nan; not finite: a.weight", step=1)
    run = trace_of(
        [1.4, *[NAN] * 79], events=(event,), fault=fault, facts={"bits": 16.0}, settings={"dtype": "float16"}
    )
    assert first_cause(run) == "eps_lost"


def test_without_a_scaler_gradients_of_exactly_zero_have_underflowed():
    zero = {"grad_rms": 0.0, "grad_max": 0.0, "zero": 1.0, "tiny": 0.0, "update_rms": 0.0, "update_ratio": 0.0}
    run = trace_of(
        constant_level(80, 5e-7, 0.05),
        early=zero,
        settings={"autocast": "float16", "scaler": False},
        grad_norm=[0.0] * 80,
    )
    assert first_cause(run) == "gradient_underflow"


POOR = [*decay(60, 1.4, 0.9), *constant_level(90, 0.9, 0.03)]


@each_case(
    ("facts", "early", "cause"),
    [
        ({"init_rows": 0.0}, {}, "symmetric_init"),
        ({"bits": 16.0, "bfloat16": 1.0}, {"unchanged": 0.95}, "update_swallowed"),
        ({"init_rms": 0.1}, {}, "vanishing_signal"),
        ({"init_rms": 1.5}, {}, "weights_too_large"),
    ],
)
def test_a_poor_loss_is_harm_beside_what_explains_it_and_not_alone(facts, early, cause):
    assert find_harms(trace_of(POOR)) == ()
    run = trace_of(POOR, facts=facts, early=early)
    assert [harm.id for harm in find_harms(run)] == ["no_learning"]
    assert first_cause(run) == cause


def test_what_explains_a_poor_loss_is_no_harm_beside_a_good_one():
    good = [*decay(60, 1.4, 0.05), *constant_level(90, 0.05, 0.03)]
    for facts in ({"init_rows": 0.0}, {"init_rms": 0.1}, {"init_rms": 1.5}):
        assert find_harms(trace_of(good, facts=facts)) == ()
    assert find_harms(trace_of(POOR, facts={"init_rms": 1.5}, val_accuracy=[0.5, 0.8, 0.9, 0.9])) == ()


def test_a_nan_out_of_the_blue_in_a_log_has_a_possible_cause_and_names_what_to_add():
    diagnosis = diagnose(run_of([*decay(30), *[NAN] * 10]))
    assert diagnosis.status == "sick" and diagnosis.hypotheses[0].certainty == "possible" and diagnosis.question
    assert diagnosis.line_to_add


def test_a_nan_after_a_rise_is_still_called_a_step_too_large():
    assert diagnose(run_of([*decay(10), 3.0, 20.0, 400.0, 1e4, 1e6, NAN, NAN])).status == "sick"


def test_the_noise_of_a_run_that_has_learned_is_no_rise():
    losses = [*decay(30, 1.6, 0.001), 2e-4, 5e-4, 2e-3, NAN, NAN, NAN]
    found = {each.feature for hypothesis in diagnose(run_of(losses)).hypotheses for each in hypothesis.findings}
    assert "rose_before_nan" not in found


def test_a_first_loss_of_zero_is_borne():
    assert is_flat(run_of([0.3, *[0.0] * 30])) is False
    assert diagnose(run_of([0.0] * 30)).status != "healthy"


def test_a_loss_that_drops_from_far_above_to_that_of_guessing_is_harm():
    fell = [24.0, 9.0, 3.0, *constant_level(47, math.log(5), 0.008)]
    assert [harm.id for harm in find_harms(run_of(fell))] == ["no_learning"]
    assert find_harms(run_of([24.0, 9.0, 3.0, *constant_level(47, 1.75, 0.008)])) == ()


def test_a_rising_loss_is_no_harm_while_validation_is_right():
    rising = [1.5 + 1.5 * index / 59 for index in range(60)]
    wrong = run_of(rising, val_accuracy=constant_level(60, 0.3, 0.02))
    assert [harm.id for harm in find_harms(wrong)] == ["diverging"]
    assert find_harms(run_of(rising, val_accuracy=constant_level(60, 0.97, 0.002))) == ()


def test_losses_that_are_whole_multiples_of_the_clamp():
    """Losses that are multiples of 100/32 point to a clamped log or a wrong output; multiples of 100/31.3 do not."""
    counts = [7, 8, 10, 13, 9, 5, 8, 8, 7, 5, 6, 5, 7]
    assert multiples_of_clamp(run_of([count * 100 / 32 for count in counts]))
    assert not multiples_of_clamp(run_of([count * 100 / 31.3 for count in counts]))
    named = {each.cause for each in diagnose(run_of([count * 100 / 32 for count in counts])).hypotheses}
    assert named == {"loss_clipped", "wrong_output"}  # a log cannot tell a clamp from a softmax over one unit


def test_a_jump_of_the_learning_rate_is_found_and_a_warm_up_is_none():
    rates = [Record(step, None, 0.05 if step < 20 else 3.0) for step in range(30)]
    assert rate_jump(rates, 29) == (rates[19], rates[20])
    warm_up = [Record(step, None, 1e-3 * (step + 1)) for step in range(30)]
    assert rate_jump(warm_up, 29) is None
    assert rate_jump(rates, 10) is None


def test_training_and_validation_that_are_far_apart_in_a_single_record():
    run = run_of([0.035], accuracy=[0.988], val_loss=[2.68], val_accuracy=[0.593])
    assert [harm.id for harm in find_harms(run)] == ["evaluation"]
    assert find_harms(run_of([0.035], accuracy=[0.988], val_loss=[0.4], val_accuracy=[0.9])) == ()


def test_a_gradient_norm_that_is_nan_once_is_no_harm():
    assert find_harms(run_of([1.91, 0.92], grad_norm=[NAN, 3.98])) == ()
    assert find_harms(run_of([1.91, 0.92], grad_norm=[3.98, NAN])) != ()


def outputs_of(rms, loss, **settings):
    """A recorded regression whose first output has this size."""
    run = trace_of(loss, settings={"loss": "MseLoss", "classes": 0.0, **settings})
    first_step = LayerRecord(0, "", "module", {"out_rms": rms, "in_rms": 1.0, "in_columns": 1.2})
    return replace(run, layers=(*run.layers, first_step))


def test_outputs_that_dwarf_their_targets_and_stay_poor_are_weights_too_large():
    losses = [100.0, *decay(20, 90.0, 0.9), *constant_level(120, 0.9, 0.02)]
    assert find_harms(outputs_of(9.9, losses)) and first_cause(outputs_of(9.9, losses)) == "weights_too_large"
    assert find_harms(outputs_of(0.5, losses)) == ()  # the targets themselves are large
    assert find_harms(outputs_of(9.9, [100.0, *decay(140, 90.0, 0.01)])) == ()  # brought down


def test_gradients_that_add_up_in_a_regression_that_stays_poor_are_harm():
    losses = decay(141, 0.8, 0.5, 0.03)
    assert find_harms(outputs_of(0.1, losses, carried=1.0))
    assert find_harms(outputs_of(0.1, losses, carried=0.0)) == ()


def test_a_sum_that_falls_as_slowly_as_a_mean_is_no_harm_and_large_weights_are():
    """A first loss far above guessing: summed over a batch it falls by a third (no harm); from large weights, to a
    tenth at once (harm).
    """
    accuracy = [0.2 + 0.02 * index for index in range(30)]
    sums = decay(30, 48.0, 21.0)
    assert not find_harms(run_of(sums, every=5, accuracy=accuracy))
    assert find_harms(run_of(decay(30, 900.0, 60.0), every=5, accuracy=accuracy))


def test_a_loss_that_leaps_to_its_scale_is_judged_by_what_it_was_weighed_with():
    before = constant_level(20, 1.5e-4, 0.01)
    assert not find_harms(run_of([*before, *decay(30, 1.5, 1.2)]))
    assert find_harms(run_of([*constant_level(20, 0.5, 0.01), *constant_level(30, 900.0, 0.01)]))


def test_two_records_at_a_clamp_to_five_digits_are_harm_and_two_alike_are_none():
    clamped = run_of([87.3365, 87.3365], from_start=False)
    assert diagnose(clamped).hypotheses[0].cause == "loss_clipped"
    assert not find_harms(run_of([87.5, 87.5], from_start=False))


def test_a_trainer_that_prints_nan_as_zero_hides_it_and_a_gradient_of_zero_does_not():
    hidden = run_of([0.0] * 4)
    said = {each.cause for each in diagnose(replace(hidden, format="hf_trainer")).hypotheses}
    assert said <= {"hidden_nan", "bad_labels"} and said
    shown = run_of([0.0] * 4, grad_norm=[0.0] * 4)
    assert "hidden_nan" not in {each.cause for each in diagnose(replace(shown, format="hf_trainer")).hypotheses}


def test_a_validation_that_swings_while_nothing_of_it_is_right_is_batch_normalization():
    train = decay(8, 1.8, 0.2)
    swinging = run_of(train, val_loss=[2.4, 6.1, 3.9, 11.2, 5.3, 14.1, 7.8, 17.4], val_accuracy=[0.1] * 8)
    assert diagnose(swinging).hypotheses[0].cause == "batch_norm"
    rising = run_of(train, val_loss=[2.4, 2.6, 2.9, 3.3, 3.8, 4.4, 5.0, 5.7], val_accuracy=[0.1] * 8)
    features = {each.feature for hypothesis in diagnose(rising).hypotheses for each in hypothesis.findings}
    assert "validation_swings" not in features


def test_an_accuracy_of_validation_in_per_cent_that_ends_near_0_is_not_partly_right():
    train, held_out = decay(8, 1.8, 0.2), [2.4, 2.6, 2.9, 3.3, 3.8, 4.4, 5.0, 5.7]
    for last, right in ((0.9, False), (78.0, True)):
        run = run_of(train, val_loss=held_out, val_accuracy=[*[80.0] * 7, last])
        assert ("validation_partly_right" in {each.feature for each in bad_validation(run)}) is right


def test_a_first_record_after_some_updates_says_less_of_the_initial_weights():
    early = run_of([840.0, 600.0, 500.0])
    later = {key: tuple(each._replace(step=each.step + 10) for each in points) for key, points in early.series.items()}
    late = replace(early, series=later)
    assert {each.feature for each in first_loss(early)} == {"huge_first_loss"}
    assert {each.feature for each in first_loss(late)} == {"huge_early_loss"}


def test_the_weights_of_a_trial_are_those_that_were_judged():
    """In a diagnosis of a trial, features keep their expert weights: corrections were fitted to runs with series
    only.
    """
    run = run_of([2.3, 2.2, 2.4, 5.0, 60.0, 900.0, NAN, NAN], lr=[1.0] * 8)
    tried = replace(run, source="trial", interventions=(Intervention(id="as_is", healthy=False, losses=(2.3, NAN)),))
    judged = {
        (each.cause, finding.feature): finding.weight
        for each in diagnose(tried).hypotheses
        for finding in each.findings
        if finding.feature in EXPERT_WEIGHTS
    }
    assert judged and all(
        weight == EXPERT_WEIGHTS[feature].get(cause, 0.0) for (cause, feature), weight in judged.items()
    )
