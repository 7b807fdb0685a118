"""A Ray cluster of `numstab node` processes on this machine, each of which leaves nothing behind."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.server import free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 240.0
_NODE_ID = re.compile(r"--node_id=([0-9a-f]+)")


def session_processes(leader: int) -> dict[int, str]:
    """The processes of a session as {pid: command line}, without zombies (Linux)."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, _, _, of_session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(of_session) == leader and state != "Z":
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                processes[int(folder.name)] = words.decode(errors="replace")
    return processes


def wait_until(condition: Callable[[], bool], log: Path) -> None:
    """Polls the condition; raises TimeoutError with the log when it does not become true in four minutes."""
    end = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(log.read_text())
        time.sleep(0.02)


class ClusterNode:
    """A `numstab node` with its own session of processes."""

    def __init__(self, *arguments: str, token: str, log: Path, prefix: tuple[str, ...] = ()) -> None:
        """`prefix` is a command that executes another, as `ip netns exec` does."""
        env = os.environ | {"RAY_AUTH_TOKEN": token, "PYTHONPATH": str(ROOT)}
        command = [*prefix, sys.executable, "-m", "qa_service", "node", *arguments]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.log = log

    def pid_of(self, words: str) -> int:
        """The id of the process of this node whose command line begins with `words`, or whose program's path ends with
        them.
        """
        return next(
            pid for pid, line in session_processes(self.process.pid).items()
            if line.startswith(words) or line.partition(" ")[0].endswith(words)
        )  # fmt: skip

    def id(self) -> str:
        """Ray's name of the node, once it has started."""
        return next(iter(_NODE_ID.findall("\n".join(session_processes(self.process.pid).values()))), "")

    def end(self) -> None:
        """Kill every process of the node, by its id."""
        members = {self.process.pid, *session_processes(self.process.pid)}
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        wait_until(lambda: not session_processes(self.process.pid), self.log)


class Cluster:
    """A Ray cluster on this machine: a head with one slot, and further nodes, on loopback or another address."""

    def __init__(self, folder: Path, host: str = "") -> None:
        """`host` is the address of this machine at which the head is reached; by default that of loopback."""
        self._folder = folder
        self.token = secrets.token_hex(24)
        self.address = f"{host or '127.0.0.1'}:{(port := free_port())}"
        self.nodes: list[ClusterNode] = []
        self.head = self._start("--port", str(port), *(["--address", host] if host else []))
        self._wait_for(self.head)

    def add(self, *prefix: str) -> ClusterNode:
        """One more machine, with one slot, started by the command `prefix` if there is one."""
        node = self._start(self.address, prefix=prefix)
        self._wait_for(node)
        return node

    def end(self) -> None:
        """Kill all processes of all machines."""
        for node in reversed(self.nodes):
            node.end()

    def _start(self, *arguments: str, prefix: tuple[str, ...] = ()) -> ClusterNode:
        name = str(len(self.nodes))
        node = ClusterNode(
            *arguments, "--slots", "1", "--folder", str(self._folder / name), token=self.token,
            log=self._folder / f"{name}.log", prefix=prefix,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    @staticmethod
    def _wait_for(node: ClusterNode) -> None:
        wait_until(lambda: bool(node.id()) or node.process.poll() is not None, node.log)
        assert node.process.poll() is None, node.log.read_text()


@contextmanager
def cluster(host: str = "") -> Iterator[Cluster]:
    """A cluster whose head has one slot. Every process of it is killed at the end."""
    with tempfile.TemporaryDirectory(prefix="rc-", ignore_cleanup_errors=True) as folder:  # short: paths of sockets
        started = Cluster(Path(folder), host)
        try:
            yield started
        finally:
            started.end()
