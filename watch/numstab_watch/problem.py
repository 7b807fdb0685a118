"""The problem that a file describes: a model, one batch or several, a loss, perhaps an optimizer.

`make()` returns one of

    model, batch, loss_fn
    model, batch, loss_fn, optimizer
    {"model": …, "batch": …, "loss_fn": …, "optimizer": …}      # the last two may be missing

`model` is a `torch.nn.Module`.

`batch` is a pair (inputs, targets), a longer tuple (input, …, targets), a tensor, or a dict of arguments of the model.
Several batches: a DataLoader, or a list of such batches; they are taken in turn.

`loss_fn(output, targets)` gives the loss; `loss_fn(output)` where the batch is a tensor, `loss_fn(output, batch)` where
it is a dict. A function whose first parameter is called `model` is called as `loss_fn(model, batch)` and computes all
of the step itself. Without `loss_fn` the loss is what the model returns, or its `loss`.

`optimizer` is a `torch.optim.Optimizer` over the model's parameters, or a function of the parameters that returns one,
such as `lambda parameters: torch.optim.SGD(parameters, lr=0.1)`. Without one it is Adam with lr 1e-3.
"""

import copy
import importlib.util
import inspect
import itertools
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_MAX_BATCHES = 1000
MAKE_RETURN_SHAPES = (
    "make() must return (model, batch, loss_fn), (model, batch, loss_fn, optimizer) or a dict with these keys; "
    "loss_fn and optimizer may be left out of a dict"
)


class BadProblem(Exception):
    """`make` does not exist, or its return value cannot be trained; the message says why and what is allowed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Problem:
    """A model with its batches, loss and optimizer."""

    model: nn.Module
    batches: list[Any]
    loss_fn: Callable[..., Any] | None
    optimizer: torch.optim.Optimizer
    make: Callable[[], Any]
    """The user's function, which makes the problem anew."""
    initial: dict[str, Any]
    """The model's state when it was made."""

    def loss(self, step: int) -> torch.Tensor:
        """The loss of the batch of this step, a scalar tensor."""
        return loss_of(self.model, self.batches[step % len(self.batches)], self.loss_fn)

    def anew(self) -> "Problem":
        """The problem as it was made: nothing is shared, the weights are the same, the optimizer has no state."""
        seed_all()
        rebuilt = problem_of(self.make(), self.make)
        rebuilt.model.load_state_dict(self.initial)
        rebuilt.initial = self.initial
        return rebuilt


def seed_all() -> None:
    """Seeds the generators of torch and Python, and numpy's if it is there, so that `make` gives the same again."""
    torch.manual_seed(0)
    random.seed(0)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(0)


