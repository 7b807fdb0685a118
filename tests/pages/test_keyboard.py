"""Keyboard and screen reader: every control is reachable, focus is kept, an answer's end is announced once."""

from collections.abc import Callable

import pytest
from browsing import QUESTION, ask_and_wait, short_answer, unfold, wait_until_complete
from playwright.sync_api import Page, expect

from qa_service.fronts.web.labels import EXAMPLES
from qa_service.model import Lang, Text

FOCUSED_CONTROL = (
    "document.activeElement.name || document.activeElement.dataset.for || document.activeElement.dataset.part"
)


def test_tab_reaches_every_control(visit: Callable[..., Page], lang: Lang) -> None:
    """Controls get the focus in visual order, and show it."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}")
    wait_until_complete(page)
    assert page.locator("main :is(a, button, input, select, textarea, summary)[tabindex='-1']").count() == 0
    page.locator("[name=n]").focus()
    focused = []
    for _ in range(7):
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        focused.append(page.evaluate(FOCUSED_CONTROL))
        page.keyboard.press("Tab")
    assert focused == ["n", "n", "x", "x", "dtype", "seed", "roll-seed"]


@pytest.mark.exhaustive
def test_arrow_keys_move_a_slider_and_keep_the_focus(visit: Callable[..., Page], lang: Lang) -> None:
    """An integer changes by at least one; the experiment runs again while the slider has the focus."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=2")
    wait_until_complete(page)
    slider = page.locator("input[type=range][data-for=n]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[name=n]")).to_have_value("3")
    expect(page.locator("[data-part=folds] summary span").nth(1)).to_have_text("3")
    assert page.evaluate("document.activeElement.dataset.for") == "n"
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert 15 < int(page.locator("[name=n]").input_value()) < 60
    expect(page.locator("input[type=range][data-for=n]")).to_have_attribute(
        "aria-valuetext", page.locator("[name=n]").input_value()
    )


def test_results_do_not_overwrite_what_is_typed(visit: Callable[..., Page], lang: Lang) -> None:
    """The form is not replaced when results arrive, and open folds stay open."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=50")
    wait_until_complete(page)
    page.locator("details[data-fold=data] summary").click()
    number = page.locator("[name=n]")
    number.fill("18")
    expect(page.locator("details[data-fold=data] summary span")).to_have_text("18")
    assert page.evaluate("document.activeElement.name") == "n"
    page.keyboard.type("0")
    expect(page.locator("details[data-fold=data] summary span")).to_have_text("180")
    expect(number).to_have_value("180")
    expect(page.locator("details[data-fold=data] table")).to_be_visible()


@pytest.mark.exhaustive
def test_the_focus_stays_in_the_card_when_its_button_disappears(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/e/multiply-vs-add?block=powers&n=60&x=0.5&lang={lang}")
    wait_until_complete(page)
    unfold(page.locator("[data-part=card]"))
    page.locator("[data-part=restore]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=restore]")).to_have_count(0)
    expect(page.locator("[data-part=card] [data-part=run]")).to_be_focused()


@pytest.mark.exhaustive
def test_asking_by_a_button_moves_the_focus_to_the_question(visit: Callable[..., Page], lang: Lang) -> None:
    """Asking in the question box leaves the focus there; the page's title is the question."""
    page = visit(f"/?lang={lang}")
    title = f"{EXAMPLES[lang][1]} · numstab"
    page.locator("[data-part=examples] button").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=asked]")).to_be_focused()
    expect(page).to_have_title(title)
    wait_until_complete(page)
    page.locator("[data-part=related] button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=asked]").last).to_be_focused()
    expect(page).not_to_have_title(title)
    wait_until_complete(page)
    page.go_back()
    expect(page).to_have_title(title)
    ask_and_wait(page, Text("换成 float16 呢？", "and in float16?")[lang])
    expect(page.locator("[data-part=question]")).to_be_focused()


@pytest.mark.exhaustive
def test_a_guess_form_does_not_take_the_focus_from_the_question_box(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    page.locator("[data-pref=predict]").click()
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=stop]")).to_be_hidden()
    expect(page.locator("[data-part=guess]").first).to_be_visible()
    expect(page.locator("[data-part=question]")).to_be_focused()
    expect(short_answer(page)).to_be_hidden()


@pytest.mark.exhaustive
def test_reduced_motion_disables_animations(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}&entry=loss-surface", reduced_motion="reduce")
    expect(page.locator("[data-part=card] progress").first).to_be_attached()
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
