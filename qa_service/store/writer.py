"""Records answers in the background, so that no answer waits for the store or fails because of it."""

import logging
import queue
import threading
from contextlib import suppress
from typing import Self

from qa_service.errors import StoreUnavailable
from qa_service.model import Answer
from qa_service.model.events import Done, Event
from qa_service.store import Store

_MAX_PENDING = 1000
_MAX_BATCH = 100
_WRITE_INTERVAL = 0.2  # seconds between two transactions
_CLOSE_TIMEOUT = 3.0  # seconds


class BackgroundWriter:
    """A listener for a service's events, and a context manager whose thread records the answers of `Done` events.

    Answers that cannot be stored are lost, with a warning in the log.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: queue.Queue[Answer] = queue.Queue(_MAX_PENDING)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, daemon=True, name="recorder")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Writes what is pending, for three seconds at most."""
        self._closed.set()
        self._thread.join(_CLOSE_TIMEOUT)
        if self._thread.is_alive():
            logging.getLogger("numstab").warning("the last answers are not recorded: the store is too slow")

    def __call__(self, event: Event) -> None:
        """Queues an answer that is complete; ignores other events."""
        if isinstance(event, Done):
            try:
                self._answers.put_nowait(event.answer)
            except queue.Full:
                logging.getLogger("numstab").warning("an answer is not recorded: the store is too slow")

    def _keep_writing(self) -> None:
        while not self._closed.wait(_WRITE_INTERVAL):  # answers of one interval are one transaction
            self._write_pending()
        self._write_pending()

    def _write_pending(self) -> None:
        while not self._answers.empty():
            answers: list[Answer] = []
            with suppress(queue.Empty):
                while len(answers) < _MAX_BATCH:
                    answers.append(self._answers.get_nowait())
            try:
                self._store.record(*answers)
            except StoreUnavailable as error:
                logging.getLogger("numstab").warning("%d answers are not recorded: %s", len(answers), error)
            except Exception:  # so that one answer that cannot be recorded does not end the thread
                logging.getLogger("numstab").exception("answers are not recorded")