def load_problem(target: str) -> Problem:
    """The problem of "file.py:function"; the function may be left out, and is then `make`. Raises `BadProblem`."""
    path, colon, name = target.rpartition(":")
    if not colon or os.sep in name or name.endswith(".py"):
        path, name = target, "make"
    if not os.path.isfile(path):
        raise BadProblem("no_file", f"there is no file {path}")
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    if spec is None or spec.loader is None:
        raise BadProblem("no_file", f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    make = getattr(module, name, None)
    if not callable(make):
        raise BadProblem("no_make", f"{os.path.basename(path)} has no function {name}()")
    seed_all()
    return problem_of(make(), make)


def problem_of(made: Any, make: Callable[[], Any]) -> Problem:
    """The return value of `make()` as a problem. Raises `BadProblem`, which says what was expected."""
    parts = _parts(made)
    model, batch, loss_fn, optimizer = (parts.get(name) for name in ("model", "batch", "loss_fn", "optimizer"))
    if not isinstance(model, nn.Module):
        raise BadProblem(
            "bad_shape", f"the model is a {type(model).__name__}, not a torch.nn.Module. {MAKE_RETURN_SHAPES}"
        )
    if loss_fn is not None and not callable(loss_fn):
        raise BadProblem(
            "bad_shape", f"loss_fn is a {type(loss_fn).__name__}, which cannot be called. {MAKE_RETURN_SHAPES}"
        )
    if batch is None:
        raise BadProblem("bad_shape", f"there is no batch. {MAKE_RETURN_SHAPES}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        factory = _default_optimizer if optimizer is None else optimizer
        optimizer = factory(list(model.parameters())) if callable(factory) else factory
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise BadProblem("bad_shape", f"the optimizer is a {type(optimizer).__name__}. {MAKE_RETURN_SHAPES}")
    return Problem(model, _batches(batch), loss_fn, optimizer, make, copy.deepcopy(model.state_dict()))


def loss_of(model: nn.Module, batch: Any, loss_fn: Callable[..., Any] | None) -> torch.Tensor:
    """The loss of a batch, summed if it has more than one element. Raises `BadProblem` if it is no tensor."""
    if loss_fn is not None and takes_model_and_batch(loss_fn):
        loss = loss_fn(model, batch)
    else:
        inputs, keywords, target = split_batch(batch)
        output = model(*inputs, **keywords)
        if loss_fn is None:
            loss = output["loss"] if isinstance(output, Mapping) else getattr(output, "loss", output)
        elif target is not None:
            loss = loss_fn(output, target)
        else:
            loss = loss_fn(output, batch) if keywords else loss_fn(output)
    if not isinstance(loss, torch.Tensor):
        raise BadProblem("bad_loss", f"the loss is a {type(loss).__name__}, not a tensor")
    if loss.numel() != 1:
        raise BadProblem("bad_loss", f"the loss has the shape {tuple(loss.shape)}; it must be one number")
    return loss.reshape(())


def takes_model_and_batch(loss_fn: Callable[..., Any]) -> bool:
    """Whether it is called as loss_fn(model, batch)."""
    if isinstance(loss_fn, nn.Module):
        return False
    try:
        return next(iter(inspect.signature(loss_fn).parameters), "") == "model"
    except (TypeError, ValueError):
        return False


def split_batch(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """A batch as positional arguments of the model, keyword arguments, and targets (None if there are none)."""
    if isinstance(batch, Mapping):
        return (), dict(batch), None
    if isinstance(batch, list | tuple):
        return (tuple(batch[:-1]), {}, batch[-1]) if len(batch) > 1 else (tuple(batch), {}, None)
    return (batch,), {}, None


def _parts(made: Any) -> dict[str, Any]:
    if isinstance(made, Mapping):
        parts = {"loss_fn" if name == "loss" else str(name): value for name, value in made.items()}
        unknown = sorted(parts.keys() - {"model", "batch", "loss_fn", "optimizer"})
        if unknown:
            raise BadProblem("bad_shape", f"unknown keys {', '.join(unknown)[:200]}. {MAKE_RETURN_SHAPES}")
        return parts
    if isinstance(made, tuple | list) and 3 <= len(made) <= 4:
        return dict(zip(("model", "batch", "loss_fn", "optimizer"), made, strict=False))
    what = f"{len(made)} values" if isinstance(made, tuple | list) else f"a {type(made).__name__}"
    raise BadProblem("bad_shape", f"make() returned {what}. {MAKE_RETURN_SHAPES}")


def _batches(batch: Any) -> list[Any]:
    if isinstance(batch, torch.utils.data.DataLoader):
        batches = list(itertools.islice(batch, _MAX_BATCHES))
    elif isinstance(batch, list) and batch and all(isinstance(each, tuple | list | dict) for each in batch):
        batches = batch[:_MAX_BATCHES]
    elif isinstance(batch, torch.Tensor | Mapping | Sequence) and not isinstance(batch, str):
        batches = [batch]
    else:
        raise BadProblem("bad_shape", f"the batch is a {type(batch).__name__}. {MAKE_RETURN_SHAPES}")
    if not batches or (isinstance(batches[0], Mapping | Sequence) and not len(batches[0])):
        raise BadProblem("bad_shape", f"the batch is empty. {MAKE_RETURN_SHAPES}")
    return batches


def _default_optimizer(parameters: list[Any]) -> torch.optim.Optimizer:
    if not parameters:
        raise BadProblem("bad_shape", "the model has no parameters")
    return torch.optim.Adam(parameters, lr=1e-3)
