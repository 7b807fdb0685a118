"""Evidence cards in a browser: their parameters, seeds and comparisons."""

import re
from collections.abc import Callable

import pytest
from browsing import QUESTION, ask_and_wait, label_text, quoted_number, unfold
from playwright.sync_api import Page, expect

from qa_service.model import Lang, Text


def test_changed_parameters_are_run_and_the_entrys_can_be_restored(visit: Callable[..., Page], lang: Lang) -> None:
    """Only that card runs, and the text shows its numbers. A claim that does not apply to the parameters is not shown
    as failed.
    """
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    first, second, *_ = page.locator("[data-part=card]").all()
    unfold(first)
    second.evaluate("element => element.dataset.untouched = element.innerHTML.length")
    first.locator("[name=x]").fill("0.9")
    first.locator("[data-part=run]").click()
    expect(first.locator("[data-part=invisible]")).to_contain_text(label_text("not_visible", lang))
    expect(first.locator("[data-part=verdict]").first).to_have_text(label_text("elsewhere", lang))
    expect(page.locator("[data-part=outcome]")).to_contain_text(label_text("elsewhere", lang))
    expect(page.locator("[data-part=proof][data-verdict=fails]")).to_have_count(0)
    expect(quoted_number(page, "powers.x")).to_have_text("0.9")
    expect(quoted_number(page, "powers.product")).to_contain_text("×10⁻⁵")
    assert second.evaluate("element => element.dataset.untouched == element.innerHTML.length")
    page.locator("[data-part=restore-own]").click()
    expect(first.locator("[data-part=verdict]").first).to_have_text(label_text("holds", lang))
    expect(first.locator("[name=x]")).to_have_value("1.5")
    expect(first.locator("[data-part=invisible]")).to_have_count(0)
    expect(first.locator("[data-part=chart] svg")).to_be_visible()


@pytest.mark.exhaustive
def test_inf_and_nan_can_be_entered_and_are_shown_as_words(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    card = page.locator("[data-part=card]").first
    unfold(card)
    card.locator("[name=x]").fill("nan")
    card.locator("[name=x]").press("Enter")
    expect(card.locator("[data-part=against] .nan").first).to_have_text("nan")
    expect(card.locator("[name=x]")).to_have_value("nan")
    card.locator("[name=x]").fill("-inf")
    card.locator("[name=x]").press("Enter")
    expect(card.locator("[data-part=panel] .inf").first).to_have_text(re.compile("-?inf"))


@pytest.mark.exhaustive
def test_the_dice_button_runs_with_another_seed(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    card = page.locator("[data-part=card]").last
    unfold(card)
    before = card.locator("[data-part=receipt] dd").first.text_content()
    card.locator("[data-part=roll-seed]").click()
    expect(card.locator("[data-part=receipt] dd").first).not_to_have_text(str(before))
    assert card.locator("[name=seed]").input_value() == card.locator("[data-part=receipt] dd").first.text_content()


@pytest.mark.exhaustive
def test_comparisons_and_many_seeds_are_part_of_the_url(visit: Callable[..., Page], lang: Lang) -> None:
    """A reload shows the same table, and the same number of seeds."""
    page = visit(f"/e/multiply-vs-add?block=powers&n=60&lang={lang}")
    unfold(page.locator("[data-part=card]"))
    page.locator("[data-part=compare]").select_option("dtype")
    for _ in range(2):
        expect(page.locator("[data-part=comparison] thead")).to_contain_text("dtype=float64")
        expect(page).to_have_url(re.compile("compare=dtype"))
        page.reload()
    page.goto(f"/e/gradient-overflow-skipping-step?block=healthy&n=20&lang={lang}")
    unfold(page.locator("[data-part=card]"))
    page.locator("[data-part=many-seeds]").click()
    for _ in range(2):
        expect(page.locator("[data-part=claims]")).to_contain_text(Text("20 个种子里有", "of 20 seeds")[lang])
        expect(page).to_have_url(re.compile("seeds=20"))
        page.reload()


@pytest.mark.exhaustive
def test_seeds_are_not_counted_where_nothing_is_random(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/e/multiply-vs-add?block=powers&seeds=20&lang={lang}")
    expect(page.locator("[data-part=proof][data-verdict=holds]").first).to_be_visible()
    expect(page.locator("[data-part=claims]")).not_to_contain_text(Text("个种子里", "of 20 seeds")[lang])
    expect(page.locator("[data-part=outcome]")).not_to_contain_text(label_text("seed", lang))


def test_a_rejected_parameter_is_marked_and_explained(visit: Callable[..., Page], lang: Lang) -> None:
    """The card keeps its evidence; the service's message is beside the input that it is about."""
    page = visit(f"/?lang={lang}", expected="422", alone=False)
    ask_and_wait(page, QUESTION[lang])
    card = page.locator("[data-part=card]").first
    unfold(card)
    card.locator("[name=n]").fill("0")
    card.locator("[data-part=run]").click()
    expect(card.locator("[data-part=refusal]")).to_contain_text(Text("1 到 10000", "1 to 10000")[lang])
    expect(card.locator("[name=n]")).to_have_attribute("aria-invalid", "true")
    expect(card.locator("[data-part=verdict]").first).to_have_text(label_text("holds", lang))
