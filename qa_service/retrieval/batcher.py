"""What many threads ask for in the same moment is computed as one: matrices by matrices instead of by vectors."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

_MOST = 16
Given = TypeVar("Given")
Found = TypeVar("Found")


class MicroBatcher(Generic[Given, Found]):
    """Calls `work` with what several threads gave, in one list; whoever finds it idle works for all that wait.

    The others sleep: threads that take turns at the interpreter with the one that works cost more than they do.
    """

    def __init__(self, work: Callable[[list[Given]], Sequence[Found]]) -> None:
        self._work = work
        self._waiting: deque[_Waiter[Given, Found]] = deque()
        self._lock = threading.Lock()
        self._working = False

    def __call__(self, given: Given) -> Found:
        """What `work` finds for this one; raises what it raises."""
        mine = _Waiter[Given, Found](given)
        with self._lock:
            self._waiting.append(mine)
            leads, self._working = not self._working, True
        if not leads:
            mine.called.wait()
        if not mine.found.done():  # the first of those that wait: it works for them
            with self._lock:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
            try:
                self._do(batch)
            finally:
                self._wake_next_leader()
            for one in batch:
                one.called.set()
        return mine.found.result()

    def _wake_next_leader(self) -> None:
        with self._lock:
            self._working = bool(self._waiting)
            if self._waiting:
                self._waiting[0].called.set()

    def _do(self, batch: "list[_Waiter[Given, Found]]") -> None:
        try:
            results = self._work([one.given for one in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].found.set_exception(error)
            for one in batch if len(batch) > 1 else ():  # nobody fails for another's sake
                self._do([one])
            return
        for one, result in zip(batch, results, strict=True):
            one.found.set_result(result)


class _Waiter(Generic[Given, Found]):
    """What one thread gave; it is called when that is done, or when it is the one to do it."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.found: Future[Found] = Future()
        self.called = threading.Event()
