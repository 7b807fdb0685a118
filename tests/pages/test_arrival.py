"""Static files that fail to load, such as during a restart of the server, are fetched again, or the page reports the
failure.
"""

from collections.abc import Callable

import pytest
from browsing import TIMEOUT_MS, label_text, one_look_per_language, wait_until_complete
from playwright.sync_api import Page, Route, expect

from qa_service.model import Lang

MATH_FONT_STATUSES = "[...document.fonts].filter((face) => face.family.includes('STIX')).map((face) => face.status)"
WAIT_FOR_MATH_FONT = (
    f"async () => {{ while (!{MATH_FONT_STATUSES}.includes('loaded')) await new Promise(requestAnimationFrame); }}"
)


def abort_requests(page: Page, url: str, times: int = 1) -> list[str]:
    """Aborts the first `times` requests for a static file; returns a list to which each request for the file is
    added.
    """
    requested: list[str] = []

    def answer(route: Route) -> None:
        requested.append(route.request.url)
        if len(requested) <= times:
            route.abort()
        else:
            route.continue_()

    page.route(f"**/static/{url}*", answer)
    return requested


@pytest.mark.exhaustive
@one_look_per_language
def test_a_chart_is_drawn_once_its_library_has_loaded(visit: Callable[..., Page], lang: Lang) -> None:
    """The page reports the delay and needs no reload; a chart that has not been drawn cannot be saved."""
    page = visit("/robots.txt", expected="ERR_FAILED")
    requested = abort_requests(page, "vega.js", times=1000)
    page.goto(f"/experiments/pow_vs_sum?lang={lang}")
    expect(page.locator("[data-part=chart]")).to_have_text(label_text("chart_later", lang))
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_be_visible()
    page.locator("[data-part=save][data-format=svg]").click()
    expect(page.locator("[data-part=status]")).to_have_text(label_text("chart_later", lang))
    page.unroute("**/static/vega.js*")
    expect(page.locator("[data-part=chart] svg")).to_be_visible()
    assert len(set(requested)) == len(requested), "a browser may remember that a URL could not be imported"


@pytest.mark.exhaustive
def test_the_next_chart_retries_its_library_at_once(visit: Callable[..., Page]) -> None:
    """It does not wait for the pause between retries: the clock that would end it is stopped."""
    page = visit("/robots.txt", expected="ERR_FAILED")
    page.clock.install()
    page.clock.pause_at(4_000_000_000)
    try:
        abort_requests(page, "vega.js", times=1000)
        page.goto("/entries/multiply-vs-add?lang=en")
        page.locator("[data-part=more-evidence] > summary").click()
        page.locator("[data-part=run]").first.click()
        expect(page.locator("[data-part=chart]").first).to_have_text(label_text("chart_later", "en"))
        page.unroute("**/static/vega.js*")
        page.locator("[data-part=run]").last.click()
        for chart in (page.locator("[data-part=chart]").last, page.locator("[data-part=chart]").first):
            expect(chart.locator("svg")).to_be_visible()
    finally:
        page.clock.resume()  # the checks at the end wait by the clock


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", ["/?lang=zh&entry=loss-surface", "/entries/loss-surface?lang=en"])
def test_the_math_font_is_fetched_again(visit: Callable[..., Page], path: str) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED|preload")
    abort_requests(page, "math.woff", times=2)
    page.goto(path)
    wait_until_complete(page)
    page.evaluate(f"Promise.race([({WAIT_FOR_MATH_FONT})(), new Promise((_, fail) => setTimeout(fail, {TIMEOUT_MS}))])")


@one_look_per_language
def test_a_missing_script_is_reported(visit: Callable[..., Page], lang: Lang) -> None:
    """The page shows no form that does nothing; the notice's link reloads it."""
    page = visit("/robots.txt", expected="ERR_FAILED")
    abort_requests(page, "card.js")
    page.goto(f"/experiments/pow_vs_sum?lang={lang}&n=17")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text(label_text("incomplete", lang))
    notice.get_by_role("link", name=label_text("reload", lang)).click()
    expect(page.locator("[data-part=chart] svg")).to_be_visible()
    expect(page.locator("[name=n]")).to_have_value("17")
    expect(notice).to_have_count(0)


_RARELY = [pytest.param(name, marks=pytest.mark.exhaustive) for name in ("evidence.css", "words.js")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["prefs.js", "page.css", "chat.js", *_RARELY])
def test_any_missing_file_is_reported(visit: Callable[..., Page], name: str) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED")
    abort_requests(page, name)
    page.goto("/?lang=en")
    expect(page.get_by_role("alert")).to_contain_text(label_text("incomplete", "en"))
    with page.expect_navigation():
        page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.exhaustive
def test_the_notice_appears_without_any_script(visit: Callable[..., Page]) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED")
    page.route("**/static/*.js", lambda route: route.abort())
    page.goto("/?lang=en")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_visible()
