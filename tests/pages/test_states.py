"""Accessibility and layout of every state of the page: both languages, narrow and wide, light and dark."""

from collections.abc import Callable

import pytest
from browsing import (
    COMPARISON,
    QUESTION,
    PageLook,
    ask_and_wait,
    check_accessibility,
    check_contrast,
    check_layout,
    label_text,
    save_screenshot,
    unfold,
    wait_until_complete,
)
from playwright.sync_api import Page, expect

from qa_service.fronts.web.labels import HTML_LANG
from qa_service.model import Lang

STATES: dict[str, Callable[[Page, Lang], None]] = {}
SICK_LOG = "\n".join(f"step: {i} loss: {2.0 * 3.0**i if i < 9 else 'nan'} lr: 0.5" for i in range(12))
EVERY_TEMPLATE = {"diagnosed", "comparison", "not_covered", "permalink", "playground", "entry_index", "unknown_entry"}
"""The states that `make test` enters: together they show every template."""


def state(enter: Callable[[Page, Lang], None]) -> Callable[[Page, Lang], None]:
    """Registers a function that brings a page into a state."""
    STATES[enter.__name__] = enter
    return enter


@state
def empty(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")


@state
def answering(page: Page, lang: Lang) -> None:
    page.route("**/static/vega.js", lambda route: None)  # the last chart is never drawn
    page.goto(f"/?lang={lang}&entry=loss-surface")
    expect(page.locator("[data-part=card]").first).to_be_visible()


@state
def everything_open(page: Page, lang: Lang) -> None:
    """An answer with every fold, the bits and the reason of the feedback open."""
    page.goto(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    for card in page.locator("[data-part=card]").all():
        unfold(card)
    for fold in page.locator("details:not([open]) > summary").all():
        if fold.is_visible():
            fold.click()
    page.locator("[data-part=feedback] [value=no]").click()


@state
def comparison(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    ask_and_wait(page, COMPARISON[lang])
    expect(page.locator("[data-part=comparison]")).to_be_visible()


@state
def unclear(page: Page, lang: Lang) -> None:
    """An elliptical question without a previous answer, for which the page offers candidates."""
    page.goto(f"/?lang={lang}")
    ask_and_wait(page, "改成 300 呢？" if lang == "zh" else "what about 0.9?")
    expect(page.locator("[data-part=candidates] [data-keep]")).to_have_count(3)


@state
def not_covered(page: Page, lang: Lang) -> None:
    """A subject that is not covered, and the nearest entries."""
    page.goto(f"/?lang={lang}")
    ask_and_wait(
        page, "怎么把模型部署到安卓手机上？" if lang == "zh" else "How do I deploy a model on an Android phone?"
    )
    expect(page.locator("[data-part=candidates] button")).to_have_count(3)


@state
def failed(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    page.route("**/page/ask", lambda route: route.fulfill(status=503, body="<html>busy"))
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=trouble]")).to_contain_text(label_text("restarting", lang))
    expect(page.locator("[data-part=retry]")).to_be_in_viewport(ratio=1)


@state
def guessing(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    page.locator("[data-pref=predict]").click()
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=stop]")).to_be_hidden()
    expect(page.locator("[data-part=guess]").first).to_be_visible()


@state
def history_open(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    ask_and_wait(page, "What is the capital of France?" if lang == "en" else "法国的首都是哪里？")
    page.goto(f"/?lang={lang}")
    page.locator("[data-part=past] summary").click()


@state
def entry(page: Page, lang: Lang) -> None:
    page.goto(f"/entries/float16-precision?lang={lang}")
    page.locator("[data-part=more-evidence] > summary").click()
    page.locator("[data-part=source] summary").first.click()
    page.locator("[data-part=run-all]").click()
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_have_count(
        page.locator("[data-part=card]").count()
    )
    wait_until_complete(page)


@state
def permalink(page: Page, lang: Lang) -> None:
    page.goto(f"/e/multiply-vs-add?block=powers&n=60&x=0.5&lang={lang}")
    wait_until_complete(page)


@state
def playground(page: Page, lang: Lang) -> None:
    page.goto(f"/experiments/init_gain?lang={lang}")
    wait_until_complete(page)


@state
def heat_maps(page: Page, lang: Lang) -> None:
    """Heat maps beside or below each other fit the card without scrolling."""
    page.goto(f"/experiments/loss_surface?lang={lang}")
    wait_until_complete(page)
    assert page.locator("[data-part=chart]").evaluate("chart => chart.scrollWidth <= chart.clientWidth")


@state
def entry_index(page: Page, lang: Lang) -> None:
    page.goto(f"/entries?lang={lang}")
    page.locator("[data-part=search-box]").fill("relu")
    expect(page.locator("[data-part=further][open]:visible").first).to_be_visible()


@state
def experiment_index(page: Page, lang: Lang) -> None:
    page.goto(f"/experiments?lang={lang}")


@state
def diagnosis_form(page: Page, lang: Lang) -> None:
    page.goto(f"/diagnose?lang={lang}")


@state
def diagnosed(page: Page, lang: Lang) -> None:
    """A report with every part, and the log opened below it."""
    page.goto(f"/diagnose?lang={lang}")
    page.locator("[data-part=log]").fill(SICK_LOG)
    page.locator("[data-part=log-form] button").click()
    expect(page.locator("[data-part=tried] [data-part=chart] svg")).to_have_count(2)
    for fold in page.locator("main details > summary").all():
        fold.click()


@state
def unknown_entry(page: Page, lang: Lang) -> None:
    page.goto(f"/entries/multiply-vs-ad?lang={lang}")
    expect(page.locator("[data-part=problem] a").first).to_have_attribute(
        "href", f"/entries/multiply-vs-add?lang={lang}"
    )


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize(
    "name", [each if each in EVERY_TEMPLATE else pytest.param(each, marks=pytest.mark.exhaustive) for each in STATES]
)
def test_every_state_is_accessible(visit: Callable[..., Page], look: PageLook, name: str) -> None:
    """Four looks, each in both colour schemes, cover all eight combinations of language, width and scheme. At the
    widths of a tablet and of a projector nothing is clipped.
    """
    page = visit("/robots.txt", expected="status of (404|503)|ERR_ABORTED")
    STATES[name](page, look.lang)
    assert page.locator("html").get_attribute("lang") == HTML_LANG[look.lang]
    check_accessibility(page)
    for width in (768, 1920):
        page.set_viewport_size({"width": width, "height": 1000})
        check_layout(page)
    page.set_viewport_size(look.context["viewport"])
    other = look._replace(scheme="light" if look.scheme == "dark" else "dark")
    page.emulate_media(color_scheme=other.scheme)
    check_contrast(page)
    save_screenshot(page, f"{name}-{'-'.join(map(str, other))}")
    page.emulate_media(color_scheme=look.scheme)


@pytest.mark.exhaustive
def test_large_type_fits_the_width_of_a_projector(visit: Callable[..., Page]) -> None:
    """Text, charts and inputs are larger, and still fit."""
    page = visit("/?lang=zh", viewport={"width": 1920, "height": 1080})
    page.locator("[data-pref=large]").click()
    ask_and_wait(page, QUESTION["zh"])
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('[data-part=prose]')).fontSize)") > 30
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    label = page.locator("[data-part=chart] svg .mark-text.role-axis-label text").first
    assert label.evaluate("text => parseFloat(getComputedStyle(text).fontSize)") >= 14


@pytest.mark.exhaustive
def test_a_page_prints_without_its_controls(visit: Callable[..., Page]) -> None:
    """Text, verdicts and charts are printed on a white background."""
    page = visit("/entries/loss-surface?lang=en", color_scheme="dark", viewport={"width": 720, "height": 1000})
    page.locator("[data-part=run-all]").click()
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_have_count(
        page.locator("[data-part=card]").count()
    )
    wait_until_complete(page)
    page.emulate_media(media="print")
    for hidden in ("header", "[data-part=controls]", "[data-part=save]", "[data-part=run-all]", "[data-part=copy]"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for chart in page.locator("[data-part=chart] svg").all():
        assert chart.evaluate("svg => svg.getBoundingClientRect().right <= innerWidth"), "a chart is cut off"
    expect(page.locator("[data-part=proof][data-verdict=holds]").first).to_be_visible()
