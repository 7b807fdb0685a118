"""Number formats side by side, against numpy's spacing and against rational numbers."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import ALL, EXPERIMENTS

from qa_service.answering.planning import PlannedRun, companion_runs
from qa_service.errors import BadParameter
from qa_service.experiments.parameters import fill_defaults
from qa_service.model import EvidenceBlock, Request, RunStatus
from qa_service.presentation.comparison import comparison_tables
from qa_service.presentation.precision import FLOAT_FORMATS, precision_losses
from qa_service.schemas.answers import answer_json

WITH_A_DTYPE = [slug for slug, experiment in EXPERIMENTS.items() if "dtype" in experiment.params]


@given(st.floats(1e-45, 3e38))
def test_an_ulp_of_float32_is_numpys(value):
    """At what float32 makes of the value, subnormal or not."""
    stored = np.float32(value)
    assert FLOAT_FORMATS["float32"].ulp(float(stored)) == float(np.spacing(stored))


@given(st.floats(0, 6e4))
def test_an_ulp_of_float16_is_numpys(value):
    stored = np.float16(value)
    assert FLOAT_FORMATS["float16"].ulp(float(stored)) == float(np.spacing(stored))


@pytest.mark.parametrize(
    ("x", "column", "op"), [(1.5, "product", "multiply"), (0.1, "sum", "add"), (1.1, "sum", "add")]
)
def test_a_comparison_of_dtypes_agrees_with_rational_numbers(service, x, column, op):
    """`dtype_ladder` knows the exact value at every step: the same first overflow, lost digit and error."""
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), params={"x": x}, compare={"dtype": ()})
    found = {rung.dtype: rung for rung in precision_losses(service.answer(request).evidence) if rung.column == column}
    assert set(found) == {"float16", "bfloat16", "float32"}
    experiment = service.knowledge.experiment("dtype_ladder")
    exact = service.runner.run(experiment, fill_defaults(experiment, {"op": op, "x": x, "n": 100})).measured
    for dtype, rung in found.items():
        assert rung.overflow == exact[f"overflow_{dtype}"]
        assert rung.first_wrong_digit == exact[f"lost_{dtype}"]
        assert rung.ulps == pytest.approx(exact[f"ulps_{dtype}"], rel=1e-3, abs=1e-3)


def test_the_comparison_says_so_in_words_and_on_the_wire(service):
    """A hundred factors of 1.5: float16 overflows at the 28th, as everyone knows, and has lost a digit long before."""
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
def test_without_float64_or_with_anything_else_compared_there_is_no_ladder(service, compare):
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), compare=compare)
    assert precision_losses(service.answer(request).evidence) == []


def test_what_no_format_holds_has_no_error(service):
    """2^2000 is too large for float64 too: nothing to be measured against, no false alarm."""
    request = Request(
        question="", entry="multiply-vs-add", blocks=("powers",), params={"x": 2.0, "n": 2000}, compare={"dtype": ()}
    )
    found = {
        rung.dtype: rung for rung in precision_losses(service.answer(request).evidence) if rung.column == "product"
    }
    assert found["float32"].ulps is None
    assert found["float16"].overflow == 20  # of the rows that there are: a long run shows every 20th step
    assert not any(math.isnan(rung.ulps or 0) for rung in found.values())


def test_beside_a_comparison_of_formats_stands_every_format_against_exact_arithmetic(service):
    """One request: float64 down to float8, with the numbers that were asked for; and nothing beside any other run."""
    request = Request(question="", entry="multiply-vs-add", blocks=("powers",), params={"n": 60}, compare={"dtype": ()})
    found = [one for one in service.answer(request).evidence if one.experiment.slug == "dtype_ladder"]
    assert [(one.id, one.params["op"], one.params["n"]) for one in found] == [
        ("powers-multiply", "multiply", 60),
        ("powers-add", "add", 60),
    ]
    assert found[0].run.measured["exact"] == pytest.approx(1.5**60)
    assert found[0].run.measured["overflow_float16"] == math.floor(math.log(65504, 1.5)) + 1
    assert found[0].run.measured["lost_e5m2"] < found[0].run.measured["lost_float16"]
    for compare in ({}, {"x": (1.5, 2.0)}):
        plain = service.answer(Request(question="", entry="multiply-vs-add", blocks=("powers",), compare=compare))
        assert {one.experiment.slug for one in plain.evidence} == {"pow_vs_sum"}


@pytest.mark.parametrize("slug", WITH_A_DTYPE)
def test_one_request_shows_eight_formats_beside_any_comparison_of_dtypes(service, slug):
    """Asked of an entry's block: first overflow, first lost digit and error in ulp, from float64 down to float8."""
    entry, block = next(
        (entry, block)
        for entry in service.knowledge.library.values()
        for block in entry.evidence
        if block.experiment == slug
    )
    two = EXPERIMENTS[slug].params["dtype"].choices[-2:]
    request = Request(question="", entry=entry.id, blocks=(block.id,), compare={"dtype": two})
    found = [one for one in service.answer(request).evidence if one.block != block.id]
    assert len(found) == len(EXPERIMENTS[slug].companions)
    assert len({one.id for one in found}) == len(found)
    for one in found:
        assert one.run.status is RunStatus.RAN
        for name in ALL:
            assert {f"overflow_{name}", f"lost_{name}", f"ulps_{name}"} <= set(one.run.measured)
            assert one.run.measured[f"ulps_{name}"] is not None


