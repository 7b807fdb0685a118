"""By keyboard and by ear: everything is reached, focus is never lost, the end of an answer is said once."""

from collections.abc import Callable

from browsing import ASKED, ask, complete, in_words
from playwright.sync_api import Page, expect

from qa_service.fronts.web.labels import EXAMPLES
from qa_service.model import Lang, Text

LISTEN = """
window.said = [];
addEventListener("DOMContentLoaded", () => {
  const status = document.getElementById("status");
  const listen = new MutationObserver(() => said.push(status.textContent));
  listen.observe(status, { childList: true, characterData: true, subtree: true });
});
"""
FOCUSED = "document.activeElement.name || document.activeElement.dataset.for || document.activeElement.dataset.part"


def test_the_end_of_an_answer_is_said_once(visit: Callable[..., Page], lang: Lang) -> None:
    """And its rows, its numbers and its growing chart not at all: no live region but the status."""
    page = visit("/robots.txt")
    page.add_init_script(LISTEN)
    page.goto(f"/?lang={lang}")
    ask(page, ASKED[lang])
    said = page.evaluate("said")
    assert said.count(in_words("finished", lang)) == 1
    assert said[-1] == in_words("finished", lang)
    assert len(said) < 8
    assert page.locator("[aria-live]").count() == 1
    assert page.locator("[data-part=ticker]:not([aria-hidden=true])").count() == 0


def test_tab_reaches_every_control(visit: Callable[..., Page], lang: Lang) -> None:
    """In the order in which they stand; the focus can be seen on each."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}")
    complete(page)
    assert page.locator("main :is(a, button, input, select, textarea, summary)[tabindex='-1']").count() == 0
    page.locator("[name=n]").focus()
    seen = []
    for _ in range(7):
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        seen.append(page.evaluate(FOCUSED))
        page.keyboard.press("Tab")
    assert seen == ["n", "n", "x", "dtype", "seed", "roll-seed", "run"]


def test_arrow_keys_move_a_slider_and_keep_the_focus(visit: Callable[..., Page], lang: Lang) -> None:
    """A whole number moves by one at least; the experiment runs again under the reader's finger."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=2")
    complete(page)
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


def test_what_is_typed_while_results_arrive_stays(visit: Callable[..., Page], lang: Lang) -> None:
    """The form is never replaced under the reader; open folds stay open."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=50")
    complete(page)
    page.locator("details[data-fold=data] summary").click()
    number = page.locator("[name=n]")
    number.fill("18")
    expect(page.locator("details[data-fold=data] summary span")).to_have_text("18")
    assert page.evaluate("document.activeElement.name") == "n"
    page.keyboard.type("0")
    expect(page.locator("details[data-fold=data] summary span")).to_have_text("180")
    expect(number).to_have_value("180")
    expect(page.locator("details[data-fold=data] table")).to_be_visible()


def test_a_button_that_vanishes_leaves_its_focus_in_the_card(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/e/multiply-vs-add?block=powers&n=60&x=0.5&lang={lang}")
    complete(page)
    page.locator("[data-part=restore]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=restore]")).to_have_count(0)
    expect(page.locator("[data-part=card] [data-part=run]")).to_be_focused()


def test_the_row_above_the_text_leads_to_the_evidence(visit: Callable[..., Page], lang: Lang) -> None:
    """While the text is read it says how the claims fared; Enter goes to the card."""
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    row = page.locator("[data-part=strip] button")
    expect(row).to_have_count(page.locator("[data-part=card]").count())
    expect(row.first).to_contain_text(f"3 {in_words('holds_many', lang)}")
    expect(row.first).to_be_in_viewport()
    row.first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=card]").first).to_be_focused()
    expect(page.locator("[data-part=card] [data-part=head]").first).to_be_in_viewport()


def test_whoever_asks_by_a_button_reads_on_at_the_answer(visit: Callable[..., Page], lang: Lang) -> None:
    """And whoever types stays in the question box; the title says what was asked."""
    page = visit(f"/?lang={lang}")
    title = f"{EXAMPLES[lang][1]} · numstab"
    page.locator("#examples button").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=asked]")).to_be_focused()
    expect(page).to_have_title(title)
    complete(page)
    page.locator("[data-part=related] button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=asked]").last).to_be_focused()
    expect(page).not_to_have_title(title)
    complete(page)
    page.go_back()
    expect(page).to_have_title(title)
    ask(page, Text("换成 float16 呢？", "and in float16?")[lang])
    expect(page.locator("#question")).to_be_focused()


def test_a_guess_does_not_take_the_focus_from_the_question_box(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    page.locator("[data-pref=predict]").click()
    page.locator("#question").fill(ASKED[lang])
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("[data-part=guess]").first).to_be_visible()
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator("[data-part=strip]")).not_to_contain_text(in_words("holds", lang))


def test_nothing_moves_for_readers_who_want_it_so(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}&entry=loss-surface", reduced_motion="reduce")
    expect(page.locator("[data-part=card] progress").first).to_be_attached()
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
