"""The state of runs on a Valkey or Redis server, by which several services execute each run only once.

For each run, by its key (`run_key`):

- the leader: the token of the service that executes it, with a lease that the leader renews;
- its rows: a stream, one for each token, of batches as JSON, then the finished run;
- its listeners elsewhere, each with the time after which it counts as gone;
- once it has finished, the run itself, kept for `KEEP_SECONDS` after its last use, of all runs at most `KEEP_BYTES`.

Everything expires. The steps are scripts, each of which the server executes as a whole.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qa_service.lab.run_json import rows_from_json, rows_to_json, run_from_json, run_to_json
from qa_service.model import Experiment, Row, Run, RunStatus
from qa_service.shared_state import KEY_PREFIX, SharedState

LEASE_SECONDS = 2.0
"""A leader or listener that is not renewed within this time counts as gone."""
KEEP_SECONDS = 7 * 86400
KEEP_BYTES = 256 << 20
"""The largest total size of the runs that are kept, of all services together; the least recently used are dropped."""
_LINGER_SECONDS = 30  # for which the rows of a flight are kept after its last entry
_USED, _SIZES = f"{KEY_PREFIX}runs-used", f"{KEY_PREFIX}runs-size"

_FUNCTIONS = """
local function now() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
local function forget(used, sizes, name)
  local size = redis.call('HGET', sizes, name)
  if size then redis.call('HDEL', sizes, name) redis.call('HINCRBY', sizes, 'all', -size) end
  redis.call('ZREM', used, name) redis.call('DEL', name)
end
"""
# Keys: kept run, leader, listeners, used. Arguments: own token, listener, lease, keep.
_JOIN = f"""{_FUNCTIONS}
local kept = redis.call('GET', KEYS[1])
if kept then
  redis.call('PEXPIRE', KEYS[1], ARGV[4]) redis.call('ZADD', KEYS[4], 'XX', now(), KEYS[1])
  return {{'kept', kept}}
end
local leader = redis.call('GET', KEYS[2])
if not leader or leader == ARGV[1] then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
  return {{'lead', ARGV[1]}}
end
redis.call('ZADD', KEYS[3], now() + ARGV[3], ARGV[2]) redis.call('PEXPIRE', KEYS[3], ARGV[3])
return {{'follow', leader}}
"""
# Keys: leader, rows. Arguments: token, lease, linger, fields of an entry. 0: another leads.
_PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if #ARGV > 3 then redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4)) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""
# Keys: leader, rows, kept run, used, sizes, listeners. Arguments: token, run, linger, keep, bytes of all runs.
_FINISH = f"""{_FUNCTIONS}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[6])
redis.call('XADD', KEYS[2], '*', 'run', ARGV[2]) redis.call('PEXPIRE', KEYS[2], ARGV[3])
local size, most, time = #ARGV[2], tonumber(ARGV[5]), now()
if size > most then return 1 end
forget(KEYS[4], KEYS[5], KEYS[3])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[4])
redis.call('ZADD', KEYS[4], time, KEYS[3])
redis.call('HSET', KEYS[5], KEYS[3], size) redis.call('HINCRBY', KEYS[5], 'all', size)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', time - ARGV[4], 'LIMIT', 0, 100)) do
  forget(KEYS[4], KEYS[5], name)
end
while tonumber(redis.call('HGET', KEYS[5], 'all')) > most do
  local oldest = redis.call('ZRANGE', KEYS[4], 0, 0)[1]
  if not oldest then redis.call('DEL', KEYS[5]) break end
  forget(KEYS[4], KEYS[5], oldest)
end
return 1
"""
# Keys: leader, rows, listeners. Arguments: token, linger, 1 to stay while somebody listens. 0: somebody does.
_RELEASE_LEAD = f"""{_FUNCTIONS}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 1 end
if ARGV[3] == '1' then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now())
  if redis.call('ZCARD', KEYS[3]) > 0 then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[2], '*', 'resigned', 1) redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""
# Keys: leader, listeners. Arguments: token, lease, listeners. 0: another leads, or nobody.
_LISTEN = f"""{_FUNCTIONS}
local gone = now() + ARGV[2]
for i = 3, #ARGV do redis.call('ZADD', KEYS[2], gone, ARGV[i]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""


@dataclass(frozen=True, slots=True)
class Flight:
    """A run by its key, and the token of the service that executes it."""

    key: str
    token: str

    @property
    def rows(self) -> str:
        """The name of the stream that holds the rows of the run."""
        return f"{KEY_PREFIX}rows:{self.token}"


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The result of `join`: the run is kept (`run` is its JSON), or the service leads or follows its flight."""

    role: Literal["kept", "lead", "follow"]
    flight: Flight
    run: str = ""


