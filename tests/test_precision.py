"""Comparisons of number formats, against numpy's spacing and exact rational arithmetic."""

import math
from contextlib import suppress

import numpy as np
import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st
from oracles import ALL_FORMATS, EXPERIMENTS

from qa_service.answering.planning import PlannedRun, companion_runs
from qa_service.errors import BadParameter
from qa_service.experiments.parameters import fill_defaults
from qa_service.model import EvidenceBlock, Request, RunStatus
from qa_service.presentation.comparison import comparison_tables
from qa_service.presentation.precision import FLOAT_FORMATS, precision_losses
from qa_service.schemas.answers import answer_json

SLUGS_WITH_DTYPE = [
    slug for slug, experiment in EXPERIMENTS.items() if "dtype" in experiment.params and slug != "formula"
]  # computes in every format by itself


@given(st.floats(1e-45, 3e38))
def test_ulp_of_float32_equals_numpy_spacing(value):
    """The ulp is taken at the float32 nearest to the value, subnormal or not."""
    stored = np.float32(value)
    assert FLOAT_FORMATS["float32"].ulp(float(stored)) == float(np.spacing(stored))


@given(st.floats(0, 6e4))
def test_ulp_of_float16_equals_numpy_spacing(value):
    stored = np.float16(value)
    assert FLOAT_FORMATS["float16"].ulp(float(stored)) == float(np.spacing(stored))


@pytest.mark.parametrize(
    ("x", "column", "op"), [(1.5, "product", "multiply"), (0.1, "sum", "add"), (1.1, "sum", "add")]
)
def test_precision_losses_agree_with_exact_arithmetic(service, x, column, op):
    """The first overflow, lost digit and error are those of `dtype_ladder`, which knows the exact value at every
    step.
    """
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), params={"x": x}, compare={"dtype": ()})
    losses = {loss.dtype: loss for loss in precision_losses(service.answer(request).evidence) if loss.column == column}
    assert set(losses) == {"float16", "bfloat16", "float32"}
    experiment = service.knowledge.experiment("dtype_ladder")
    exact = service.runner.run(experiment, fill_defaults(experiment, {"op": op, "x": x, "n": 100})).measured
    for dtype, loss in losses.items():
        assert loss.overflow == exact[f"overflow_{dtype}"]
        assert loss.first_wrong_digit == exact[f"lost_{dtype}"]
        assert loss.ulps == pytest.approx(exact[f"ulps_{dtype}"], rel=1e-3, abs=1e-3)


def test_precision_losses_are_in_the_table_and_the_json(service):
    """Multiplying 1.5 a hundred times, float16 overflows at step 28 and loses a digit at step 8."""
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), compare={"dtype": ()})
    answer = service.answer(request)
    (table,) = comparison_tables(answer.evidence, "en")
    rows = dict(table.rows)
    assert rows["product: first overflow (step)"] == ("28", "", "", "")
    assert rows["product: first lost digit (step)"][:2] == ("8", "7")
    (first, *_) = answer_json(answer).to_dict()["ladder"]
    assert first["ulps"] == "Infinity"
    assert (first["dtype"], first["column"], first["overflow"]) == ("float16", "product", 28)


@pytest.mark.parametrize("compare", [{"dtype": ("float16", "bfloat16")}, {"x": (1.5, 2.0)}, {}])
def test_precision_losses_need_a_comparison_of_dtypes_with_float64(service, compare):
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), compare=compare)
    assert precision_losses(service.answer(request).evidence) == []


def test_values_beyond_float64_have_no_error(service):
    """2^2000 overflows float64 too, which leaves no reference to measure an error against."""
    request = Request(
        question="", entry="multiply-vs-add", blocks=("powers",), params={"x": 2.0, "n": 2000}, compare={"dtype": ()}
    )
    losses = {
        loss.dtype: loss for loss in precision_losses(service.answer(request).evidence) if loss.column == "product"
    }
    assert losses["float32"].ulps is None
    assert losses["float16"].overflow == 20  # a long run yields only every 20th step
    assert not any(math.isnan(loss.ulps or 0) for loss in losses.values())


