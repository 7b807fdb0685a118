"""The header of a trace: the machine, the model, its parameters and optimizers."""

import platform
import time
from collections.abc import Sequence
from typing import Any

import torch

from numstab_watch.names import TraceNames
from numstab_watch.optimizers import optimizer_settings
from numstab_watch.parameters import MAX_PARAMETERS, describe_parameter
from numstab_watch.trace import PARAMETER_COLUMNS, STEP_COLUMNS, TRACE_SCHEMA


class MeasuredParameters:
    """The parameters of a model that are measured: all of floats, or every k-th of very many."""

    def __init__(self, model: Any, names: TraceNames) -> None:
        named = [
            (name, each)
            for name, each in model.named_parameters()
            if each.is_floating_point() and not isinstance(each, torch.nn.parameter.UninitializedParameter)
        ]
        chosen = named[:: -(-len(named) // MAX_PARAMETERS)] if named else []
        self.parameters = [each for _, each in chosen]
        self.labels = [names.label(name) for name, _ in chosen]
        self.left_out = len(named) - len(chosen)


def trace_header(
    model: Any,
    optimizers: Sequence[Any],
    measured: MeasuredParameters,
    names: TraceNames,
    *,
    device: str,
    level: str,
    window: int,
) -> dict[str, Any]:
    """The header as it is before the first step; the first passes add fields."""
    held = {id(each) for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]}
    distributed = is_distributed()
    modules = [{"name": names.label(name), "class": type(each).__name__} for name, each in model.named_modules()]
    return {
        "schema": TRACE_SCHEMA,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "level": level,
        "window": window,
        "rank": torch.distributed.get_rank() if distributed else 0,
        "world": torch.distributed.get_world_size() if distributed else 1,
        "columns": {"s": list(STEP_COLUMNS), "p": list(PARAMETER_COLUMNS)},
        "model": {"class": type(model).__name__, "modules": modules[:MAX_PARAMETERS]},
        "parameters": [
            describe_parameter(label, each, held=not held or id(each) in held)
            for label, each in zip(measured.labels, measured.parameters, strict=True)
        ],
        "parameters_left_out": measured.left_out,
        "optimizers": [optimizer_settings(each) for each in optimizers],
    }


def autocast_dtype(device: str) -> str:
    """The dtype that operations are cast to, "" without autocast."""
    kind = device.partition(":")[0]
    if not torch.is_autocast_enabled(kind):
        return ""
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.")


def is_distributed() -> bool:
    """Whether several processes train together."""
    return bool(torch.distributed.is_available() and torch.distributed.is_initialized())


def is_compiled(model: Any) -> bool:
    """Whether a model is compiled, so that hooks on its layers would not be called, or would break its graph."""
    return hasattr(model, "_orig_mod") or isinstance(model, torch.jit.ScriptModule)
