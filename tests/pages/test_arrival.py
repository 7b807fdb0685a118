"""Files of the page that do not arrive, as while a server restarts: they are fetched again, or the reader is told."""

from collections.abc import Callable

import pytest
from browsing import PATIENCE, complete, in_words, once_a_language
from playwright.sync_api import Page, Route, expect

from qa_service.model import Lang

MATH_FONT = "[...document.fonts].filter((face) => face.family.includes('STIX')).map((face) => face.status)"
LOADED = f"async () => {{ while (!{MATH_FONT}.includes('loaded')) await new Promise(requestAnimationFrame); }}"


def cut_off(page: Page, url: str, times: int = 1) -> list[str]:
    """Aborts the first `times` requests for a static file; returns the list of all requests for it, as it grows."""
    requested: list[str] = []

    def answer(route: Route) -> None:
        requested.append(route.request.url)
        if len(requested) <= times:
            route.abort()
        else:
            route.continue_()

    page.route(f"**/static/{url}*", answer)
    return requested


@once_a_language
def test_a_chart_is_drawn_once_its_library_arrives(visit: Callable[..., Page], lang: Lang) -> None:
    """The reader is told meanwhile, and nobody has to reload the page; a picture that is not there cannot be saved."""
    page = visit("/robots.txt", expected="ERR_FAILED")
    requested = cut_off(page, "vega.js", times=1000)
    page.goto(f"/experiments/pow_vs_sum?lang={lang}")
    expect(page.locator("[data-part=chart]")).to_have_text(in_words("chart_later", lang))
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_be_visible()
    page.locator("[data-part=save][data-format=svg]").click()
    expect(page.locator("#status")).to_have_text(in_words("chart_later", lang))
    page.unroute("**/static/vega.js*")
    expect(page.locator("[data-part=chart] svg")).to_be_visible()
    assert len(set(requested)) == len(requested), "a browser may remember that an address could not be imported"


def test_the_next_chart_fetches_its_library_at_once(visit: Callable[..., Page]) -> None:
    """However long the pause between attempts has become; the clock that would end the pause stands still."""
    page = visit("/robots.txt", expected="ERR_FAILED")
    page.clock.install()
    page.clock.pause_at(4_000_000_000)
    try:
        cut_off(page, "vega.js", times=1000)
        page.goto("/entries/multiply-vs-add?lang=en")
        page.locator("[data-part=run]").first.click()
        expect(page.locator("[data-part=chart]").first).to_have_text(in_words("chart_later", "en"))
        page.unroute("**/static/vega.js*")
        page.locator("[data-part=run]").last.click()
        for chart in (page.locator("[data-part=chart]").last, page.locator("[data-part=chart]").first):
            expect(chart.locator("svg")).to_be_visible()
    finally:
        page.clock.resume()  # axe, which looks at the page in the end, waits by the clock


@pytest.mark.parametrize("path", ["/?lang=zh&entry=loss-surface", "/entries/loss-surface?lang=en"])
def test_the_font_of_formulas_is_fetched_again(visit: Callable[..., Page], path: str) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED|preload")
    cut_off(page, "math.woff", times=2)
    page.goto(path)
    complete(page)
    page.evaluate(f"Promise.race([({LOADED})(), new Promise((_, fail) => setTimeout(fail, {PATIENCE}))])")


@once_a_language
def test_a_page_whose_script_is_missing_says_so(visit: Callable[..., Page], lang: Lang) -> None:
    """Instead of a form that does nothing; its link loads the page anew."""
    page = visit("/robots.txt", expected="ERR_FAILED")
    cut_off(page, "card.js")
    page.goto(f"/experiments/pow_vs_sum?lang={lang}&n=17")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text(in_words("incomplete", lang))
    notice.get_by_role("link", name=in_words("reload", lang)).click()
    expect(page.locator("[data-part=chart] svg")).to_be_visible()
    expect(page.locator("[name=n]")).to_have_value("17")
    expect(notice).to_have_count(0)


@pytest.mark.parametrize("name", ["prefs.js", "evidence.css", "page.css", "words.js", "chat.js"])
def test_whichever_file_is_missing_the_page_says_so(visit: Callable[..., Page], name: str) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED")
    cut_off(page, name)
    page.goto("/?lang=en")
    expect(page.get_by_role("alert")).to_contain_text(in_words("incomplete", "en"))
    with page.expect_navigation():
        page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_where_no_script_arrives_the_notice_appears_by_itself(visit: Callable[..., Page]) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED")
    page.route("**/static/*.js", lambda route: route.abort())
    page.goto("/?lang=en")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_visible()
