"""The step and the epoch of a line, and which of its other values are measurements."""

from qa_service.parsing.logs.names import is_bookkeeping, meaning_of
from qa_service.parsing.logs.pairs import Pairs

_PHASES = frozenset({"train", "test", "eval", "valid", "validation"})
"""Before a whole number, an epoch, these are no names of values: "Train 3"."""
_WITHIN_EPOCH_NAMES = frozenset({"batch", "mini_batch", "minibatch"})
_EPISODES = frozenset({"episode", "episodes", "ep", "épisode", "round", "回合"})
_LENGTHS = frozenset({"steps", "timesteps", "step_count"})
"""In a line with an episode these are its length, not the step of the run."""


def own_values(pairs: Pairs) -> dict[str, float]:
    """The values that measure the training: no steps, epochs, times or sizes; a count of right answers as a share."""
    values = {}
    for name, value in pairs.values.items():
        bare = name.removesuffix("_average")
        meaning = meaning_of(bare)
        if meaning in ("step", "epoch") or is_bookkeeping(bare) or (bare in _PHASES and value.is_integer()):
            continue
        total = pairs.totals.get(name)
        values[name] = value / total if total and "acc" in meaning_of(name) else value
    return values


def epoch_of(pairs: Pairs) -> float | None:
    """The epoch that a line names; None if it names none."""
    return next((value for name, value in pairs.values.items() if meaning_of(name) == "epoch"), None)


def step_of(pairs: Pairs) -> tuple[float | None, float | None]:
    """(step, steps per epoch): the second if the step counts within an epoch, by its name or as "n/N" without one."""
    names = [name for name, value in pairs.values.items() if meaning_of(name) == "step" and value.is_integer()]
    if any(name in _EPISODES for name in names):
        names = [name for name in names if name not in _LENGTHS]
        names = [name for name in names if name not in _EPISODES or not pairs.counter]
    if names:
        name = min(names, key=_counter_preference)
        return pairs.values[name], pairs.totals.get(name) if name in _WITHIN_EPOCH_NAMES else None
    return pairs.counter or (None, None)


def _counter_preference(name: str) -> int:
    """Lower for names that count over the whole run, such as a global step, than for counts within an epoch."""
    if "global" in name or "update" in name or "total" in name:
        return 0
    return 3 if "batch" in name else 1 if "step" in name else 2


def counter_of(pairs: Pairs) -> str:
    """Which counter gives the step of a line, so that steps of different counters are not mixed."""
    names = [name for name in pairs.values if meaning_of(name) == "step"]
    return f"plain {min(names, key=_counter_preference)}" if names else "plain counter"
