"""Diagnosis of a training run with the experiment of its cause, run twice: as it is, and cured."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qa_service.errors import NumstabError, UnreadableRun
from qa_service.lab.clients import CLIENT, ClientNames
from qa_service.lab.queue import FairQueue
from qa_service.lab.runner import overloaded_error
from qa_service.model.diagnosis import Diagnosis

BYTES_PER_CHARGE = 1 << 15
"""The number of bytes for which a file counts once more against the rate of its client: a tenth of a second of CPU
time.
"""
_AT_ONCE = 2
"""The number of files read at once; more would only contend for the interpreter's lock."""
_MAX_WAITING = 12
"""The largest number of files that are read or wait: each takes a thread, over HTTP one of those that all routes
share.
"""
reading_queue = FairQueue(_AT_ONCE)
_admission = threading.Lock()


def diagnose_file(data: bytes, name: str = "") -> Diagnosis:
    """The diagnosis of a log, a table or a trace; raises `BadRequest` for a file that cannot be read.

    Raises `RateLimited` where the client's rate does not suffice for its length, and `Overloaded` where too many wait.
    Clients take turns, and one may have half of the places.
    """
    if more := len(data) // BYTES_PER_CHARGE:
        CLIENT.get().charge(more)
    from qa_service.diagnosis.engine import diagnose  # what reads logs and judges runs comes with the first of them
    from qa_service.diagnosis.reading import read_training_run

    with _place():
        return diagnose(read_training_run(data, name))


@contextmanager
def _place() -> Iterator[None]:
    """Holds one of the `_AT_ONCE` slots for reading files while the block runs.

    Raises `Overloaded` if too many wait.
    """
    client = CLIENT.get().name
    with _admission:
        read_or_wait = len(reading_queue) + _AT_ONCE - reading_queue.free_slots
        if read_or_wait >= _MAX_WAITING or reading_queue.waiting_of(client) >= _MAX_WAITING // 2:
            raise overloaded_error(read_or_wait, _AT_ONCE)
        slot = reading_queue.join(ClientNames(client))
    with slot:
        slot.granted.wait()
        yield


def require_readable(diagnosis: Diagnosis) -> Diagnosis:
    """The diagnosis; raises `UnreadableRun` where the file had no run to judge."""
    if diagnosis.status == "unreadable":
        raise UnreadableRun(zh=diagnosis.summary.zh, en=diagnosis.summary.en)
    return diagnosis


def diagnose_question(question: str) -> Diagnosis | None:
    """The diagnosis of the log that is pasted into a question; None if there is none or it was not recognised."""
    from qa_service.diagnosis.engine import diagnose
    from qa_service.diagnosis.reading import read_log_text

    try:
        found = diagnose(read_log_text(question))
    except NumstabError:
        return None
    return None if found.status == "unreadable" else found
