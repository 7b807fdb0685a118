"""Answers recorded behind the reader's back: no answer waits for the store, none fails with it."""

import logging
import queue
import threading

from qa_service.errors import StoreUnavailable
from qa_service.events import Done, Event
from qa_service.model import Answer
from qa_service.store import Store

_WAITING = 1000


class Recorder:
    """An observer of a service's events. What the store cannot take is lost, and the log says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: queue.Queue[Answer] = queue.Queue(_WAITING)
        threading.Thread(target=self._record, daemon=True, name="recorder").start()

    def __call__(self, event: Event) -> None:
        """Takes note of an answer that is done."""
        if isinstance(event, Done):
            try:
                self._answers.put_nowait(event.answer)
            except queue.Full:
                logging.getLogger("numstab").warning("an answer is not recorded: the store is too slow")

    def wait(self) -> None:
        """Until everything noted so far is recorded."""
        self._answers.join()

    def _record(self) -> None:
        while True:
            answer = self._answers.get()
            try:
                self._store.record(answer)
            except StoreUnavailable as error:
                logging.getLogger("numstab").warning("an answer is not recorded: %s", error)
            except Exception:  # whatever it is, the next answer is recorded all the same
                logging.getLogger("numstab").exception("an answer is not recorded")
            finally:
                self._answers.task_done()
