"""What every experiment costs: CPU seconds at its defaults, and at the ends of its parameters and limits."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import permutations
from typing import Any

from bench.running import load
from qa_service.errors import BadRequest
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.model import Experiment, Limit, Parameter
from qa_service.paths import bundled

AT_DEFAULTS, AT_THE_ENDS = 1.5, 5.0  # CPU seconds that we promise


def cost() -> None:
    """One line for each experiment, the dearest first; what costs more than we promise is marked."""
    import torch

    torch.set_num_threads(1)
    lines = []
    for slug, experiment in load_specs(bundled("demos")).items():
        demo = load(experiment.path)
        _seconds(demo, fill_defaults(experiment, {}))  # imports, and the first call of every operation
        default = _seconds(demo, fill_defaults(experiment, {}))
        worst, where = max(((_seconds(demo, params), what) for what, params in _ends(experiment)), default=(0.0, ""))
        lines.append((default, worst, slug, where))
        sys.stderr.write(".")
        sys.stderr.flush()
    for default, worst, slug, where in sorted(lines, reverse=True):
        mark = "" if default <= AT_DEFAULTS and worst <= AT_THE_ENDS else "   more than promised"
        print(f"{slug:28s} default {default:6.2f} s   at most {worst:6.2f} s at {where}{mark}")


def _ends(experiment: Experiment) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each parameter at each of its ends, all others at their defaults; each limit used up, in every order."""
    for name, parameter in experiment.params.items():
        for value in _extremes(parameter):
            with suppress(BadRequest):
                yield f"{name}={value}", fill_defaults(experiment, {name: value})
    for limit in experiment.limits:
        for names in permutations(sorted(set(limit.names))) if limit.le else ():
            with suppress(BadRequest):
                corner = _used_up(experiment, limit, names)
                yield ", ".join(f"{name}={value}" for name, value in corner.items()), fill_defaults(experiment, corner)


def _used_up(experiment: Experiment, limit: Limit, names: Sequence[str]) -> dict[str, int]:
    """The first name as large as its bound and the limit allow, then the next; the rest of the names at their least."""
    corner = {name: int(experiment.params[name].ge or 1) for name in names}
    for name in names:
        others = math.prod(corner[other] for other in limit.names if other != name)
        room = int((limit.le or 0) / max(1, others)) ** (1 / limit.names.count(name))
        corner[name] = max(corner[name], min(int(experiment.params[name].le or room), int(room + 1e-9)))
    return corner


def _extremes(parameter: Parameter) -> tuple[Any, ...]:
    if parameter.kind == "choice":
        return parameter.choices
    if parameter.kind == "bool":
        return (True, False)
    return tuple(bound for bound in (parameter.ge, parameter.le) if bound is not None)


def _seconds(demo: Any, params: dict[str, Any]) -> float:
    import torch

    torch.manual_seed(0)
    began = time.process_time()
    with suppress(RuntimeError, ValueError, ZeroDivisionError):  # what an experiment shows when it fails costs too
        for _ in demo.run(**params):
            pass
    return time.process_time() - began
