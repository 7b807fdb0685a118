"""README's table of ways to use numstab: each row is tried out by the function here that is named after its first
column.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from mcp import Client
from processes import run_async

from qa_service.app import create_app
from qa_service.fronts.mcp.server import build_server
from qa_service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TOYS = ROOT / "tests" / "toys"
QUESTION = "counting numbers two"
LOG = "".join(
    f"step {step} loss {2.3 * 0.97**step:.4f} grad_norm {1.5 * 0.98**step:.4f} lr 1e-3\n" for step in range(60)
)


def table() -> dict[str, str]:
    """The rows of the table, as a mapping from the first column (where the user works) to the second (what to use)."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## Ways in\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return {where: use for where, use in rows if where not in ("You are in", "---")}


@pytest.fixture
def env(cache, tmp_path) -> dict[str, str]:
    return {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_DEADLINE": "240",
            "NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path / "data")}  # fmt: skip


@pytest.fixture
def web(toy_service, tmp_path):
    settings = Settings(data=tmp_path / "data", cache=tmp_path / "cache", embed="*")
    with TestClient(
        create_app(toy_service, settings), base_url="http://localhost", client=("127.0.0.1", 5000)
    ) as client:
        yield client


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "train.log"
    path.write_text(LOG)
    return path


@pytest.fixture
def ways(  # a function for each line
    terminal, env, web, log, tmp_path, toy_service
) -> dict[str, Callable[[str], None]]:
    """For each row's first column, a function that tries out what the second column says."""

    def in_a_terminal(use: str) -> None:
        model = tmp_path / "model.py"
        model.write_text(
            "import torch\ndef make():\n    model = torch.nn.Linear(2, 1)\n"
            "    return model, (torch.ones(4, 2), torch.ones(4, 1)), torch.nn.functional.mse_loss\n"
        )
        arguments = {
            "ask": (QUESTION, "--no-run"),
            "chat": ("--no-run",),
            "formula": ("2048+1", "--dtype", "float16"),
            "diagnose": (str(log), "--no-run"),
            "try": (f"{model}:make", "--steps", "3", "--lang", "en"),
        }
        named = re.findall(r"`numstab (\w+)`", use)
        assert set(named) == set(arguments)
        shipped = {name: value for name, value in env.items() if name not in ("NUMSTAB_KB", "NUMSTAB_DEMOS")}
        for command in named:
            settings = shipped if command in ("formula", "diagnose", "try") else env  # what toys do not have
            said = terminal(command, *arguments[command], env=settings, stdin=b"/quit\n")
            assert said.returncode == 0, (command, said.stderr)
            assert ("3 steps, loss" in said.stdout) == (command == "try")

    def without_a_checkout(use: str) -> None:
        """Tries the command of the wheel; the wheels themselves are tested in test_packaging.py."""
        command = re.search(r"`uvx (numstab-core) (\w+)`", use)
        assert command
        assert f"\n{command[1]} = " in (ROOT / "wheels" / "core" / "pyproject.toml").read_text("utf-8")
        assert terminal(command[2], QUESTION, "--no-run", env=env).returncode == 0

    def in_a_browser(use: str) -> None:
        target = re.search(r"`make (\w+)`", use)
        assert target
        said = subprocess.run(["make", "-n", target[1]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "numstab serve" in said
        assert "<form" in web.get("/", headers={"Accept": "text/html"}).text

    def in_a_training_script(use: str) -> None:
        call = re.search(r"`(numstab\.watch\(model, optimizer\))`", use)
        assert call
        script = tmp_path / "train.py"
        script.write_text(
            "import torch, numstab\nmodel = torch.nn.Linear(2, 1)\n"
            "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
            f"watch = {call[1]}\nfor step in range(5):\n    loss = model(torch.ones(4, 2)).square().mean()\n"
            "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n"
        )
        subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, timeout=120)
        (trace,) = [path for path in tmp_path.iterdir() if "trace" in path.name or path.suffix == ".jsonl"]
        assert terminal("diagnose", str(trace), "--no-run", env=env).returncode in (0, 1)

    def in_python(use: str) -> None:
        assert "`import numstab`" in use
        code = "import numstab; print(len(numstab.entries()), numstab.run('counts', steps=3).metrics['last'])"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | env, capture_output=True,
                              text=True, check=True, timeout=120)  # fmt: skip
        assert done.stdout.split() == ["3", "3.0"]

    def in_an_agent(_use: str) -> None:
        async def ask() -> None:
            async with Client(build_server(lambda: toy_service)) as client:
                assert "ask" in [tool.name for tool in (await client.list_tools()).tools]
                assert not (await client.call_tool("ask", {"question": QUESTION})).is_error

        run_async(ask())
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        sent = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        accept = {"Accept": "application/json, text/event-stream"}
        assert '"numstab"' in web.post("/mcp", json=sent, headers=accept).text

    def in_a_chat_program(_use: str) -> None:
        body = {"model": "numstab", "messages": [{"role": "user", "content": QUESTION}]}
        reply = web.post("/v1/chat/completions", json=body).json()
        assert reply["choices"][0]["message"]["content"]

    def on_another_site(use: str) -> None:
        assert "`<numstab-answer>`" in use
        assert "numstab-answer" in web.get("/embed.js").text
        found = web.get("/oembed", params={"url": "http://localhost/entries/counting"}).json()
        assert found["type"] == "rich"

    def in_another_program(_use: str) -> None:
        assert web.post("/api/v1/ask", json={"question": QUESTION}).json()["status"] == "answered"

    return {
        "a terminal": in_a_terminal, "a terminal without a checkout": without_a_checkout, "a browser": in_a_browser,
        "a training script": in_a_training_script, "Python, a notebook": in_python, "a coding agent": in_an_agent,
        "a chat program": in_a_chat_program, "another site": on_another_site,
        "a program of your own": in_another_program,
    }  # fmt: skip


@pytest.mark.parametrize("where", table())
def test_line(where: str, ways: dict[str, Any]) -> None:
    """What the table recommends for this starting point works."""
    ways[where](table()[where])


def test_the_table_is_found(ways) -> None:
    """The table has rows, and each of them has a function."""
    assert set(table()) == set(ways)
