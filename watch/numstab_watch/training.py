"""Training of a problem over a few steps; it stops at the first loss, gradient or weight that is not finite."""

import copy
import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from numstab_watch.autopsy import autopsy
from numstab_watch.fault import FaultOrigin
from numstab_watch.problem import Problem

StopReason = Literal["", "loss", "gradient", "weight", "time"]
_MAX_SNAPSHOT_BYTES = 64 << 20
"""The total size in bytes above which weights are not copied before each update; then the update itself is not
replayed.
"""
_NO_LEARNING_STEPS = 50
_NO_LEARNING_SHARE = 0.02
_CHANCE_SHARE = 0.03
_DIVERGING_SHARE = 0.2
_BETTER_SHARE = 0.1


@dataclass
class TrainingCourse:
    """The result of a training: its series, why it stopped, and the state before the last step."""

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    stop: StopReason = ""
    seconds: float = 0.0
    fault: FaultOrigin | None = None
    """The origin of a non-finite last loss, read from its graph; None unless `keep` was set."""
    generator: torch.Tensor | None = None
    """The state of torch's random numbers before the last step."""
    before_update: tuple[dict[str, Any], dict[str, Any]] | None = None
    """The state of model and optimizer before the last update."""
    unchanged: list[str] = field(default_factory=list)
    """Names of weights that the first update left as they were although their gradient is not 0."""
    update_ratio: float | None = None
    """The median over the weights of |update| / |weight| in the first update."""

    @property
    def finite(self) -> bool:
        """Whether everything was finite."""
        return self.stop in ("", "time")


def train_problem(
    problem: Problem, steps: int, *, seconds: float = math.inf, clip: float | None = None, keep: bool = False
) -> TrainingCourse:
    """Trains the problem, in place. `seconds` limit the whole; with `keep` the course says more of how it ended."""
    course = TrainingCourse()
    start = time.monotonic()
    weights = [weight for group in problem.optimizer.param_groups for weight in group["params"]]
    every = [weight for weight in problem.model.parameters() if weight.requires_grad] or weights
    copied = keep and sum(weight.numel() * weight.element_size() for weight in every) <= _MAX_SNAPSHOT_BYTES
    for step in range(steps):
        if time.monotonic() - start > seconds:
            course.stop = "time"
            break
        course.generator = torch.get_rng_state()
        course.stop = _step(problem, step, course, weights, every, clip, keep=keep, copied=copied)
        if course.stop:
            break
    course.seconds = time.monotonic() - start
    return course


def _step(
    problem: Problem,
    step: int,
    course: TrainingCourse,
    weights: list[Any],
    every: list[Any],
    clip: float | None,
    *,
    keep: bool,
    copied: bool,
) -> StopReason:
    problem.optimizer.zero_grad(set_to_none=True)
    problem.model.zero_grad(set_to_none=True)
    loss = problem.loss(step)
    value = float(loss.detach())
    course.losses.append(value)
    if not math.isfinite(value):
        course.fault = autopsy(loss) if keep else None
        return "loss"
    if loss.requires_grad:
        loss.backward()
    norm = _norm([weight.grad for weight in every if weight.grad is not None])
    course.gradient_norms.append(norm)
    if not math.isfinite(norm):
        return "gradient"
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(weights, clip)
    if copied:
        course.before_update = (
            copy.deepcopy(problem.model.state_dict()),
            copy.deepcopy(problem.optimizer.state_dict()),
        )
    before = [weight.detach().clone() for weight in every] if step == 0 else []
    problem.optimizer.step()
    if step == 0:
        _note_first_update(problem, course, every, before)
    return "" if math.isfinite(_norm(weights)) else "weight"


def _note_first_update(
    problem: Problem, course: TrainingCourse, weights: list[Any], before: list[torch.Tensor]
) -> None:
    names = {id(weight): name for name, weight in problem.model.named_parameters()}
    ratios = []
    for weight, old in zip(weights, before, strict=True):
        if weight.grad is None or not bool(weight.grad.any()):
            continue
        change, size = float((weight.detach() - old).double().norm()), float(old.double().norm())
        if change == 0.0:
            course.unchanged.append(names.get(id(weight), ""))
        if size:
            ratios.append(change / size)
    course.update_ratio = statistics.median(ratios) if ratios else None


def _norm(tensors: list[torch.Tensor]) -> float:
    """The norm over all tensors, in double precision so that it does not overflow by itself; inf or nan if one is."""
    total = 0.0
    with torch.no_grad():
        for tensor in tensors:
            values = tensor.coalesce().values() if tensor.is_sparse else tensor
            total += float(values.double().square().sum())
    return math.sqrt(total) if math.isfinite(total) else total


def is_diverging(losses: list[float]) -> bool:
    """Whether at least a fifth of the last quarter of finite losses is above twice the initial loss."""
    if len(losses) < 4:
        return False
    start, last = _start(losses), losses[-max(1, len(losses) // 4) :]
    limit = start + (abs(start) or 1e-12)
    return sum(loss > limit for loss in last) >= _DIVERGING_SHARE * len(last)


def is_stuck(losses: list[float], chance: float | None = None) -> bool:
    """Whether 50 steps and more have not brought the loss down by 2 %, or below that of guessing.

    `chance` is the loss of guessing, such as ln C of C classes.
    """
    if len(losses) < _NO_LEARNING_STEPS:
        return False
    still = _tail(losses) > _head(losses) - _NO_LEARNING_SHARE * abs(_head(losses))
    return (still and _fall(losses) < _NO_LEARNING_SHARE) or (chance is not None and is_at_chance(losses, chance))


def is_at_chance(losses: list[float], chance: float) -> bool:
    """Whether the last losses are no better than the loss of guessing, `chance`."""
    return _tail(losses) > (1 - _CHANCE_SHARE) * chance


def is_better(losses: list[float], than: list[float]) -> bool:
    """Whether the last losses are a tenth below those of another run after as many steps."""
    count = min(len(losses), len(than))
    return count >= 4 and _tail(losses[:count]) < (1 - _BETTER_SHARE) * _tail(than[:count])


def is_falling(losses: list[float], share: float) -> bool:
    """Whether the last losses are below the first by this share of them."""
    return len(losses) >= 4 and _fall(losses) > share


def _fall(losses: list[float]) -> float:
    start = losses[0]
    return (start - _tail(losses)) / (abs(start) or 1e-12)


def _start(losses: list[float]) -> float:
    return statistics.median(losses[: max(1, min(3, len(losses) // 4))])


def _head(losses: list[float]) -> float:
    return statistics.median(losses[: max(1, len(losses) // 4)])


def _tail(losses: list[float]) -> float:
    return statistics.median(losses[-max(1, len(losses) // 4) :])
