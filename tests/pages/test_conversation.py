"""A conversation in a real browser: text at once, evidence under it, in both languages."""

import json
import re
from collections.abc import Callable

import pytest
from browsing import ASKED, COMPARED, ask, complete
from playwright.sync_api import Page, Route, expect

from qa_service.fronts.web import labels
from qa_service.model import LANGS, Lang


@pytest.mark.parametrize("lang", LANGS)
def test_an_answer_comes_with_its_numbers_its_verdicts_and_a_chart(visit: Callable[..., Page], lang: Lang) -> None:
    """In either language: text with measured numbers, a card per experiment, a verdict in words, a chart as SVG."""
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    reply = page.locator(".reply > div")
    expect(reply).to_have_attribute("lang", labels.HTML_LANG[lang])
    expect(reply.locator('.prose [data-of="powers.product"]').first).to_have_text("4.0656×10¹⁷")
    assert "…" not in reply.locator(".prose .measured").all_inner_texts()
    cards = reply.locator(".card")
    assert cards.count() > 1
    first = cards.first
    expect(first.locator(".verdict")).to_have_text([labels.LABELS["holds"][lang]] * 3)
    expect(first.locator(".against").first).to_contain_text("4.0656×10¹⁷")
    expect(first.locator(".against").first).to_contain_text("> 1×10⁶")
    assert first.locator(".data tbody tr").count() == 100
    expect(page.locator("#status")).to_have_text(labels.LABELS["finished"][lang])
    expect(page.locator("#turns")).not_to_contain_text("undefined")


def test_what_is_not_covered_offers_the_nearest_three(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=en")
    ask(page, "What is the capital of France?")
    candidates = page.locator(".candidates button")
    expect(candidates).to_have_count(3)
    expect(page.locator(".card")).to_have_count(0)
    question = candidates.first.inner_text()
    candidates.first.click()
    expect(page.locator(".asked").last).to_have_text(question)
    complete(page)
    assert page.locator(".card").count() > 0


def test_a_follow_up_keeps_the_entry(visit: Callable[..., Page]) -> None:
    """A question that means nothing by itself goes on with the answer before it."""
    page = visit("/?lang=zh")
    ask(page, "200 个 0.9 连乘会怎样？")
    ask(page, "改成 300 个 0.5 呢？")
    turn = page.locator(".turn").last
    expect(turn.locator(".read a")).to_have_attribute("href", re.compile("/entries/multiply-vs-add"))
    expect(turn.locator(".card [name=n]").first).to_have_value("300")


def test_the_switch_keeps_the_question(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=zh")
    ask(page, ASKED["zh"])
    page.locator("#switch").click()
    complete(page)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".asked")).to_have_text(ASKED["zh"])
    expect(page.locator(".card .verdict").first).to_have_text("holds")
    page.goto("/entries/nan-and-inf?lang=zh")
    page.locator("#switch").click()
    expect(page).to_have_url(re.compile(r"/entries/nan-and-inf\?lang=en$"))


def test_stop_ends_the_stream_and_keeps_what_came(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=en")
    fresh = json.dumps({"question": "", "entry": "loss-surface", "lang": "en", "seed": 4321})  # nobody has run it yet
    page.route("**/page/ask", lambda route: route.continue_(post_data=fresh))
    page.locator("#question").fill("Can the contours of a loss function be drawn?")
    page.keyboard.press("Enter")
    expect(page.locator(".card").first).to_be_visible()
    page.locator("#stop").click()
    page.unroute("**/page/ask")
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert len(page.locator(".prose").inner_text()) > 200
    page.locator(".card").first.locator(".run").click()
    expect(page.locator(".card").first.locator(".verdict").first).to_have_text("holds")


def test_an_unreachable_service_is_a_sentence_and_another_try(visit: Callable[..., Page]) -> None:
    """The question stays; the second try answers it."""
    page = visit("/?lang=en", expected="ERR_FAILED")

    def fail(route: Route) -> None:
        route.abort()

    page.route("**/page/ask", fail)
    page.locator("#question").fill(ASKED["en"])
    page.locator("#ask").click()
    trouble = page.locator(".trouble")
    expect(trouble).to_contain_text(labels.LABELS["unreachable"].en)
    expect(page.locator(".asked")).to_have_text(ASKED["en"])
    page.unroute("**/page/ask", fail)
    trouble.get_by_role("button").click()
    complete(page)
    expect(page.locator(".card").first.locator(".verdict").first).to_have_text("holds")
    expect(trouble).to_be_hidden()


@pytest.mark.parametrize("lang", LANGS)
def test_two_values_are_put_side_by_side(visit: Callable[..., Page], lang: Lang) -> None:
    """A card for each run, named by what differs, and one table above them; the text keeps the first run's numbers."""
    page = visit(f"/?lang={lang}")
    page.locator("#question").fill(COMPARED[lang])
    page.keyboard.press("Enter")
    table = page.locator(".comparison table").first
    expect(table.locator("thead")).to_contain_text("x=1.5", timeout=30_000)
    expect(table.locator("thead")).to_contain_text("x=0.5")
    expect(table.locator("tbody tr").first).to_contain_text("4.0656×10¹⁷")
    expect(table.locator("tbody tr").first).to_contain_text("7.8886×10⁻³¹")
    expect(page.locator(".card .compared").first).to_have_text("x=1.5")
    expect(page.locator(".card .compared").nth(1)).to_have_text("x=0.5")
    expect(page.locator(".strip button").nth(1)).to_contain_text("x=0.5")
    expect(page.locator(".turn .prose").last).to_contain_text("4.0656×10¹⁷")


def test_the_keyboard_alone_asks(visit: Callable[..., Page]) -> None:
    """Shift+Enter breaks the line, Enter asks; the focus is visible."""
    page = visit("/?lang=en")
    for _ in range(10):
        if page.evaluate("document.activeElement.id") == "question":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("Why is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("my loss nan?")
    page.keyboard.press("Enter")
    complete(page)
    expect(page.locator(".asked")).to_have_text("Why is\nmy loss nan?")
