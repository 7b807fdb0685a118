"""The hook that tells a watch that its model is called."""

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch


class ForwardListener(Protocol):
    """The method of a watch that the hook calls."""

    def forward_starts(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called when the model begins a forward pass with these arguments, to be trained."""


class ForwardHook:
    """A hook that tells its watch of each forward pass; a copy of the model, in memory or in a file, gets a hook that
    does nothing.
    """

    def __init__(self, owner: ForwardListener) -> None:
        self._owner = weakref.ref(owner)

    def __call__(self, module: Any, args: Any, kwargs: Any) -> None:
        owner = self._owner()
        if owner is not None and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            owner.forward_starts(module, args, kwargs)

    def __deepcopy__(self, memo: Any) -> "ForwardHook":
        copy = ForwardHook.__new__(ForwardHook)
        copy._owner = lambda: None  # type: ignore[assignment]
        return copy

    def __reduce__(self) -> Any:
        return silent_hook, ()


def silent_hook() -> Callable[..., None]:
    """A hook that does nothing: what a copied or unpickled `ForwardHook` is replaced by."""
    hook = ForwardHook.__new__(ForwardHook)
    hook._owner = lambda: None  # type: ignore[assignment]
    return hook
