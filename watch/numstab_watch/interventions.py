"""The ladder of interventions: the same problem, trained again from its start with one thing changed.

What cures it is the evidence: if a smaller learning rate does and float32 does not, the step is too large; if float32
does and the learning rate does not, it is the number format. A change that the problem does not offer (no sum to turn
into a mean, no eps to raise) is left out.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from numstab_watch.fault import nonfinite_kind
from numstab_watch.problem import BadProblem, Problem, loss_of, split_batch, takes_model_and_batch
from numstab_watch.training import (
    TrainingCourse,
    is_at_chance,
    is_better,
    is_diverging,
    is_falling,
    is_stuck,
    train_problem,
)

_LEAST_STEPS, _MOST_STEPS = 20, 50
_AFTER_FAULT_STEPS = 10
_LEAST_SHARE = 4
"""The reciprocal of the share of the remaining time that one intervention may take: a slow model may not get the last
ones.
"""
_CURED_FALL = 1e-3
"""The share by which the loss must fall to count as cured, in a run whose loss was not finite or diverged."""
_LEARNS_FALL = 0.05
"""The share by which the loss must fall to count as cured, in a run whose loss did not move."""
_MAX_BAD_ROWS = 8
_EPS = 1e-4
_NORM_EPS = 1e-3
_REDUCED = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class InterventionResult:
    """The result of one training from the start with the change `id`; `healthy` if the change cured it."""

    id: str
    healthy: bool
    losses: tuple[float, ...]
    detail: str = ""
    """What exactly was changed."""


def needs_ladder(course: TrainingCourse, chance: float | None = None) -> bool:
    """Whether a run as it is shows harm: something not finite, divergence, or no better than guessing (`chance`)."""
    return not course.finite or is_diverging(course.losses) or is_stuck(course.losses, chance)


def run_interventions(
    problem: Problem, course: TrainingCourse, *, seconds: float, chance: float | None = None
) -> list[InterventionResult]:
    """Tries the interventions that apply, within `seconds`; `course` is the unchanged run, which shows harm.

    The first trial is that run, with the id "as_is".
    """
    fault_step = len(course.losses) if not course.finite else 0
    steps = max(_LEAST_STEPS, min(_MOST_STEPS, len(course.losses)), fault_step + _AFTER_FAULT_STEPS)
    trials = [InterventionResult(id="as_is", healthy=False, losses=tuple(course.losses))]
    end = time.monotonic() + seconds
    for position, (id_, change) in enumerate(_RUNGS):
        left = end - time.monotonic()
        if left <= 0:
            break
        if id_.startswith("lr*") and not _is_still(course):
            continue
        trial = _trial(problem, course, id_, change, steps, left / min(_LEAST_SHARE, len(_RUNGS) - position), chance)
        if trial is not None:
            trials.append(trial)
    return trials


def _trial(
    problem: Problem,
    course: TrainingCourse,
    id_: str,
    change: "_Change",
    steps: int,
    seconds: float,
    chance: float | None,
) -> InterventionResult | None:
    try:
        changed = problem.anew()
        detail = change(changed)
        if detail is None:
            return None
        with _without_autocast() if id_ == "float32" else contextlib.nullcontext():
            after = train_problem(changed, steps, seconds=seconds, clip=1.0 if id_ == "clip" else None)
    except (BadProblem, RuntimeError, TypeError, ValueError, KeyError, AttributeError, IndexError, NotImplementedError):
        return None  # the user's code does not allow this change
    if after.stop == "time" and len(after.losses) < min(steps, len(course.losses) + 1):
        return None  # it did not come as far as the run that it is compared with
    return InterventionResult(
        id=id_, healthy=_is_cured(course, after, chance), losses=tuple(after.losses), detail=detail
    )


def _is_cured(before: TrainingCourse, after: TrainingCourse, chance: float | None) -> bool:
    if not after.finite or is_diverging(after.losses):
        return False
    if not _is_still(before):
        return is_falling(after.losses, _CURED_FALL)
    if chance is not None and is_at_chance(after.losses, chance):
        return False
    return is_falling(after.losses, _LEARNS_FALL) and is_better(after.losses, before.losses)


def _is_still(course: TrainingCourse) -> bool:
    """Whether a harmed run neither stopped nor diverged, so that its harm is that it does not learn."""
    return course.finite and not is_diverging(course.losses)


_Change = Callable[[Problem], str | None]


def _rate(factor: float) -> _Change:
    def change(problem: Problem) -> str | None:
        before = problem.optimizer.param_groups[0].get("lr")
        for group in problem.optimizer.param_groups:
            if "lr" not in group:
                return None
            group["lr"] = group["lr"] * factor
        return f"lr {float(before):.3g} → {float(before) * factor:.3g}"

    return change


def _wider_format(problem: Problem) -> str | None:
    """Changes the format to float32 where it is narrower or autocast is used, else to float64; returns the change in
    words.
    """
    dtypes = {weight.dtype for weight in problem.model.parameters() if weight.is_floating_point()}
    with _autocast_seen() as seen:
        problem.loss(0)
    wide = torch.float32 if dtypes & set(_REDUCED) or seen else torch.float64
    problem.model.to(wide)
    if isinstance(problem.loss_fn, nn.Module):
        problem.loss_fn.to(wide)
    problem.batches = [_mapped(batch, lambda each: each.to(wide)) for batch in problem.batches]
    words = "no autocast, " if seen else ""
    return f"{words}{str(wide).removeprefix('torch.')}"


def _standardised(problem: Problem) -> str | None:
    """Standardises each feature of the inputs, images and sequences as a whole; returns the change in words, or
    None.
    """
    inputs, keywords, _ = split_batch(problem.batches[0])
    first = next((each for each in (*inputs, *keywords.values()) if _is_numbers(each)), None)
    if first is None or nonfinite_kind(first):
        return None
    values = first.double()
    over = (0,) if first.dim() == 2 and len(first) > 1 else tuple(range(first.dim()))
    mean, spread = values.mean(over, keepdim=True), values.std(over, keepdim=True)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))

    def standardise(each: torch.Tensor) -> torch.Tensor:
        return ((each.double() - mean) / spread).to(each.dtype)

    for number, batch in enumerate(problem.batches):
        problem.batches[number] = _with_input(batch, first.shape[1:], standardise)
    return f"inputs of mean {float(mean.mean()):.3g} and standard deviation {float(spread.mean()):.3g} standardised"


def scaled_inputs(batch: Any, factor: float) -> Any:
    """The batch with its first floating-point input multiplied by `factor`."""
    inputs, keywords, _ = split_batch(batch)
    first = next((each for each in (*inputs, *keywords.values()) if _is_numbers(each)), None)
    return batch if first is None else _with_input(batch, first.shape[1:], lambda each: each * factor)


def _mean_loss(problem: Problem) -> str | None:
    """Replaces a loss that is a sum (half the batch gives half the loss) by the mean; returns the change in words, or
    None.
    """
    rows = _rows(problem.batches[0])
    if rows < 4:
        return None
    whole = float(problem.loss(0).detach())
    half = float(loss_of(problem.model, _selected(problem.batches[0], range(rows // 2)), problem.loss_fn).detach())
    rest = float(
        loss_of(problem.model, _selected(problem.batches[0], range(rows // 2, rows)), problem.loss_fn).detach()
    )
    if not math.isfinite(whole) or abs(half + rest - whole) > 0.05 * abs(whole):
        return None
    inner = problem.loss_fn

    def mean(model: nn.Module, batch: Any) -> torch.Tensor:
        return loss_of(model, batch, inner) / rows

    problem.loss_fn = mean
    return f"loss / {rows}: half the batch gives half the loss, so it is a sum"


def _stable_loss(problem: Problem) -> str | None:
    """Replaces a cross-entropy of classes or probabilities by a stable form; returns the change in words, None for
    other losses.
    """
    if problem.loss_fn is None or takes_model_and_batch(problem.loss_fn):
        return None
    inputs, keywords, target = split_batch(problem.batches[0])
    if not isinstance(target, torch.Tensor):
        return None
    removed = _remove_output_activation(problem.model)
    with torch.no_grad():
        output = problem.model(*inputs, **keywords)
    if not isinstance(output, torch.Tensor):
        return None
    if target.dtype == torch.int64 and output.dim() == target.dim() + 1:
        return _stable_classes(problem, output, removed)
    if target.is_floating_point() and target.shape == output.shape and _is_within(target, 0, 1):
        if removed == "Sigmoid":
            problem.loss_fn = functional.binary_cross_entropy_with_logits
            return "binary_cross_entropy_with_logits, without the sigmoid"
        if not removed and _is_within(output, 0, 1) and not _is_squared_error(problem.loss_fn):
            problem.loss_fn = functional.binary_cross_entropy
            return "binary_cross_entropy, which bounds the logarithm"
    return None


def _stable_classes(problem: Problem, output: torch.Tensor, removed: str) -> str | None:
    given = problem.loss_fn
    rows = output.double().sum(1) if output.dim() > 1 else output.double()
    if not removed and _is_within(output, 0, 1) and bool(torch.isclose(rows, torch.ones_like(rows), atol=1e-3).all()):
        tiny = torch.finfo(output.dtype).tiny

        def stable(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return functional.nll_loss(output.clamp_min(tiny).log(), target)

        problem.loss_fn = stable
        return "the logarithm of at least the smallest normal number"
    if not removed and (given is functional.cross_entropy or isinstance(given, nn.CrossEntropyLoss)):
        return None
    problem.loss_fn = functional.cross_entropy
    return f"cross_entropy of the logits{f', without the {removed}' if removed else ''}"


def _initialised(problem: Problem) -> str | None:
    """Initialises the weights anew: He's if there are no tanh-like activations, else Xavier's; returns the change in
    words, or None.
    """
    names = [type(module).__name__ for module in problem.model.modules()]
    like_relu = not any(name in ("Tanh", "Sigmoid", "Softsign") for name in names)
    changed = 0
    for module in problem.model.modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            module.reset_parameters()
            continue
        for name, weight in module.named_parameters(recurse=False):
            if not weight.is_floating_point():
                continue
            with torch.no_grad():
                changed += _initialise(module, name, weight, like_relu=like_relu)
    return f"{'He' if like_relu else 'Xavier'} initialisation of {changed} weights" if changed else None


def _initialise(module: nn.Module, name: str, weight: torch.Tensor, *, like_relu: bool) -> int:
    if weight.dim() < 2:
        is_scale = name == "weight" or name in ("gamma", "scale", "g")
        weight.fill_(1.0 if is_scale else 0.0)
        return 0
    if isinstance(module, nn.Embedding):
        std = weight.shape[1] ** -0.5
    else:
        receptive = math.prod(weight.shape[2:])
        fan_in, fan_out = weight.shape[1] * receptive, weight.shape[0] * receptive
        std = math.sqrt(2 / fan_in) if like_relu else math.sqrt(2 / (fan_in + fan_out))
    weight.copy_(torch.randn(weight.shape) * std)
    return 1


def _clipped(_problem: Problem) -> str | None:
    return "clip_grad_norm_ with 1.0"


def _larger_eps(problem: Problem) -> str | None:
    """Raises eps of the optimizer to 1e-4, of normalisation layers to 1e-3; returns the change in words, None if none
    was smaller.
    """
    words = []
    for group in problem.optimizer.param_groups:
        if isinstance(group.get("eps"), float) and group["eps"] < _EPS:
            words = [f"eps of the optimizer {group['eps']:.3g} → {_EPS:.3g}"]
            group["eps"] = _EPS
    layers = [each for each in problem.model.modules() if isinstance(getattr(each, "eps", None), float)]
    small = [each for each in layers if float(each.eps) < _NORM_EPS]
    for layer in small:
        layer.eps = _NORM_EPS
    if small:
        words.append(f"eps of {len(small)} layers → {_NORM_EPS:.3g}")
    return ", ".join(words) or None


def _skipped_samples(problem: Problem) -> str | None:
    """Leaves out the samples whose loss or gradient alone is not finite, found by bisection; returns their rows in
    words, or None.
    """
    kept, words = [], []
    problem.model.eval()
    for number, batch in enumerate(problem.batches):
        rows = _rows(batch)
        bad = [] if _is_finite(problem, batch) else _bad_rows(problem, batch)
        if bad is None or len(bad) == rows:
            return None  # not a matter of some samples
        if bad:
            words.append(f"rows {', '.join(map(str, bad))} of batch {number}")
            batch = _selected(batch, [row for row in range(rows) if row not in bad])  # noqa: PLW2901
        kept.append(batch)
        if len(words) > _MAX_BAD_ROWS:
            break
    problem.model.train()
    problem.batches = kept
    return "left out: " + "; ".join(words) if words else None


def _bad_rows(problem: Problem, batch: Any) -> list[int] | None:
    """The rows that are not finite each by itself; None if there are more than a few."""
    rows = _rows(batch)
    bad: list[int] = []
    stack = [list(range(rows))]
    while stack and len(bad) <= _MAX_BAD_ROWS:
        group = stack.pop()
        if _is_finite(problem, _selected(batch, group)):
            continue
        if len(group) == 1:
            bad += group
        else:
            stack += [group[len(group) // 2 :], group[: len(group) // 2]]
    return bad if len(bad) <= _MAX_BAD_ROWS else None


def _is_finite(problem: Problem, batch: Any) -> bool:
    loss = loss_of(problem.model, batch, problem.loss_fn)
    if nonfinite_kind(loss):
        return False
    weights = [weight for weight in problem.model.parameters() if weight.requires_grad]
    if not loss.requires_grad or not weights:
        return True
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return not any(nonfinite_kind(gradient) for gradient in gradients if gradient is not None)


def _evaluation(problem: Problem) -> str | None:
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    if not any(isinstance(module, kinds) for module in problem.model.modules()):
        return None
    problem.model.eval()
    return "model.eval(): running statistics, no dropout"


_RUNGS: tuple[tuple[str, _Change], ...] = (
    ("lr/10", _rate(0.1)),
    ("lr/100", _rate(0.01)),
    ("float32", _wider_format),
    ("inputs", _standardised),
    ("stable_loss", _stable_loss),
    ("skip_sample", _skipped_samples),
    ("init", _initialised),
    ("mean", _mean_loss),
    ("clip", _clipped),
    ("eps", _larger_eps),
    ("eval", _evaluation),
    ("lr*10", _rate(10.0)),
    ("lr*100", _rate(100.0)),
)
"""(id, change) of each intervention, the most telling first, as the time may not suffice for all."""


@contextlib.contextmanager
def _autocast_seen() -> Iterator[list[bool]]:
    """Yields a list that is not empty once autocast has been entered in the block."""
    seen: list[bool] = []
    original = torch.amp.autocast_mode.autocast.__enter__

    def enter(self: Any) -> Any:
        seen.append(True)
        return original(self)

    torch.amp.autocast_mode.autocast.__enter__ = enter
    try:
        yield seen
    finally:
        torch.amp.autocast_mode.autocast.__enter__ = original


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """Disables autocast for the duration of the block."""
    kind = torch.amp.autocast_mode.autocast
    enter, leave = kind.__enter__, kind.__exit__
    kind.__enter__ = lambda self: self
    kind.__exit__ = lambda *_: None
    try:
        yield
    finally:
        kind.__enter__, kind.__exit__ = enter, leave


def _remove_output_activation(model: nn.Module) -> str:
    """Replaces a softmax or sigmoid that ends an `nn.Sequential` by an identity; returns its class, "" if there is
    none.
    """
    last: nn.Module = model
    while isinstance(last, nn.Sequential) and len(last):
        final = last[-1]
        if isinstance(final, nn.Softmax | nn.LogSoftmax | nn.Sigmoid):
            last[-1] = nn.Identity()
            return type(final).__name__
        last = final
    return ""


def _is_squared_error(loss_fn: Any) -> bool:
    return loss_fn is functional.mse_loss or isinstance(loss_fn, nn.MSELoss | nn.L1Loss | nn.SmoothL1Loss)


def _is_within(tensor: torch.Tensor, low: float, high: float) -> bool:
    return bool(((tensor >= low) & (tensor <= high)).all())


def _is_numbers(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() > 0


def _mapped(batch: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The batch with the function applied to each tensor of floats in it."""
    if isinstance(batch, Mapping):
        return {name: _mapped(each, function) for name, each in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(_mapped(each, function) for each in batch)
    return function(batch) if isinstance(batch, torch.Tensor) and batch.is_floating_point() else batch


def _with_input(batch: Any, shape: torch.Size, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The batch with the function applied to its first input of this shape (without the first dimension).

    Also to targets that are the inputs, as an autoencoder has them.
    """
    if isinstance(batch, Mapping):
        for name, each in batch.items():
            if _is_numbers(each) and each.shape[1:] == shape:
                return {**batch, name: function(each)}
        return batch
    if isinstance(batch, list | tuple):
        first = next((each for each in batch if _is_numbers(each) and each.shape[1:] == shape), None)
        if first is None:
            return batch
        return type(batch)(function(each) if _is_same(each, first) else each for each in batch)
    return function(batch)


def _is_same(value: Any, tensor: torch.Tensor) -> bool:
    return value is tensor or (isinstance(value, torch.Tensor) and bool(torch.equal(value, tensor)))


def _tensors(batch: Any) -> list[torch.Tensor]:
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else (batch,)
    return [each for each in values if isinstance(each, torch.Tensor) and each.dim() > 0]


def _rows(batch: Any) -> int:
    """The number of samples: the length of the first tensor."""
    tensors = _tensors(batch)
    return len(tensors[0]) if tensors else 0


def _selected(batch: Any, rows: Any) -> Any:
    """The batch with these samples only; what has another length is left as it is."""
    index, length = torch.tensor(list(rows)), _rows(batch)

    def select(each: Any) -> Any:
        if isinstance(each, torch.Tensor) and each.dim() > 0 and len(each) == length:
            return each[index.to(each.device)]
        return each

    if isinstance(batch, Mapping):
        return {name: select(each) for name, each in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(select(each) for each in batch)
    return select(batch)
