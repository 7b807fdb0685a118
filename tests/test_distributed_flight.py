"""Services that share a Valkey or Redis execute identical runs once; while that server is away, each service runs its
own.
"""

import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from checking import each_case
from processes import ROOT, TIMEOUT_SECONDS, running, until

from bench.valkey import ValkeyServer, run_valkey, valkey_program
from qa_service.errors import BadField, MissingPackage
from qa_service.experiments.spec import load_specs
from qa_service.lab import flight_board
from qa_service.lab.distributed_flight import DistributedRunner
from qa_service.lab.run_key import run_key
from qa_service.lab.runner import Cancelled, QueuePosition
from qa_service.lab.single_flight import SharedRunner
from qa_service.model import Run, RunStatus, Text
from qa_service.settings import Settings
from qa_service.shared_state import SharedState, SharedStateUnavailable
from qa_service.telemetry.timing import Timings

COUNTS = load_specs(ROOT / "tests" / "toys" / "demos")["counts"]
KEY = run_key(COUNTS, {"steps": 4}, 0, [("here",)])
pytestmark = pytest.mark.skipif(valkey_program() is None, reason="no Valkey or Redis; on Debian: redis-server")


class SteppedRunner:
    """A runner without experiments: it yields a row for each permit of the test, with numbers that depend only on the
    seed.
    """

    slots, ready, timings = 1, 0, Timings()

    def __init__(self, permits: int = 10_000, waiting: int = 0) -> None:
        self.permits, self.waiting = threading.Semaphore(permits), waiting
        self.started = self.cancelled = 0
        self.positions: list[int] = []
        self.status = RunStatus.RAN

    def waiting_of(self, client: str) -> int:
        return self.waiting

    def finished(self, *_: object) -> None:
        """The finished run, always None: this runner keeps none."""

    def close(self) -> None:
        """Does nothing, as there is nothing to close."""

    def stream(self, experiment, params, seed, is_cancelled=lambda: False):
        self.started += 1
        rows = []
        for position in self.positions:
            yield QueuePosition(position)
        for step in range(params["steps"]):
            while not self.permits.acquire(timeout=0.01):
                if is_cancelled():
                    self.cancelled += 1
                    raise Cancelled
            rows.append({"step": step, "value": math.nan if step == 1 else seed + step / 3})
            yield rows[-1]
        if self.status is not RunStatus.RAN:
            return Run(status=self.status, note=Text("坏了", "broken"), rows=tuple(rows))
        measured = dict.fromkeys(experiment.metrics, math.inf)
        return Run(status=self.status, measured=measured, rows=tuple(rows), seconds=0.5, versions={"torch": "2"})


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with run_valkey() as server:
        yield server


@pytest.fixture
def service(valkey) -> Iterator[Callable[..., DistributedRunner]]:
    """A function that makes runners of services that share the server."""
    made: list[DistributedRunner] = []
    executing: list[object] = []

    def make(runner: object, *environments: tuple[str, ...], state: SharedState | None = None) -> DistributedRunner:
        executing.append(runner)
        state = state or SharedState(valkey.url)
        made.append(DistributedRunner(runner, state, lambda: environments or [("here",)]))
        return made[-1]

    yield make
    for runner in executing:
        if isinstance(runner, SteppedRunner):
            runner.permits.release(10_000)  # else the threads of a test that failed would wait on
    for each in made:
        each.close()


class Listener:
    """Streams a run in its own thread: `rows` and `positions` grow until `run` or `error` is set."""

    def __init__(self, runner, steps: int, seed: int = 0, experiment=COUNTS) -> None:
        self.rows, self.positions, self.run, self.error, self.has_left = [], [], None, None, False
        self._stream = runner.stream(experiment, {"steps": steps}, seed, lambda: self.has_left)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while True:
                event = next(self._stream)
                if isinstance(event, QueuePosition):
                    self.positions.append(event.position)
                else:
                    self.rows.append(event)
        except StopIteration as end:
            self.run = end.value
        except Exception as error:
            self.error = error

    def leave(self) -> None:
        """Cancels the stream, and waits for its end."""
        self.has_left = True
        self.end()

    def end(self) -> "Listener":
        """Waits until the run has ended."""
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive()
        return self


def _keys(valkey, pattern: str) -> list[str]:
    import redis

    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        return sorted(client.keys(pattern))


def test_one_service_executes_and_all_show_every_row(service):
    """Followers get rows as they arrive; rows, metrics and the time of measuring are the executing service's to the
    bit.
    """
    leads, follows, began = SteppedRunner(permits=2), SteppedRunner(), time.time()
    first = Listener(service(leads), 5)
    until(lambda: len(first.rows) == 2)
    others = [Listener(service(follows), 5) for _ in range(3)]
    until(lambda: all(len(other.rows) == 2 for other in others))
    leads.permits.release(3)
    first.end()
    assert [repr(other.end().rows) for other in others] == [repr(first.rows)] * 3
    assert {repr(other.run) for other in others} == {repr(first.run)}
    assert began - 1 <= first.run.measured_at <= time.time()  # in whole seconds, or finer
    assert (leads.started, follows.started) == (1, 0)


def test_a_finished_run_is_kept_for_all(service):
    """It is marked as cached, with its time of measuring; another seed, source or environment makes another run."""
    one, other, elsewhere = SteppedRunner(), SteppedRunner(), SteppedRunner()
    first = Listener(service(one), 3).end()
    until(lambda: service(other).finished(COUNTS, {"steps": 3}) is not None)
    again = Listener(service(other), 3).end()
    assert repr(again.rows) == repr(first.rows)
    assert repr(again.run) == repr(replace(first.run, cached=True))
    assert other.started == 0
    for different in ({"seed": 1}, {"experiment": replace(COUNTS, hash="0" * 64)}):
        assert not Listener(service(other), 3, **different).end().run.cached
    assert not Listener(service(elsewhere, ("another processor",)), 3).end().run.cached


def test_failed_runs_are_shown_to_followers_and_not_kept(service):
    leads, follows = SteppedRunner(permits=1), SteppedRunner()
    leads.status = RunStatus.TIMED_OUT
    first = Listener(service(leads), 2)
    until(lambda: first.rows)
    other = Listener(service(follows), 2)
    until(lambda: other.rows)
    leads.permits.release(1)
    assert (other.end().run.status, other.run.note.en) == (RunStatus.TIMED_OUT, "broken")
    assert service(follows).finished(COUNTS, {"steps": 2}) is None


def test_a_follower_that_leaves_ends_nothing(service):
    """The run goes on for everybody else."""
    leads = SteppedRunner(permits=1)
    first = Listener(service(leads), 3)
    until(lambda: first.rows)
    other = Listener(service(SteppedRunner()), 3)
    until(lambda: other.rows)
    other.leave()
    assert isinstance(other.error, Cancelled)
    leads.permits.release(2)
    assert first.end().run.status is RunStatus.RAN
    assert leads.cancelled == 0


def test_a_run_is_cancelled_with_its_last_listener_on_any_service(service):
    """If the listener of the executing service leaves first, the run goes on for the other service's."""
    leads, follows = SteppedRunner(permits=1), SteppedRunner(permits=0)
    first, led = None, service(leads)
    shared = SharedRunner(led)
    first = Listener(shared, 4)
    until(lambda: first.rows)
    other = Listener(service(follows), 4)
    until(lambda: other.rows)
    first.leave()
    leads.permits.release(1)
    until(lambda: len(other.rows) == 2)
    assert leads.cancelled == 0
    other.leave()
    until(lambda: leads.cancelled == 1)
    assert (leads.started, follows.started) == (1, 0)
    leads.permits.release(10)
    assert Listener(shared, 4).end().run.status is RunStatus.RAN  # whoever asks next gets the run
    assert leads.started == 2


def test_without_listeners_elsewhere_the_run_ends_with_its_own(service):
    leads = SteppedRunner(permits=1)
    first = Listener(service(leads), 4)
    until(lambda: first.rows)
    first.leave()
    assert isinstance(first.error, Cancelled)
    assert leads.cancelled == 1


_LEADER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_distributed_flight import *
runner = DistributedRunner(SteppedRunner(permits=3), SharedState(sys.argv[1]), lambda: [("here",)])
for row in runner.stream(COUNTS, {"steps": 6}, 0):
    print(row["step"], flush=True)
