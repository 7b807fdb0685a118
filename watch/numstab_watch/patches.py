"""Wrappers of torch functions, in place while a watch is open, that tell it of losses, clipping and skipped steps."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch


class TrainingListener(Protocol):
    """The methods of a watch that the wrapped functions call."""

    def backward_starts(self, root: Any) -> None:
        """Called when a gradient of `root`, a scalar tensor, is about to be computed."""

    def backward_ended(self, root: Any) -> None:
        """Called when the gradient of `root` has been computed."""

    def clipped(self, parameters: list[Any], norm: Any, limit: float) -> None:
        """Called when gradients of total norm `norm`, a tensor, were clipped to `limit`."""

    def scaler_steps(self, scaler: Any, optimizer: Any) -> None:
        """Called when a GradScaler is about to step, or to skip the step."""

    def scaler_stepped(self, scaler: Any, optimizer: Any) -> None:
        """Called when the GradScaler has stepped, or skipped the step."""


_listeners: list[TrainingListener] = []
_restore: list[Callable[[], None]] = []
_in_backward = False


def subscribe(listener: TrainingListener) -> None:
    """Adds a listener; the first one puts the wrappers in place."""
    if not _listeners:
        _install()
    _listeners.append(listener)


def unsubscribe(listener: TrainingListener) -> None:
    """Removes a listener; with the last one the wrappers go."""
    if listener in _listeners:
        _listeners.remove(listener)
    if not _listeners:
        while _restore:
            _restore.pop()()


def scale_of(root: Any) -> Any:
    """The scale that a GradScaler gave to this tensor: a tensor, or None."""
    return getattr(root, "_numstab_scale", None)


def scaler_of(root: Any) -> Any:
    """The GradScaler that has scaled this tensor, or None."""
    return getattr(root, "_numstab_scaler", None)


def _install() -> None:
    from torch.nn.utils import clip_grad

    _wrap(torch.autograd, "backward", _backward)
    if hasattr(clip_grad, "_clip_grads_with_norm_"):
        _wrap(clip_grad, "_clip_grads_with_norm_", _clip_with_norm)
    else:
        _wrap(clip_grad, "clip_grad_norm_", _clip_grad_norm)
        _wrap(torch.nn.utils, "clip_grad_norm_", _clip_grad_norm)
    _wrap(torch.amp.GradScaler, "scale", _scale)
    _wrap(torch.amp.GradScaler, "step", _step)


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs) if _listeners else original(*args, **kwargs)

    setattr(owner, name, wrapped)

    def restore() -> None:
        if getattr(owner, name) is wrapped:  # else another library has wrapped it since, and calls ours
            setattr(owner, name, original)

    _restore.append(restore)


def _backward(original: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
    global _in_backward  # noqa: PLW0603  # nested calls, as checkpointing makes them, are not of the loop
    roots: Iterable[Any] = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors)
    root = next((each for each in roots if isinstance(each, torch.Tensor) and each.numel() == 1), None)
    if _in_backward or root is None or torch.compiler.is_compiling():
        return original(tensors, *args, **kwargs)
    for listener in tuple(_listeners):
        listener.backward_starts(root)
    _in_backward = True
    try:
        result = original(tensors, *args, **kwargs)
    finally:
        _in_backward = False
    for listener in tuple(_listeners):
        listener.backward_ended(root)
    return result


def _clip_with_norm(original: Any, parameters: Any, max_norm: float, total_norm: Any, *args: Any, **kwargs: Any) -> Any:
    parameters = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    result = original(parameters, max_norm, total_norm, *args, **kwargs)
    for listener in tuple(_listeners):
        listener.clipped(parameters, total_norm, float(max_norm))
    return result


def _clip_grad_norm(original: Any, parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Any:
    parameters = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    norm = original(parameters, max_norm, *args, **kwargs)
    for listener in tuple(_listeners):
        listener.clipped(parameters, norm, float(max_norm))
    return norm


def _scale(original: Any, scaler: Any, outputs: Any) -> Any:
    scaled = original(scaler, outputs)
    scale = getattr(scaler, "_scale", None)
    if scale is not None and scaler.is_enabled():
        for each in (
            (scaled,) if isinstance(scaled, torch.Tensor) else scaled if isinstance(scaled, list | tuple) else ()
        ):
            if isinstance(each, torch.Tensor):
                each._numstab_scale = scale.detach().clone()
                each._numstab_scaler = scaler
    return scaled


def _step(original: Any, scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
    for listener in tuple(_listeners):
        listener.scaler_steps(scaler, optimizer)
    result = original(scaler, optimizer, *args, **kwargs)
    for listener in tuple(_listeners):
        listener.scaler_stepped(scaler, optimizer)
    return result
