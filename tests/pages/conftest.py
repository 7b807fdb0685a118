"""The system's Chromium, and the looks (language, screen width, colour scheme) in which the tests of the page run.

A page that is visited loads from its origin only, and its layout fits in the state in which its test leaves it.
Accessibility is checked in every state by test_states.py.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
from browsing import DEFAULT_LOOK, FLOW_LOOKS, LOOKS, TIMEOUT_MS, PageLook, check_layout, save_screenshot
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Playwright, expect, sync_playwright
from processes import TIMEOUT_SECONDS

from qa_service.model import Lang

CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-software-rasterizer"]
"""Without a process that emulates a graphics card, which costs a tenth of the browser's time."""
expect.set_options(timeout=TIMEOUT_MS)  # a guard: on a shared machine the page may be slow


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; scripts/browser.sh explains how to install one."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium")
        pytest.skip("no Chromium; see scripts/browser.sh")
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as exhaustive what `make test` omits: of each test, all looks but one, which the test's name determines."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or "look" not in callspec.params or item.path.parent != Path(__file__).parent:
            continue
        name = f"{item.function.__name__}-{callspec.params.get('name', '')}"
        if callspec.params["look"] != FLOW_LOOKS[crc32(name.encode()) % 2]:
            item.add_marker("exhaustive")


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> PageLook:
    """The look of the page; a test that takes it, or `lang`, runs once in each look."""
    return LOOKS[request.param]


@pytest.fixture
def lang(look: PageLook) -> Lang:
    """The user's language."""
    return look.lang


_LASTING = ("add_init_script", "expose_binding", "expose_function", "on", "once", "route")
"""Methods of a page by which a test changes it for good."""


class Contexts:
    """Browser contexts, one for each language and site, with their pages: making one costs more than loading a page.

    Each context has an empty page that keeps its window open. When a test ends, what its pages stored is removed; the
    cache stays. A page is used again, without its history, unless the test has changed it for good.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._kept: dict[str, tuple[BrowserContext, CDPSession]] = {}
        self._free: dict[str, list[Page]] = {}
        self._lent: list[tuple[str, Page]] = []
        self._changed: list[Page] = []

    def page(self, origin: str, options: dict[str, Any]) -> Page:
        """A page without history in the context with these options."""
        key = json.dumps([origin, options], sort_keys=True)
        if key not in self._kept:
            context = self._browser.new_context(base_url=origin, **options)
            self._kept[key] = context, context.new_cdp_session(context.new_page())
            self._free[key] = []
        page = self._free[key].pop() if self._free[key] else self._kept[key][0].new_page()
        for name in _LASTING:
            setattr(page, name, partial(self._change, page, name))
        self._lent.append((key, page))
        return page

    def _change(self, page: Page, name: str, *args: Any, **options: Any) -> Any:
        self._changed.append(page)
        return getattr(Page, name)(page, *args, **options)

    def clear(self) -> None:
        """Takes back all pages, closes those that cannot be used again, and removes what they stored."""
        for key, page in self._lent:
            if not page.is_closed() and all(page is not each for each in self._changed):
                _empty(page, json.loads(key)[0])
                self._free[key].append(page)
        self._lent, self._changed = [], []
        for key, (context, session) in self._kept.items():
            for page in context.pages[1:]:
                if all(page is not each for each in self._free[key]):
                    page.close()
            session.send("Storage.clearDataForOrigin", {"origin": json.loads(key)[0], "storageTypes": "all"})


def _empty(page: Page, origin: str) -> None:
    """Resets a page to the state of a new one: nothing stored, no history, the mouse in a corner."""
    for name in _LASTING:
        delattr(page, name)
    page.goto(f"{origin}/robots.txt")
    page.mouse.move(0, 0)
    session = page.context.new_cdp_session(page)
    session.send("Page.resetNavigationHistory")
    session.detach()


@pytest.fixture(scope="session")
def contexts(chromium: Browser) -> Contexts:
    """The contexts of this test run."""
    return Contexts(chromium)


@pytest.fixture
def visit(
    chromium: Browser, contexts: Contexts, live_server: str, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """Opens a page in the test's look, if it has one.

    A test that expects messages, unless it says `alone=False`, or sets more of the context than the size of the window
    and the scheme, has a browser context of its own, and with it an empty cache; others share one. At the end it checks
    that no request went to another origin, that the console has only messages that match `expected`, and
    `check_layout`.
    """
    page_look: PageLook = request.getfixturevalue("look") if "look" in request.fixturenames else DEFAULT_LOOK
    unexpected, pages, pages_with_scripts, own, listening = [], [], [], [], []

    def new_page(origin: str, alone: bool, options: dict[str, Any]) -> Page:
        if alone:
            own.append(chromium.new_context(base_url=origin, **options))
            return own[-1].new_page()
        size, scheme = options.pop("viewport"), options.pop("color_scheme")
        page = contexts.page(origin, options)
        page.set_viewport_size(size)
        page.emulate_media(media="null", color_scheme=scheme)
        return page

    def open_page(
        path: str, *, expected: str = "nothing", origin: str = live_server, alone: bool | None = None, **context: Any
    ) -> Page:
        alone = expected != "nothing" if alone is None else alone
        alone = alone or bool(context.keys() - {"viewport", "color_scheme"})
        page = new_page(origin, alone, page_look.context | context)
        page.set_default_timeout(TIMEOUT_MS)

        def report(message: str) -> None:
            if not re.search(expected, message):
                unexpected.append(message)

        listeners: dict[str, Callable[[Any], None]] = {
            "console": lambda entry: report(entry.text) if entry.type in ("error", "warning") else None,
            "pageerror": lambda error: report(str(error)),
            "request": lambda sent: None if sent.url.startswith((f"{origin}/", "data:")) else report(sent.url),
        }
        for event, listener in listeners.items():
            Page.on(page, event, listener)  # taken off below: not by `page.on`, which would have the page closed
            listening.append((page, event, listener))
        pages.append(page)
        if context.get("java_script_enabled", True):  # the layout is checked by a script
            pages_with_scripts.append(page)
        page.goto(path)
        return page

    try:
        yield open_page
        for index, page in enumerate(pages):
            save_screenshot(page, f"{request.node.name}-{index}")
        for page in pages_with_scripts:
            check_layout(page)
    finally:
        for page, event, listener in listening:
            Page.remove_listener(page, event, listener)
        for each in own:
            each.close()
        contexts.clear()
    assert unexpected == []


@pytest.fixture(scope="session")
def client(live_server: str) -> Iterator[httpx.Client]:
    """An HTTP client of the server that the browser visits."""
    with httpx.Client(base_url=live_server, timeout=TIMEOUT_SECONDS) as http:
        yield http
