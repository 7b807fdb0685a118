"""The diagnosis engine: it sums evidence, attributes consequences to their cause, and is certain only with enough
features.
"""

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st
from runs_by_hand import NAN, constant_level, decay, message, run_of

from qa_service.diagnosis import engine
from qa_service.diagnosis.causes import CAUSES
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingEvent
from qa_service.model.values import Text

NAN_AT_END = run_of([*decay(9), NAN, NAN])


def finding(feature, cause, weight, words="a fact"):
    return Finding(feature=feature, cause=cause, weight=weight, text=Text("事实", words))


def diagnose_with(monkeypatch, *findings, run=NAN_AT_END):
    """The diagnosis of a sick run where the rules, replaced by the test, yield exactly these findings."""
    monkeypatch.setattr(engine, "RULES", (lambda _: findings,))
    return engine.diagnose(run)


@each_case(
    ("run", "cause"),
    [
        (run_of([2.3, 2.4, 3.0, 6.0, 20.0, 90.0, NAN, NAN], lr=[1.0] * 8), "step_too_large"),
        (
            run_of([*decay(8), 0.0, 0.0], grad_norm=[*constant_level(8, 1.0), NAN, NAN], trainer="hf_trainer"),
            "hidden_nan",
        ),
        (run_of(constant_level(20, 2.0), loss_scale=[65536.0 / 2**i for i in range(20)]), "loss_scale_collapse"),
        (
            run_of([*decay(9)], events=[message("anomaly", "Function 'SqrtBackward0' returned nan values", 10)]),
            "gradient_at_zero",
        ),
        (
            run_of(constant_level(30, 2.3, 0.001), grad_norm=constant_level(30, 2.0, 0.1), lr=[0.0] * 30, every=10),
            "no_update",
        ),
        (run_of([2.412 - 4e-4 * i for i in range(30)], lr=[1e-8] * 30, every=100), "step_too_small"),
        (
            run_of(constant_level(30, 0.6931, 0.0003), grad_norm=constant_level(30, 1e-8, 0.2), every=10),
            "vanishing_signal",
        ),
        (run_of(decay(30, 2.3, 0.01), val_loss=[1.9, 1.2, 0.9, 1.1, 1.3, 1.5, 1.8]), "overfitting"),
        (run_of(decay(5), events=[message("out_of_memory", "CUDA out of memory", 6)]), "out_of_memory"),
    ],
)
def test_typical_runs_get_their_cause(run, cause):
    assert engine.diagnose(run).hypotheses[0].cause == cause


def test_a_cause_explains_its_consequence_away(monkeypatch):
    """Forward overflow makes the loss scale collapse: with evidence of its own, the overflow is the only hypothesis
    named.
    """
    assert "loss_scale_collapse" in CAUSES["forward_overflow"].consequences
    collapse = finding("scale", "loss_scale_collapse", 3.2)
    alone = diagnose_with(monkeypatch, collapse)
    assert alone.hypotheses[0].cause == "loss_scale_collapse"
    both = diagnose_with(monkeypatch, collapse, finding("headroom", "forward_overflow", 2.5))
    assert [each.cause for each in both.hypotheses] == ["forward_overflow"]
    assert "consequence" in next(each.reason.en for each in both.excluded if each.cause == "loss_scale_collapse")


def test_shared_evidence_explains_nothing_away(monkeypatch):
    """A cause that could have the consequence does not replace it unless there is separate evidence for that cause."""
    found = diagnose_with(
        monkeypatch, finding("scale", "loss_scale_collapse", 3.2), finding("scale", "forward_overflow", 1.2)
    )
    assert found.hypotheses[0].cause == "loss_scale_collapse"


def test_one_light_feature_is_only_possible(monkeypatch):
    """A cause with one light feature stays "possible" even if all others are improbable; more takes two features or a
    decisive one.
    """
    others = [finding("against", cause, -9.0) for cause in CAUSES if cause != "nonfinite_data"]
    one = diagnose_with(monkeypatch, finding("a", "nonfinite_data", 2.9), *others)
    assert one.hypotheses[0].certainty == "possible"
    two = diagnose_with(monkeypatch, finding("a", "nonfinite_data", 2.9), finding("b", "nonfinite_data", 2.9), *others)
    assert two.hypotheses[0].certainty in ("likely", "certain")
    assert diagnose_with(monkeypatch, finding("a", "nonfinite_data", 9.0), *others).hypotheses[0].certainty == "certain"


@pytest.mark.parametrize(("weight", "word"), [(0.5, "possible"), (2.5, "likely"), (9.0, "certain")])
def test_words_follow_the_calibrated_probability(monkeypatch, weight, word):
    found = diagnose_with(monkeypatch, finding("a", "log_of_zero", weight), finding("b", "log_of_zero", 0.4))
    assert found.hypotheses[0].certainty == word
    assert CAUSES["log_of_zero"].name.en in found.summary.en and word in found.summary.en


def test_the_heaviest_finding_of_a_feature_counts_once(monkeypatch):
    found = diagnose_with(monkeypatch, *[finding("a", "log_of_zero", weight) for weight in (1.0, 2.0, 1.5)])
    assert [each.weight for each in found.hypotheses[0].findings] == [2.0]


