"""Fast and still: little is loaded before the first question, and nothing moves as evidence arrives."""

from collections.abc import Callable

import pytest
from browsing import ASKED, complete
from playwright.sync_api import Page

from bench.page import LAYOUT_SHIFT_OBSERVER, VIEWPORTS
from qa_service.model import Lang

MOST_BYTES = 150_000
MOST_SHIFT = 0.1
"""What counts as good for readers (web.dev/cls); a quiet machine shows less than 0.02."""


@pytest.mark.parametrize("size", VIEWPORTS)
@pytest.mark.parametrize("lang", ["zh", pytest.param("en", marks=pytest.mark.exhaustive)])
def test_little_is_loaded_and_nothing_moves(visit: Callable[..., Page], lang: Lang, size: str) -> None:
    """Headers and all, with an empty cache; charts come with the first answer. The text stays put."""
    page = visit("/robots.txt", viewport=VIEWPORTS[size])
    page.add_init_script(LAYOUT_SHIFT_OBSERVER)
    sent: list[int] = []
    page.on("requestfinished", lambda request: sent.append(sum(request.sizes().values())))
    page.goto(f"/?lang={lang}", wait_until="networkidle")
    assert 10_000 < sum(sent) < MOST_BYTES
    page.locator("#question").fill(ASKED[lang])
    page.locator("#ask").click()
    page.locator("[data-part=reply] [data-part=prose]").wait_for()
    complete(page)
    assert page.evaluate("window.moved") < MOST_SHIFT


def test_the_first_long_answer_stays_where_it_is(visit: Callable[..., Page]) -> None:
    """Even of an entry whose numbers nobody has seen since the service started."""
    page = visit("/robots.txt", viewport=VIEWPORTS["telephone"])
    page.add_init_script(LAYOUT_SHIFT_OBSERVER)
    page.goto("/?lang=zh&entry=best-init")
    page.locator("[data-part=reply] [data-part=prose]").wait_for()
    complete(page)
    assert page.locator("[data-part=prose] [data-of]").count() > 10
    assert page.evaluate("window.moved") < 0.02


@pytest.mark.parametrize("path", ["/experiments/pow_vs_sum?lang=zh", "/e/multiply-vs-add?lang=en&n=60"])
def test_a_page_that_measures_at_once_keeps_the_place(visit: Callable[..., Page], path: str) -> None:
    page = visit("/robots.txt", viewport=VIEWPORTS["telephone"])
    page.add_init_script(LAYOUT_SHIFT_OBSERVER)
    page.goto(path)
    page.locator("[data-part=card] [data-part=state][data-state=ran]").first.wait_for()
    complete(page)
    assert page.evaluate("window.moved") < MOST_SHIFT