def test_a_comparison_of_dtypes_adds_companion_runs(service):
    """`dtype_ladder` runs in all formats with the request's parameters; runs without a comparison have no
    companions.
    """
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), params={"n": 60}, compare={"dtype": ()})
    companions = [one for one in service.answer(request).evidence if one.experiment.slug == "dtype_ladder"]
    assert [(one.id, one.params["op"], one.params["n"]) for one in companions] == [
        ("powers-multiply", "multiply", 60),
        ("powers-add", "add", 60),
    ]
    assert companions[0].run.measured["exact"] == pytest.approx(1.5**60)
    assert companions[0].run.measured["overflow_float16"] == math.floor(math.log(65504, 1.5)) + 1
    assert companions[0].run.measured["lost_e5m2"] < companions[0].run.measured["lost_float16"]
    for compare in ({}, {"x": (1.5, 2.0)}):
        plain = service.answer(Request(question="", entry="multiply-vs-add", blocks=("powers",), compare=compare))
        assert {one.experiment.slug for one in plain.evidence} == {"pow_vs_sum"}


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("slug", SLUGS_WITH_DTYPE)
def test_companion_runs_cover_eight_formats_for_every_experiment_with_dtypes(service, slug):
    """Each format has a first overflow, a first lost digit and an error in ulps."""
    entry, block = next(
        (entry, block)
        for entry in service.knowledge.library.values()
        for block in entry.evidence
        if block.experiment == slug
    )
    dtypes = EXPERIMENTS[slug].params["dtype"].choices[-2:]
    request = Request(question="", entry=entry.id, blocks=(block.id,), compare={"dtype": dtypes})
    companions = [one for one in service.answer(request).evidence if one.block != block.id]
    assert len(companions) == len(EXPERIMENTS[slug].companions)
    assert len({one.id for one in companions}) == len(companions)
    for one in companions:
        assert one.run.status is RunStatus.RAN
        for name in ALL_FORMATS:
            assert {f"overflow_{name}", f"lost_{name}", f"ulps_{name}"} <= set(one.run.measured)
            assert one.run.measured[f"ulps_{name}"] is not None


def companions_of(slug: str, **params: object) -> list[PlannedRun]:
    """The companion runs that are planned when this experiment is compared in several dtypes."""
    experiment = EXPERIMENTS[slug]
    values = fill_defaults(experiment, params)
    block = EvidenceBlock(id="block", experiment=slug, params=values, fixed=frozenset(), claims=())
    plan = PlannedRun(block=block, experiment=experiment, params=values, compared={"dtype": "float32"})
    return companion_runs([plan], EXPERIMENTS)


def test_companion_parameters_are_computed_from_the_experiments():
    """For gradient descent the factor is computed from lr·λ; numbers of steps stay integers within the limits."""
    (descent,) = companions_of("quad_gd", lr=0.5, lam=3.0, x0=-2.0, n=7)
    assert descent.params == {"op": "descend", "x": 1.5, "start": -2.0, "n": 7}
    (layers,) = companions_of("bounded_output_explodes", layers=12, sigma_w=1.5)
    assert layers.params == {"op": "multiply", "x": 1.5, "start": 1.0, "n": 12}
    (long,) = companions_of("matrix_product", n=10000, d=3, std=2.0)
    assert (long.params["n"], long.params["x"]) == (2000, 12.0)


@each_case("slug", SLUGS_WITH_DTYPE)
def test_companion_parameters_are_always_valid(slug):
    """For all bounds of the parameters, inf and nan, the companion's values are valid or its defaults."""
    for parameter in EXPERIMENTS[slug].params.values():
        bounds = [*parameter.choices, parameter.ge, parameter.le, *([math.nan, 1e308] if parameter.nonfinite else [])]
        for bound in bounds:
            if isinstance(bound, str) or (bound is not None and (parameter.nonfinite or math.isfinite(bound))):
                with suppress(BadParameter):  # a limit on several parameters
                    for plan in companions_of(slug, **{parameter.name: bound}):
                        assert plan.params == fill_defaults(plan.experiment, plan.params)


def test_companions_use_their_default_in_place_of_nan():
    (plan,) = companions_of("naive_vs_stable", x=math.nan)
    assert plan.params["x"] == EXPERIMENTS["dtype_functions"].params["x"].default


def test_identical_companion_runs_are_planned_once(service):
    """Both blocks of the entry about Adam's eps have the same companion, which is planned once."""
    _, plans = service.plan(Request(question="", entry="adam-eps-float16", compare={"dtype": ("float16", "float32")}))
    assert [plan.experiment.slug for plan in plans].count("adam_eps") == 4
    companions = [plan for plan in plans if plan.experiment.slug == "dtype_functions"]
    assert [plan.params["f"] for plan in companions].count("adam_step") == 1