def test_at_most_two_hypotheses_and_one_question(monkeypatch):
    """Where causes fit equally well, two are named, with a question in both languages whose answer tells them apart."""
    found = diagnose_with(
        monkeypatch,
        finding("a", "log_of_zero", 2.5),
        finding("a", "step_too_large", 1.4),
        finding("a", "bad_labels", 2.0),
    )
    assert len(found.hypotheses) == 2
    assert found.question is not None and found.question.zh.endswith("。")
    assert found.hypotheses[0].probability >= found.hypotheses[1].probability


def test_without_evidence_nothing_is_claimed(monkeypatch):
    found = diagnose_with(monkeypatch)
    assert (found.status, found.hypotheses) == ("undecided", ())


def test_suspects_are_excluded_with_a_reason():
    """A loss that is normal up to the nan excludes too large steps; the reason says so in both languages."""
    found = engine.diagnose(NAN_AT_END)
    reason = next(each.reason for each in found.excluded if each.cause == "step_too_large")
    assert "normal" in reason.en and "正常" in reason.zh
    assert set(found.causes) >= {each.cause for each in (*found.hypotheses, *found.excluded)}


def test_what_is_not_numerics_is_declined():
    """Overfitting, lack of memory, wrong shapes and unrelated exceptions get no diagnosis."""
    assert (
        engine.diagnose(run_of(decay(30, 2.3, 0.01), val_loss=[1.9, 1.2, 0.9, 1.1, 1.3, 1.5, 1.8])).status
        == "not_numerics"
    )
    assert engine.diagnose(run_of(decay(5), events=[message("shapes", "size mismatch", 6)])).status == "not_numerics"
    missing = TrainingEvent(kind="traceback", name="FileNotFoundError", text="FileNotFoundError: data.pt", line=6)
    found = engine.diagnose(run_of(decay(5), events=[missing]))
    assert (found.status, found.hypotheses) == ("not_numerics", ())


def test_the_next_line_fits_the_trainer():
    hidden = run_of([*decay(8), 0.0, 0.0], grad_norm=[*constant_level(8, 1.0), NAN, NAN], trainer="hf_trainer")
    assert "logging_nan_inf_filter=False" in engine.diagnose(hidden).line_to_add
    assert "numstab.watch(model, optimizer)" in engine.diagnose(NAN_AT_END).line_to_add


def test_unseen_names_what_a_log_lacks():
    lacks = {each.en for each in engine.diagnose(NAN_AT_END).unseen}
    assert "the learning rate" in lacks and "the optimizer" in lacks
    given = run_of([*decay(9), NAN], lr=[0.1] * 10, settings={"optimizer": "SGD", "dtype": "float32"})
    assert {each.en for each in engine.diagnose(given).unseen} == {"the gradient norm, before clipping"}


def test_marks_stand_on_the_curve():
    """The curve is marked at the steps of the first nan and of the last good record."""
    found = {(mark.series, mark.step) for mark in engine.diagnose(run_of([*decay(9), NAN, NAN], every=10)).marks}
    assert {("loss", 90.0), ("loss", 80.0)} <= found


def test_findings_cite_lines_and_numbers():
    found = engine.diagnose(run_of([2.3, 2.4, 3.0, 6.0, 20.0, 90.0, NAN, NAN]))
    first = found.hypotheses[0].findings[0]
    assert first.lines and "90" in first.text.en and "90" in first.text.zh


VALUES = st.one_of(st.floats(), st.sampled_from([0.0, 1e308, -1e308, 5e-324, 2.3026, 7.6666]))
SERIES = st.lists(VALUES, min_size=1, max_size=30)
KEYS = ("grad_norm", "lr", "loss_scale", "val_loss", "accuracy", "skipped", "reward")


@given(
    loss=SERIES,
    others=st.dictionaries(st.sampled_from(KEYS), SERIES),
    settings=st.dictionaries(st.sampled_from(["classes", "batch_size", "lr", "log2"]), VALUES),
    from_start=st.booleans(),
)
def test_any_numbers_get_a_diagnosis(loss, others, settings, from_start):
    """Extreme values raise nothing, probabilities lie in [0, 1], and a healthy run has no hypothesis."""
    found = engine.diagnose(run_of(loss, from_start=from_start, settings=settings, **others))
    assert all(0 <= each.probability <= 1 for each in found.hypotheses)
    assert (found.status == "healthy") == (not found.harms)


def test_a_long_run_is_looked_at_in_part():
    """Of two hundred thousand records the engine keeps enough to see the only nan, at the end; the run is not
    changed.
    """
    run = run_of([*decay(200_000), NAN])
    found = engine.diagnose(run)
    assert found.status != "healthy" and found.run is run


def test_a_step_that_is_too_small_makes_no_nan():
    """Neither too small a step nor a missing update is named as a cause if the gradient is not finite."""
    run = run_of([0.0], grad_norm=[NAN], lr=[2e-5])
    named = {each.cause for each in engine.diagnose(run).hypotheses}
    assert named and not named & {"step_too_small", "no_update", "undertrained"}
    flat = {each.cause for each in engine.diagnose(run_of(constant_level(60, 1.7, 0.002), lr=[1e-9] * 60)).hypotheses}
    assert flat & {"step_too_small", "no_update"}
