"""The store: acknowledged writes are on disk, in SQLite and in a real PostgreSQL."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from postgres_server import run_postgres, self_signed_certificate
from processes import TIMEOUT_SECONDS, run_in_forks, running, until
from sqlalchemy import create_engine, inspect, text, update

from qa_service.errors import BadField, StoreUnavailable
from qa_service.model import Request
from qa_service.server.api_keys import ApiKeyStore
from qa_service.store import Store
from qa_service.store.engine import open_engine
from qa_service.store.tables import METADATA, QUESTIONS
from qa_service.store.writer import BackgroundWriter

ANSWER = "01K0000000000000000000000A"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server that the tests start; skips where none is installed."""
    with run_postgres() as server:
        yield server.url


@pytest.fixture
def open_store() -> Iterator[Callable[..., Store]]:
    """A function that opens stores, which are closed at the end of the test."""
    opened: list[Store] = []

    def make(url: str, **more: int) -> Store:
        opened.append(Store(url, **more))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: SQLite, then PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'folder' / 'numstab.sqlite'}"
        return
    postgres_url = request.getfixturevalue("postgres")
    yield postgres_url
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def test_feedback_is_stored_in_order(url, open_store):
    """Another store on the same database reads it, with its reasons."""
    open_store(url).add_feedback(ANSWER, True, None)
    open_store(url).add_feedback(ANSWER, False, "没看懂 ✗")
    assert open_store(url).feedback() == [(ANSWER, True, None), (ANSWER, False, "没看懂 ✗")]


def test_api_keys_are_common_to_the_machines_of_a_database(url, open_store, tmp_path):
    """Each machine can add, find, rotate and revoke them; names are unique. A running service sees another machine's
    changes within seconds.
    """
    here, there = (ApiKeyStore(tmp_path / folder, open_store(url)) for folder in ("here", "there"))
    secret = here.add("class", ("ask",))
    assert not (tmp_path / "here" / "keys.json").exists()
    with pytest.raises(BadField):
        there.add("class", ("read",))
    with there.refreshing():
        until(lambda: there.find(secret))
        assert (there.find(secret).name, there.find(secret).scopes) == ("class", ("ask",))
        renewed = here.rotate("class")
        until(lambda: there.find(renewed))
        assert there.find(secret) is None
        here.revoke("class")
        until(lambda: there.find(renewed) is None)
    assert len(there) == 0


def test_keys_of_a_folder_stay_valid_on_its_machine(url, open_store, tmp_path):
    """Keys made before the machines shared a database stay valid and can be revoked like others."""
    secret = ApiKeyStore(tmp_path).add("old", ("read",))
    keys = ApiKeyStore(tmp_path, open_store(url))
    assert keys.find(secret).name == "old"
    keys.add("new", ("ask",))
    assert {key.name for key in keys.all().values()} == {"old", "new"}
    keys.revoke("old")
    assert keys.find(secret) is None
    assert {key.name for key in ApiKeyStore(tmp_path, open_store(url)).all().values()} == {"new"}


def test_while_the_database_is_away_its_keys_stay_valid(open_store, tmp_path, monkeypatch):
    keys = ApiKeyStore(tmp_path, open_store(f"sqlite:///{tmp_path / 'store'}"))
    secret = keys.add("class", ("ask",))
    failed = threading.Event()

    def away(_store: Store) -> list[dict[str, str]]:
        failed.set()
        raise StoreUnavailable("away")

    monkeypatch.setattr(Store, "api_keys", away)
    with keys.refreshing():
        assert failed.wait(TIMEOUT_SECONDS)
        assert keys.find(secret).name == "class"
    with pytest.raises(StoreUnavailable):
        keys.revoke("class")


def test_the_migrations_create_the_declared_tables(url, open_store):
    """Every column has its declared type and nullability."""
    engine = open_engine(url)
    for name, table in METADATA.tables.items():
        columns = {column["name"]: column for column in inspect(engine).get_columns(name)}
        assert set(columns) == set(table.columns.keys())
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, (name, column.name)
            generic = columns[column.name]["type"].as_generic(allow_nulltype=True)
            assert isinstance(generic, type(column.type)), (name, column.name)
    engine.dispose()


def test_a_database_older_than_the_migrations_keeps_its_rows(tmp_path, open_store):
    """The first version created its table without migrations."""
    path = tmp_path / "numstab.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text(
            "CREATE TABLE feedback (id INTEGER PRIMARY KEY, at DATETIME NOT NULL, answer_id VARCHAR(26) NOT NULL, "
            "helpful BOOLEAN NOT NULL, reason VARCHAR(2000))"
        ))  # fmt: skip
        connection.execute(text(f"INSERT INTO feedback VALUES (1, '2026-01-01 00:00:00', '{ANSWER}', 1, NULL)"))
    engine.dispose()
    store = open_store(f"sqlite:///{path}")
    store.add_feedback(ANSWER, False, "x")
    assert [row[1] for row in store.feedback()] == [True, False]


