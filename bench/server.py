"""A `numstab serve` on a free port: started, observed from outside, stopped with all its child processes."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_TIMEOUT = 180.0  # seconds, enough for a cold machine
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `log` is the file of its standard output and error."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """GETs a path; returns (status, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """POSTs JSON to a path under /api/v1; returns (status, parsed body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", f"/api/v1{path}", data, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def processes(self) -> dict[int, str]:
        """Process id → command of the server and of all its descendants (Linux), which share its session."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                after_name = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(after_name[3]) == self.process.pid and after_name[0] != "Z":
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = command.decode(errors="replace")
        return found

    def cpu_seconds(self) -> float:
        """CPU seconds of its running processes and of the ended children that they waited for."""
        total = 0.0
        for pid in self.processes():
            with suppress(OSError):
                total += cpu_seconds_of(pid)
        return total

    def is_ready(self) -> bool:
        """Whether /readyz answers 200."""
        with suppress(OSError, http.client.HTTPException):
            return self.get("/readyz")[0] == 200
        return False


@contextmanager
def run_server(
    env: Mapping[str, str] | None = None,
    *,
    workers: int = 1,
    before: str = "",
    port: int | None = None,
    checkout: Path | None = None,
) -> Iterator[Server]:
    """Starts a server with these settings and a data folder of its own, and waits until it is ready.

    `before` is Python code that its process executes first, to set limits or inject faults; `checkout` is the folder
    of another version of the code.
    """
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="numstab-served-") as folder:
        log = Path(folder) / "log"
        arguments = ["numstab", "serve", "--port", str(port), "--workers", str(workers)]
        code = f"{before}\nimport sys; sys.argv = {arguments!r}\nfrom qa_service.__main__ import main; sys.exit(main())"
        command = [sys.executable, "-c", code] if before else [sys.executable, "-m", "qa_service", *arguments[1:]]
        server_env = {**os.environ, "NUMSTAB_DATA": str(Path(folder) / "data"), **(env or {})}
        if checkout is not None:
            server_env["PYTHONPATH"] = str(checkout)
        with (
            open(log, "wb") as errors,
            subprocess.Popen(
                command, env=server_env, stdout=errors, stderr=errors, start_new_session=True, cwd=checkout
            ) as process,
        ):
            server = Server(process, port, log)
            try:
                deadline = time.monotonic() + _START_TIMEOUT
                while not server.is_ready():
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"the server did not become ready:\n{log.read_text()[-2000:]}")
                    time.sleep(0.1)
                yield server
            finally:
                remaining = server.processes()
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                for pid in remaining:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def cpu_seconds_of(pid: int) -> float:
    """CPU seconds of a process, all its threads, and of the ended children that it waited for; raises OSError."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:15])) / _TICKS_PER_SECOND


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
