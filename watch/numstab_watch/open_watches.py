"""The watches that are open in this process: who writes where, and what closes them when the program ends."""

import atexit
import os
import sys
import weakref
from types import TracebackType
from typing import Any, Protocol


class OpenWatch(Protocol):
    """The attributes of an open watch that are used here."""

    path: str

    def close(self, reason: str = ...) -> None:
        """Ends the recording."""


_open: "weakref.WeakKeyDictionary[OpenWatch, int]" = weakref.WeakKeyDictionary()
"""Open watch → id() of its model, which the watch keeps alive."""


def add_watch(watch: OpenWatch, model: Any) -> None:
    """Registers a watch, so that it is closed when the program ends, also by an exception."""
    _open[watch] = id(model)
    atexit.register(_close_at_exit, weakref.ref(watch))
    _close_at_exceptions()


def remove_watch(watch: OpenWatch) -> None:
    """Forgets a watch that has been closed."""
    _open.pop(watch, None)


def close_watches_of(model: Any) -> None:
    """Closes the watches that record this model, before another one replaces them."""
    for watch, recorded in tuple(_open.items()):
        if recorded == id(model):
            watch.close("replaced")


def free_path(path: str) -> str:
    """The path, with a number added if another open watch of this process writes there."""
    taken = {os.path.abspath(each.path) for each in _open if each.path}
    stem, dot, ending = os.path.basename(path).partition(".")
    candidate, number = path, 2
    while os.path.abspath(candidate) in taken:
        candidate = os.path.join(os.path.dirname(path), f"{stem}-{number}{dot}{ending}")
        number += 1
    return candidate


def _close_at_exit(reference: "weakref.ref[OpenWatch]") -> None:
    owner = reference()
    if owner is not None:
        owner.close("exit")


_excepthook: Any = None


def _close_at_exceptions() -> None:
    """Lets an exception that ends the program close the open watches, with its name, before it is printed."""
    global _excepthook  # noqa: PLW0603  # one hook for the process
    if _excepthook is not None:
        return
    _excepthook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        for each in tuple(_open):
            each.close(f"exception {kind.__name__}")
        _excepthook(kind, error, traceback)

    sys.excepthook = hook
