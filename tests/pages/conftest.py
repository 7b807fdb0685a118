"""A server as a reader starts it, the system's Chromium, and the looks in which a flow runs.

A page that is visited loads from its origin only, and fits in the state in which its test leaves it. What axe finds is
looked for in every state by test_states.py.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
from browsing import FIRST, FLOW_LOOKS, LOOKS, PATIENCE, Look, check_fit, keep
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright
from processes import shared_server

from qa_service.model import Lang

expect.set_options(timeout=PATIENCE)  # a shared machine may be slow; what is right is there at once


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[str]:
    """`numstab serve` as a user starts it; yields its address. One for all workers of the test run."""
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(cache.parent / "server-data"), "NUMSTAB_DEADLINE": "60",
           "NUMSTAB_RATE": ""}  # fmt: skip
    with shared_server(env, cache.parent / "server") as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; scripts/browser.sh says how to get one."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium")
        pytest.skip("no Chromium; see scripts/browser.sh")
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In `make test` a flow has one of two looks, which one differs from test to test; otherwise it has all looks."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or "look" not in callspec.params or item.path.parent != Path(__file__).parent:
            continue
        name = f"{item.function.__name__}-{callspec.params.get('name', '')}"
        if callspec.params["look"] != FLOW_LOOKS[crc32(name.encode()) % 2]:
            item.add_marker("exhaustive")


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> Look:
    """How the page is seen; a test that takes it, or `lang`, runs once in each look."""
    return LOOKS[request.param]


@pytest.fixture
def lang(look: Look) -> Lang:
    """The reader's language."""
    return look.lang


@pytest.fixture
def visit(chromium: Browser, live_server: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Opens a page in the test's look, if it has one.

    At the end: no request left our origin, the console stayed silent but for what is expected, and `check_fit`.
    """
    seen: Look = request.getfixturevalue("look") if "look" in request.fixturenames else FIRST
    silent, open_, scripted = [], [], []

    def open_page(path: str, *, expected: str = "nothing", origin: str = live_server, **context: Any) -> Page:
        page = chromium.new_context(base_url=origin, **seen.context | context).new_page()
        page.set_default_timeout(PATIENCE)

        def note(what: str) -> None:
            if not re.search(expected, what):
                silent.append(what)

        page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith((f"{origin}/", "data:")) else note(sent.url))
        open_.append(page)
        if context.get("java_script_enabled", True):  # it is checked by a script
            scripted.append(page)
        page.goto(path)
        return page

    try:
        yield open_page
        for at, page in enumerate(open_):
            keep(page, f"{request.node.name}-{at}")
        for page in scripted:
            check_fit(page)
    finally:
        for page in open_:
            page.context.close()
    assert silent == []


@pytest.fixture(scope="session")
def client(live_server: str) -> Iterator[httpx.Client]:
    """Plain HTTP to the same server."""
    with httpx.Client(base_url=live_server, timeout=60) as http:
        yield http
