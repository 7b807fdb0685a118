"""Listeners that subscribe and unsubscribe."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Listener = TypeVar("Listener")


class Subscribers(Generic[Listener]):
    """The listeners subscribed now, in the order in which they subscribed. May be used from several threads."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def __iter__(self) -> Iterator[Listener]:
        return iter(tuple(self._listeners.values()))

    def add(self, listener: Listener) -> Callable[[], None]:
        """Subscribes a listener; returns what unsubscribes it, once or several times."""
        subscription = object()
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe
