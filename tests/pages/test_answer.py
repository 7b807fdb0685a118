"""The layout of an answer: short answer and proof, what to do, how to tell causes apart, the rest folded; numbers with
their evidence.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from browsing import (
    QUESTION,
    PageLook,
    ask_and_wait,
    label_text,
    quoted_number,
    short_answer,
    unfold,
    wait_until_complete,
)
from playwright.sync_api import Page, expect

from qa_service.fronts.web.labels import HTML_LANG
from qa_service.model import Lang, Text

ENTRY = "gradient-overflow-skipping-step"
FOLLOW_UP = Text("改成 80 个 1.2 呢？", "What about 80 factors of 1.2?")
PLACES = """
() => {
  const turn = document.querySelector("[data-part=turn]");
  const bottom = (each) => (each ? each.getBoundingClientRect().bottom : -Infinity);
  const short = turn.querySelector("[data-name=short]").getBoundingClientRect();
  const first = ["[data-name=short]", "[data-part=hero] [data-part=chart] svg", "[data-name=do]", "[data-name=tell]"];
  return {
    first: Math.max(...first.map((each) => bottom(turn.querySelector(each)))) - short.top,
    whole: bottom(turn.querySelector("[data-part=related]")) - turn.getBoundingClientRect().top,
  };
}
"""
"""The height of what is read first, and of the whole folded answer, in CSS pixels."""
RECORD_STATUS = """
window.announced = [];
addEventListener("DOMContentLoaded", () => {
  const status = document.querySelector("[data-part=status]");
  const observer = new MutationObserver(() => announced.push(status.textContent));
  observer.observe(status, { childList: true, characterData: true, subtree: true });
});
"""
NUMBERS = r"""
() => {
  const fold = document.querySelector("[data-part=reply] details");
  const texts = document.createTreeWalker(document.querySelector("[data-part=reply]"), NodeFilter.SHOW_TEXT);
  const numbers = [];
  while (texts.nextNode()) {
    const place = texts.currentNode.parentElement;
    if (!(fold.compareDocumentPosition(place) & Node.DOCUMENT_POSITION_PRECEDING)) break;
    if (place.closest("[data-part=chart], pre, code, select") || !place.checkVisibility()) continue;
    numbers.push(...(texts.currentNode.textContent.match(/(?<![\w.])\d[\d.,]*(?![\w])/g) ?? []));
  }
  return numbers;
}
"""
"""The numbers in words of an answer above its first fold: no axes, code or inputs."""


@pytest.mark.parametrize(
    ("width", "height", "screens"), [(375, 812, 1.3), pytest.param(1280, 800, 1.0, marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize("lang", ["zh", pytest.param("en", marks=pytest.mark.exhaustive)])
def test_the_answer_fits_its_budgets(
    visit: Callable[..., Page], lang: Lang, width: int, height: int, screens: float
) -> None:
    """Short answer, chart, what to do and how to tell take at most one screen (1.3 on a telephone) and have at most 12
    numbers; the whole folded answer takes at most two screens.
    """
    page = visit(f"/?lang={lang}&entry={ENTRY}", viewport={"width": width, "height": height})
    wait_until_complete(page)
    places = page.evaluate(PLACES)
    assert places["first"] <= screens * height
    assert places["whole"] <= 2 * height
    numbers = page.evaluate(NUMBERS)
    assert 0 < len(numbers) <= 12, numbers
    assert page.locator("[data-part=reply] :is(input, select):visible").count() <= 4


def test_what_is_asked_first_is_open_and_the_rest_is_folded(visit: Callable[..., Page], lang: Lang) -> None:
    """The proof stands beside the short answer, or below it; each fold's heading says what it contains."""
    page = visit(f"/?lang={lang}&entry={ENTRY}")
    wait_until_complete(page)
    order = page.locator("[data-part=prose]").evaluate_all("texts => texts.map((text) => text.dataset.name)")
    assert order[:3] == ["short", "do", "tell"]
    expect(short_answer(page)).to_contain_text("%")
    expect(page.locator("[data-part=hero] [data-part=chart] svg")).to_be_visible()
    expect(page.locator("[data-name=do] pre")).to_be_visible()
    expect(page.locator("[data-part=proof][data-verdict=holds]").first).to_be_visible()
    for name in ("why", "scope"):
        expect(page.locator(f"[data-name={name}]")).to_be_hidden()
        page.locator(f"[data-fold={name}] > summary").click()
        expect(page.locator(f"[data-name={name}]")).to_be_visible()
    assert "…" not in page.locator("[data-part=prose] [data-of]").all_inner_texts()
    other = page.locator("[data-part=more-evidence] [data-part=card]")
    expect(page.locator("[data-part=more-outcome]")).to_contain_text(label_text("holds_many", lang))
    page.locator("[data-part=more-evidence] > summary").click()
    expect(other.locator("[data-part=chart] svg").first).to_be_visible()


@pytest.mark.exhaustive
def test_a_row_of_how_to_tell_asks_for_its_entry(visit: Callable[..., Page], lang: Lang) -> None:
    """The question is asked in the same conversation; without scripts the row is a link to the entry's page."""
    page = visit(f"/?lang={lang}&entry={ENTRY}")
    wait_until_complete(page)
    row = page.locator("[data-part=ask-entry]").first
    expect(row).to_have_attribute("href", re.compile("/entries/"))
    row.click()
    expect(page.locator("[data-part=turn]")).to_have_count(2)
    expect(page.locator("[data-part=asked]").last).to_have_text(str(row.get_attribute("title")))
    wait_until_complete(page)


def test_an_answer_to_a_question(visit: Callable[..., Page], look: PageLook) -> None:
    """Checks one answer in several ways, as measuring it and drawing its charts takes most of the time."""
    page = visit("/robots.txt")
    page.add_init_script(RECORD_STATUS)
    page.goto(f"/?lang={look.lang}")
    ask_and_wait(page, QUESTION[look.lang])
    its_end_is_announced_once(page, look.lang)
    it_has_numbers_verdicts_and_charts(page, look.lang)
    a_number_leads_to_its_place_in_the_evidence(page, look)


def its_end_is_announced_once(page: Page, lang: Lang) -> None:
    """The status, the only live region, announces the end of the answer to screen readers and is emptied; no rows or
    charts.
    """
    announced = page.evaluate("announced")
    assert announced.count(label_text("finished", lang)) == 1
    assert len(announced) < 9
    expect(page.locator("[data-part=status]")).to_have_text("")
    assert page.locator("[aria-live]").count() == 1
    assert page.locator("[data-part=ticker]:not([aria-hidden=true])").count() == 0


def it_has_numbers_verdicts_and_charts(page: Page, lang: Lang) -> None:
    """Measured numbers are in the text; each experiment has a card with verdicts in words and an SVG chart."""
    reply = page.locator("[data-part=reply] > div")
    expect(reply).to_have_attribute("lang", HTML_LANG[lang])
    expect(quoted_number(page, "powers.product")).to_have_text("4.07×10¹⁷")
    assert "…" not in reply.locator("[data-part=prose] [data-of]").all_inner_texts()
    cards = reply.locator("[data-part=card]")
    assert cards.count() > 1
    first = cards.first
    expect(first.locator("[data-part=verdict]")).to_have_text([label_text("holds", lang)] * 3)
    expect(first.locator("[data-part=against]").first).to_contain_text("4.0656×10¹⁷")
    expect(first.locator("[data-part=against]").first).to_contain_text("> 1×10⁶")
    assert first.locator("[data-part=data] tbody tr").count() == 100
    expect(page.locator("[data-part=turns]")).not_to_contain_text("undefined")


def a_number_leads_to_its_place_in_the_evidence(page: Page, look: PageLook) -> None:
    """Clicking a number, or using the keyboard, shows all its digits beside the chart, or in a sheet on a telephone."""
    page.locator("[data-fold=why] > summary").click()
    product = quoted_number(page, "powers.product")
    expect(product).to_have_role("button")
    if look.width < 500:
        product.focus()
        page.keyboard.press("Enter")
        expect(page.locator("[data-part=sheet-value]")).to_contain_text("406561")
        expect(page.locator("[data-part=sheet-show]")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("[data-part=sheet]")).to_have_count(0)
        expect(product).to_be_focused()
        return
    unfold(page.locator("[data-part=card]").first)
    product.focus()
    expect(page.locator("[data-part=hero] [data-part=readout]")).to_contain_text("406561")
    row = page.locator('[data-part=hero] [data-part=claim][data-metric="powers.product"]').first
    expect(row).to_have_attribute("data-marked", "")
    row.hover()
    expect(product).to_have_attribute("data-marked", "")


