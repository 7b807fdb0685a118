"""What takes time while a question is answered, for whoever watches: metrics and traces."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

Stage = Literal["text", "matching", "queue", "run"]
Watch = Callable[[Stage], AbstractContextManager[object]]


class Timings:
    """`text` is the time until the answer's text (`matching` is a part of it), `queue` the wait for a slot, `run` a
    child's work.
    """

    def __init__(self) -> None:
        self.listeners: list[Watch] = []

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Tells every watch when the stage begins and ends."""
        with ExitStack() as stack:
            for watch in self.listeners:
                stack.enter_context(watch(stage))
            yield
