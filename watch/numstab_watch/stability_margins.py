"""How far a healthy model is from an inf or nan: its inputs or weights are multiplied by powers of 2 until one appears.

A margin, not a fault: a model whose loss takes a logarithm of a probability may be a factor of 8 away from log(0), the
same model with a loss from logits more than a million.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from numstab_watch.fault import FaultOrigin, nonfinite_kind
from numstab_watch.interventions import scaled_inputs
from numstab_watch.problem import Problem
from numstab_watch.replay import replay

_MOST_DOUBLINGS = 20


@dataclass(frozen=True, kw_only=True)
class StabilityMargin:
    """The least power of 2 by which something must grow before the loss or a gradient is not finite."""

    what: str
    """What grows: "inputs" or "weights"."""
    factor: float
    fault: FaultOrigin


def stability_margins(problem: Problem) -> list[StabilityMargin]:
    """The margins of inputs and of weights, at the first batch; a kind that needs more than 20 doublings has none."""
    found = []
    for what, pushed in (("inputs", _pushed_inputs), ("weights", _pushed_weights)):
        margin = _margin(problem, what, pushed)
        if margin is not None:
            found.append(margin)
    return found


def _margin(problem: Problem, what: str, pushed: Callable[[Problem, float], Problem]) -> StabilityMargin | None:
    """The margin of one kind, by bisection over doublings; assumes that more doublings stay non-finite."""
    fine, bad = 0, _MOST_DOUBLINGS
    if not _is_finite(pushed(problem, 1.0)) or _is_finite(pushed(problem, math.ldexp(1.0, bad))):
        return None
    while bad - fine > 1:
        middle = (fine + bad) // 2
        if _is_finite(pushed(problem, math.ldexp(1.0, middle))):
            fine = middle
        else:
            bad = middle
    factor = math.ldexp(1.0, bad)
    copy = pushed(problem, factor)
    fault = replay(lambda: copy.loss(0), copy.model, repeat=False)
    return None if fault is None else StabilityMargin(what=what, factor=factor, fault=fault)


def _same_weights(problem: Problem) -> Problem:
    copy = problem.anew()
    copy.model.load_state_dict(problem.model.state_dict())
    return copy


def _pushed_inputs(problem: Problem, factor: float) -> Problem:
    copy = _same_weights(problem)
    copy.batches = [scaled_inputs(copy.batches[0], factor)]
    return copy


def _pushed_weights(problem: Problem, factor: float) -> Problem:
    copy = _same_weights(problem)
    with torch.no_grad():
        for weight in copy.model.parameters():
            if weight.dim() > 1:
                weight.mul_(factor)
    return copy


def _is_finite(problem: Problem) -> bool:
    loss = problem.loss(0)
    weights = [weight for weight in problem.model.parameters() if weight.requires_grad]
    if nonfinite_kind(loss) or not weights or not loss.requires_grad:
        return not nonfinite_kind(loss)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return not any(nonfinite_kind(gradient) for gradient in gradients if gradient is not None)
