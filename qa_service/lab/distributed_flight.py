"""Single flight between services: of identical runs on several workers or machines, one executes and all show its rows.

A follower whose leader is lost takes its place and leaves out the rows that it has shown: the same source, parameters
and seed give the same rows. Where the shared server is away, every service executes for itself.
"""

import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.flight_board import Flight, FlightBoard, JoinResult, is_last, read_entry, rows_entry
from qa_service.lab.run_json import run_from_json
from qa_service.lab.run_key import run_key
from qa_service.lab.runner import Cancelled, GeneratorWithResult, QueuePosition, Runner, RunnerWrapper
from qa_service.machine import Environment, environments_here
from qa_service.model import Experiment, Params, Row, Run
from qa_service.shared_state import SharedState, SharedStateUnavailable

_RENEW_SECONDS = 0.4  # between renewals of the lease of a leader that has no rows to send
_CHECK_SECONDS = 0.2  # between checks that a leader is still there; also the longest wait for a reply
_BATCH_SECONDS = 0.02  # over which rows are collected to be sent together
_POLL_SECONDS = 0.05  # between a follower's looks at whether it is cancelled; longer with many followers
_CLOSE_SECONDS = 1.0
RunEvents = Generator[Row | QueuePosition, None, Run]


class DistributedRunner(RunnerWrapper):
    """A runner that executes each run once among all services that share a server, and keeps finished ones there.

    A run is cancelled when neither the caller here nor a follower elsewhere listens. Only `stream` and `finished` share
    runs; `run` always executes, because its callers check that experiments run.
    """

    def __init__(
        self,
        runner: Runner,
        shared: SharedState,
        environments: Callable[[], Sequence[Environment]] = environments_here,
    ) -> None:
        """`environments` gives those in which the runner executes now; services share runs where they are the same."""
        super().__init__(runner)
        self._environments = environments
        self._shared = shared
        self._board = FlightBoard(shared)
        self._publisher = _Publisher(self._board)
        self._reader = _Reader(self._board)

    def finished(self, experiment: Experiment, params: Params, seed: int = 0) -> Run | None:
        """The run as a service measured it earlier; executes nothing."""
        found = self._runner.finished(experiment, params, seed)
        if found is None:
            with suppress(SharedStateUnavailable, ValueError):
                text = self._board.finished_run(run_key(experiment, params, seed, self._environments()))
                return replace(run_from_json(experiment, text), cached=True) if text else None
        return found

    def close(self) -> None:
        """Gives up the lead of all flights, which other services then take over; ends its threads and children."""
        self._publisher.close()
        self._reader.close()
        self._shared.close()
        self._runner.close()

    def stream(
        self, experiment: Experiment, params: Params, seed: int, is_cancelled: IsCancelled = lambda: False
    ) -> RunEvents:
        """As `Runner.stream`; yields each row once, whoever executes the run."""
        key, listener = run_key(experiment, params, seed, self._environments()), uuid.uuid4().hex
        shown = _ShownRows()
        while (joined := self._join(key, listener, experiment)) is not None:
            if isinstance(joined, Run):
                yield from shown.more(0, joined.rows)
                return joined
            if joined.role == "lead":
                led = self._publisher.lead(joined.flight)
                here = self._runner.stream(experiment, params, seed, led.cancelled_with(is_cancelled))
                return (yield from shown.rest_of(led.publish(here)))
            try:
                if run := (yield from self._follow(joined.flight, listener, experiment, is_cancelled, shown)):
                    return run
            except _NotFollowed:
                break
        return (yield from shown.rest_of(self._runner.stream(experiment, params, seed, is_cancelled)))

    def _join(self, key: str, listener: str, experiment: Experiment) -> JoinResult | Run | None:
        """The kept run, or the flight to lead or to follow; None where it has to be executed without the others."""
        try:
            joined = self._board.join(key, listener)
            return joined if joined.role != "kept" else replace(run_from_json(experiment, joined.run), cached=True)
        except (SharedStateUnavailable, ValueError):
            return None

    def _follow(
        self, flight: Flight, listener: str, experiment: Experiment, is_cancelled: IsCancelled, shown: "_ShownRows"
    ) -> Generator[Row | QueuePosition, None, Run | None]:
        """Yields what the leader sends and returns its run; None where the leader is lost.

        Raises `Cancelled`; `_NotFollowed` where the server is away, or the leader waits in a longer queue than ours.
        """
        with self._reader.following(flight, listener) as followed:
            read = position = 0
            while True:
                entries = followed.wait(read, self._reader.poll_seconds)
                if is_cancelled():
                    raise Cancelled
                read += len(entries)
                for entry in entries:
                    try:
                        first, rows, run = read_entry(entry, experiment)
                    except ValueError as error:
                        raise _NotFollowed from error
                    yield from shown.more(first, rows)
                    if run is not None:
                        return run
                if not entries and followed.ended:
                    if followed.ended == "away":
                        raise _NotFollowed
                    return None
                current = int(entries[-1].get("position", 0)) if entries else position
                if current > self._runner.waiting + 1:
                    raise _NotFollowed
                if current and current != position:
                    yield QueuePosition(current)
                position = current


