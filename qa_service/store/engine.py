"""Opens the database of the store, SQLite in WAL mode or PostgreSQL, and migrates it to the newest tables."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text

BUSY_TIMEOUT_MS = 2000  # milliseconds to wait for another writer
_MIGRATION_TIMEOUT_MS = 5000  # the same for another process that migrates
_WAL_RETRY_SECONDS = 0.02  # between attempts to set WAL
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 3,  # seconds
    "tcp_user_timeout": 4000,  # milliseconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "options": f"-c statement_timeout={BUSY_TIMEOUT_MS} -c lock_timeout={BUSY_TIMEOUT_MS}",
}
"""Parameters of libpq, by which an unreachable host times out; those in the URL take precedence."""
_MIGRATIONS = Path(__file__).with_name("migrations") / "versions"
_MIGRATING = threading.Lock()  # alembic keeps its context in a global variable
_OPENED: WeakKeyDictionary[Engine, tuple[int, int]] = WeakKeyDictionary()
"""SQLite engine → (device, inode) of the file that it opened."""
_ADVISORY_LOCK = 0x6E756D73  # key of a PostgreSQL advisory lock


class CannotMigrate(Exception):
    """The database has tables of a version that this one does not know."""


def open_engine(url: str) -> Engine:
    """An engine whose database has the tables of `tables`; creates and migrates it if necessary.

    Raises SQLAlchemyError, OSError or `CannotMigrate` if that fails.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _set_pragmas)
    with _MIGRATING, _exclusive(engine) as connection:
        if _revision(connection) != _newest_revision():
            _upgrade(connection)
    same_file(engine)
    return engine


def _engine(url: str) -> Engine:
    """An engine for the database at this URL, to which it does not connect yet."""
    parsed = make_url(url)
    given = {} if parsed.get_backend_name() != "postgresql" else _POSTGRESQL_OPTIONS
    connect_args = {name: value for name, value in given.items() if name not in parsed.query}
    # hide_parameters: errors in the log must not quote rows
    return create_engine(parsed, connect_args=connect_args, pool_pre_ping=True, hide_parameters=True)


def migration_state(url: str) -> tuple[str | None, str | None]:
    """The revision of the database (None if it is empty or missing) and the newest one; creates nothing.

    Revisions are strings of four digits. Raises SQLAlchemyError if the database cannot be reached.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite" and not (engine.url.database and Path(engine.url.database).is_file()):
        return None, _newest_revision()
    try:
        with engine.connect() as connection:
            return _revision(connection), _newest_revision()
    finally:
        engine.dispose()


def _newest_revision() -> str | None:
    """The greatest number of a migration file."""
    return max((path.name.partition("_")[0] for path in _MIGRATIONS.glob("[0-9]*.py")), default=None)


def _revision(connection: Connection) -> str | None:
    """The revision in alembic's table, None if there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def same_file(engine: Engine) -> bool:
    """Whether the path still names the file that the engine opened; True for databases that are not a file.

    SQLite goes on writing to a file that has been deleted or replaced.
    """
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
    """Sets WAL, so that reads do not wait for a write, and full synchronisation, so that commits are durable."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _set_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")


def _set_wal(connection: Any) -> None:
    """Sets WAL. SQLite does not wait where two processes set it in a new file at the same moment, so this does."""
    end = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(_WAL_RETRY_SECONDS)


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    """A transaction that excludes other processes, as several workers may migrate one database at the same time."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"PRAGMA busy_timeout = {_MIGRATION_TIMEOUT_MS}"))
            connection.execute(text("BEGIN IMMEDIATE"))
            connection.execute(text(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"))
            try:
                yield connection
            except BaseException:
                connection.execute(text("ROLLBACK"))
                raise
            connection.execute(text("COMMIT"))
        return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '60s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        yield connection


def _upgrade(connection: Connection) -> None:
    """Migrates to the newest tables. Imports alembic, which takes 10 MiB, so it is called only if necessary.

    Raises `CannotMigrate` if the database is of a later version.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "qa_service:store/migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise CannotMigrate(str(error)) from error