class FlightBoard:
    """The flights of all services. Every method raises `SharedStateUnavailable`."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._wake = f"{KEY_PREFIX}wake:{uuid.uuid4().hex}"
        self._last_wake = "0"

    def join(self, key: str, listener: str) -> JoinResult:
        """Asks for a run; whoever follows is one of its listeners from now on."""
        names = [_kept(key), _leader(key), _listeners(key), _USED]
        token = uuid.uuid4().hex
        with self._shared.guarded() as client:
            role, found = client.eval(_JOIN, len(names), *names, token, listener, _ms(LEASE_SECONDS), _ms(KEEP_SECONDS))
        return JoinResult(role, Flight(key, token if role == "kept" else found), found if role == "kept" else "")

    def finished_run(self, key: str) -> str | None:
        """The finished run as JSON, if it is kept."""
        with self._shared.guarded() as client:
            found = client.get(_kept(key))
        return None if found is None else str(found)

    def publish(self, entries: Sequence[tuple[Flight, Mapping[str, str]]]) -> list[bool]:
        """Renews the leases of flights, and adds an entry to each, unless it is empty; False where another leads."""
        with self._shared.guarded() as client, client.pipeline(transaction=False) as calls:
            for flight, entry in entries:
                fields = [word for pair in entry.items() for word in pair]
                names = [_leader(flight.key), flight.rows]
                calls.eval(_PUBLISH, 2, *names, flight.token, _ms(LEASE_SECONDS), _ms(_LINGER_SECONDS), *fields)
            return [bool(done) for done in calls.execute()]

    def finish(self, flight: Flight, run: Run) -> None:
        """Ends a flight with its run, which is kept if it ran; does nothing where another leads."""
        names = [_leader(flight.key), flight.rows, _kept(flight.key), _USED, _SIZES, _listeners(flight.key)]
        most = KEEP_BYTES if run.status is RunStatus.RAN else 0
        with self._shared.guarded() as client:
            client.eval(
                _FINISH,
                len(names),
                *names,
                flight.token,
                run_to_json(run),
                _ms(_LINGER_SECONDS),
                _ms(KEEP_SECONDS),
                most,
            )

    def release_lead(self, flight: Flight, *, if_unheard: bool = False) -> bool:
        """Gives up the lead; with `if_unheard` only if nobody elsewhere listens. Returns whether it was given up."""
        names = [_leader(flight.key), flight.rows, _listeners(flight.key)]
        with self._shared.guarded() as client:
            return bool(
                client.eval(_RELEASE_LEAD, len(names), *names, flight.token, _ms(_LINGER_SECONDS), int(if_unheard))
            )

    def listen(self, flights: Mapping[Flight, Iterable[str]]) -> list[bool]:
        """Renews the listeners of flights; returns for each flight whether its leader is still there."""
        with self._shared.guarded() as client, client.pipeline(transaction=False) as calls:
            for flight, listeners in flights.items():
                calls.eval(
                    _LISTEN,
                    2,
                    _leader(flight.key),
                    _listeners(flight.key),
                    flight.token,
                    _ms(LEASE_SECONDS),
                    *listeners,
                )
            return [bool(led) for led in calls.execute()]

    def leave(self, flight: Flight, listener: str) -> None:
        """Removes a listener."""
        with self._shared.guarded() as client:
            client.zrem(_listeners(flight.key), listener)

    def read(self, after: Mapping[Flight, str], seconds: float) -> dict[Flight, list[tuple[str, dict[str, str]]]]:
        """The entries of flights after those ids, with their ids. Waits `seconds` for the first one, or for `wake`."""
        streams: dict[Any, Any] = {flight.rows: last for flight, last in after.items()}
        if seconds:
            streams[self._wake] = self._last_wake
        flights = {flight.rows: flight for flight in after}
        found = {}
        with self._shared.guarded() as client:
            replies: Any = client.xread(streams, block=_ms(seconds) or None)
        for name, entries in replies or ():
            if name == self._wake:
                self._last_wake = entries[-1][0]
            else:
                found[flights[name]] = entries
        return found

    def wake(self) -> None:
        """Ends the wait of this service's `read`."""
        with self._shared.guarded() as client, client.pipeline(transaction=False) as calls:
            calls.xadd(self._wake, {"wake": "1"}, maxlen=1, approximate=False)
            calls.pexpire(self._wake, _ms(_LINGER_SECONDS))
            calls.execute()


def rows_entry(first: int, rows: Sequence[Row], position: int) -> dict[str, str]:
    """An entry: rows, the index of the first one, and the run's position in its leader's queue, 0 outside it."""
    return {"first": str(first), "rows": rows_to_json(rows), "position": str(position)}


def read_entry(entry: Mapping[str, str], experiment: Experiment) -> tuple[int, Sequence[Row], Run | None]:
    """(index of its first row, rows, the finished run if it is the last). Raises ValueError for another entry."""
    if "run" in entry:
        run = run_from_json(experiment, entry["run"])
        return 0, run.rows, run
    return (int(entry.get("first", "")), rows_from_json(entry["rows"]), None) if "rows" in entry else (0, (), None)


def is_last(entry: Mapping[str, str]) -> bool:
    """Whether it is the leader's last entry: the run has finished, or the lead was given up."""
    return "run" in entry or "resigned" in entry


def _kept(key: str) -> str:
    return f"{KEY_PREFIX}run:{key}"


def _leader(key: str) -> str:
    return f"{KEY_PREFIX}leader:{key}"


def _listeners(key: str) -> str:
    return f"{KEY_PREFIX}listeners:{key}"


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
