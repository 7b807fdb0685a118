"""A reader who may leave: whoever works for him is told at once."""

from collections.abc import Callable


class CancelToken:
    """Called, it says whether the reader has gone. May be used from several threads."""

    def __init__(self) -> None:
        self._cancelled = False
        self._told: list[Callable[[], None]] = []

    def __call__(self) -> bool:
        return self._cancelled

    def add_callback(self, whom: Callable[[], None]) -> None:
        """Has `whom` called once the reader leaves; never, or at once and twice at worst, where he is leaving now."""
        self._told.append(whom)
        if self._cancelled:
            whom()

    def remove_callback(self, whom: Callable[[], None]) -> None:
        """Has `whom` called no more."""
        if whom in self._told:
            self._told.remove(whom)

    def cancel(self) -> None:
        """The reader goes."""
        self._cancelled = True
        for whom in tuple(self._told):
            whom()
