"""A server of the toy entries in this process, which tests reach over HTTP as clients do."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from processes import TIMEOUT_SECONDS, until

from bench.server import free_port
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.settings import Settings

TOYS = Path(__file__).resolve().parent.parent / "toys"
_ZH = ", ".join(f'"睡着了{sign}"' for sign in "甲乙丙丁戊己庚辛壬癸")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_EN = ", ".join(f'"sleeping again {number}"' for number in _NUMBERS)
_SLEEPING = f"""
item = 4
related = ["counting"]
question = {{ zh = "为什么睡着", en = "why does it sleep" }}
do = {{ zh = "1. 等一等。", en = "1. Wait." }}
why = {{ zh = "每步 50 毫秒。", en = "Each step takes 50 ms." }}
phrasings = {{ zh = [{_ZH}], en = [{_EN}] }}

[short]
zh = "睡到 [[sleeps.last]]，共 [[sleeps.steps]] 步。"
en = "It sleeps until [[sleeps.last]], [[sleeps.steps]] steps."

[[evidence]]
experiment = "sleeps"
params = {{ steps = 4 }}

[[evidence.claims]]
id = "wakes"
says = {{ zh = "会醒", en = "It wakes" }}
metric = "last"
op = ">="
bound = 1
control = {{ steps = 1 }}
"""


class Watched:
    """A runner that records, for each run that has ended, whether it was cancelled."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.started, self.ended = 0, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def stream(self, experiment, params, seed, is_cancelled=lambda: False) -> Generator[Any, None, Any]:
        self.started += 1
        try:
            return (yield from self._runner.stream(experiment, params, seed, is_cancelled))
        finally:
            self.ended.append(is_cancelled())


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of a server in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=(port := free_port()), log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="session")
def sleepy_kb(tmp_path_factory) -> Path:
    """The toy entries, and one whose experiment takes a fifth of a second."""
    kb = Path(shutil.copytree(TOYS / "kb", tmp_path_factory.mktemp("openai") / "kb"))
    (kb / "sleeping.toml").write_text(_SLEEPING, "utf-8")
    return kb


@pytest.fixture(scope="session")
def toys(sleepy_kb, lab, word_hash, tmp_path_factory) -> Service:
    """A service of these entries, whose runner is watched."""
    settings = Settings(kb=sleepy_kb, demos=TOYS / "demos", cache=tmp_path_factory.mktemp("openai-cache"))
    return Service(Knowledge.read(settings, word_hash()), Watched(lab), threshold=0.5)


@pytest.fixture(scope="session")
def serve(toys, tmp_path_factory) -> Callable[..., Any]:
    """A function that takes settings and returns a context manager with the address of a server that has them."""

    def served(*, is_public: bool = True, **options: Any) -> Any:
        folder = tmp_path_factory.mktemp("openai-data")
        settings = Settings(**{"data": folder, "cache": folder, "rate": ""} | options)
        return serving(create_app(toys, settings, is_public=is_public))

    return served


@pytest.fixture(scope="session")
def address(serve) -> Iterator[str]:
    """The address of a server with default settings for these tests."""
    with serve() as address:
        yield address


@pytest.fixture(scope="session")
def client(address) -> Iterator[Any]:
    """OpenAI's own client."""
    from openai import OpenAI

    with OpenAI(base_url=f"{address}/v1", api_key="sk-none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def http(address) -> Iterator[httpx.Client]:
    """An HTTP client that sends arbitrary requests."""
    with httpx.Client(base_url=f"{address}/v1", timeout=TIMEOUT_SECONDS) as client:
        yield client
