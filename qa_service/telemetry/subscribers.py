"""Listeners that subscribe and unsubscribe."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_Listener = TypeVar("_Listener")


class Subscribers(Generic[_Listener]):
    """The listeners subscribed now, in the order in which they subscribed. May be used from several threads."""

    def __init__(self) -> None:
        self._listeners: dict[object, _Listener] = {}

    def __iter__(self) -> Iterator[_Listener]:
        return iter(tuple(self._listeners.values()))

    def add(self, listener: _Listener) -> Callable[[], None]:
        """Subscribes a listener; returns what unsubscribes it, once or several times."""
        subscription = object()
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe
