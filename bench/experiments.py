"""CPU seconds of every experiment, at its default parameters and at the bounds of its parameters and limits."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import permutations
from typing import Any

from bench.running import import_demo
from qa_service.errors import BadRequest
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.model import Experiment, Limit, Parameter
from qa_service.paths import bundled

MAX_SECONDS_AT_DEFAULTS, MAX_SECONDS_AT_EXTREMES = 1.5, 5.0  # CPU seconds


def experiment_cost() -> None:
    """One line for each experiment, the most expensive first; those above our maximum are marked."""
    import torch

    torch.set_num_threads(1)
    lines = []
    for slug, experiment in load_specs(bundled("demos")).items():
        demo = import_demo(experiment.path)
        _cpu_seconds(demo, fill_defaults(experiment, {}))  # warm-up: imports, first call of every operation
        default = _cpu_seconds(demo, fill_defaults(experiment, {}))
        worst, where = max(
            ((_cpu_seconds(demo, params), what) for what, params in _extreme_params(experiment)), default=(0.0, "")
        )
        lines.append((default, worst, slug, where))
        sys.stderr.write(".")
        sys.stderr.flush()
    for default, worst, slug, where in sorted(lines, reverse=True):
        mark = "" if default <= MAX_SECONDS_AT_DEFAULTS and worst <= MAX_SECONDS_AT_EXTREMES else "   more than allowed"
        print(f"{slug:28s} default {default:6.2f} s   at most {worst:6.2f} s at {where}{mark}")


def _extreme_params(experiment: Experiment) -> Iterator[tuple[str, dict[str, Any]]]:
    """(description, parameters): each parameter at each bound, the others at their defaults; each limit exhausted."""
    for name, parameter in experiment.params.items():
        for value in _extreme_values(parameter):
            with suppress(BadRequest):
                yield f"{name}={value}", fill_defaults(experiment, {name: value})
    for limit in experiment.limits:
        for names in permutations(sorted(set(limit.names))) if limit.le else ():
            with suppress(BadRequest):
                corner = _exhaust_limit(experiment, limit, names)
                yield ", ".join(f"{name}={value}" for name, value in corner.items()), fill_defaults(experiment, corner)


def _exhaust_limit(experiment: Experiment, limit: Limit, names: Sequence[str]) -> dict[str, int]:
    """Raises the parameters, in the order of `names`, as far as their bounds and the limit allow."""
    corner = {name: int(experiment.params[name].ge or 1) for name in names}
    for name in names:
        others = math.prod(corner[other] for other in limit.names if other != name)
        room = int((limit.le or 0) / max(1, others)) ** (1 / limit.names.count(name))
        corner[name] = max(corner[name], min(int(experiment.params[name].le or room), int(room + 1e-9)))
    return corner


def _extreme_values(parameter: Parameter) -> tuple[Any, ...]:
    if parameter.kind == "choice":
        return parameter.choices
    if parameter.kind == "bool":
        return (True, False)
    return tuple(bound for bound in (parameter.ge, parameter.le) if bound is not None)


def _cpu_seconds(demo: Any, params: dict[str, Any]) -> float:
    import torch

    torch.manual_seed(0)
    started = time.process_time()
    with suppress(RuntimeError, ValueError, ZeroDivisionError):  # an experiment that raises costs time too
        for _ in demo.run(**params):
            pass
    return time.process_time() - started