def shown_beside(slug: str, **params: object) -> list[PlannedRun]:
    experiment = EXPERIMENTS[slug]
    values = fill_defaults(experiment, params)
    block = EvidenceBlock(id="block", experiment=slug, params=values, fixed=frozenset(), claims=())
    plan = PlannedRun(block=block, experiment=experiment, params=values, compared={"dtype": "float32"})
    return companion_runs([plan], EXPERIMENTS)


def test_what_stands_beside_takes_products_of_parameters():
    """The factor of gradient descent is lr·λ; a number of steps stays a whole number; a limit is kept."""
    (descent,) = shown_beside("quad_gd", lr=0.5, lam=3.0, x0=-2.0, n=7)
    assert descent.params == {"op": "descend", "x": 1.5, "start": -2.0, "n": 7}
    (layers,) = shown_beside("bounded_output_explodes", layers=12, sigma_w=1.5)
    assert layers.params == {"op": "multiply", "x": 1.5, "start": 1.0, "n": 12}
    (long,) = shown_beside("matrix_product", n=10000, d=3, std=2.0)
    assert (long.params["n"], long.params["x"]) == (2000, 12.0)


@pytest.mark.parametrize("slug", WITH_A_DTYPE)
def test_what_stands_beside_has_allowed_numbers_whatever_the_reader_gave(slug):
    """At every end of every parameter, inf and nan among them; what it cannot take, it has at its default."""
    for parameter in EXPERIMENTS[slug].params.values():
        ends = [*parameter.choices, parameter.ge, parameter.le, *([math.nan, 1e308] if parameter.nonfinite else [])]
        for end in ends:
            if isinstance(end, str) or (end is not None and (parameter.nonfinite or math.isfinite(end))):
                with suppress(BadParameter):  # too much together with the other parameters
                    for plan in shown_beside(slug, **{parameter.name: end}):
                        assert plan.params == fill_defaults(plan.experiment, plan.params)


def test_without_a_number_the_function_is_shown_at_its_own():
    """What the reader gave is nan: nothing to be taken over, and no error."""
    (plan,) = shown_beside("naive_vs_stable", x=math.nan)
    assert plan.params["x"] == EXPERIMENTS["dtype_functions"].params["x"].default


def test_what_two_blocks_have_beside_them_is_shown_once(service):
    """Both blocks of Adam's eps start from the same gradient."""
    _, plans = service.plan(Request(question="", entry="adam-eps-float16", compare={"dtype": ("float16", "float32")}))
    assert [plan.experiment.slug for plan in plans].count("adam_eps") == 4
    assert [plan.experiment.slug for plan in plans].count("dtype_functions") == 1
