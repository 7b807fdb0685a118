"""Durations of the stages of an answer, for listeners such as metrics and traces."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Literal

from qa_service.telemetry.subscribers import Subscribers

Stage = Literal["text", "matching", "queue", "run"]
"""`text`: until the answer's text is known, including `matching`, unless it was matched in a batch before; `queue`: the
wait for a slot; `run`: a run."""
StageListener = Callable[[Stage], AbstractContextManager[object]]
"""Called when a stage begins; returns a context manager that is entered then and exited when the stage ends."""


class Timings:
    """Tells its listeners when a stage begins and ends. May be used from several threads."""

    def __init__(self) -> None:
        self._listeners = Subscribers[StageListener]()

    def subscribe(self, listener: StageListener) -> Callable[[], None]:
        """Calls `listener` for every stage from now on; returns a function that unsubscribes it."""
        return self._listeners.add(listener)

    def time(self, stage: Stage) -> AbstractContextManager[object]:
        """Begins a stage; the context manager ends it."""
        with ExitStack() as stack:
            for listener in self._listeners:
                stack.enter_context(listener(stage))
            return stack.pop_all()