@pytest.mark.exhaustive
def test_a_number_of_folded_evidence_opens_it(visit: Callable[..., Page]) -> None:
    page = visit(f"/?lang=zh&entry={ENTRY}")
    wait_until_complete(page)
    page.locator("[data-fold=why] > summary").click()
    quoted_number(page, "sick.last_scale").click()
    card = page.locator("[data-part=card][data-block=sick]")
    expect(card).to_be_in_viewport()
    expect(card.locator('[data-part=claim][data-metric="sick.last_scale"]')).to_have_attribute("data-marked", "")


@pytest.mark.exhaustive
def test_a_follow_up_shows_what_changed(visit: Callable[..., Page], lang: Lang) -> None:
    """The previous curve is drawn pale behind the new one, and a changed number in the short answer shows its previous
    value.
    """
    page = visit(f"/?lang={lang}&entry={ENTRY}")
    wait_until_complete(page)
    curves = page.locator("[data-part=hero] [data-part=chart] svg .mark-line")
    before = curves.count()
    share = short_answer(page).locator("[data-of]").first.inner_text()
    page.locator("[data-part=hero] [data-part=more]").click()
    page.locator("[data-part=hero] [name=n]").fill("60")
    page.locator("[data-part=hero] [data-part=run]").click()
    expect(short_answer(page).locator("[data-of]").first).not_to_have_text(share)
    expect(curves).to_have_count(before + 1)
    page.locator("[data-part=hero] [data-part=run]").click()  # the same once more
    expect(page.locator("[data-part=hero].busy, [data-part=hero] .busy")).to_have_count(0)
    expect(curves).to_have_count(before + 1)


def test_a_reload_a_page_in_between_and_another_language_keep_the_conversation(
    visit: Callable[..., Page], lang: Lang
) -> None:
    """The URL has the entry and the parameters of the answer; earlier turns of the conversation are shown again."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    ask_and_wait(page, FOLLOW_UP[lang])
    expect(page).to_have_url(re.compile(r"entry=multiply-vs-add&p\.n=80&p\.x=1\.2"))
    address = page.url

    def check(questions: list[str]) -> None:
        expect(page.locator("[data-part=asked]")).to_have_text(questions)
        expect(page.locator("[data-part=hero] [data-part=chart] svg")).to_have_count(2)
        expect(page.locator("[data-part=hero] [name=n]").last).to_have_value("80")

    page.reload()
    check([QUESTION[lang], FOLLOW_UP[lang]])
    page.locator("[data-part=parsed] a").last.click()
    expect(page.locator("[data-part=entry]")).to_be_visible()
    page.go_back()
    check([QUESTION[lang], FOLLOW_UP[lang]])
    ask_and_wait(page, Text("换成 90 个呢？", "and 90 factors?")[lang])
    expect(page.locator("[data-part=hero] [name=n]").last).to_have_value("90")
    elsewhere = page.context.new_page()  # another tab, as whoever was sent the address
    elsewhere.goto(address)
    expect(elsewhere.locator("[data-part=hero] [name=n]")).to_have_value("80")
    expect(elsewhere.locator("[data-part=asked]")).to_have_text(FOLLOW_UP[lang])
    elsewhere.close()


@pytest.mark.exhaustive
def test_a_figure_can_be_presented(visit: Callable[..., Page], lang: Lang) -> None:
    """Full screen, with thick strokes; arrow keys step through the claims, Esc leaves and gives the focus back."""
    page = visit(f"/?lang={lang}&entry={ENTRY}", viewport={"width": 1280, "height": 800})
    wait_until_complete(page)
    opener = page.locator("[data-part=hero] [data-part=present]")
    opener.click()
    stage = page.locator("[data-part=stage]")
    expect(stage.locator("[data-part=stage-chart] svg")).to_be_visible()
    line = stage.locator("svg .mark-line path").first
    assert float(str(line.get_attribute("stroke-width"))) >= 5
    said = stage.locator("[data-part=stage-claim]").inner_text()
    page.keyboard.press("ArrowRight")
    expect(stage.locator("[data-part=stage-claim]")).not_to_have_text(said)
    page.keyboard.press("ArrowLeft")
    expect(stage.locator("[data-part=stage-claim]")).to_have_text(said)
    page.keyboard.press("Space")
    expect(stage.locator("[data-part=stage-claim]")).not_to_have_text(said)
    page.keyboard.press("PageUp")
    expect(stage.locator("[data-part=stage-claim]")).to_have_text(said)
    page.keyboard.press("PageDown")  # as a presenter sends it
    expect(stage.locator("[data-part=stage-claim]")).not_to_have_text(said)
    page.keyboard.press("Home")
    expect(stage.locator("[data-part=stage-claim]")).to_have_text(said)
    page.keyboard.press("Escape")
    expect(stage).to_have_count(0)
    expect(opener).to_be_focused()


@pytest.mark.exhaustive
def test_what_was_read_can_be_struck_out(visit: Callable[..., Page], lang: Lang) -> None:
    """A chip shows a parameter read from the question; striking it out asks the question again without it."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    chip = page.locator("[data-part=chip]", has_text="x = 1.5")
    expect(chip).to_be_visible()
    requests: list[Any] = []
    page.on("request", lambda sent: requests.append(sent.post_data_json) if sent.url.endswith("/page/ask") else None)
    chip.locator("[data-part=strike]").click()
    expect(page.locator("[data-part=chip]", has_text="x = 1.5")).to_have_count(0)
    wait_until_complete(page)
    assert requests[0]["without"] == ["param:x"]
    expect(page.locator("[data-part=turn]")).to_have_count(1)


@pytest.mark.exhaustive
def test_a_pasted_log_is_shown_in_short(visit: Callable[..., Page], lang: Lang) -> None:
    """The log takes little room; the whole of it is in a fold."""
    page = visit(f"/?lang={lang}")
    line = "OVERFLOW! Skipping step. Attempted loss scale: {}, reducing to {}"
    log = "\n".join(line.format(2**each, 2 ** (each - 1)) for each in range(16, 6, -1))
    ask_and_wait(page, f"{log}\n{Text('正常吗？', 'is this normal?')[lang]}")
    asked = page.locator("[data-part=asked]")
    assert asked.evaluate("asked => asked.offsetHeight") < 110
    assert asked.evaluate("asked => parseFloat(getComputedStyle(asked).fontSize)") <= 16
    expect(page.locator("[data-part=whole-text]")).to_be_hidden()
    page.locator("[data-part=whole] > summary").click()
    expect(page.locator("[data-part=whole-text]")).to_contain_text("reducing to 64")


@pytest.mark.exhaustive
def test_a_telephone_folds_its_keyboard_once_something_is_asked(visit: Callable[..., Page]) -> None:
    """After a question is sent, the input loses the focus, so that the telephone hides its keyboard."""
    page = visit("/?lang=zh", viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    page.locator("[data-part=question]").fill(QUESTION["zh"])
    page.locator("[data-part=question]").press("Enter")
    expect(page.locator("[data-part=question]")).not_to_be_focused()


@pytest.mark.exhaustive
def test_a_telephone_shows_long_code_in_short(visit: Callable[..., Page]) -> None:
    """A button shows all of it, and gives the focus to the code; a wide screen shows it whole."""
    page = visit("/?lang=en&entry=nan-in-activations", viewport={"width": 375, "height": 812})
    wait_until_complete(page)
    code = page.locator("[data-name=do] pre").first
    assert code.evaluate("code => code.clientHeight < 0.7 * code.scrollHeight")
    page.locator("[data-name=do] [data-part=show-all]").first.click()
    expect(code).to_be_focused()
    assert code.evaluate("code => code.clientHeight >= code.scrollHeight - 1")
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(page.locator("[data-part=show-all]:visible")).to_have_count(0)


@pytest.mark.exhaustive
def test_a_handout_is_one_page(visit: Callable[..., Page]) -> None:
    """Short, chart, what to do and how to tell are printed; folds, controls and what else to ask are not."""
    page = visit(f"/?lang=en&entry={ENTRY}", viewport={"width": 720, "height": 1000})
    wait_until_complete(page)
    page.emulate_media(media="print")
    for shown in (
        "[data-name=short]",
        "[data-part=chart] svg",
        "[data-name=do]",
        "[data-name=tell]",
        "[data-part=proof]",
    ):
        expect(page.locator(shown).first).to_be_visible()
    for hidden in (
        "[data-fold=why]",
        "[data-part=controls]",
        "[data-part=related]",
        "[data-part=composer]",
        "[data-part=change]",
    ):
        expect(page.locator(hidden).first).to_be_hidden()
    assert page.locator("main").evaluate("main => main.getBoundingClientRect().height") < 1000
