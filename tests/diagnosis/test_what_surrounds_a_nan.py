"""Harm that shows only in some of the values, and what surrounds the first nan: sick runs, each with a similar healthy
one.
"""

import math

from checking import each_case
from runs_by_hand import NAN, constant_level, decay, run_of, skip

from qa_service.diagnosis.divergence import divergence_kind
from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.harm import find_harms
from qa_service.diagnosis.onset_rules import RULES
from qa_service.diagnosis.reading import read_log_text


def features(run):
    return {finding.feature for rule in RULES for finding in rule(run)}


def with_nan(*places, count=60):
    return [NAN if index in places else value for index, value in enumerate(decay(count))]


def test_a_loss_that_is_nan_again_and_again_is_sick():
    assert [each.id for each in find_harms(run_of(with_nan(20, 40)))] == ["nonfinite"]


def test_one_nan_that_recovers_is_healthy():
    assert not find_harms(run_of(with_nan(20)))


def test_nan_beside_skipped_updates_is_a_scale_that_finds_its_place():
    assert not find_harms(run_of(with_nan(20, 40), events=[skip(20, 20), skip(40, 40)]))


def test_a_component_that_is_nan_by_nature_is_no_harm():
    values = decay(40)
    assert not find_harms(run_of(values, rank_loss=[0.5] * 10 + [NAN] * 30))
    assert not find_harms(run_of(values, precision=[NAN] * 40, val_f1=[NAN] * 40))
    assert find_harms(run_of([*values[:10], *[NAN] * 30], rank_loss=[0.5] * 10 + [NAN] * 30))


def test_an_accuracy_that_is_lost_is_sick():
    losses = constant_level(40, 0.5, 0.1)
    assert find_harms(run_of(losses, val_accuracy=[0.6, 0.8, 0.82, 0.45, 0.44]))
    assert not find_harms(run_of(decay(40), val_accuracy=[0.6, 0.8, 0.82, 0.75, 0.81]))


def test_a_validation_that_does_not_change_by_a_digit_means_that_nothing_is_updated():
    run = run_of(constant_level(40, 1.0, 0.2), val_loss=[0.8761] * 5)
    assert find_harms(run) and "validation_constant" in features(run)
    assert not find_harms(run_of(decay(40), val_loss=[0.9, 0.7, 0.6, 0.55, 0.52]))


def test_a_loss_that_is_reweighted_and_falls_again_is_healthy():
    before, after = decay(24, 1.5e-4, 1e-6), decay(24, 0.3, 0.002)
    assert not find_harms(run_of([*before, *after]))
    assert find_harms(run_of([*decay(24, 1.5, 0.02), *constant_level(24, 1.2, 0.05)]))
    steady = [0.5, 0.4, 0.35, 0.3, 0.28]
    assert not find_harms(run_of([*before, *constant_level(24, 0.1, 0.05)], val_loss=steady))
    assert find_harms(run_of([*before, *constant_level(24, 0.1, 0.05)], val_loss=[0.5, 0.4, 0.35, 1.3, 1.28]))


def test_a_second_half_above_the_start_is_sick():
    assert divergence_kind([1.4, 1.4, 1.4, *constant_level(57, 1.9, 0.1)]) == "rising"
    assert divergence_kind([1.4, *constant_level(59, 1.42, 0.1)]) is None
    assert divergence_kind([1.4, 1.4, 1.4, *constant_level(57, 1.9, 0.1), *decay(60, 1.4, 0.2)]) is None


@each_case(
    ("norms", "wanted"),
    [
        ([1.0] * 30 + [NAN] * 10, "gradient_sound_before_nan"),
        ([1.0] * 29 + [NAN] * 11, None),
    ],
)
def test_the_gradient_before_the_nan_tells_a_forward_fault_from_a_backward_one(norms, wanted):
    found = features(run_of([*decay(30), *[NAN] * 10], grad_norm=norms))
    assert ("gradient_sound_before_nan" in found) == (wanted is not None)


def test_validation_tells_whether_the_weights_survive():
    losses = [*decay(30), *[NAN] * 10]
    assert "weights_survive" in features(run_of(losses, val_loss=[1.0] * 40))
    assert "weights_spoilt" in features(run_of(losses, val_loss=[1.0] * 30 + [NAN] * 10))


def test_a_nan_out_of_the_blue_has_a_first_cause_that_is_only_possible_and_a_question():
    found = diagnose(run_of([*decay(30), *[NAN] * 10]))
    assert found.status == "sick" and found.hypotheses[0].certainty == "possible"
    assert found.question is not None and math.fsum(each.probability for each in found.hypotheses) < 1


def hidden_by_its_trainer():
    """What Hugging Face's trainer prints of a run whose loss is nan from the third record on."""
    lines = []
    for step in range(1, 21):
        loss, norm = ("0.0", "nan") if step > 2 else (f"{1.4 - 0.2 * step:.2f}", "1.5")
        lines.append(f"{{'loss': {loss}, 'grad_norm': {norm}, 'learning_rate': 0.002, 'epoch': {step / 4}}}")
        if step % 4 == 0:
            lines.append(f"{{'eval_loss': nan, 'eval_accuracy': 0.25, 'epoch': {step / 4}}}")
    return diagnose(read_log_text("\n".join(lines) + "\n"))


def test_a_loss_that_a_trainer_prints_as_zero_is_no_training_that_gets_on():
    found = hidden_by_its_trainer()
    features = {each.feature for hypothesis in found.hypotheses for each in hypothesis.findings}
    assert not features & {"validation_not_finite", "right_only_in_training"}
    assert "evaluation" not in {harm.id for harm in found.harms}
    assert found.hypotheses[0].cause == "hidden_nan"


def test_what_made_a_hidden_nan_is_asked():
    assert hidden_by_its_trainer().question
