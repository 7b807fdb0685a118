"""A Valkey or Redis server on a free port of this machine, with a folder of its own."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.server import free_port

_START_SECONDS = 30.0


@dataclass(slots=True)
class ValkeyServer:
    """A running server, which may be killed, stopped and started again in its place."""

    program: str
    port: int
    folder: Path
    tls: tuple[Path, Path] | None = None
    """The files of a certificate and its key: then it is reached by TLS alone."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """The URL of the server, for the setting `NUMSTAB_SHARED`."""
        return f"redis{'s' if self.tls else ''}://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        command = [self.program, "--bind", "127.0.0.1", "--dir", str(self.folder), *self._port_options()]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*command, "--save", "", "--appendonly", "no"], stdout=log, stderr=log)
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """Kills it, as kill -9 does."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Pauses the process with SIGSTOP: it accepts connections and never answers."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes the paused process with SIGCONT."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def _port_options(self) -> list[str]:
        if self.tls is None:
            return ["--port", str(self.port)]
        certificate, key = map(str, self.tls)
        return ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", certificate, "--tls-key-file", key,
                "--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"]  # fmt: skip

    def _answers(self) -> bool:
        with suppress(OSError), self._connect() as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 1.0)
        if self.tls is None:
            return connection
        context = ssl.create_default_context(cafile=str(self.tls[0]))
        return context.wrap_socket(connection, server_hostname="127.0.0.1")


def valkey_program() -> str | None:
    """The server that is installed here, if any."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


@contextmanager
def run_valkey(tls: tuple[Path, Path] | None = None) -> Iterator[ValkeyServer]:
    """Starts a server; at the end it is killed, whatever state it is in. `RuntimeError` where none is installed."""
    program = valkey_program()
    if program is None:
        raise RuntimeError("no valkey-server or redis-server here; on Debian: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="numstab-valkey-") as folder:
        server = ValkeyServer(program, free_port(), Path(folder), tls)
        try:
            server.start()
            yield server
        finally:
            server.kill()
