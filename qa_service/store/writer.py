"""Answers recorded behind the reader's back: no answer waits for the store, none fails with it."""

import logging
import queue
import threading
import time
from contextlib import suppress

from qa_service.errors import StoreUnavailable
from qa_service.model import Answer
from qa_service.model.events import Done, Event
from qa_service.store import Store

_WAITING = 1000
_TOGETHER = 100
_PAUSE = 0.2  # seconds


class BackgroundWriter:
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
            answers = [self._answers.get()]
            with suppress(queue.Empty):
                while len(answers) < _TOGETHER:
                    answers.append(self._answers.get_nowait())
            try:
                self._store.record(*answers)
            except StoreUnavailable as error:
                logging.getLogger("numstab").warning("%d answers are not recorded: %s", len(answers), error)
            except Exception:  # whatever it is, the next answer is recorded all the same
                logging.getLogger("numstab").exception("answers are not recorded")
            finally:
                for _ in answers:
                    self._answers.task_done()
            time.sleep(_PAUSE)  # what comes meanwhile is one transaction
