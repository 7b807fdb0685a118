"""MCP over standard input and output of a real process: it prints nothing else there, and leaves no process behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from processes import ROOT, TIMEOUT_SECONDS, run_async, running, session_processes, until

TOYS = ROOT / "tests" / "toys"
LEGACY = "2025-11-25"
COMMAND = [sys.executable, "-m", "qa_service", "mcp"]
QUESTION = {"question": "counting numbers one"}
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are watched through /proc"),
]


@pytest.fixture
def env(cache: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_CACHE": str(cache),
        "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "600",
    }  # fmt: skip


class Talk:
    """A client that writes and reads raw lines, valid or not."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.notes: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: dict[str, Any] | None = None, id_: int | None = None) -> None:
        sent: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        self.write(json.dumps(sent if id_ is None else sent | {"id": id_}).encode())

    def read(self) -> dict[str, Any]:
        """The next line, which must be a message of the protocol."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the output has ended"
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def answer(self, id_: int) -> dict[str, Any]:
        """The reply to a request; other messages are kept in `notes`."""
        while (message := self.read()).get("id") != id_:
            self.notes.append(message)
        return message

    def shake_hands(self) -> None:
        client = {"name": "test", "version": "1"}
        self.send("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client}, 0)
        assert self.answer(0)["result"]["protocolVersion"] == LEGACY
        self.send("notifications/initialized")

    def begin_endless_run(self, id_: int, seed: int = 0) -> None:
        """Starts a run that yields one row and then nothing, and waits for that row."""
        arguments = {"experiment": "hangs", "seed": seed}
        params = {"name": "run_experiment", "arguments": arguments, "_meta": {"progressToken": id_}}
        self.send("tools/call", params, id_)
        while "row 1" not in self.read().get("params", {}).get("message", ""):
            pass


@pytest.fixture
def talk(env, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """A context manager that starts `numstab mcp` and gives the client that talks to it."""

    @contextmanager
    def start() -> Iterator[Talk]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with (
            (tmp_path / "log").open("wb") as log,
            running(COMMAND, cwd=ROOT, env=os.environ | env, stderr=log, **pipes) as process,
        ):
            yield Talk(process)

    return start


def forked(process: subprocess.Popen[bytes]) -> int:
    """The number of processes forked for experiments, including those that wait for work."""
    return sum("forkserver" in command for command in session_processes(process.pid).values())


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", LEGACY)])
def test_clients_of_both_versions_ask(env, mode, version):
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=os.environ | env, cwd=ROOT)

    async def test() -> None:
        async with Client(stdio_client(parameters), mode=mode) as client:
            assert client.protocol_version == version
            result = await client.call_tool("ask", QUESTION)
            assert result.structured_content["entry"]["entry"] == "counting"
            assert "It counts to 5" in result.content[0].text

    run_async(test())


def test_the_output_is_the_protocol_only_and_garbage_does_not_end_it(talk):
    """The server ends only when its input is closed, then leaves no process behind, even if a run is in progress."""
    with talk() as client:
        client.shake_hands()
        for line in (b"garbage", b"{", b"\xff\xfe", b"[]", b"null", b"", b'{"jsonrpc": "2.0"}', b"[" * 10_000):
            client.write(line)
        client.write(b'{"jsonrpc": "2.0", "id": 1, "method": "nothing/at/all"}')
        assert client.answer(1)["error"]["code"] == -32601
        client.send("tools/call", {"name": "nothing", "arguments": {}}, 2)
        assert client.answer(2)["error"]["code"] == -32602
        client.send("tools/call", {"name": "ask", "arguments": {"question": "x" * 3_000_000}}, 3)
        refused = client.answer(3)["result"]
        assert refused["isError"]
        assert "question_too_long" in refused["content"][0]["text"]
        client.send("tools/call", {"name": "ask", "arguments": QUESTION}, 4)
        assert client.answer(4)["result"]["structuredContent"]["status"] == "answered"
        assert all("error" in note or note.get("method", "").startswith("notifications/") for note in client.notes)
        client.begin_endless_run(5)
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.process.wait(TIMEOUT_SECONDS) == 0
        until(lambda: not session_processes(client.process.pid))


@pytest.mark.exhaustive
def test_a_cancelled_call_ends_its_run_and_the_next_is_served(talk):
    with talk() as client:
        client.shake_hands()
        client.begin_endless_run(1)
        during = forked(client.process)
        client.send("notifications/cancelled", {"requestId": 1, "reason": "no longer wanted"})
        until(lambda: forked(client.process) < during)
        client.send("tools/call", {"name": "run_experiment", "arguments": {"experiment": "counts"}}, 2)
        assert client.answer(2)["result"]["structuredContent"]["runs"][0]["status"] == "ran"


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (signal.SIGINT, signal.SIGKILL))],
)
def test_a_signal_in_mid_run_leaves_nothing(talk, number):
    with talk() as client:
        client.shake_hands()
        client.begin_endless_run(1)
        client.process.send_signal(number)
        assert client.process.wait(TIMEOUT_SECONDS) == (-number if number == signal.SIGKILL else 128 + number)
        until(lambda: not session_processes(client.process.pid))


def test_the_client_is_answered_while_the_service_is_built_and_a_broken_library_is_told(talk, env, tmp_path):
    broken = tmp_path / "kb"
    broken.mkdir()
    (broken / "wrong.toml").write_text("item = 0")
    env["NUMSTAB_KB"] = str(broken)
    with talk() as client:
        client.shake_hands()
        client.send("tools/call", {"name": "ask", "arguments": {"question": "数数"}}, 1)
        refused = client.answer(1)["result"]
        assert refused["isError"]
        assert "wrong.toml" in refused["content"][0]["text"]
        assert "内容有误" in refused["content"][0]["text"]


def test_wrong_settings_are_told_on_standard_error(env):
    done = subprocess.run(
        COMMAND, check=False, env=os.environ | env | {"NUMSTAB_LOG": "loud"}, cwd=ROOT, input=b"", capture_output=True,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"NUMSTAB_LOG" in done.stderr
