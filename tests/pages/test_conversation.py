"""Conversations in a browser: the text appears at once, the evidence below it follows."""

import itertools
import json
import re
from collections.abc import Callable

import pytest
from browsing import (
    COMPARISON,
    QUESTION,
    ask_and_wait,
    label_text,
    one_look_per_language,
    quoted_number,
    short_answer,
    unfold,
    wait_until_complete,
)
from playwright.sync_api import Page, Route, expect

from qa_service.fronts.web import labels
from qa_service.model import Lang, Text

UNUSED_SEEDS = itertools.count(4321)
"""Seeds for which no run is cached."""


def test_not_covered_offers_the_three_nearest_questions(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, Text("法国的首都是哪里？", "What is the capital of France?")[lang])
    candidates = page.locator("[data-part=candidates] button")
    expect(candidates).to_have_count(3)
    expect(page.locator("[data-part=card]")).to_have_count(0)
    question = candidates.first.inner_text()
    candidates.first.click()
    expect(page.locator("[data-part=asked]").last).to_have_text(question)
    wait_until_complete(page)
    assert page.locator("[data-part=card]").count() > 0


@pytest.mark.exhaustive
def test_a_follow_up_keeps_the_entry(visit: Callable[..., Page], lang: Lang) -> None:
    """A question that is incomplete by itself continues the previous answer."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, Text("200 个 0.9 连乘会怎样？", "What happens when 200 factors of 0.9 are multiplied?")[lang])
    answered = page.locator("[data-part=turn] [data-part=parsed] a").first.get_attribute("href")
    ask_and_wait(page, Text("改成 300 个 0.5 呢？", "What about 300 factors of 0.5?")[lang])
    turn = page.locator("[data-part=turn]").last
    expect(turn.locator("[data-part=parsed] a")).to_have_attribute("href", answered or "")
    expect(turn.locator("[data-part=card] [name=n]").first).to_have_value("300")


@pytest.mark.exhaustive
def test_the_language_switch_keeps_the_question(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    other: Lang = "en" if lang == "zh" else "zh"
    ask_and_wait(page, QUESTION[lang])
    page.locator("[data-part=language-switch]").click()
    wait_until_complete(page)
    expect(page.locator("html")).to_have_attribute("lang", labels.HTML_LANG[other])
    expect(page.locator("[data-part=asked]")).to_have_text(QUESTION[lang])
    expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(label_text("holds", other))
    page.goto(f"/entries/nan-and-inf?lang={lang}")
    page.locator("[data-part=language-switch]").click()
    expect(page).to_have_url(re.compile(rf"/entries/nan-and-inf\?lang={other}$"))


def test_stop_cancels_the_stream_and_keeps_what_was_received(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    uncached = json.dumps({"question": "", "entry": "loss-surface", "lang": lang, "seed": next(UNUSED_SEEDS)})
    page.route("**/page/ask", lambda route: route.continue_(post_data=uncached))
    page.locator("[data-part=question]").fill(
        Text("能画出损失函数的等高线吗？", "Can the contours of a loss function be drawn?")[lang]
    )
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=card]").first).to_be_visible()
    page.locator("[data-part=stop]").click()
    page.unroute("**/page/ask")
    expect(page.locator("[data-part=stop]")).to_be_hidden()
    expect(page.locator("[data-part=status]")).to_have_text(label_text("stopped", lang))
    assert len(short_answer(page).inner_text()) > 15
    unfold(page.locator("[data-part=card]").first)
    page.locator("[data-part=card]").first.locator("[data-part=run]").click()
    expect(page.locator("[data-part=card]").first.locator("[data-part=verdict]").first).to_have_text(
        label_text("holds", lang)
    )


def test_thanks_get_one_line_without_candidates(visit: Callable[..., Page], lang: Lang) -> None:
    """The question after the thanks continues from the answer before them."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    ask_and_wait(page, Text("谢谢", "thanks")[lang])
    turn = page.locator("[data-part=turn]").last
    expect(turn.locator("[data-part=prose]")).to_contain_text(Text("不客气", "You are welcome")[lang])
    expect(turn.locator("[data-part=prose] p")).to_have_count(1)
    expect(turn.locator("[data-part=candidates], [data-part=card]")).to_have_count(0)
    ask_and_wait(page, Text("改成 300 个 0.5 呢？", "What about 300 factors of 0.5?")[lang])
    expect(page.locator("[data-part=turn]").last.locator("[data-part=card] [name=n]").first).to_have_value("300")


def test_a_hostile_question_is_shown_as_text(visit: Callable[..., Page], lang: Lang) -> None:
    """No part of it becomes an HTML element or is executed."""
    page = visit(f"/?lang={lang}")
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script> [x](javascript:alert(1))'
    ask_and_wait(page, hostile)
    expect(page.locator("[data-part=asked]")).to_have_text(hostile)
    expect(page.locator("[data-part=turns] :is(img, script, [onerror], a[href^=javascript])")).to_have_count(0)
    assert page.title() not in ("1", "2")


