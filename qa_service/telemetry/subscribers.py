"""A thread-safe registry of listeners."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_Listener = TypeVar("_Listener")


class Subscribers(Generic[_Listener]):
    """The current listeners, in the order in which they subscribed. May be used from several threads."""

    def __init__(self) -> None:
        self._listeners: dict[object, _Listener] = {}

    def __iter__(self) -> Iterator[_Listener]:
        return iter(tuple(self._listeners.values()))

    def add(self, listener: _Listener) -> Callable[[], None]:
        """Subscribes a listener; returns a function that unsubscribes it, and may be called repeatedly."""
        subscription = object()
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe
