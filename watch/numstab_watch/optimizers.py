"""The optimizers of a loop, whatever wraps them: their settings, learning rate and state."""

from collections.abc import Iterable
from typing import Any

import torch


def optimizers_in(given: Any) -> list[Any]:
    """The torch optimizers of an optimizer, of several in a list, or of None."""
    if given is None:
        return []
    several = list(given) if isinstance(given, Iterable) and not hasattr(given, "step") else [given]
    return [unwrapped(each) for each in several]


def unwrapped(optimizer: Any) -> Any:
    """The torch optimizer inside a wrapper that holds it as `optimizer`."""
    for _ in range(4):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None or not hasattr(inner, "param_groups"):
            break
        optimizer = inner
    return optimizer


def current_learning_rate(optimizer: Any) -> Any:
    """The current learning rate of the first parameter group: a number or, copied, a tensor."""
    lr = optimizer.param_groups[0].get("lr")
    return lr.detach().clone() if isinstance(lr, torch.Tensor) else lr


def optimizer_settings(optimizer: Any) -> dict[str, Any]:
    """Class and settings of each group; tensors of parameters are counted only."""
    groups = []
    for group in optimizer.param_groups[:32]:
        kept: dict[str, Any] = {"parameters": len(group["params"])}
        for key, value in group.items():
            if isinstance(value, torch.Tensor) and value.numel() == 1:
                value = float(value)  # noqa: PLW2901
            if isinstance(value, bool | int | float):
                kept[key] = value
            elif isinstance(value, tuple) and all(isinstance(each, int | float) for each in value):
                kept[key] = list(value)
        groups.append(kept)
    return {"class": type(optimizer).__name__, "groups": groups}


def scaler_settings(scaler: Any) -> dict[str, Any]:
    """The growth interval, growth factor and backoff factor of a GradScaler."""
    return {
        "growth_interval": int(scaler.get_growth_interval()),
        "growth_factor": float(scaler.get_growth_factor()),
        "backoff_factor": float(scaler.get_backoff_factor()),
    }


def has_nonfinite_state(optimizers: Iterable[Any]) -> bool:
    """Whether a tensor that an optimizer keeps, such as a moment of Adam, has an element that is nan or inf."""
    return any(
        isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
        for optimizer in optimizers
        for state in optimizer.state.values()
        if isinstance(state, dict)
        for value in state.values()
    )
