"""Properties of every experiment: repeatability, a chart, the bounds of its parameters, values known from other
implementations.
"""

import json
import math
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from oracles import EXPERIMENTS, INF, NAN, measure, measured

from qa_service.errors import BadParameter
from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.runner import ProcessRunner
from qa_service.model import Parameter, RunStatus
from qa_service.presentation import chart

EXPECTED = [
    case
    for path in sorted((Path(__file__).parent / "values").glob("*.toml"))
    for case in tomllib.loads(path.read_text(encoding="utf-8"))["cases"]
]


@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_a_run_can_be_repeated_to_the_bit(slug, service):
    """The same seed gives the same rows and metrics, here and in a process of the lab, to the last bit and the sign of
    a zero. Another seed changes nothing if the experiment draws no random number.
    """
    experiment = service.knowledge.experiment(slug)
    rows, metrics = measure(slug, 0)
    run = service.runner.run(experiment, fill_defaults(experiment, {}), 0)
    assert set(metrics) == set(experiment.metrics)
    assert repr(sent([dict(row) for row in run.rows])) == repr(sent(rows))
    assert repr(sent(dict(run.measured))) == repr(sent({name: metrics[name] for name in experiment.metrics}))
    if not drew(0):
        assert not run.used_rng
        assert repr(measure(slug, 1)) == repr((rows, metrics))


@pytest.mark.parametrize("lang", ["zh", pytest.param("en", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_experiment_runs_and_its_chart_renders(service, slug, lang):
    """With default parameters it gives the declared metrics and columns, and a chart that vl-convert renders."""
    import vl_convert

    experiment = service.knowledge.experiment(slug)
    run = service.runner.run(experiment, fill_defaults(experiment, {}))
    assert run.status == "ran", run.note
    assert set(run.measured) == set(experiment.metrics)
    assert run.rows
    assert {name for row in run.rows for name in row} <= set(experiment.columns)
    svg = vl_convert.vegalite_to_svg(chart.build_spec(experiment, run.rows, lang))
    assert svg.count("<path") > 5
    assert "undefined" not in svg
    assert "NaN" not in svg


@pytest.mark.exhaustive
@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_a_run_can_be_repeated_in_one_process(slug):
    """A run gives the same results again after another run of the experiment in the same process."""
    first, _, again = (repr(measure(slug, seed)) for seed in (3, 4, 3))
    assert first == again


def sent(value: Any) -> Any:
    """The run as a child process would send it over its pipe, in JSON with inf and nan."""
    return json.loads(json.dumps(value, default=str))


def drew(seed: int) -> bool:
    """Whether random numbers have been drawn since the seed was set."""
    import torch

    return not torch.equal(torch.random.get_rng_state(), torch.Generator().manual_seed(seed).get_state())


def ends(parameter: Parameter) -> list[object]:
    """The extreme values of a parameter: its bounds, each of its choices, and inf and nan where it takes them."""
    if parameter.kind == "bool":
        return [False, True]
    if parameter.kind == "text":  # its `le` is a length; test_formula has the hard ones
        return [parameter.default]
    bounds = [bound for bound in (parameter.ge, parameter.le) if bound is not None and math.isfinite(bound)]
    return [*parameter.choices, *bounds] + ([INF, -INF, NAN, 1e308, -1e308, 5e-324] if parameter.nonfinite else [])


def accepted(slug: str, name: str) -> list[dict[str, Any]]:
    """The parameters with one of them at an end, the others at their defaults, where the service lets that through."""
    experiment, found = EXPERIMENTS[slug], []
    for value in ends(experiment.params[name]):
        with suppress(BadParameter):
            found.append(fill_defaults(experiment, {name: value}))
    return found


NAMES = [(slug, name) for slug, experiment in EXPERIMENTS.items() for name in experiment.params]


def corner(slug: str, end: int) -> dict[str, Any]:
    """All parameters at their lowest (0) or highest (-1) value; a parameter whose extreme violates a limit together
    with those before it keeps its default.
    """
    experiment, values = EXPERIMENTS[slug], {}
    for name, parameter in experiment.params.items():
        bounds = [bound for bound in (parameter.ge, parameter.le) if bound is not None]
        choices = ends(parameter) if parameter.kind in ("bool", "text") else [*parameter.choices] or bounds
        with suppress(BadParameter):
            given = values | {name: choices[end]}
            fill_defaults(experiment, given)
            values = given
    return fill_defaults(experiment, values)


def runs_whole(lab: ProcessRunner, slug: str, params: dict[str, Any]) -> None:
    """Asserts that the experiment finishes in the lab within its time and memory, with rows and all metrics."""
    experiment = EXPERIMENTS[slug]
    run = lab.run(experiment, params)
    assert run.status is RunStatus.RAN, f"{params}: {run.note.en}"
    assert run.rows
    assert set(run.measured) == set(experiment.metrics)


@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_an_experiment_runs_with_the_least_of_everything(service, slug):
    runs_whole(service.runner, slug, corner(slug, 0))


@pytest.mark.exhaustive
@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_an_experiment_runs_with_the_most_of_everything(service, slug):
    """All parameters have their highest values, where a run takes longest."""
    runs_whole(service.runner, slug, corner(slug, -1))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_the_ends_of_every_parameter_run(service, slug, name):
    """One parameter at a time has an extreme value that the service accepts; another test runs the defaults."""
    for params in accepted(slug, name):
        if params != fill_defaults(EXPERIMENTS[slug], {}):
            runs_whole(service.runner, slug, params)


@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_only_a_limit_refuses_an_end(slug, name):
    """Each extreme value within a parameter's own bounds is accepted, unless a limit on several parameters forbids
    it.
    """
    experiment = EXPERIMENTS[slug]
    parameter = experiment.params[name]
    low, high = (-INF if parameter.ge is None else parameter.ge), (INF if parameter.le is None else parameter.le)
    inside = [end for end in ends(parameter) if isinstance(end, str) or not math.isfinite(end) or low <= end <= high]
    limited = any(name in limit.names for limit in experiment.limits)
    assert len(accepted(slug, name)) >= len(inside) - limited
    assert accepted(slug, name)


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: f"{case['experiment']}-{case['params'] or 'default'}")
def test_values_without_a_closed_form(case):
    """Each value lies in the interval measured by another implementation over 20 seeds with other random numbers."""
    metrics = measured(case["experiment"], **case["params"])
    for name, (low, high) in case["accept"].items():
        assert low <= metrics[name] <= high, name
