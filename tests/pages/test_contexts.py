"""Tests share browser contexts and pages: a test does not find what an earlier one left in the browser."""

from typing import Any

from browsing import DEFAULT_LOOK
from playwright.sync_api import Page

OPTIONS = DEFAULT_LOOK.context


def opened(contexts: Any, server: str) -> Page:
    """A page as a test would get it, at an address of the server that runs no script (robots.txt)."""
    page: Page = contexts.page(server, OPTIONS)
    page.goto(f"{server}/robots.txt")
    return page


def test_what_a_page_stores_is_gone_at_the_end_of_its_test(contexts: Any, live_server: str) -> None:
    """Preferences, the conversation, cookies and the history are removed, and windows that the page opened are
    closed.
    """
    page = opened(contexts, live_server)
    page.evaluate("localStorage.setItem('a', 'b'); sessionStorage.setItem('a', 'b'); document.cookie = 'a=b'")
    page.goto(f"{live_server}/livez")
    other = page.context.new_page()
    contexts.clear()
    assert other.is_closed()
    again = opened(contexts, live_server)
    assert again.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    again.go_back()
    assert again.url == f"{live_server}/robots.txt"
    contexts.clear()


def test_a_page_that_a_test_has_changed_for_good_is_closed(contexts: Any, live_server: str) -> None:
    """The next test does not find its routes, scripts or listeners; pages that were not changed are used again."""
    changes = (
        lambda page: page.route("**/*", lambda route: route.abort()),
        lambda page: page.add_init_script("window.changed = 1"),
        lambda page: page.on("request", lambda _: None),
        lambda page: page.expose_function("changed", lambda: None),
    )
    for change in changes:
        page = opened(contexts, live_server)
        change(page)
        contexts.clear()
        assert page.is_closed()
    page = opened(contexts, live_server)
    contexts.clear()
    assert not page.is_closed()
    assert opened(contexts, live_server) is page
    contexts.clear()
