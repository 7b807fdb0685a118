"""What must not be lost: feedback. SQLite in the data folder unless a URL says else."""

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
)

_METADATA = MetaData()
_FEEDBACK = Table(
    "feedback",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("answer_id", String(26), nullable=False),
    Column("helpful", Boolean, nullable=False),
    Column("reason", String(2000)),
)


class Store:
    """Opens on first use, so that a front that never writes never makes a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _engine(self) -> Engine:
        self._folder.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{self._folder / 'numstab.sqlite'}")
        _METADATA.create_all(engine)
        return engine

    def add_feedback(self, answer_id: str, helpful: bool, reason: str | None) -> None:
        """Returns once it is on disk."""
        row = {"at": datetime.now(UTC), "answer_id": answer_id, "helpful": helpful, "reason": reason}
        with self._engine.begin() as connection:
            connection.execute(insert(_FEEDBACK).values(row))

    def feedback(self) -> list[tuple[str, bool, str | None]]:
        """Every feedback, oldest first: answer id, helpful, reason."""
        columns = (_FEEDBACK.c.answer_id, _FEEDBACK.c.helpful, _FEEDBACK.c.reason)
        with self._engine.connect() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(select(*columns).order_by(_FEEDBACK.c.id))]
