"""Tests share browser contexts: what one of them stores in the browser, the next does not find."""

from typing import Any

from browsing import DEFAULT_LOOK


def test_what_a_page_stores_is_gone_at_the_end_of_its_test(contexts: Any, live_server: str) -> None:
    """Preferences, history and cookies; and its pages are closed."""
    options = DEFAULT_LOOK.context
    page = contexts.page(live_server, options)
    page.goto(f"{live_server}/robots.txt")
    page.evaluate("localStorage.setItem('numstab.large', 'yes'); document.cookie = 'a=b'")
    contexts.clear()
    assert page.is_closed()
    again = contexts.page(live_server, options)
    again.goto(f"{live_server}/robots.txt")
    assert again.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    contexts.clear()
