"""Every state of the page in both languages, narrow and wide, light and dark: axe is silent, nothing sticks out."""

import re
from collections.abc import Callable

import pytest
from browsing import ASKED, COMPARED, Look, ask, check_access, check_contrast, check_fit, complete, in_words, keep
from playwright.sync_api import Page, expect

from qa_service.fronts.web.labels import HTML_LANG
from qa_service.model import Lang

STATES: dict[str, Callable[[Page, Lang], None]] = {}


def state(reach: Callable[[Page, Lang], None]) -> Callable[[Page, Lang], None]:
    """A state by how a reader comes to it."""
    STATES[reach.__name__] = reach
    return reach


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
    """Answered; every fold, the bits and the feedback's reason."""
    page.goto(f"/?lang={lang}")
    ask(page, ASKED[lang])
    for fold in page.locator("details:visible > summary").all():
        fold.click()
    page.locator("[data-part=feedback] [value=no]").click()


@state
def compared(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    ask(page, COMPARED[lang])
    expect(page.locator("[data-part=comparison]")).to_be_visible()


@state
def asked_back(page: Page, lang: Lang) -> None:
    """It would go on from an answer, and there is none."""
    page.goto(f"/?lang={lang}")
    ask(page, "改成 300 呢？" if lang == "zh" else "what about 0.9?")
    expect(page.locator("[data-part=candidates] [data-keep]")).to_have_count(3)


@state
def not_covered(page: Page, lang: Lang) -> None:
    """Not covered: a subject by name, and the nearest."""
    page.goto(f"/?lang={lang}")
    ask(page, "怎么用 LoRA 微调大模型？" if lang == "zh" else "How do I fine-tune a large model with LoRA?")
    expect(page.locator("[data-part=candidates] button")).to_have_count(3)


@state
def in_trouble(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    page.route("**/page/ask", lambda route: route.fulfill(status=503, body="<html>busy"))
    page.locator("#question").fill(ASKED[lang])
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=trouble]")).to_contain_text(in_words("restarting", lang))
    expect(page.locator("[data-part=retry]")).to_be_in_viewport(ratio=1)


@state
def guessing(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    page.locator("[data-pref=predict]").click()
    page.locator("#question").fill(ASKED[lang])
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("[data-part=guess]").first).to_be_visible()


@state
def past_open(page: Page, lang: Lang) -> None:
    page.goto(f"/?lang={lang}")
    ask(page, "What is the capital of France?" if lang == "en" else "法国的首都是哪里？")
    page.goto(f"/?lang={lang}")
    page.locator("#past summary").click()


@state
def an_entry(page: Page, lang: Lang) -> None:
    page.goto(f"/entries/float16-precision?lang={lang}")
    page.locator("[data-part=source] summary").first.click()
    page.locator("#run-all").click()
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_have_count(
        page.locator("[data-part=card]").count()
    )
    complete(page)


@state
def a_permalink(page: Page, lang: Lang) -> None:
    page.goto(f"/e/multiply-vs-add?block=powers&n=60&x=0.5&lang={lang}")
    complete(page)


@state
def a_playground(page: Page, lang: Lang) -> None:
    page.goto(f"/experiments/init_gain?lang={lang}")
    complete(page)


@state
def squares(page: Page, lang: Lang) -> None:
    """Maps side by side, or under each other: they fit without scrolling."""
    page.goto(f"/experiments/loss_surface?lang={lang}")
    complete(page)
    assert page.locator("[data-part=chart]").evaluate("chart => chart.scrollWidth <= chart.clientWidth")


@state
def the_index(page: Page, lang: Lang) -> None:
    page.goto(f"/entries?lang={lang}")
    page.locator("#find").fill("relu")
    expect(page.locator("[data-part=further][open]:visible").first).to_be_visible()


@state
def the_experiments(page: Page, lang: Lang) -> None:
    page.goto(f"/experiments?lang={lang}")


@state
def nowhere(page: Page, lang: Lang) -> None:
    page.goto(f"/entries/multiply-vs-ad?lang={lang}")
    expect(page.locator("[data-part=problem] a").first).to_have_attribute(
        "href", f"/entries/multiply-vs-add?lang={lang}"
    )


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_fit_for_everyone(visit: Callable[..., Page], look: Look, name: str) -> None:
    """Four looks, each in the other scheme as well: both languages, narrow and wide, light and dark, all eight. And on
    a tablet and on a projector nothing is cut off.
    """
    page = visit("/robots.txt", expected="status of (404|503)|ERR_ABORTED")
    STATES[name](page, look.lang)
    assert page.locator("html").get_attribute("lang") == HTML_LANG[look.lang]
    check_access(page)
    for width in (768, 1920):
        page.set_viewport_size({"width": width, "height": 1000})
        check_fit(page)
    page.set_viewport_size(look.context["viewport"])
    other = look._replace(scheme="light" if look.scheme == "dark" else "dark")
    page.emulate_media(color_scheme=other.scheme)
    check_contrast(page)
    keep(page, f"{name}-{'-'.join(map(str, other))}")
    page.emulate_media(color_scheme=look.scheme)


def test_a_classroom_reads_from_the_last_row(visit: Callable[..., Page]) -> None:
    """Large type at a projector's width: everything grows, charts and inputs too, and still fits."""
    page = visit("/?lang=zh", viewport={"width": 1920, "height": 1080})
    page.locator("[data-pref=large]").click()
    ask(page, ASKED["zh"])
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('[data-part=prose]')).fontSize)") > 21
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    label = page.locator("[data-part=chart] svg .mark-text.role-axis-label text").first
    assert label.evaluate("text => parseFloat(getComputedStyle(text).fontSize)") >= 14


def test_a_page_prints_as_a_handout(visit: Callable[..., Page]) -> None:
    """Text, verdicts and charts on white; nothing that only works on a screen."""
    page = visit("/entries/loss-surface?lang=en", color_scheme="dark", viewport={"width": 720, "height": 1000})
    page.locator("#run-all").click()
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_have_count(
        page.locator("[data-part=card]").count()
    )
    complete(page)
    page.emulate_media(media="print")
    for gone in ("header", "[data-part=controls]", "[data-part=save]", "#run-all", "[data-part=copy]"):
        assert not page.locator(gone).first.is_visible(), gone
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for chart in page.locator("[data-part=chart] svg").all():
        assert chart.evaluate("svg => svg.getBoundingClientRect().right <= innerWidth"), "a chart is cut off"
    assert re.search("holds", page.locator("main").inner_text())
