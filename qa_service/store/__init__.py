"""The store: feedback, counts of answers by entry, shared API keys, and, if the settings allow it, questions."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import import_module

from sqlalchemy import Connection, Engine, delete, func, insert, or_, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from qa_service.errors import StoreUnavailable
from qa_service.model import Answer, AnswerStatus, Lang
from qa_service.store.engine import CannotMigrate, open_engine, same_file
from qa_service.store.tables import ANSWER_COUNTS, API_KEYS, FEEDBACK, QUESTIONS

_CLOSE_TIMEOUT = 2.0  # seconds
_SETTLED = (AnswerStatus.ANSWERED.value, AnswerStatus.ACKNOWLEDGED.value)  # no gap in the knowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuestion:
    """A question that no entry answered, or whose answer a user found unhelpful."""

    question: str
    lang: str
    status: str
    entry: str | None
    helpful: bool | None
    reason: str | None


class Store:
    """A database, opened (and created) on first use. May be used from several threads.

    Every method raises `StoreUnavailable` if the database is unreachable, full, or locked for too long.
    """

    def __init__(self, url: str, keep_days: int = 0, on_failure: Callable[[], None] = lambda: None) -> None:
        """`url` is one of SQLAlchemy. Questions are kept for `keep_days` days, not at all for 0.

        `on_failure` is called whenever a method raises `StoreUnavailable`.
        """
        self._url = url
        self._keep_days = keep_days
        self._engine: Engine | None = None
        self._opening = threading.Lock()
        self._on_failure = on_failure

    def add_feedback(self, answer_id: str, helpful: bool, reason: str | None) -> None:
        """Stores one feedback; returns once the transaction is committed."""
        row = {"at": datetime.now(UTC), "answer_id": answer_id, "helpful": helpful, "reason": reason}
        with self._transaction() as connection:
            connection.execute(insert(FEEDBACK).values(row))

    def feedback(self) -> list[tuple[str, bool, str | None]]:
        """Every feedback, oldest first: answer id, helpful, reason."""
        columns = (FEEDBACK.c.answer_id, FEEDBACK.c.helpful, FEEDBACK.c.reason)
        with self._transaction() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(select(*columns).order_by(FEEDBACK.c.id))]

    def record(self, *answers: Answer) -> None:
        """Counts the answers, stores their questions if questions are kept, and deletes those that are too old."""
        now = datetime.now(UTC)
        counts = Counter(
            (answer.entry.id if answer.entry else "", answer.status.value, answer.lang) for answer in answers
        )
        kept = [
            {
                "answer_id": answer.id,
                "at": now,
                "question": answer.question,
                "lang": answer.lang,
                "status": answer.status.value,
                "entry": answer.entry.id if answer.entry else None,
                "confidence": answer.confidence,
            }
            for answer in answers
            if self._keep_days and answer.question
        ]
        with self._transaction() as connection:
            if counts:
                _count(connection, now.date(), counts)
            connection.execute(delete(QUESTIONS).where(QUESTIONS.c.at < now - timedelta(days=self._keep_days)))
            if kept:
                connection.execute(insert(QUESTIONS), kept)

    def answer_counts(self, since: date) -> list[tuple[str, str, int]]:
        """(entry, status, count) of the answers since a day, the most frequent first; entry is "" if none answered."""
        count = func.sum(ANSWER_COUNTS.c.count)
        query = select(ANSWER_COUNTS.c.entry, ANSWER_COUNTS.c.status, count).where(ANSWER_COUNTS.c.day >= since)
        with self._transaction() as connection:
            rows = connection.execute(
                query.group_by(ANSWER_COUNTS.c.entry, ANSWER_COUNTS.c.status).order_by(count.desc())
            )
            return [(row[0], row[1], int(row[2])) for row in rows]

    def unanswered(self) -> list[StoredQuestion]:
        """The stored questions that no entry answered, or whose answer was unhelpful; oldest first."""
        unhelpful = select(FEEDBACK.c.answer_id).where(FEEDBACK.c.helpful.is_(False))
        query = (
            select(QUESTIONS, FEEDBACK.c.helpful, FEEDBACK.c.reason)
            .outerjoin(FEEDBACK, FEEDBACK.c.answer_id == QUESTIONS.c.answer_id)
            .where(or_(QUESTIONS.c.status.not_in(_SETTLED), QUESTIONS.c.answer_id.in_(unhelpful)))
            .order_by(QUESTIONS.c.at)
        )
        with self._transaction() as connection:
            return [
                StoredQuestion(
                    question=row.question,
                    lang=row.lang,
                    status=row.status,
                    entry=row.entry,
                    helpful=row.helpful,
                    reason=row.reason,
                )
                for row in connection.execute(query)
            ]

    def api_keys(self) -> list[dict[str, str]]:
        """Every API key, oldest first: name, scopes (separated by spaces), sha256, made (ISO 8601)."""
        with self._transaction() as connection:
            rows = connection.execute(select(API_KEYS).order_by(API_KEYS.c.made))
            return [dict(row) for row in rows.mappings()]

    def add_api_key(self, key: dict[str, str]) -> bool:
        """Stores an API key, in the form of `api_keys`; False if there is one of its name."""
        with self._transaction() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(insert(API_KEYS).values(key))
            except IntegrityError:
                return False
            return True

    def delete_api_key(self, name: str) -> bool:
        """Deletes the API key of a name; False if there is none."""
        with self._transaction() as connection:
            return connection.execute(delete(API_KEYS).where(API_KEYS.c.name == name)).rowcount > 0

    def ping(self) -> None:
        """Returns if the database can be reached and its tables are those of this version."""
        with self._transaction() as connection:
            connection.execute(select(FEEDBACK.c.id).limit(1))

    def close(self) -> None:
        """Closes the connections; the next use opens new ones. Gives up after two seconds while it is being opened."""
        if not self._opening.acquire(timeout=_CLOSE_TIMEOUT):
            return
        try:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
        finally:
            self._opening.release()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction, for which the database is opened if necessary; raises `StoreUnavailable`."""
        try:
            with self._opening:
                if self._engine is not None and not same_file(self._engine):  # a write to the old file would be lost
                    self._engine.dispose()
                    self._engine = None
                if self._engine is None:
                    self._engine = open_engine(self._url)
                engine = self._engine
            with engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, CannotMigrate, OSError) as error:
            self._on_failure()
            raise StoreUnavailable(type(error).__name__) from error


def _count(connection: Connection, day: date, counts: Mapping[tuple[str, str, Lang], int]) -> None:
    """Adds the counts of (entry, status, language) to those of the day, by one upsert statement."""
    rows = [
        {"day": day, "entry": entry, "status": status, "lang": lang, "count": count}
        for (entry, status, lang), count in sorted(counts.items())  # a fixed order, so that workers cannot deadlock
    ]
    new = import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert(
        ANSWER_COUNTS
    )  # SQLite's or PostgreSQL's
    more = {"count": ANSWER_COUNTS.c.count + new.excluded.count}
    connection.execute(new.on_conflict_do_update(index_elements=list(ANSWER_COUNTS.primary_key), set_=more), rows)
