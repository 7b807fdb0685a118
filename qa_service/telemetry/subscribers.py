"""A thread-safe registry of listeners."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Listener = TypeVar("Listener")


class Subscribers(Generic[Listener]):
    """The current listeners, in the order in which they subscribed. May be used from several threads."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def __iter__(self) -> Iterator[Listener]:
        return iter(tuple(self._listeners.values()))

    def add(self, listener: Listener) -> Callable[[], None]:
        """Subscribes a listener; returns a function that unsubscribes it, and may be called repeatedly."""
        subscription = object()
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe
