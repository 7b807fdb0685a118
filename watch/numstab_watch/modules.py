"""Measures modules at a sampled step: outputs, units, saturation, the gradient of the signal.

Hooks exist at sampled steps only. They read; no tensor is kept longer than its hook runs, but the map of live units.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch

MAX_MEASURED_MODULES = 400
_WINDOW = 8
"""A unit is silent if it was zero for every sample of this many recorded steps in a row."""
_SAMPLES = 64
"""Samples of a batch that are compared with one another, and with those of the batches measured before."""
_MOST_COMPARED, _MOST_SUMMED = 1024, 4096
_RECURRENT = (torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU)
_RECTIFIERS = ("ReLU", "ReLU6", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish", "PReLU", "Softplus", "SELU", "CELU")
_SATURATING = {"Tanh": (-0.97, 0.97), "Sigmoid": (0.03, 0.97), "Hardtanh": (-0.99, 0.99), "Hardsigmoid": (0.01, 0.99)}
_BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
ModuleStatistics = dict[str, Any]


def first_tensor(value: Any) -> Any:
    """The first tensor of floats in a value of nested tuples, lists and mappings; None if there is none.

    A mapping with "logits" gives these.
    """
    for each in tensors_in(value):
        if each.is_floating_point() and each.layout == torch.strided and each.numel() and not each.is_nested:
            return each
    return None


def tensors_in(value: Any, depth: int = 0) -> Iterator[Any]:
    """The tensors in nested tuples, lists and mappings, in their order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth < 4 and isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each, depth + 1)
    elif depth < 4 and hasattr(value, "values") and hasattr(value, "keys"):
        order = [value["logits"]] if "logits" in value else list(value.values())
        for each in order:
            yield from tensors_in(each, depth + 1)


def nonfinite_share(tensor: Any) -> Any:
    """The share of nan and inf, a scalar on the device; −inf is left out: masks are made of it."""
    return (torch.isnan(tensor) | (tensor == math.inf)).float().mean()