@pytest.mark.skipif(os.name != "posix", reason="the processes are forked")
def test_concurrent_processes_can_migrate_one_database(url, open_store):
    """Each process applies the migrations or finds them applied; every row is stored."""
    setup = "import alembic.command, psycopg\nfrom qa_service.store import Store"
    run_in_forks(setup, f"Store({url!r}).add_feedback({ANSWER!r}, True, None)", 4)
    assert len(open_store(url).feedback()) == 4


def test_acknowledged_writes_survive_sigkill(tmp_path, open_store):
    """The process is killed right after it has acknowledged 20 of them."""
    url = f"sqlite:///{tmp_path / 'numstab.sqlite'}"
    code = (
        "import sys, time\nfrom qa_service.store import Store\n"
        f"store = Store({url!r})\nfor at in range(1000):\n"
        f"    store.add_feedback({ANSWER!r}, True, str(at))\n    print(at, flush=True)\n"
    )
    with running([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
    assert len(open_store(url).feedback()) >= len(acknowledged) == 20


def test_a_locked_database_is_an_error_until_it_is_unlocked(tmp_path, monkeypatch, open_store):
    """The error comes after the writer's timeout; once unlocked, writes succeed."""
    monkeypatch.setattr("qa_service.store.engine.BUSY_TIMEOUT_MS", 100)
    url = f"sqlite:///{tmp_path / 'numstab.sqlite'}"
    store = open_store(url)
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
def test_an_unreachable_database_is_an_error(url, open_store):
    with pytest.raises(StoreUnavailable):
        open_store(url).add_feedback(ANSWER, True, None)


@pytest.mark.timeout(110)  # only the time tells our limit, of seconds, from the library's
def test_a_database_that_never_replies_is_an_error(open_store):
    """The server accepts connections and sends nothing; the client library alone would wait for two minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(f"postgresql+psycopg://x@127.0.0.1:{silent.getsockname()[1]}/none")
        with pytest.raises(StoreUnavailable):
            store.add_feedback(ANSWER, True, None)


@pytest.mark.exhaustive
def test_the_database_is_reached_by_tls_alone(open_store, tmp_path):
    """Its certificate must be one that we know; an unknown certificate, or no TLS, is an error."""
    certificate = self_signed_certificate(tmp_path / "ours")
    others, _ = self_signed_certificate(tmp_path / "others")
    with run_postgres(tls=certificate) as server:
        store = open_store(f"{server.url}?sslmode=verify-full&sslrootcert={certificate[0]}")
        store.add_feedback(ANSWER, True, None)
        assert store.feedback() == [(ANSWER, True, None)]
        for query in (f"sslmode=verify-full&sslrootcert={others}", "sslmode=disable"):
            with pytest.raises(StoreUnavailable):
                open_store(f"{server.url}?{query}").add_feedback(ANSWER, False, None)
        assert len(store.feedback()) == 1


def test_questions_are_counted_and_their_text_is_stored_only_if_allowed(url, toy_service, open_store):
    """Counts are by entry and status; texts are stored where `keep_days` is set."""
    counting, storing = open_store(url), open_store(url, keep_days=30)
    for question in ("counting numbers one", "counting numbers two", "今晚吃什么"):
        counting.record(toy_service.answer(Request(question=question, run=False)))
    counts = counting.answer_counts(date(2020, 1, 1))
    assert sum(count for *_, count in counts) == 3
    assert counts[0] == ("counting", "answered", 2)
    assert counting.unanswered() == []
    declined = toy_service.answer(Request(question="今晚吃什么", run=False))
    unhelpful = toy_service.answer(Request(question="counting numbers one", run=False))
    helpful = toy_service.answer(Request(question="counting numbers two", run=False))
    for answer in (declined, unhelpful, helpful):
        storing.record(answer)
    storing.add_feedback(unhelpful.id, False, "too short")
    storing.add_feedback(helpful.id, True, None)
    assert [(one.question, one.helpful) for one in storing.unanswered()] == [
        ("今晚吃什么", None), ("counting numbers one", False)
    ]  # fmt: skip


def test_questions_are_deleted_after_keep_days(url, toy_service, open_store):
    """They are deleted when the next answer is recorded."""
    store = open_store(url, keep_days=7)
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


def test_answers_are_recorded_in_the_background(toy_service, tmp_path, caplog, open_store):
    """If the store is unreachable, answers still succeed and the error is logged."""
    for url, recorded in ((f"sqlite:///{tmp_path / 'numstab.sqlite'}", 1), ("sqlite:////proc/nowhere/x.sqlite", 0)):
        store = open_store(url)
        with BackgroundWriter(store) as writer:
            unsubscribe = toy_service.subscribe(writer)
            toy_service.answer(Request(question="counting numbers one", run=False))
            unsubscribe()
        if recorded:
            assert store.answer_counts(date(2020, 1, 1)) == [("counting", "answered", 1)]
    assert "not recorded" in caplog.text