"""


@pytest.mark.parametrize("silent", [False, True], ids=["killed", "stopped"])
def test_a_follower_takes_the_place_of_a_lost_leader(service, valkey, silent):
    """If the executing service is killed or suspended during a run, a follower continues; each row is shown once, and
    numbers agree.
    """
    follows = SteppedRunner()
    with running([sys.executable, "-c", _LEADER, valkey.url], cwd=ROOT, stdout=subprocess.PIPE, text=True) as leader:
        assert [leader.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
        listeners = [Listener(service(follows), 6) for _ in range(2)]
        until(lambda: all(len(each.rows) == 3 for each in listeners))
        assert follows.started == 0
        leader.send_signal(signal.SIGSTOP if silent else signal.SIGKILL)
        for each in listeners:
            each.end()
        leader.kill()
    assert follows.started == 1
    for each in listeners:
        assert [row["step"] for row in each.rows] == [0, 1, 2, 3, 4, 5]
        assert repr(tuple(each.rows)) == repr(each.run.rows)


@pytest.mark.exhaustive  # takes longer than a lease
def test_a_leader_that_has_nothing_to_say_is_not_replaced(service, monkeypatch):
    """The executing service renews its lease also without rows, and followers renew their registration."""
    words = []
    publish = flight_board.FlightBoard.publish

    def count(board, entries):
        words.append(entries)
        return publish(board, entries)

    monkeypatch.setattr(flight_board.FlightBoard, "publish", count)
    leads, follows = SteppedRunner(permits=1), SteppedRunner()
    shared = SharedRunner(service(leads))
    first = Listener(shared, 3)
    until(lambda: first.rows)
    other = Listener(service(follows), 3)
    until(lambda: other.rows)
    words.clear()
    until(lambda: len(words) >= 8)
    first.leave()
    until(lambda: len(words) >= 12)
    assert (leads.cancelled, follows.started) == (0, 0)
    leads.permits.release(2)
    assert len(other.end().rows) == 3
    assert (leads.started, follows.started) == (1, 0)


def test_a_leader_that_closes_is_replaced(service):
    """When the executing service closes, as on SIGTERM, it gives up its lease, so that followers need not wait for that
    to expire.
    """
    leads, follows = SteppedRunner(permits=2), SteppedRunner()
    led = service(leads)
    first = Listener(led, 4)
    until(lambda: len(first.rows) == 2)
    other = Listener(service(follows), 4)
    until(lambda: len(other.rows) == 2)
    led.close()
    assert [row["step"] for row in other.end().rows] == [0, 1, 2, 3]
    assert follows.started == 1
    leads.permits.release(2)
    assert repr(first.end().rows) == repr(other.rows)


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_without_the_server_every_service_runs_its_own(service, valkey, fault):
    """If the server dies during a run, nobody misses or repeats a row. Until it answers again, no service waits for
    it.
    """
    runners = [SteppedRunner(permits=2), SteppedRunner(permits=0)]
    states = [SharedState(valkey.url) for _ in runners]
    services = [service(runner, state=state) for runner, state in zip(runners, states, strict=True)]
    first = Listener(services[0], 5)
    until(lambda: len(first.rows) == 2)
    other = Listener(services[1], 5)
    until(lambda: len(other.rows) == 2)
    getattr(valkey, fault)()
    for runner in runners:
        runner.permits.release(1000)
    assert [row["step"] for row in first.end().rows] == [row["step"] for row in other.end().rows] == [0, 1, 2, 3, 4]
    assert repr(first.run.rows) == repr(other.run.rows)
    assert runners[1].started == 1
    for seed in (1, 2):
        alone = [Listener(each, 2, seed=seed).end() for each in services]
        assert [len(each.rows) for each in alone] == [2, 2]
    assert [runner.started for runner in runners] == [3, 3]
    valkey.start() if fault == "kill" else valkey.resume()
    until(lambda: all(state.available for state in states))
    assert [len(Listener(each, 2, seed=3).end().rows) for each in services] == [2, 2]
    assert sum(runner.started for runner in runners) == 7


def test_a_silent_server_is_asked_once():
    """After the first call without a reply, further requests do not wait for the server."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shared = SharedState(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        failures = []
        shared.subscribe(lambda: failures.append(1))
        try:
            for _ in range(100):
                with pytest.raises(SharedStateUnavailable), shared.guarded() as client:
                    client.get("x")
            assert len(failures) == 1
        finally:
            shared.close()


