"""A conversation in a real browser: text at once, evidence under it."""

import itertools
import json
import re
from collections.abc import Callable

from browsing import ASKED, COMPARED, ask, complete, in_words
from playwright.sync_api import Page, Route, expect

from qa_service.fronts.web import labels
from qa_service.model import Lang, Text

FRESH = itertools.count(4321)
"""Seeds with which nobody has run anything yet."""


def test_an_answer_comes_with_its_numbers_its_verdicts_and_a_chart(visit: Callable[..., Page], lang: Lang) -> None:
    """Text with measured numbers, a card per experiment, a verdict in words, a chart as SVG."""
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    reply = page.locator("[data-part=reply] > div")
    expect(reply).to_have_attribute("lang", labels.HTML_LANG[lang])
    expect(reply.locator('[data-part=prose] [data-of="powers.product"]').first).to_have_text("4.0656×10¹⁷")
    assert "…" not in reply.locator("[data-part=prose] [data-of]").all_inner_texts()
    cards = reply.locator("[data-part=card]")
    assert cards.count() > 1
    first = cards.first
    expect(first.locator("[data-part=verdict]")).to_have_text([in_words("holds", lang)] * 3)
    expect(first.locator("[data-part=against]").first).to_contain_text("4.0656×10¹⁷")
    expect(first.locator("[data-part=against]").first).to_contain_text("> 1×10⁶")
    assert first.locator("[data-part=data] tbody tr").count() == 100
    expect(page.locator("#status")).to_have_text(in_words("finished", lang))
    expect(page.locator("#turns")).not_to_contain_text("undefined")


def test_what_is_not_covered_offers_the_nearest_three(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask(page, Text("法国的首都是哪里？", "What is the capital of France?")[lang])
    candidates = page.locator("[data-part=candidates] button")
    expect(candidates).to_have_count(3)
    expect(page.locator("[data-part=card]")).to_have_count(0)
    question = candidates.first.inner_text()
    candidates.first.click()
    expect(page.locator("[data-part=asked]").last).to_have_text(question)
    complete(page)
    assert page.locator("[data-part=card]").count() > 0


def test_a_follow_up_keeps_the_entry(visit: Callable[..., Page], lang: Lang) -> None:
    """A question that means nothing by itself goes on with the answer before it."""
    page = visit(f"/?lang={lang}")
    ask(page, Text("200 个 0.9 连乘会怎样？", "What happens when 200 factors of 0.9 are multiplied?")[lang])
    ask(page, Text("改成 300 个 0.5 呢？", "What about 300 factors of 0.5?")[lang])
    turn = page.locator("[data-part=turn]").last
    expect(turn.locator("[data-part=parsed] a")).to_have_attribute("href", re.compile("/entries/multiply-vs-add"))
    expect(turn.locator("[data-part=card] [name=n]").first).to_have_value("300")


def test_the_switch_keeps_the_question(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    other: Lang = "en" if lang == "zh" else "zh"
    ask(page, ASKED[lang])
    page.locator("#switch").click()
    complete(page)
    expect(page.locator("html")).to_have_attribute("lang", labels.HTML_LANG[other])
    expect(page.locator("[data-part=asked]")).to_have_text(ASKED[lang])
    expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(in_words("holds", other))
    page.goto(f"/entries/nan-and-inf?lang={lang}")
    page.locator("#switch").click()
    expect(page).to_have_url(re.compile(rf"/entries/nan-and-inf\?lang={other}$"))


def test_stop_ends_the_stream_and_keeps_what_came(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    fresh = json.dumps({"question": "", "entry": "loss-surface", "lang": lang, "seed": next(FRESH)})
    page.route("**/page/ask", lambda route: route.continue_(post_data=fresh))
    page.locator("#question").fill(
        Text("能画出损失函数的等高线吗？", "Can the contours of a loss function be drawn?")[lang]
    )
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=card]").first).to_be_visible()
    page.locator("#stop").click()
    page.unroute("**/page/ask")
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#status")).to_have_text(in_words("stopped", lang))
    assert len(page.locator("[data-part=prose]").inner_text()) > 200
    page.locator("[data-part=card]").first.locator("[data-part=run]").click()
    expect(page.locator("[data-part=card]").first.locator("[data-part=verdict]").first).to_have_text(
        in_words("holds", lang)
    )


def test_an_unreachable_service_is_a_sentence_and_another_try(visit: Callable[..., Page], lang: Lang) -> None:
    """The question stays; the second try answers it."""
    page = visit(f"/?lang={lang}", expected="ERR_FAILED")

    def fail(route: Route) -> None:
        route.abort()

    page.route("**/page/ask", fail)
    page.locator("#question").fill(ASKED[lang])
    page.locator("#ask").click()
    trouble = page.locator("[data-part=trouble]")
    expect(trouble).to_contain_text(in_words("unreachable", lang))
    expect(page.locator("[data-part=asked]")).to_have_text(ASKED[lang])
    page.unroute("**/page/ask", fail)
    trouble.get_by_role("button").click()
    complete(page)
    expect(page.locator("[data-part=card]").first.locator("[data-part=verdict]").first).to_have_text(
        in_words("holds", lang)
    )
    expect(trouble).to_be_hidden()


def test_two_values_are_put_side_by_side(visit: Callable[..., Page], lang: Lang) -> None:
    """A card for each run, named by what differs, and one table above them; the text keeps the first run's numbers."""
    page = visit(f"/?lang={lang}")
    page.locator("#question").fill(COMPARED[lang])
    page.keyboard.press("Enter")
    table = page.locator("[data-part=comparison] table").first
    expect(table.locator("thead")).to_contain_text("x=1.5", timeout=30_000)
    expect(table.locator("thead")).to_contain_text("x=0.5")
    expect(table.locator("tbody tr").first).to_contain_text("4.0656×10¹⁷")
    expect(table.locator("tbody tr").first).to_contain_text("7.8886×10⁻³¹")
    expect(page.locator("[data-part=card] [data-part=compared]").first).to_have_text("x=1.5")
    expect(page.locator("[data-part=card] [data-part=compared]").nth(1)).to_have_text("x=0.5")
    expect(page.locator("[data-part=strip] button").nth(1)).to_contain_text("x=0.5")
    expect(page.locator("[data-part=turn] [data-part=prose]").last).to_contain_text("4.0656×10¹⁷")


def test_the_keyboard_alone_asks(visit: Callable[..., Page], lang: Lang) -> None:
    """Shift+Enter breaks the line, Enter asks; the focus is visible."""
    page = visit(f"/?lang={lang}")
    for _ in range(10):
        if page.evaluate("document.activeElement.id") == "question":
            break
        page.keyboard.press("Tab")
    lines = Text("为什么我的\nloss 是 nan？", "Why is\nmy loss nan?")[lang].split("\n")
    page.keyboard.type(lines[0])
    page.keyboard.press("Shift+Enter")
    page.keyboard.type(lines[1])
    page.keyboard.press("Enter")
    complete(page)
    expect(page.locator("[data-part=asked]")).to_have_text("\n".join(lines))
