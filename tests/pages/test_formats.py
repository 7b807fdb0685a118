"""Comparisons of number formats on the page: errors in ulps, and companion experiments."""

from collections.abc import Callable

import pytest
from browsing import label_text, unfold
from playwright.sync_api import Page, expect

from qa_service.model import Lang, Text


@pytest.mark.exhaustive
def test_a_comparison_of_two_formats_adds_a_companion_with_all(visit: Callable[..., Page], lang: Lang) -> None:
    """The companion is not part of the entry, and can be run with other parameters."""
    page = visit(f"/?lang={lang}")
    question = Text("100 个 1.5 连乘，float16 和 float64 比呢？", "multiply 100 factors of 1.5 in float16 or float64?")
    page.locator("[data-part=question]").fill(question[lang])
    page.keyboard.press("Enter")
    table = page.locator("[data-part=compared-runs] [data-part=data]").first
    overflow = Text("连乘：首次溢出（第几步）", "product: first overflow (step)")[lang]
    expect(table.locator("tr", has_text=overflow).locator("td").first).to_have_text("28")
    card = page.locator("[data-part=card]", has=page.locator("h3", has_text="dtype_ladder")).first
    expect(card.locator("[data-part=state][data-state=ran]")).to_be_attached()
    unfold(card)
    card.locator("[name=n]").fill("20")
    card.locator("[data-part=run]").click()
    row = card.locator(
        "[data-part=metrics] tr", has_text=Text("float16：首次溢出", "float16: first overflow")[lang]
    ).first
    expect(row.locator("td")).to_have_text(Text("（没有）", "(none)")[lang])


@pytest.mark.exhaustive
def test_comparing_dtypes_in_a_card_links_to_the_companion(visit: Callable[..., Page], lang: Lang) -> None:
    """The link has the card's parameters."""
    page = visit(f"/entries/multiply-vs-add?lang={lang}")
    card = page.locator('[data-part=card][data-block="powers"]')
    unfold(card)
    card.locator("[name=n]").fill("60")
    card.locator("[data-part=compare]").select_option("dtype")
    card.locator("[data-part=run]").click()
    link = card.locator("[data-part=beside] a").first
    expect(link).to_have_attribute("href", f"/experiments/dtype_ladder?op=multiply&n=60&x=1.5&start=1&lang={lang}")


@pytest.mark.exhaustive
def test_the_companion_of_the_exponential_gate_is_the_exponential(visit: Callable[..., Page], lang: Lang) -> None:
    """It evaluates exp up to the x of the card; its label does not call it the same experiment."""
    page = visit(f"/entries/lstm-with-exp-and-log?lang={lang}")
    card = page.locator("[data-part=card]", has=page.locator("h3", has_text="exponential_gate")).first
    unfold(card)
    card.locator("[name=x]").fill("30")
    card.locator("[data-part=compare]").select_option("dtype")
    card.locator("[data-part=run]").click()
    companion = card.locator("[data-part=beside]")
    expect(companion).to_contain_text(label_text("beside", lang))
    href = f"/experiments/dtype_functions?f=exp&spacing=even&n=50&x=30&lang={lang}"
    expect(companion.locator("a").first).to_have_attribute("href", href)