class _NotFollowed(Exception):
    """Raised where a flight cannot be followed: the run is then executed here, without the other services."""


class _ShownRows:
    """How many rows of a run have been yielded, whoever measured them."""

    def __init__(self) -> None:
        self._count = 0

    def more(self, first: int, rows: Sequence[Row]) -> Iterator[Row]:
        """Yields the rows that have not been yielded yet; `first` is the index of the first of `rows`."""
        if first <= self._count:
            for row in rows[self._count - first :]:
                self._count += 1
                yield row

    def rest_of(self, events: RunEvents) -> RunEvents:
        """The events of an execution from its beginning, without the rows that have been yielded."""
        index = 0
        with closing(events):
            execution = GeneratorWithResult(events)
            for event in execution:
                if isinstance(event, QueuePosition):
                    yield event
                else:
                    yield from self.more(index, (event,))
                    index += 1
            return execution.result


class _LedFlight:
    """A flight that this service leads; its events are sent by the thread of its publisher."""

    def __init__(self, flight: Flight, changed: threading.Condition) -> None:
        self.flight = flight
        self.is_over = False
        """Whether this service no longer leads the flight: it has ended, another leads, nobody listens, or the server
        is away.
        """
        self.run: Run | None = None
        self.is_given_up = self.is_questioned = False
        """Whether the run has ended without a result; and whether the caller here has left, so that the publisher is to
        ask if anyone else listens.
        """
        self._changed = changed
        self._rows: list[Row] = []
        self._first = self._position = 0
        self._has_news = False
        self._renew_at = 0.0

    @property
    def is_urgent(self) -> bool:
        """Whether there is more to send than rows, so that it is not held back for a batch."""
        return self.run is not None or self.is_given_up or self.is_questioned

    def is_due(self) -> bool:
        """Whether there is anything to send."""
        return self.is_urgent or self._has_news or time.monotonic() >= self._renew_at

    def seconds_left(self) -> float:
        """The time until its lease is to be renewed."""
        return max(0.0, self._renew_at - time.monotonic())

    def publish(self, events: RunEvents) -> RunEvents:
        """Forwards the events of the run, and has them sent to the followers; nothing here waits for that."""
        execution = GeneratorWithResult(events)
        try:
            for event in execution:
                self._add(event)
                yield event
            run = replace(execution.result, measured_at=execution.result.measured_at or time.time())
            self._set(run=run)
            return run
        finally:
            events.close()
            if self.run is None:
                self._set(is_given_up=True)

    def cancelled_with(self, is_cancelled: IsCancelled) -> IsCancelled:
        """The `is_cancelled` of the run: true once nobody listens any more, neither here nor elsewhere."""

        def nobody_listens() -> bool:
            if is_cancelled() and not self.is_over:
                self._set(is_questioned=True)  # the publisher asks, and a later call has its answer
                return False
            return is_cancelled()

        return nobody_listens

    def take_entry(self) -> dict[str, str]:
        """The entry to be sent now; empty if only the lease is to be renewed."""
        with self._changed:
            rows, first, news = self._rows, self._first, self._has_news
            self._rows, self._first, self._has_news = [], first + len(rows), False
        self._renew_at = time.monotonic() + _RENEW_SECONDS
        return rows_entry(first, rows, self._position) if news else {}

    def _add(self, event: Row | QueuePosition) -> None:
        with self._changed:
            if isinstance(event, QueuePosition):
                self._position = event.position
            else:
                self._position = 0
                self._rows.append(event)
            self._has_news = True
            self._changed.notify_all()

    def _set(self, **changes: object) -> None:
        with self._changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self._changed.notify_all()


class _FlightThread:
    """Base of the publisher and the reader: each has a thread, which starts with the first flight."""

    def __init__(self, board: FlightBoard) -> None:
        self._board = board
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def close(self) -> None:
        """Ends its thread, at which a leader gives up all flights; waits a second at most."""
        with self._changed:
            self._is_closed, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(_CLOSE_SECONDS)

    def _start(self) -> None:
        """Starts the thread unless it runs; the caller holds `_changed`."""
        self._is_closed = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name=type(self).__name__)
            self._thread.start()

    def _work(self) -> None:
        """The loop of the thread, until it is closed; it sets `_thread` to None then."""
        raise NotImplementedError


