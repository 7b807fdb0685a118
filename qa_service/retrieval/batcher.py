"""Micro-batching: concurrent calls are computed together as one matrix product."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

_MAX_BATCH = 16  # calls
Input = TypeVar("Input")
Output = TypeVar("Output")


class MicroBatcher(Generic[Input, Output]):
    """Calls `compute` with the inputs of several threads as one list.

    The first caller is the leader: its thread computes. The others sleep: threads that compete with the leader for the
    interpreter's lock cost more than they save.
    """

    def __init__(self, compute: Callable[[list[Input]], Sequence[Output]]) -> None:
        """`compute` maps a list of inputs to as many outputs."""
        self._compute = compute
        self._pending: deque[_PendingCall[Input, Output]] = deque()
        self._lock = threading.Lock()
        self._has_leader = False

    def __call__(self, item: Input) -> Output:
        """The output of `compute` for this input; raises what `compute` raises for it."""
        own = _PendingCall[Input, Output](item)
        with self._lock:
            self._pending.append(own)
            leads, self._has_leader = not self._has_leader, True
        if not leads:
            own.event.wait()
        if not own.result.done():  # this thread is the leader: it runs the next batch
            with self._lock:
                batch = [self._pending.popleft() for _ in range(min(len(self._pending), _MAX_BATCH))]
            try:
                self._run(batch)
            finally:
                self._wake_next_leader()
            for call in batch:
                call.event.set()
        return own.result.result()

    def _wake_next_leader(self) -> None:
        with self._lock:
            self._has_leader = bool(self._pending)
            if self._pending:
                self._pending[0].event.set()

    def _run(self, batch: "list[_PendingCall[Input, Output]]") -> None:
        try:
            outputs = self._compute([call.item for call in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
            for call in batch if len(batch) > 1 else ():  # one by one, so that only the call at fault fails
                self._run([call])
            return
        for call, output in zip(batch, outputs, strict=True):
            call.result.set_result(output)


class _PendingCall(Generic[Input, Output]):
    """A pending call. Its event is set when the result is ready, or when this thread must run the next batch."""

    def __init__(self, item: Input) -> None:
        self.item = item
        self.result: Future[Output] = Future()
        self.event = threading.Event()
