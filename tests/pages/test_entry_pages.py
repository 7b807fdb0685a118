"""Pages of entries."""

import re
from collections.abc import Callable

import pytest
from browsing import label_text, quoted_number
from playwright.sync_api import Page, expect

from qa_service.model import Lang, Text

QUESTION = Text(
    "为什么乘法变加法会让训练更稳定？", "Why does turning multiplication into addition make training more stable?"
)


def test_an_entry_page_runs_its_experiments_and_fills_its_text(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/entries/multiply-vs-add?lang={lang}")
    product = quoted_number(page, "powers.product")
    page.locator("[data-part=run-all]").click()
    expect(product).to_have_text("4.07×10¹⁷")
    expect(page.locator("[data-part=card]").last.locator("[data-part=verdict]").first).to_have_text(
        label_text("holds", lang)
    )
    assert "…" not in page.locator("[data-part=prose] [data-of]").all_inner_texts()


def test_an_entry_can_be_read_without_scripts(visit: Callable[..., Page], lang: Lang) -> None:
    """The page has question, lecture's answer, claims, source, references, related entries and phrasings."""
    page = visit(f"/entries/multiply-vs-add?lang={lang}", java_script_enabled=False)
    main = page.locator("main")
    for expected in (
        QUESTION[lang],
        label_text("lecture_answer", lang),
        Text("连乘的结果超过一百万", "The product exceeds one million")[lang],
        "Deep residual learning",
        label_text("related", lang),
    ):
        expect(main).to_contain_text(expected)
    expect(main.locator("[data-part=phrasings] li").first).to_have_text(QUESTION[lang])
    expect(page.locator("[data-part=run-all]")).to_be_hidden()
    expect(page.locator("[data-part=run]").first).to_be_hidden()
    for fold in ("why", "evidence", "lecture"):
        page.locator(f"[data-fold={fold}] > summary").click()
        expect(page.locator(f"[data-fold={fold}]")).to_have_attribute("open", "")
    page.locator("[data-part=source] summary").first.click()
    expect(page.locator("[data-part=source] pre").first).to_contain_text("def run(")


@pytest.mark.exhaustive
def test_an_entry_page_has_the_numbers_that_were_measured_last(visit: Callable[..., Page], lang: Lang) -> None:
    """The values measured last are shown with their date, also without scripts."""
    page = visit(f"/entries/multiply-vs-add?lang={lang}")
    page.locator("[data-part=run-all]").click()
    expect(page.locator("[data-part=card]").last.locator("[data-part=verdict]").first).to_have_text(
        label_text("holds", lang)
    )
    page = visit(f"/entries/multiply-vs-add?lang={lang}", java_script_enabled=False)
    page.locator("[data-fold=why] > summary").click()
    expect(quoted_number(page, "powers.product")).to_have_text("4.07×10¹⁷")
    expect(page.locator("[data-part=outcome]")).to_contain_text(re.compile(r"20\d\d-\d\d-\d\d"))
    expect(page.locator("[data-part=proof]").first).to_have_attribute("data-verdict", "holds")


def test_an_entry_with_formulas_leads_to_the_page_of_ones_own(visit: Callable[..., Page], lang: Lang) -> None:
    """The link to the page for the user's own formulas stands below the mechanism, which contains the formula."""
    page = visit(f"/entries/multiply-vs-add?lang={lang}")
    page.locator("[data-fold=why] summary").click()
    page.get_by_role("link", name=label_text("formula_own", lang)).click()
    expect(page).to_have_url(re.compile(f"/formula\\?lang={lang}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text(label_text("formula", lang))
