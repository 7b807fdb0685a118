"""The clients that ask for runs: the queue is fair between them, and a request is charged for the runs it needs."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass


def _charge_nothing(_requests: int) -> None:
    """Does nothing: how a client without a rate limit is charged."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client by its name, such as "address:192.0.2.1".

    `charge` counts that many more requests against its rate; it raises `RateLimited` if there are not as many left.
    Unless `may_run`, its key lets it read only: what was measured earlier, nothing new.
    """

    name: str = ""
    charge: Callable[[int], None] = _charge_nothing
    may_run: bool = True


CLIENT: ContextVar[Client] = ContextVar("client", default=Client())  # noqa: B039, as it is immutable
"""The client whose request is being served; threads that serve it run in a copy of its `contextvars` context."""


class ClientNames:
    """The names of the clients that wait for one run; others may join it. Iterating gives the current names."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def add(self, name: str) -> None:
        """Add a name; only one thread at a time may."""
        self._names |= {name}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names


CLIENTS_OF_RUN: ContextVar[ClientNames | None] = ContextVar("run_for", default=None)
"""The clients of the run that is being executed, where they may be several; None: only `CLIENT`."""


def clients_of_run() -> ClientNames:
    """The clients for whom a run is executed in this context."""
    return CLIENTS_OF_RUN.get() or ClientNames(CLIENT.get().name)