class _Publisher(_FlightThread):
    """Sends the events of the flights that this service leads, and renews their leases, in a thread of its own."""

    def __init__(self, board: FlightBoard) -> None:
        super().__init__(board)
        self._led: list[_LedFlight] = []

    def lead(self, flight: Flight) -> _LedFlight:
        """Begins to lead a flight; its events go through `_LedFlight.publish`."""
        led = _LedFlight(flight, self._changed)
        with self._changed:
            self._led.append(led)
            self._start()
        return led

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_woken, min((led.seconds_left() for led in self._led), default=None))
                due, is_closed = [led for led in self._led if led.is_due()], self._is_closed
                for led in self._led if is_closed else ():
                    led.is_given_up = True
                due = list(self._led) if is_closed else due
                if is_closed:
                    self._thread = None
            try:
                self._send(due)
            except SharedStateUnavailable:
                for led in due:
                    led.is_over = True
            with self._changed:
                self._led = [led for led in self._led if not led.is_over]
                if is_closed:
                    return
                self._changed.wait_for(self._is_urgent, _BATCH_SECONDS)

    def _is_woken(self) -> bool:
        return self._is_closed or any(led.is_due() for led in self._led)

    def _is_urgent(self) -> bool:
        return self._is_closed or any(led.is_urgent for led in self._led)

    def _send(self, due: Sequence[_LedFlight]) -> None:
        running = [led for led in due if not (led.run or led.is_given_up)]
        if running:
            still_ours = self._board.publish([(led.flight, led.take_entry()) for led in running])
            for led, is_ours in zip(running, still_ours, strict=True):
                led.is_over = not is_ours
        for led in due:
            if led.run is not None:
                self._board.finish(led.flight, led.run)
                led.is_over = True
            elif led.is_given_up:
                led.is_over = self._board.release_lead(led.flight)
            elif led.is_questioned:
                led.is_questioned = False
                led.is_over = led.is_over or self._board.release_lead(led.flight, if_unheard=True)


class _FollowedFlight:
    """The entries received of a flight that another service leads.

    `ended` is "" while it goes on, "lost" once its leader is gone, "away" once the server is.
    """

    def __init__(self) -> None:
        self.listeners: set[str] = set()
        self.last_id = "0"
        self.ended = ""
        self._entries: list[dict[str, str]] = []
        self._changed = threading.Condition()

    def add(self, entries: Sequence[tuple[str, dict[str, str]]]) -> None:
        """Appends entries of the stream."""
        with self._changed:
            self.last_id = entries[-1][0]
            self._entries += [entry for _, entry in entries]
            if is_last(self._entries[-1]):
                self.ended = "lost"  # for whoever reads on after the last entry
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """Ends the flight for this reason, unless it has ended, and wakes who waits for entries."""
        with self._changed:
            self.ended = self.ended or why
            self._changed.notify_all()

    def wait(self, read: int, seconds: float) -> list[dict[str, str]]:
        """The entries after the first `read`; waits for one, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._entries) > read or self.ended, seconds)
            return self._entries[read:]


class _Reader(_FlightThread):
    """Receives the rows of the flights that this service follows, all in one thread."""

    def __init__(self, board: FlightBoard) -> None:
        super().__init__(board)
        self._followed: dict[Flight, _FollowedFlight] = {}
        self._is_reading = False
        self._check_at = 0.0

    @property
    def poll_seconds(self) -> float:
        """The time between a follower's checks of whether it is cancelled."""
        return _POLL_SECONDS * (1 + len(self._followed) / 50)

    @contextmanager
    def following(self, flight: Flight, listener: str) -> Iterator[_FollowedFlight]:
        """The entries of a flight, from its beginning; at the end the listener leaves it."""
        with self._changed:
            followed = self._followed.setdefault(flight, _FollowedFlight())
            followed.listeners.add(listener)
            is_reading = self._is_reading
            self._start()
            self._changed.notify_all()
        try:
            if is_reading:
                with suppress(SharedStateUnavailable):
                    self._board.wake()
            yield followed
        finally:
            with self._changed:
                followed.listeners.discard(listener)
                if not followed.listeners and self._followed.get(flight) is followed:
                    del self._followed[flight]
            if not followed.ended:
                with suppress(SharedStateUnavailable):
                    self._board.leave(flight, listener)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_reading = False
                self._changed.wait_for(lambda: self._is_closed or self._open())
                if self._is_closed:
                    self._thread = None
                    return
                self._is_reading, followed = True, self._open()
                listeners = {flight: tuple(each.listeners) for flight, each in followed.items()}
            try:
                self._receive(followed, _CHECK_SECONDS)
                if time.monotonic() >= self._check_at:
                    self._check_at = time.monotonic() + _CHECK_SECONDS
                    self._check(followed, listeners)
            except SharedStateUnavailable:
                for each in followed.values():
                    each.end("away")

    def _open(self) -> dict[Flight, _FollowedFlight]:
        return {flight: each for flight, each in self._followed.items() if not each.ended}

    def _receive(self, followed: Mapping[Flight, _FollowedFlight], seconds: float) -> None:
        after = {flight: each.last_id for flight, each in followed.items()}
        for flight, entries in self._board.read(after, seconds).items():
            followed[flight].add(entries)

    def _check(self, followed: Mapping[Flight, _FollowedFlight], listeners: Mapping[Flight, Sequence[str]]) -> None:
        """Renews the listeners, and ends the flights whose leader is gone, after a last look at what it sent."""
        led = self._board.listen(listeners)
        orphans = {flight: followed[flight] for flight, is_led in zip(listeners, led, strict=True) if not is_led}
        if orphans:
            self._receive(orphans, 0)
            for orphan in orphans.values():
                orphan.end("lost")
