"""Runs code snippets of entries as a reader would, and gives what they did: output, variables, changes to the model."""

import contextlib
import io
import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from hooks import hook_count
from torch import nn

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)(?![\w])")


def batch(rows: int = 64, columns: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of standard deviation 1, and the label 0 or 1 that the sign of their first column gives."""
    x = torch.randn(rows, columns)
    return x, (x[:, 0] > 0).long()


def bad_batch(value: float = math.nan, row: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch with one bad number."""
    x, y = batch()
    x[row, 2] = value
    return x, y


def healthy_model() -> nn.Sequential:
    """A sound classifier in training mode, with everything that a snippet must not change.

    It has a layer without bias, batch norm in training mode, dropout, a frozen layer, and a frozen batch norm in
    evaluation mode.
    """
    model = nn.Sequential(
        nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16, momentum=0.2), nn.ReLU(), nn.Dropout(0.25),
        nn.Linear(16, 16), nn.BatchNorm1d(16, momentum=0.03), nn.ReLU(), nn.Linear(16, 2),
    )  # fmt: skip
    model[4].requires_grad_(False)
    model[5].eval().requires_grad_(False)
    return model


def plain_model(hidden: type[nn.Module] = nn.ReLU, layers: int = 3, width: int = 16, outputs: int = 2) -> nn.Sequential:
    """Linear layers with the activation between them, PyTorch's initial weights."""
    sizes = [8, *[width] * (layers - 1), outputs]
    parts: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        parts += [nn.Linear(fan_in, fan_out), hidden()]
    return nn.Sequential(*parts[:-1])


def state_of(model: nn.Module) -> dict[str, Any]:
    """All state of a model that a diagnosis must leave unchanged, by the names that a failed test shows."""
    state: dict[str, Any] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, p in model.named_parameters():
        state[f"{name}.requires_grad"] = p.requires_grad
        state[f"{name}.grad"] = None if p.grad is None else p.grad.clone()
    state["hooks"] = hook_count(model)
    for name, module in model.named_modules():
        state[f"{name}: training"] = module.training
        state[f"{name}: kind"] = type(module)
        state[f"{name}: momentum"] = getattr(module, "momentum", None)
        state[f"{name}: p"] = getattr(module, "p", None)
    return state


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names under which two states differ; nan equals nan."""
    return [name for name in before.keys() | after.keys() if not _same(before.get(name), after.get(name))]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a.double().nan_to_num(nan=1e99), b.double().nan_to_num(nan=1e99))
    return type(a) is type(b) and a == b


class RunVariables(dict[str, Any]):
    """The variables of a run; they can be read as keys and as attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: what it printed, and its variables."""

    printed: str
    names: RunVariables

    @cached_property
    def numbers(self) -> list[float]:
        """The numbers printed, in their order."""
        return [float(text) for text in _NUMBER.findall(self.printed)]


class Snippet:
    """The code of one entry, from its English text; the code in the Chinese text is the same except for words."""

    def __init__(self, code: str) -> None:
        self.code = code

    def run(self, model: nn.Module | None = None, swap: dict[str, str] | None = None, **given: Any) -> FinishedRun:
        """Runs it with what the entry's page assumes (a model in training, a batch x, y, …), or with `given` values
        instead.

        `swap` replaces parts of the code that the reader is asked to replace. Errors of the code are raised.
        """
        return self._execute(self._variables(healthy_model() if model is None else model, **given), swap or {})

    def diagnose(self, model: nn.Module | None = None, swap: dict[str, str] | None = None, **given: Any) -> FinishedRun:
        """Calls `run` and asserts that the model is unchanged: weights, gradients, buffers, modes, momentum, hooks."""
        model = healthy_model() if model is None else model
        names = self._variables(model, **given)
        before = state_of(model)
        try:
            return self._execute(names, swap or {})
        finally:
            assert not changes(before, state_of(model)), "the snippet changed the reader's model"

    def _execute(self, names: RunVariables, swap: dict[str, str]) -> FinishedRun:
        code = self.code
        for old, new in swap.items():
            assert old in code, f"expected {old!r} in the code"
            code = code.replace(old, new)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "snippet", "exec"), names)
        return FinishedRun(out.getvalue(), names)

    @staticmethod
    def _variables(model: nn.Module, **given: Any) -> RunVariables:
        x, y = batch()
        x, y = given.get("x", x), given.get("y", y)
        criterion = given.get("criterion", nn.CrossEntropyLoss())
        trained = [p for p in model.parameters() if p.requires_grad]
        layer = next((m for m in model.modules() if isinstance(m, nn.Linear)), None)
        names = RunVariables(
            torch=torch, nn=nn, model=model, x=x, y=y, X=x, Y=y, x_val=x, y_val=y, criterion=criterion,
            loss_fn=criterion, layer=layer, new_loader=[(x, y)] * 3, loss=torch.tensor(0.69),
        )  # fmt: skip
        if trained:
            names["optimizer"] = torch.optim.SGD(trained, lr=0.1)
        names.update(given)
        return names


def check_bad_batch_is_skipped(snippet: Snippet) -> None:
    """Asserts that a batch with an inf changes no weight and is reported, and that a finite batch is trained on."""
    x, y = bad_batch(math.inf)
    model = plain_model()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    assert "step skipped" in snippet.run(model, x=x, y=y).printed
    assert not changes(before, model.state_dict())
    assert snippet.run(model).printed == ""
    assert changes(before, model.state_dict())


def check_weights_change(snippet: Snippet) -> None:
    """Asserts that the snippet trains a plain model, and one with frozen layers and batch norm."""
    model = plain_model()
    before = model[0].weight.clone()
    snippet.run(model)
    assert not torch.equal(before, model[0].weight)
    snippet.run()
