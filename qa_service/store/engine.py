"""A store opened: SQLite in WAL mode or PostgreSQL, brought up to date by whoever comes first."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event, text

TIMEOUT_MS = 5000  # milliseconds to wait for another writer
_ONE = threading.Lock()  # alembic keeps what it is about in a global
_OPENED: WeakKeyDictionary[Engine, tuple[int, int]] = WeakKeyDictionary()
"""Engine of SQLite → device and number of its file."""
_LOCK = 0x6E756D73  # of PostgreSQL's advisory locks, ours


def open_engine(url: str) -> Engine:
    """An engine whose tables are those of `tables`; raises SQLAlchemyError where there is none to be had."""
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)  # an error in the log quotes nobody
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _set_pragmas)
    with _ONE, _alone(engine) as connection:
        _upgrade(connection)
    same_file(engine)
    return engine


def migration_state(url: str) -> tuple[str | None, str | None]:
    """The migration that the store is at, None where it is empty, and the newest there is; makes nothing."""
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(_config()).get_current_head()
    engine = create_engine(url, hide_parameters=True)
    if engine.dialect.name == "sqlite" and not (engine.url.database and Path(engine.url.database).is_file()):
        return None, newest
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision(), newest
    finally:
        engine.dispose()


def same_file(engine: Engine) -> bool:
    """Whether the file that the engine opened is the one that lies there: SQLite would write on to a deleted one."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if not path or path == ":memory:":
        return True
    try:
        found = Path(path).stat()
    except OSError:
        return False
    first: tuple[int, int] = _OPENED.setdefault(engine, (found.st_dev, found.st_ino))
    return first == (found.st_dev, found.st_ino)


def _set_pragmas(connection: Any, _record: Any) -> None:
    """Readers do not wait for writers; what was acknowledged is on disk."""
    for pragma in ("journal_mode = WAL", "synchronous = FULL", f"busy_timeout = {TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process has at the same time: two workers may start at once on one store."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("BEGIN IMMEDIATE"))
            try:
                yield connection
            except BaseException:
                connection.execute(text("ROLLBACK"))
                raise
            connection.execute(text("COMMIT"))
        return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "qa_service:store/migrations")
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
