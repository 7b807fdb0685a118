"""Evidence cards in a real browser: every parameter under one's fingers."""

import re
from collections.abc import Callable

from browsing import ASKED, ask, in_words
from playwright.sync_api import Page, expect

from qa_service.model import Lang, Text


def test_changed_parameters_are_measured_again_and_the_entrys_can_be_restored(
    visit: Callable[..., Page], lang: Lang
) -> None:
    """Only that card runs; the text follows its numbers; a claim that is no longer visible says so."""
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    first, second, *_ = page.locator("[data-part=card]").all()
    second.evaluate("element => element.dataset.untouched = element.innerHTML.length")
    first.locator("[name=x]").fill("0.9")
    first.locator("[data-part=run]").click()
    expect(first.locator("[data-part=invisible]")).to_contain_text(in_words("not_visible", lang))
    expect(first.locator("[data-part=verdict]").first).to_have_text(in_words("fails", lang))
    expect(page.locator('[data-part=prose] [data-of="powers.x"]').first).to_have_text("0.9")
    expect(page.locator('[data-part=prose] [data-of="powers.product"]').first).to_contain_text("×10⁻⁵")
    assert second.evaluate("element => element.dataset.untouched == element.innerHTML.length")
    first.locator("[data-part=restore]").click()
    expect(first.locator("[data-part=verdict]").first).to_have_text(in_words("holds", lang))
    expect(first.locator("[name=x]")).to_have_value("1.5")
    expect(first.locator("[data-part=invisible]")).to_have_count(0)
    expect(first.locator("[data-part=chart] svg")).to_be_visible()


def test_inf_and_nan_can_be_typed_and_are_shown_as_words(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    card = page.locator("[data-part=card]").first
    card.locator("[name=x]").fill("nan")
    card.locator("[name=x]").press("Enter")
    expect(card.locator("[data-part=against] .nan").first).to_have_text("nan")
    expect(card.locator("[name=x]")).to_have_value("nan")
    card.locator("[name=x]").fill("-inf")
    card.locator("[name=x]").press("Enter")
    expect(card.locator("[data-part=panel] .inf").first).to_have_text(re.compile("-?inf"))


def test_the_die_rolls_another_seed(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    card = page.locator("[data-part=card]").last
    before = card.locator("[data-part=receipt] dd").first.text_content()
    card.locator("[data-part=roll-seed]").click()
    expect(card.locator("[data-part=receipt] dd").first).not_to_have_text(str(before))
    assert card.locator("[name=seed]").input_value() == card.locator("[data-part=receipt] dd").first.text_content()


def test_a_comparison_and_many_seeds_are_links(visit: Callable[..., Page], lang: Lang) -> None:
    """Whoever opens the address sees the same table, and the same share of seeds."""
    page = visit(f"/e/multiply-vs-add?block=powers&n=60&lang={lang}")
    page.locator("[data-part=compare]").select_option("dtype")
    for _ in range(2):
        expect(page.locator("[data-part=comparison] thead")).to_contain_text("dtype=float64")
        expect(page).to_have_url(re.compile("compare=dtype"))
        page.reload()
    page.locator("[data-part=compare]").select_option("")
    page.locator("[data-part=many-seeds]").click()
    for _ in range(2):
        expect(page.locator("[data-part=claims]")).to_contain_text(Text("20 个种子里有", "of 20 seeds")[lang])
        expect(page).to_have_url(re.compile("seeds=20"))
        page.reload()


def test_a_refused_parameter_is_marked_and_explained(visit: Callable[..., Page], lang: Lang) -> None:
    """The card keeps what it showed; the service's sentence stands beside the input it is about."""
    page = visit(f"/?lang={lang}", expected="422")
    ask(page, ASKED[lang])
    card = page.locator("[data-part=card]").first
    card.locator("[name=n]").fill("0")
    card.locator("[data-part=run]").click()
    expect(card.locator("[data-part=refusal]")).to_contain_text(Text("1 到 10000", "1 to 10000")[lang])
    expect(card.locator("[name=n]")).to_have_attribute("aria-invalid", "true")
    expect(card.locator("[data-part=verdict]").first).to_have_text(in_words("holds", lang))
