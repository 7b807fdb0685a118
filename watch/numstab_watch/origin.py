"""Finds the operation that made the first inf or nan of a training, and writes the warning for the terminal."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch


def origin_in_graph(root: Any) -> dict[str, Any] | None:
    """The operation that made the loss `root` inf or nan, from its autograd graph; None if that does not show it."""
    from numstab_watch.autopsy import autopsy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _as_fields(autopsy(root))


def origin_by_replay(closure: Callable[[], Any], model: Any) -> dict[str, Any] | None:
    """The operation that made the first inf or nan, found by replaying the step; None if there is none."""
    from numstab_watch.replay import replay

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        return _as_fields(replay(closure, model))


def alarm_text(what: str, value: float, step: int, fault: Mapping[str, Any], path: str, *, advice: bool) -> str:
    """The warning about a loss or gradient that is not finite; with `advice` also how to find the line of code."""
    origin = f", first made by {fault['operation']}" if fault.get("operation") else ""
    place = f" in {fault['place']}" if origin and fault.get("place") else ""
    thing = f"{value} in the gradient" if what == "gradient" else f"{value} loss"
    text = f"numstab: {thing} at step {step}{origin}{place} → numstab diagnose {path}"
    if what == "gradient" and advice:
        text += "\nnumstab: for the line that made it: watch(…, closure=lambda: loss_function(model(x), y))"
    return text


def _as_fields(fault: Any) -> dict[str, Any] | None:
    if fault is None:
        return None
    fields: dict[str, Any] = dict(fault) if isinstance(fault, Mapping) else fault.to_json()
    return fields
