"""Loading and layout: little is loaded before the first question, and the layout does not shift when evidence
arrives.
"""

from collections.abc import Callable

import pytest
from browsing import QUESTION, wait_until_complete
from playwright.sync_api import Page

from bench.page import LAYOUT_SHIFT_OBSERVER, VIEWPORTS
from qa_service.model import Lang

MAX_BYTES = 150_000
MAX_LAYOUT_SHIFT = 0.15
"""The cumulative layout shift that counts as good (web.dev/cls); a quiet machine has less than 0.02."""


@pytest.mark.parametrize(
    "size", [each if each == "telephone" else pytest.param(each, marks=pytest.mark.exhaustive) for each in VIEWPORTS]
)
@pytest.mark.parametrize("lang", ["zh", pytest.param("en", marks=pytest.mark.exhaustive)])
def test_little_is_loaded_and_the_layout_does_not_shift(visit: Callable[..., Page], lang: Lang, size: str) -> None:
    """Bytes include headers, with an empty cache; charts come with the first answer."""
    page = visit("/robots.txt", alone=True, viewport=VIEWPORTS[size])
    page.add_init_script(LAYOUT_SHIFT_OBSERVER)
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(sum(request.sizes().values())))
    page.goto(f"/?lang={lang}", wait_until="networkidle")
    assert 10_000 < sum(sizes) < MAX_BYTES
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.locator("[data-part=ask]").click()
    page.locator("[data-part=reply] [data-part=prose]").first.wait_for()
    wait_until_complete(page)
    assert page.evaluate("window.moved") < MAX_LAYOUT_SHIFT


def test_a_long_answer_does_not_shift_the_layout(visit: Callable[..., Page]) -> None:
    """The entry's numbers have not been measured since the service started."""
    page = visit("/robots.txt", alone=True, viewport=VIEWPORTS["telephone"])
    page.add_init_script(LAYOUT_SHIFT_OBSERVER)
    page.goto("/?lang=zh&entry=best-init")
    page.locator("[data-part=reply] [data-part=prose]").first.wait_for()
    wait_until_complete(page)
    assert page.locator("[data-part=prose] [data-of]").count() > 10
    assert page.evaluate("window.moved") < MAX_LAYOUT_SHIFT


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", ["/experiments/pow_vs_sum?lang=zh", "/e/multiply-vs-add?lang=en&n=60"])
def test_a_page_that_runs_at_once_does_not_shift_the_layout(visit: Callable[..., Page], path: str) -> None:
    page = visit("/robots.txt", alone=True, viewport=VIEWPORTS["telephone"])
    page.add_init_script(LAYOUT_SHIFT_OBSERVER)
    page.goto(path)
    page.locator("[data-part=card] [data-part=state][data-state=ran]").first.wait_for(state="attached")
    wait_until_complete(page)
    assert page.evaluate("window.moved") < MAX_LAYOUT_SHIFT
