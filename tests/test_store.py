"""What must not be lost is on disk when it is acknowledged: on SQLite and on a real PostgreSQL."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, running
from sqlalchemy import create_engine, inspect, text, update

from qa_service.errors import StoreUnavailable
from qa_service.model import Request
from qa_service.store import Store
from qa_service.store.engine import open_engine
from qa_service.store.tables import METADATA, QUESTIONS
from qa_service.store.writer import BackgroundWriter

ANSWER = "01K0000000000000000000000A"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server of our own on a socket of its own; where no PostgreSQL is installed, that is said."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or (os.geteuid() == 0 and shutil.which("runuser") is None):
        pytest.skip("no PostgreSQL server here; on Debian: apt-get install postgresql")
    programs = found[-1].parent
    # Not under pytest's folder, which is closed to PostgreSQL's user; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="numstab-postgres-"))
    user: list[str] = []
    if os.geteuid() == 0:
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")

    def run(program: str, *options: object) -> None:
        command = [*user, programs / program, "-D", folder / "data", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS, cwd="/")

    try:
        run("initdb", "-U", "numstab", "--auth=trust", "-E", "UTF8")
        run("pg_ctl", "-o", f"-k {folder} -c listen_addresses=", "-l", folder / "log", "-w", "start")
        try:
            yield f"postgresql+psycopg://numstab@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def store_at() -> Iterator[Callable[..., Store]]:
    """Makes stores, and closes them at the end."""
    made: list[Store] = []

    def make(url: str, **more: int) -> Store:
        made.append(Store(url, **more))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store, on either database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'folder' / 'numstab.sqlite'}"
        return
    address = request.getfixturevalue("postgres")
    yield address
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def test_feedback_is_kept(url, store_at):
    """In order, reasons and all, for another process to read."""
    store_at(url).add_feedback(ANSWER, True, None)
    store_at(url).add_feedback(ANSWER, False, "没看懂 ✗")
    assert store_at(url).feedback() == [(ANSWER, True, None), (ANSWER, False, "没看懂 ✗")]


def test_the_tables_are_those_that_the_migrations_make(url, store_at):
    """Every column, its kind and whether it may be empty."""
    engine = open_engine(url)
    for name, table in METADATA.tables.items():
        columns = {column["name"]: column for column in inspect(engine).get_columns(name)}
        assert set(columns) == set(table.columns.keys())
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, (name, column.name)
            assert issubclass(type(columns[column.name]["type"]), column.type._type_affinity), (name, column.name)
    engine.dispose()


def test_a_store_older_than_its_migrations_keeps_its_rows(tmp_path, store_at):
    """The first version made its table without them."""
    path = tmp_path / "numstab.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text(
            "CREATE TABLE feedback (id INTEGER PRIMARY KEY, at DATETIME NOT NULL, answer_id VARCHAR(26) NOT NULL, "
            "helpful BOOLEAN NOT NULL, reason VARCHAR(2000))"
        ))  # fmt: skip
        connection.execute(text(f"INSERT INTO feedback VALUES (1, '2026-01-01 00:00:00', '{ANSWER}', 1, NULL)"))
    engine.dispose()
    store = store_at(f"sqlite:///{path}")
    store.add_feedback(ANSWER, False, "x")
    assert [row[1] for row in store.feedback()] == [True, False]


def test_many_processes_may_start_at_once_on_one_store(url, store_at):
    """Each brings it up to date or finds it so; nothing is lost."""
    code = f"from qa_service.store import Store; Store({url!r}).add_feedback({ANSWER!r}, True, None)"
    with ExitStack() as stack:
        command = [sys.executable, "-c", code]
        writers = [stack.enter_context(running(command, stderr=subprocess.PIPE)) for _ in range(4)]
        for writer in writers:
            _, said = writer.communicate(timeout=TIMEOUT_SECONDS)
            assert writer.returncode == 0, said.decode()
    assert len(store_at(url).feedback()) == 4


def test_what_was_acknowledged_survives_a_kill(tmp_path, store_at):
    """The process is killed right after it was told so."""
    url = f"sqlite:///{tmp_path / 'numstab.sqlite'}"
    code = (
        "import sys, time\nfrom qa_service.store import Store\n"
        f"store = Store({url!r})\nfor at in range(1000):\n"
        f"    store.add_feedback({ANSWER!r}, True, str(at))\n    print(at, flush=True)\n"
    )
    with running([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
    assert len(store_at(url).feedback()) >= len(told) == 20


def test_a_locked_store_says_so_and_recovers(tmp_path, monkeypatch, store_at):
    """After the patience of a writer, not never; a moment later all is well."""
    monkeypatch.setattr("qa_service.store.engine.BUSY_TIMEOUT_MS", 100)
    url = f"sqlite:///{tmp_path / 'numstab.sqlite'}"
    store = store_at(url)
    store.add_feedback(ANSWER, True, None)
    engine = create_engine(url)
    other = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    other.execute(text("BEGIN IMMEDIATE"))
    with pytest.raises(StoreUnavailable):
        store.add_feedback(ANSWER, False, None)
    other.execute(text("ROLLBACK"))
    other.close()
    engine.dispose()
    store.add_feedback(ANSWER, False, None)
    assert len(store.feedback()) == 2


@pytest.mark.parametrize("url", ["sqlite:////proc/nowhere/numstab.sqlite", "postgresql+psycopg://x@127.0.0.1:9/none"])
def test_a_store_that_is_gone_says_so(url, store_at):
    with pytest.raises(StoreUnavailable):
        store_at(url).add_feedback(ANSWER, True, None)


def test_what_is_asked_is_counted_and_no_question_kept_unless_allowed(url, toy_service, store_at):
    """Entry, status, how often; the texts only where the operator wants them."""
    plain, keeping = store_at(url), store_at(url, keep_days=30)
    for question in ("counting numbers one", "counting numbers two", "今晚吃什么"):
        plain.record(toy_service.answer(Request(question=question, run=False)))
    counted = plain.asked(date(2020, 1, 1))
    assert sum(count for *_, count in counted) == 3
    assert counted[0] == ("counting", "answered", 2)
    assert plain.unanswered() == []
    declined = toy_service.answer(Request(question="今晚吃什么", run=False))
    unhelpful = toy_service.answer(Request(question="counting numbers one", run=False))
    helpful = toy_service.answer(Request(question="counting numbers two", run=False))
    for answer in (declined, unhelpful, helpful):
        keeping.record(answer)
    keeping.add_feedback(unhelpful.id, False, "too short")
    keeping.add_feedback(helpful.id, True, None)
    assert [(one.question, one.helpful) for one in keeping.unanswered()] == [
        ("今晚吃什么", None), ("counting numbers one", False)
    ]  # fmt: skip


def test_questions_are_forgotten_after_their_time(url, toy_service, store_at):
    """With the next answer that is recorded."""
    store = store_at(url, keep_days=7)
    answers = [toy_service.answer(Request(question=f"今晚吃什么 {at}", run=False)) for at in range(3)]
    store.record(answers[0])
    store.record(answers[1])
    engine = open_engine(url)
    with engine.begin() as connection:
        past = datetime.now(UTC) - timedelta(days=8)
        connection.execute(update(QUESTIONS).where(QUESTIONS.c.answer_id == answers[0].id).values(at=past))
    engine.dispose()
    store.record(answers[2])
    assert [one.question for one in store.unanswered()] == ["今晚吃什么 1", "今晚吃什么 2"]


def test_no_answer_waits_for_the_store_or_fails_with_it(toy_service, tmp_path, caplog, store_at):
    """Recorded behind the reader's back; a store that is gone costs a line in the log."""
    for url, kept in ((f"sqlite:///{tmp_path / 'numstab.sqlite'}", 1), ("sqlite:////proc/nowhere/x.sqlite", 0)):
        store = store_at(url)
        with BackgroundWriter(store) as writer:
            unsubscribe = toy_service.subscribe(writer)
            toy_service.answer(Request(question="counting numbers one", run=False))
            unsubscribe()
        if kept:
            assert store.asked(date(2020, 1, 1)) == [("counting", "answered", 1)]
    assert "not recorded" in caplog.text
