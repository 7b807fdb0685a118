"""Tests share browser contexts and pages: what one of them leaves in the browser, the next does not find."""

from typing import Any

from browsing import DEFAULT_LOOK
from playwright.sync_api import Page

OPTIONS = DEFAULT_LOOK.context


def opened(contexts: Any, server: str) -> Page:
    """A page that a test would get, on a page of the server that runs no script."""
    page: Page = contexts.page(server, OPTIONS)
    page.goto(f"{server}/robots.txt")
    return page


def test_what_a_page_stores_is_gone_at_the_end_of_its_test(contexts: Any, live_server: str) -> None:
    """Preferences, the conversation, cookies and the way back; and windows that it has opened are closed."""
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
    """The next finds neither its routes, nor its scripts, nor its listeners; others are used again."""
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