def test_without_the_client_library_the_setting_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingPackage, match=r"numstab\[shared\]"):
        SharedState("redis://127.0.0.1")


@each_case("url", ["redis://h", "rediss://:p@h:1/2", "valkey://h", "valkeys://h:6380"])
def test_the_setting_is_an_address(url):
    assert SharedState(Settings(shared=url).shared).url.startswith("redis")
    for wrong in (url.replace("//", ""), "http://h", "redis://", "h:6379"):
        with pytest.raises(BadField, match="NUMSTAB_SHARED") as refused:
            Settings(shared=wrong)
        assert ":p@" not in str(refused.value)


def test_rows_that_arrive_twice_are_shown_once(service, valkey):
    """Rows arrive twice when a message was received but its acknowledgement was lost."""
    board = flight_board.FlightBoard(SharedState(valkey.url))
    runner = service(SteppedRunner())
    flight = board.join(KEY, "me").flight
    listener = Listener(runner, 4)
    rows = [{"step": step, "value": 0.5} for step in range(4)]
    entries = [flight_board.rows_entry(first, rows[first:last], 0) for first, last in ((0, 2), (0, 2), (1, 3), (3, 3))]
    for entry in entries:
        assert board.publish([(flight, entry)]) == [True]
    until(lambda: len(listener.rows) == 3)
    run = Run(status=RunStatus.RAN, measured=dict.fromkeys(COUNTS.metrics, 1.0), rows=tuple(rows))
    board.finish(flight, run)
    assert listener.end().rows == rows
    assert listener.run == run


@pytest.mark.parametrize("invalid", ["{", "[1]", '{"status": "ran"}', "null"])
def test_what_cannot_be_read_is_measured_here(service, valkey, invalid):
    """If a stored run or a leader's rows cannot be parsed, the service executes the run itself."""
    import redis

    runner = SteppedRunner()
    mine = service(runner)
    key = KEY
    with redis.Redis.from_url(valkey.url) as client:
        client.set(f"numstab:run:{key}", invalid)
        assert mine.finished(COUNTS, {"steps": 4}) is None
        assert len(Listener(mine, 4).end().rows) == 4
        client.delete(f"numstab:run:{key}")
        client.set(f"numstab:leader:{key}", "somebody")
        client.xadd("numstab:rows:somebody", {"first": "0", "rows": invalid})
        assert len(Listener(mine, 4).end().rows) == 4
    assert runner.started == 2


def test_a_leader_in_a_longer_queue_is_not_waited_for(service):
    """A follower shows the leader's place in its queue; where its own queue is shorter it runs the experiment
    itself.
    """
    leads, patient, idle = SteppedRunner(permits=0), SteppedRunner(waiting=7), SteppedRunner()
    leads.positions = [6, 5]
    first = Listener(service(leads), 2)
    until(lambda: first.positions == [6, 5])
    waits = Listener(service(patient), 2)
    until(lambda: 5 in waits.positions)
    assert len(Listener(service(idle), 2).end().rows) == 2
    leads.permits.release(2)
    assert [len(each.end().rows) for each in (first, waits)] == [2, 2]
    assert (leads.started, patient.started, idle.started) == (1, 0, 1)


def test_kept_runs_are_bounded_in_bytes(service, valkey, monkeypatch):
    """The least recently used runs are dropped; a run larger than the limit is not kept."""
    monkeypatch.setattr(flight_board, "KEEP_BYTES", 20_000)
    runner = service(SteppedRunner())
    for seed in range(40):
        Listener(runner, 30, seed).end()
        until(lambda: runner.finished(COUNTS, {"steps": 30}, seed) is not None)  # noqa: B023
        Listener(runner, 30, 0).end()  # it stays in use
    kept = [seed for seed in range(40) if runner.finished(COUNTS, {"steps": 30}, seed)]
    assert kept == [0, *range(41 - len(kept), 40)]
    assert 4 < len(kept) < 30
    Listener(runner, 1000, 99).end()
    until(lambda: not _keys(valkey, "numstab:leader:*"))
    assert runner.finished(COUNTS, {"steps": 1000}, 99) is None
    assert len(_keys(valkey, "numstab:run:*")) == len(kept)
