"""What many threads ask for in the same moment is computed as one: matrices by matrices instead of by vectors."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

_MOST = 16
Given = TypeVar("Given")
Found = TypeVar("Found")


class Together(Generic[Given, Found]):
    """Calls `work` with what several threads gave, in one list; whoever finds it idle works for all that wait."""

    def __init__(self, work: Callable[[list[Given]], Sequence[Found]]) -> None:
        self._work = work
        self._waiting: deque[tuple[Given, Future[Found]]] = deque()
        self._working = threading.Lock()

    def __call__(self, given: Given) -> Found:
        """What `work` finds for this one; raises what it raises."""
        found: Future[Found] = Future()
        self._waiting.append((given, found))
        while not found.done():
            with self._working:
                if not found.done():
                    self._do([self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))])
        return found.result()

    def _do(self, batch: list[tuple[Given, "Future[Found]"]]) -> None:
        try:
            results = self._work([given for given, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            for one in batch if len(batch) > 1 else ():  # nobody fails for another's sake
                self._do([one])
            return
        for (_, found), result in zip(batch, results, strict=True):
            found.set_result(result)
