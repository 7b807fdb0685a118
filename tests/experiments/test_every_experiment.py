"""What holds of every experiment: repeatability, the ends of its parameters, values without a closed form."""

import math
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from oracles import (
    DEMOS,
    EXPERIMENTS,
    INF,
    NAN,
    measure,
    measured,
)

from qa_service.errors import BadParameter
from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.runner import SERVER, ProcessRunner
from qa_service.model import Parameter, RunStatus

EXPECTED = [
    case
    for path in sorted((Path(__file__).parent / "values").glob("*.toml"))
    for case in tomllib.loads(path.read_text(encoding="utf-8"))["cases"]
]


@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_a_run_can_be_repeated_to_the_bit(slug):
    """The same seed gives the same rows and metrics, to the last bit and to the sign of a nan's absence."""
    first, again = measure(slug, 3), measure(slug, 3)
    assert repr(first) == repr(again)
    assert set(first[1]) == set(EXPERIMENTS[slug].metrics)
    assert all(set(row) <= set(EXPERIMENTS[slug].columns) for row in first[0])


@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_another_seed_changes_only_what_is_random(slug):
    """What draws no random number, and is therefore checked with one seed, is the same with any."""
    import torch

    measured = {}
    for seed in (0, 1):
        measured[seed] = repr(measure(slug, seed))
        drew = not torch.equal(torch.random.get_rng_state(), torch.Generator().manual_seed(seed).get_state())
    assert drew or measured[0] == measured[1]


@pytest.fixture(scope="module")
def real_lab() -> ProcessRunner:
    """The shipped experiments in children of their own, with time for a busy machine."""
    return ProcessRunner(DEMOS, deadline=30.0, warm=SERVER)


def ends(parameter: Parameter) -> list[object]:
    """The extreme values of a parameter: its bounds, each of its choices, and inf and nan where it takes them."""
    if parameter.kind == "bool":
        return [False, True]
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


@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_the_ends_of_every_parameter_run(real_lab, slug, name):
    """Whatever a form lets through finishes in the lab, within its time and memory, and gives rows and all metrics."""
    experiment = real_lab.experiment(slug)
    for params in accepted(slug, name):
        if params == fill_defaults(experiment, {}):
            continue  # the defaults run in test_claims
        run = real_lab.run(experiment, params)
        assert run.status is RunStatus.RAN, f"{name} = {params[name]}: {run.note.en}"
        assert run.rows
        assert set(run.measured) == set(experiment.metrics)


@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_only_a_limit_refuses_an_end(slug, name):
    """Each end inside the parameter's own bounds runs, unless a limit on several parameters says otherwise."""
    experiment = EXPERIMENTS[slug]
    parameter = experiment.params[name]
    low, high = (-INF if parameter.ge is None else parameter.ge), (INF if parameter.le is None else parameter.le)
    inside = [end for end in ends(parameter) if isinstance(end, str) or not math.isfinite(end) or low <= end <= high]
    limited = any(name in limit.names for limit in experiment.limits)
    assert len(accepted(slug, name)) >= len(inside) - limited
    assert accepted(slug, name)


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: f"{case['experiment']}-{case['params'] or 'default'}")
def test_values_without_a_closed_form(case):
    """Each is inside the interval that another implementation measured over 20 seeds with other random numbers."""
    metrics = measured(case["experiment"], **case["params"])
    for name, (low, high) in case["accept"].items():
        assert low <= metrics[name] <= high, name
