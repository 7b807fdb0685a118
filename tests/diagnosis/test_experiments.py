"""Each cause is demonstrated by a shipped experiment, at parameters that it accepts, whatever values the run has."""

import math
from functools import cache

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.diagnosis.causes import CAUSES
from qa_service.diagnosis.experiments import experiment_of
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.model.training_run import Record, TrainingEvent, TrainingRun
from qa_service.paths import bundled

EXPERIMENTS = cache(lambda: load_specs(bundled("demos")))
WITHOUT = {"poisoned_average", "overfitting", "undertrained", "out_of_memory", "shapes"}
VALUES = st.floats(allow_nan=True, allow_infinity=True)
SETTINGS = st.dictionaries(
    st.sampled_from(["lr", "batch_size", "classes", "clip", "growth_interval", "sequence_length"]),
    st.one_of(st.floats(), st.integers(-(10**18), 10**18), st.text(max_size=5), st.booleans()),
)
DTYPES = st.sampled_from(["", "float16", "bfloat16", "float32", "autocast_float16"])


@st.composite
def runs(draw):
    series = {}
    for key in ("loss", "lr", "grad_norm", "loss_scale", "val_loss"):
        values = draw(st.lists(VALUES, max_size=12))
        gap = draw(st.sampled_from([1, 10, 10**9]))
        series[key] = tuple(Record(gap * index, index + 1, value) for index, value in enumerate(values))
    optimizer = draw(st.sampled_from(["", "SGD", "AdamW"]))
    settings = draw(SETTINGS) | {"dtype": draw(DTYPES), "optimizer": optimizer}
    events = [TrainingEvent(kind="restart", text="", line=3)] if draw(st.booleans()) else []
    return TrainingRun(
        source="log", series=series, settings=settings, events=tuple(events), from_start=draw(st.booleans())
    )


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("cause", sorted(set(CAUSES) - WITHOUT))
@given(run=runs())
def test_parameters_are_valid_for_every_run(cause, run):
    """The parameters are valid with the run's values, extreme ones included, and with the cure, which changes one of
    them.
    """
    planned = experiment_of(cause, run)
    assert planned is not None
    experiment = EXPERIMENTS()[planned.experiment]
    as_is = fill_defaults(experiment, planned.params)
    cured = fill_defaults(experiment, {**planned.params, **planned.cured})
    assert planned.cured and set(planned.from_run) <= set(planned.params)
    if not (cause in ("step_too_small", "step_too_large", "eps_lost") or math.isnan(float(as_is.get("x", 0) or 0))):
        assert cured != as_is


@each_case("cause", sorted(WITHOUT))
def test_what_no_experiment_shows_has_none(cause):
    assert experiment_of(cause, TrainingRun(source="log")) is None


def test_only_the_runs_own_numbers_are_named():
    """`from_run` names only parameters taken from the run: curvature from the loss's growth, learning rate from the
    log.
    """
    grows = TrainingRun(
        source="log",
        series={
            "loss": tuple(Record(i, i + 1, 2.0 * 4.0**i) for i in range(8)),
            "lr": tuple(Record(i, i + 1, 0.5) for i in range(8)),
        },
    )
    planned = experiment_of("step_too_large", grows)
    assert planned.from_run == ("lr", "lam")
    assert planned.params == pytest.approx({"lr": 0.5, "lam": 6.0})
    assert planned.cured == pytest.approx({"lr": 1 / 6})
    assert experiment_of("step_too_large", TrainingRun(source="log")).from_run == ()