@pytest.mark.exhaustive
def test_an_unreachable_service_is_reported_and_can_be_retried(visit: Callable[..., Page], lang: Lang) -> None:
    """The question stays; the retry answers it."""
    page = visit(f"/?lang={lang}", expected="ERR_FAILED")

    def fail(route: Route) -> None:
        route.abort()

    page.route("**/page/ask", fail)
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.locator("[data-part=ask]").click()
    trouble = page.locator("[data-part=trouble]")
    expect(trouble).to_contain_text(label_text("unreachable", lang))
    expect(page.locator("[data-part=asked]")).to_have_text(QUESTION[lang])
    page.unroute("**/page/ask", fail)
    trouble.get_by_role("button").click()
    wait_until_complete(page)
    expect(page.locator("[data-part=card]").first.locator("[data-part=verdict]").first).to_have_text(
        label_text("holds", lang)
    )
    expect(trouble).to_be_hidden()


def test_two_values_are_shown_side_by_side(visit: Callable[..., Page], lang: Lang) -> None:
    """Each run has a card named by its value; one table compares them; the text has the first run's numbers."""
    page = visit(f"/?lang={lang}")
    page.locator("[data-part=question]").fill(COMPARISON[lang])
    page.keyboard.press("Enter")
    table = page.locator("[data-part=comparison] table").first
    expect(table.locator("thead")).to_contain_text("x=1.5", timeout=30_000)
    expect(table.locator("thead")).to_contain_text("x=0.5")
    expect(table.locator("tbody tr").first).to_contain_text("4.0656×10¹⁷")
    expect(table.locator("tbody tr").first).to_contain_text("7.8886×10⁻³¹")
    expect(page.locator("[data-part=card] [data-part=compared]").first).to_have_text("x=1.5")
    expect(page.locator("[data-part=card] [data-part=compared]").nth(1)).to_have_text("x=0.5")
    expect(quoted_number(page, "powers.product")).to_have_text("4.07×10¹⁷")


def test_a_question_can_be_asked_by_keyboard_alone(visit: Callable[..., Page], lang: Lang) -> None:
    """Shift+Enter breaks the line, Enter asks."""
    page = visit(f"/?lang={lang}")
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "question":
            break
        page.keyboard.press("Tab")
    lines = Text("为什么我的\nloss 是 nan？", "Why is\nmy loss nan?")[lang].split("\n")
    page.keyboard.type(lines[0])
    page.keyboard.press("Shift+Enter")
    page.keyboard.type(lines[1])
    page.keyboard.press("Enter")
    wait_until_complete(page)
    expect(page.locator("[data-part=asked]")).to_have_text("\n".join(lines))


@one_look_per_language
def test_what_is_changed_on_the_card_is_in_the_address_and_in_follow_ups(
    visit: Callable[..., Page], lang: Lang
) -> None:
    """A reload shows it, and so does the address in another browser; a follow-up goes on from it."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    unfold(page.locator("[data-part=hero] [data-part=card]"))
    page.locator("[data-part=hero] [name=x]").first.fill("1.1")
    expect(page).to_have_url(re.compile(r"p\.x=1\.1"))
    page.reload()
    wait_until_complete(page)
    expect(page.locator("[data-part=hero] [name=x]").first).to_have_value("1.1")
    expect(page.locator("[data-part=hero] [name=n]").first).to_have_value("100")
    unfold(page.locator("[data-part=hero] [data-part=card]"))
    page.locator("[data-part=hero] [name=x]").first.fill("1.2")
    expect(page).to_have_url(re.compile(r"p\.x=1\.2"))
    ask_and_wait(page, "n = 300")
    expect(page.locator("[data-part=hero] [name=n]").last).to_have_value("300")
    expect(page.locator("[data-part=hero] [name=x]").last).to_have_value("1.2")


@one_look_per_language
def test_why_is_answered_by_the_reason_and_larger_by_a_larger_number(visit: Callable[..., Page], lang: Lang) -> None:
    """Asking "why" puts the reason before the short answer; "larger" changes a number, and the notice says which."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    ask_and_wait(page, Text("为什么？", "why?")[lang])
    turn = page.locator("[data-part=turn]").last
    first, second = turn.locator("[data-part=prose]").nth(0), turn.locator("[data-part=prose]").nth(1)
    expect(first).to_have_attribute("data-name", "why")
    expect(second).to_have_attribute("data-name", "short")
    expect(turn.locator("[data-part=prose][data-name=why]")).to_have_count(1)
    ask_and_wait(page, Text("再大一点", "a bit larger")[lang])
    turn = page.locator("[data-part=turn]").last
    expect(turn.locator("[data-part=notice]")).to_contain_text("x 1.5 → 1.9")
    expect(turn.locator("[data-part=hero] [name=x]").first).to_have_value("1.9")
