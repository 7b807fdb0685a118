"""Starts a real PostgreSQL server on a free local port, which tests may kill and start again with its data."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS, session_processes, until

from bench.server import free_port


class PostgresServer:
    """A PostgreSQL server and its URL; `kill` ends all its processes with SIGKILL."""

    def __init__(self, programs: Path, folder: Path, *, tls: tuple[Path, Path] | None) -> None:
        """`tls` are the files of a certificate and its key: then nobody gets in without TLS."""
        self._programs, self._folder = programs, folder
        self._user = "postgres" if os.geteuid() == 0 else None
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://numstab@127.0.0.1:{self._port}/postgres"
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "numstab", "--auth=trust", "-E", "UTF8")
        self._options = ["-p", str(self._port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        if tls is not None:
            for source, name in zip(tls, ("server.crt", "server.key"), strict=True):
                shutil.copy(source, folder / "data" / name)
                (folder / "data" / name).chmod(0o600)
                if self._user:
                    shutil.chown(folder / "data" / name, self._user)
            (folder / "data" / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n")
            self._options += ["-c", "ssl=on"]

    def start(self) -> None:
        """Starts it, and waits until it takes connections."""
        log = self._folder / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *self._options],
                stdout=out, stderr=out, start_new_session=True, cwd="/", user=self._user, group=self._user,
            )  # fmt: skip
        until(self._is_ready, why=log.read_text)

    def kill(self) -> None:
        """Kills all its processes by their ids."""
        assert self._process is not None
        leader = self._process.pid
        for pid in (leader, *session_processes(leader)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT_SECONDS)
        until(lambda: not session_processes(leader))

    def _is_ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-h", str(self._folder), "-p", str(self._port)]
        return subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS).returncode == 0

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._programs / program), *options]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS, cwd="/", user=self._user,
            group=self._user,
        )  # fmt: skip


@contextmanager
def run_postgres(*, tls: tuple[Path, Path] | None = None) -> Iterator[PostgresServer]:
    """Starts a server, and kills it at the end; skips the test where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server here; on Debian: apt-get install postgresql")
    # Not under pytest's folder, which PostgreSQL's user may not enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="numstab-postgres-"))
    try:
        server = PostgresServer(found[-1].parent, folder, tls=tls)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def self_signed_certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a certificate for this machine, its own authority, and of its key; skips without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, to make a certificate")
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "server.crt", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
    return certificate, key
