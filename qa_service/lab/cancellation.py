"""Cancellation tokens: a run is cancelled when the client that asked for it disconnects."""

from collections.abc import Callable

IsCancelled = Callable[[], bool]
"""Returns whether the run is cancelled, for example because its client disconnected; polled while it executes."""


class CancelToken:
    """A thread-safe cancellation flag with callbacks. Calling the token returns whether it has been cancelled."""

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    def __call__(self) -> bool:
        return self._cancelled

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Register a cancellation callback. If already cancelled it runs at once; in a race it may run twice."""
        self._callbacks.append(callback)
        if self._cancelled:
            callback()

    def remove_callback(self, callback: Callable[[], None]) -> None:
        """Unregister a callback; does nothing if it is not registered."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def cancel(self) -> None:
        """Set the flag and call every registered callback in this thread."""
        self._cancelled = True
        for callback in tuple(self._callbacks):
            callback()
