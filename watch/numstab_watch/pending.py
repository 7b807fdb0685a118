"""Rows of the trace before they are written: their scalars stay on the device until all are read at once."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from numstab_watch.iteration import Iteration
from numstab_watch.names import TraceNames
from numstab_watch.trace import PARAMETER_COLUMNS, STEP_COLUMNS, Trace


class PendingRows:
    """The rows of the trace that were added since the last flush."""

    def __init__(self, names: TraceNames) -> None:
        self.skips = 0
        """Steps that were skipped, as far as it is known."""
        self._names = names
        self._rows: list[tuple[str, int, Any]] = []

    def add_step(self, iteration: Iteration) -> None:
        """Adds the row of a finished step, and the row of its modules if they were measured."""
        self._rows.append(("s", iteration.step, iteration))
        if iteration.modules:
            self._rows.append(("m", iteration.step, (iteration.modules, iteration.scale)))

    def add_parameters(self, step: int, matrix: Any, has_gradient: Any) -> None:
        """Adds the statistics of parameters, a matrix (columns, parameters); `has_gradient` has a boolean for each."""
        self._rows.append(("p", step, (matrix, has_gradient)))

    def add_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Adds values that the user logged; those that are not scalars are ignored."""
        if scalars:
            self._rows.append(("x", step, _kept(scalars)))

    def keep_steps_only(self) -> None:
        """Drops all but the steps, such as after an error in what measures the rest."""
        self._rows = [each for each in self._rows if each[0] == "s"]

    def write_to(self, trace: Trace) -> None:
        """Writes the pending rows to the trace and forgets them; copies all scalars from the device at once."""
        pending, self._rows = self._rows, []
        scalars: list[Any] = []
        for kind, _, content in pending:
            if kind == "s":
                scalars += [each for each in content.scalars() if isinstance(each, torch.Tensor)]
            elif kind == "m":
                scalars += [each for values in content[0].values() for each in values.values()]
                scalars.append(content[1])
            elif kind == "x":
                scalars += content.values()
        numbers = _read([each for each in scalars if isinstance(each, torch.Tensor)])
        for kind, step, content in pending:
            if kind == "s":
                trace.add("s", step, self._step_row(content, numbers, trace))
            elif kind == "p":
                trace.add("p", step, _parameter_row(*content))
            elif kind == "m":
                trace.add("m", step, self._module_row(content[0], content[1], numbers))
            else:
                trace.add(kind, step, {key: _number(each, numbers) for key, each in content.items()})

    def _step_row(self, iteration: Iteration, numbers: Mapping[int, float], trace: Trace) -> list[Any]:
        losses = [_number(each, numbers) for each in iteration.losses]
        whole = math.fsum(losses) if losses and all(map(math.isfinite, losses)) else _worst(losses)
        if whole is not None and iteration.backwards > 1 and not _is_divided(trace):
            whole /= len(losses)
        norm = iteration.clip_norm if iteration.clip_norm is not None else iteration.norm
        skipped = iteration.skipped
        if isinstance(skipped, torch.Tensor):
            skipped = bool(_number(skipped, numbers))
            self.skips += skipped
        values = {
            "loss": whole,
            "grad_norm": _number(norm, numbers),
            "lr": _number(iteration.lr, numbers),
            "loss_scale": _number(iteration.scale, numbers),
            "skipped": int(skipped),
            "seconds": iteration.seconds,
            "backwards": iteration.backwards,
            "carried": _number(iteration.carried, numbers),
            "optimizer": iteration.optimizers[0] if iteration.optimizers else None,
            "input_max": _number(iteration.input_max, numbers),
        }
        return [values[column] for column in STEP_COLUMNS]

    def _module_row(self, modules: Mapping[str, Any], scale: Any, numbers: Mapping[int, float]) -> dict[str, Any]:
        factor = _number(scale, numbers) or 1.0
        row: dict[str, Any] = {}
        for name, values in modules.items():
            kept = {key: _number(each, numbers) for key, each in values.items()}
            for key, each in kept.items():
                if key.startswith("grad") and isinstance(each, float):
                    kept[key] = each / factor
            row[self._names.label(name)] = kept
        return row


def _is_divided(trace: Trace) -> bool:
    """Whether the loop divides the loss by the number of passes before an update, so that their sum is the mean."""
    operations = [each for each in trace.header.get("loss", {}).get("operations", []) if each != "Mul"]
    return operations[:1] == ["Div"]


def _read(scalars: list[Any]) -> dict[int, float]:
    """The id of each scalar → its value, with one copy from each device."""
    by_device: dict[Any, list[Any]] = {}
    for each in scalars:
        by_device.setdefault(each.device, []).append(each)
    numbers: dict[int, float] = {}
    for device, tensors in by_device.items():
        dtype = torch.float32 if device.type == "mps" else torch.float64
        values = torch.stack([each.detach().reshape(()).to(dtype) for each in tensors]).tolist()
        numbers.update(zip(map(id, tensors), values, strict=True))
    return numbers


def _number(value: Any, numbers: Mapping[int, float]) -> Any:
    return numbers.get(id(value)) if isinstance(value, torch.Tensor) else value


def _worst(losses: list[float]) -> float | None:
    return next((each for each in losses if not math.isfinite(each)), None)


def _parameter_row(matrix: Any, has_gradient: Any) -> list[list[Any]]:
    """One list for each parameter, in the order of the columns; null where nothing could be measured."""
    weights = PARAMETER_COLUMNS.index("weight_rms"), PARAMETER_COLUMNS.index("update_rms")
    rows = []
    for values, has in zip(matrix.T.tolist(), has_gradient.tolist(), strict=True):
        if has:
            unknown = range(PARAMETER_COLUMNS.index("unchanged"), len(values))
            rows.append([None if at in unknown and math.isnan(each) else each for at, each in enumerate(values)])
        else:
            rows.append([each if at in weights else None for at, each in enumerate(values)])
    return rows


def _kept(scalars: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in list(scalars.items())[:64]:
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            kept[str(key)[:64]] = value.detach().clone()
        elif isinstance(value, bool | int | float):
            kept[str(key)[:64]] = value
    return kept
