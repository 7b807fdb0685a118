"""What must not be lost: feedback. And what an operator may want to keep: what was asked, and what found no answer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from alembic.util import CommandError
from sqlalchemy import Connection, Engine, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from qa_service.errors import StoreUnavailable
from qa_service.model import Answer, AnswerStatus
from qa_service.store.opening import opened
from qa_service.store.tables import ASKED, FEEDBACK, QUESTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that was kept: no entry answered it, or a reader found the answer unhelpful."""

    question: str
    lang: str
    status: str
    entry: str | None
    helpful: bool | None
    reason: str | None


class Store:
    """Opens on first use, so that a front that never writes never makes a file. May be used from several threads.

    Every method raises `StoreUnavailable` where the database is gone, locked for long, or full.
    """

    def __init__(self, url: str, keep_days: int = 0) -> None:
        """`url` as SQLAlchemy spells it; questions are kept for `keep_days` days, with 0 not at all."""
        self._url = url
        self._keep_days = keep_days
        self._engine: Engine | None = None
        self._opening = threading.Lock()
        self.on_failure: list[Callable[[], None]] = []

    def add_feedback(self, answer_id: str, helpful: bool, reason: str | None) -> None:
        """Returns once it is on disk."""
        row = {"at": datetime.now(UTC), "answer_id": answer_id, "helpful": helpful, "reason": reason}
        with self._writing() as connection:
            connection.execute(insert(FEEDBACK).values(row))

    def feedback(self) -> list[tuple[str, bool, str | None]]:
        """Every feedback, oldest first: answer id, helpful, reason."""
        columns = (FEEDBACK.c.answer_id, FEEDBACK.c.helpful, FEEDBACK.c.reason)
        with self._writing() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(select(*columns).order_by(FEEDBACK.c.id))]

    def record(self, answer: Answer) -> None:
        """Counts the answer and, where questions are kept, keeps its question; forgets what is too old."""
        entry = answer.entry.id if answer.entry else ""
        now = datetime.now(UTC)
        key = {"day": now.date(), "entry": entry, "status": answer.status.value, "lang": answer.lang}
        with self._writing() as connection:
            _count(connection, key)
            connection.execute(delete(QUESTIONS).where(QUESTIONS.c.at < now - timedelta(days=self._keep_days)))
            if self._keep_days and answer.question:
                kept = {"answer_id": answer.id, "at": now, "question": answer.question, "lang": answer.lang,
                        "status": answer.status.value, "entry": entry or None,
                        "confidence": answer.confidence}  # fmt: skip
                connection.execute(insert(QUESTIONS).values(kept))

    def asked(self, since: date) -> list[tuple[str, str, int]]:
        """Entry (empty where none answered), status and how often, most often first."""
        count = func.sum(ASKED.c.count)
        query = select(ASKED.c.entry, ASKED.c.status, count).where(ASKED.c.day >= since)
        with self._writing() as connection:
            rows = connection.execute(query.group_by(ASKED.c.entry, ASKED.c.status).order_by(count.desc()))
            return [(row[0], row[1], int(row[2])) for row in rows]

    def unmet(self) -> list[Asked]:
        """The questions kept that no entry answered, or whose answer was unhelpful; oldest first."""
        unhelpful = select(FEEDBACK.c.answer_id).where(FEEDBACK.c.helpful.is_(False))
        query = (
            select(QUESTIONS, FEEDBACK.c.helpful, FEEDBACK.c.reason)
            .outerjoin(FEEDBACK, FEEDBACK.c.answer_id == QUESTIONS.c.answer_id)
            .where(or_(QUESTIONS.c.status != AnswerStatus.ANSWERED.value, QUESTIONS.c.answer_id.in_(unhelpful)))
            .order_by(QUESTIONS.c.at)
        )
        with self._writing() as connection:
            return [
                Asked(question=row.question, lang=row.lang, status=row.status, entry=row.entry, helpful=row.helpful,
                      reason=row.reason)
                for row in connection.execute(query)
            ]  # fmt: skip

    def ping(self) -> None:
        """Whether it can be reached, and its tables are those of this version."""
        with self._writing() as connection:
            connection.execute(select(FEEDBACK.c.id).limit(1))

    def close(self) -> None:
        """Gives its connections back; the next use opens it again."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._opening:
                if self._engine is None:
                    self._engine = opened(self._url)
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, CommandError, OSError) as error:
            for hear in self.on_failure:
                hear()
            raise StoreUnavailable(type(error).__name__) from error


def _count(connection: Connection, key: dict[str, Any]) -> None:
    row = [ASKED.c[name] == value for name, value in key.items()]
    one_more = update(ASKED).where(*row).values(count=ASKED.c.count + 1)
    if connection.execute(one_more).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(ASKED).values({**key, "count": 1}))
    except IntegrityError:  # another process was the first of the day
        connection.execute(one_more)