class ModuleProbes:
    """Measures the modules of a model without children, at most 400 of them, during one forward and backward pass."""

    def __init__(self, model: Any) -> None:
        named = [(name, each) for name, each in model.named_modules() if name and _is_leaf(each)]
        self._modules = named[:: -(-len(named) // MAX_MEASURED_MODULES)] if named else []
        self._model = model
        self._last_alive: dict[str, Any] = {}
        self._samples = 0
        self._values: dict[str, ModuleStatistics] = {}
        self._handles: list[Any] = []
        self._prints: list[Any] = []
        self.output: Any = None
        """What the model returned in the first measured pass, until it is taken."""
        self.cost = 0.0
        """Seconds that the measurement of the current step has taken."""

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Puts the hooks in place; called before the forward pass of the model, with its arguments."""
        self.stop()
        self._values = {}
        self._samples += 1
        started = time.perf_counter()
        self._measure_input(first_tensor([*args, *kwargs.values()]))
        self._count_repeated(next((each for each in tensors_in([*args, *kwargs.values()]) if each.dim() > 1), None))
        for name, module in self._modules:
            self._handles.append(module.register_forward_hook(self._hook(name)))
        self._handles.append(self._model.register_forward_hook(self._measure_output))
        self.cost = time.perf_counter() - started

    def stop(self) -> None:
        """Removes the hooks of modules; those on tensors end with the backward pass."""
        while self._handles:
            self._handles.pop().remove()

    def take(self) -> dict[str, ModuleStatistics]:
        """The measured values, scalars on the device: module → statistic → value. "" is the model itself."""
        values, self._values = self._values, {}
        return values

    def _hook(self, name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if torch.compiler.is_compiling():
                return
            started = time.perf_counter()
            try:
                with torch.no_grad():
                    self._measure(name, module, first_tensor(inputs), first_tensor(output))
            except Exception as error:  # a watcher never breaks the loop; this module is left out
                self._values[name] = {"error": type(error).__name__}
            self.cost += time.perf_counter() - started

        return hook

    def _measure(self, name: str, module: Any, given: Any, output: Any) -> None:
        if output is None:
            return
        values = self._values.setdefault(name, {"calls": 0})
        values["calls"] += 1
        if output.requires_grad:
            self._follow_gradient(values, output, recurrent=isinstance(module, _RECURRENT))
        if values["calls"] > 1:
            return
        values |= _magnitude(output, "")
        kind = type(module).__name__
        if kind in _SATURATING:
            low, high = _SATURATING[kind]
            values["saturated"] = ((output < low) | (output > high)).float().mean()
        if kind in _RECTIFIERS:
            self._count_units(name, output, values)
        elif _is_matmul(module) and given is not None:
            values |= _magnitude(given, "in_")
            self._count_units(name, given, values, convolution=kind.startswith("Conv"))
        elif isinstance(module, _BATCH_NORMS) and given is not None and given.dim() > 1 and module.training:
            rows = given.float().transpose(0, 1).flatten(1)
            values["batch_count"] = rows.shape[1]
            values["least_variance"] = rows.var(1, correction=0).min()
        if isinstance(module, _RECURRENT) and given is not None and given.dim() == 3:
            dimension = 1 if module.batch_first else 0
            values["time_steps"] = given.shape[dimension]
            if given.requires_grad:
                self._follow_time(values, given, dimension)

    def _follow_gradient(self, values: ModuleStatistics, output: Any, *, recurrent: bool) -> None:
        first = values["calls"] == 1 or recurrent

        def seen(gradient: Any) -> None:
            if first:
                values["grad"] = _rms(gradient)
            elif "grad_last" not in values:  # gradients arrive in reverse: the first to do so is the last call's
                values["grad_last"] = _rms(gradient)

        if first or values["calls"] <= 1000:
            output.register_hook(seen)

    def _follow_time(self, values: ModuleStatistics, given: Any, dimension: int) -> None:
        def seen(gradient: Any) -> None:
            steps = gradient.shape[dimension]
            if steps > 4:
                values["grad_time_first"] = _rms(gradient.select(dimension, 0))
                values["grad_time_last"] = _rms(gradient.select(dimension, steps - 1))

        given.register_hook(seen)

    def _count_units(self, name: str, tensor: Any, values: ModuleStatistics, *, convolution: bool = False) -> None:
        zero = tensor == 0
        values["zero"] = zero.float().mean()
        if tensor.dim() < 2:
            return
        units = 1 if tensor.dim() == 4 or convolution else tensor.dim() - 1
        alive = ~zero.transpose(units, 0).flatten(1).all(1)
        values["silent_now"] = 1 - alive.float().mean()
        last = self._last_alive.get(name)
        if last is None or last.shape != alive.shape:
            last = torch.full(alive.shape, self._samples - 1, device=alive.device)
        last = torch.where(alive, self._samples, last)
        self._last_alive[name] = last
        if self._samples > _WINDOW:
            values["silent"] = (last <= self._samples - _WINDOW).float().mean()

    def _measure_input(self, given: Any) -> None:
        if given is None:
            return
        values: ModuleStatistics = {}
        with torch.no_grad():
            given = given.detach().float()
            bad = ~torch.isfinite(given)
            values["in_bad"] = nonfinite_share(given)
            values |= _magnitude(torch.where(bad, 0.0, given), "in_")
            if given.dim() > 1 and given.shape[0] > 1:
                units = 1 if given.dim() == 4 else given.dim() - 1
                columns = given.transpose(units, 0).flatten(1)
                norms = columns.square().mean(1).sqrt()
                norms = norms[norms > 0]
                if norms.numel() > 1:
                    values["in_columns"] = norms.max() / norms.median()
                values["in_offset"] = columns.mean().abs() / (columns.std() + 1e-30)
        self._values[""] = values

    def _count_repeated(self, given: Any) -> None:
        """Records the share of samples that occur twice, compared by a weighted sum of each; the sums never leave this
        process.
        """
        if given is None or len(given) < 2 or given.is_nested or given.is_complex() or given.layout != torch.strided:
            return
        with torch.no_grad():
            rows = given.detach()[:_SAMPLES].flatten(1)
            rows = rows[:, :: max(1, rows.shape[1] // _MOST_SUMMED)].double().nan_to_num()
            weights = torch.cos(torch.arange(1, rows.shape[1] + 1, dtype=torch.float64) ** 1.5).to(rows.device)
            prints = rows @ weights
            known = torch.cat([*self._prints, prints])
            same = (prints[:, None] - known[None, :]).abs() <= 1e-9 * (prints.abs()[:, None] + 1e-9)
            values = self._values.setdefault("", {})
            values["in_repeated"] = (same.sum(1) > 1).float().mean()
            values["in_compared"] = float(len(known) - 1)
            if len(known) < _MOST_COMPARED:
                self._prints.append(prints)

    def _measure_output(self, _module: Any, _inputs: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        try:
            output = first_tensor(output)
            if output is None:
                return
            if self._samples == 1:
                self.output = output.detach()
            with torch.no_grad():
                values = self._values.setdefault("", {})
                output = output.detach().float()
                values |= _magnitude(output, "out_")
                if output.dim() > 1:
                    values["out_width"] = output.shape[-1]
                    values["out_spread"] = output.flatten(0, -2).std(0, correction=0).mean()
                    sums = output.sum(-1)
                    proper = (output.min() >= 0) & ((sums - 1).abs().max() < 1e-2)
                    values["out_sums_to_1"] = proper.float()
        except Exception as error:  # a watcher never breaks the loop
            self._values.setdefault("", {})["error"] = type(error).__name__


def _is_leaf(module: Any) -> bool:
    return next(module.children(), None) is None and not isinstance(module, torch.nn.Identity | torch.nn.Dropout)


def _is_matmul(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.dim() > 1 and not isinstance(module, torch.nn.Embedding)


def _rms(tensor: Any) -> Any:
    with torch.no_grad():
        return torch.linalg.vector_norm(tensor.detach().float()) / math.sqrt(max(tensor.numel(), 1))


def _magnitude(tensor: Any, prefix: str) -> ModuleStatistics:
    tensor = tensor.detach()
    least, most = torch.aminmax(tensor)
    return {f"{prefix}rms": _rms(tensor), f"{prefix}max": torch.maximum(-least, most)}
