"""Watches a PyTorch training from inside: `watch(model, optimizer)`, one line, and a small file to diagnose it with."""

from typing import TYPE_CHECKING, Any

from numstab_watch.recorder import NonFiniteError, Watch, watch

if TYPE_CHECKING:
    from numstab_watch.huggingface import HuggingFaceCallback
    from numstab_watch.lightning import LightningCallback

__version__ = "0.1.0"
__all__ = ["HuggingFaceCallback", "LightningCallback", "NonFiniteError", "Watch", "watch"]

_LAZY = {"HuggingFaceCallback": "huggingface", "LightningCallback": "lightning"}


def __getattr__(name: str) -> Any:
    """Imports a callback, and with it its trainer library, when it is first accessed."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
