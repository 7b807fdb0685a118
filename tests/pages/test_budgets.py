"""How much room answers take: every entry in both languages, on a computer and on a telephone, without runs."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pytest
import shipped
from playwright.sync_api import Page

from qa_service.fronts.web import cards, render
from qa_service.fronts.web.labels import HTML_LANG
from qa_service.knowledge.library import Library
from qa_service.model import Answer, AnswerStatus, Entry, Experiment, Lang
from qa_service.model.events import AnswerReady

SHOW = """
async ([answer, card]) => {
  const turn = document.querySelector("[data-part=turn-template]").content.firstElementChild.cloneNode(true);
  turn.querySelector("[data-part=reply]").innerHTML = answer;
  turn.querySelector("[data-part=asked]").textContent = "?";
  turn.querySelector("[data-part=hero]").innerHTML = `<section class="card" data-part="card">${card}</section>`;
  for (const number of turn.querySelectorAll("[data-of]")) if (number.textContent === "…") number.textContent = "0.123";
  document.body.classList.add("talking");
  document.querySelector("[data-part=turns]").replaceChildren(turn);
  const copy = performance.getEntriesByType("resource").find((each) => each.name.endsWith("/copy.js"));
  (await import(copy.name)).addCopyButtons(turn);
}
"""
"""Shows an answer as a turn, with room for its chart; numbers that are not measured yet take three digits.

As in a turn, long code has the button without which a telephone shows it whole.
"""
SIZES = r"""
() => {
  const turn = document.querySelector("[data-part=turn]");
  const edge = (selector, side) => turn.querySelector(selector)?.getBoundingClientRect()[side] ?? -Infinity;
  const fold = turn.querySelector(".below");
  const texts = document.createTreeWalker(turn.querySelector("[data-part=reply]"), NodeFilter.SHOW_TEXT);
  let numbers = 0;
  while (texts.nextNode()) {
    const place = texts.currentNode.parentElement;
    if (!(fold.compareDocumentPosition(place) & Node.DOCUMENT_POSITION_PRECEDING)) break;
    if (place.closest("[data-part=chart], pre, code, select") || !place.checkVisibility()) continue;
    numbers += (texts.currentNode.textContent.match(/(?<![\w.])\d[\d.,]*(?![\w])/g) ?? []).length;
  }
  const read = ["[data-name=short]", "[data-part=chart]", "[data-name=do]", "[data-name=tell]"];
  return {
    opening: Math.max(...read.map((each) => edge(each, "bottom"))) - edge("[data-name=short]", "top"),
    whole: edge(".below", "bottom") - edge("[data-part=asked]", "top"),
    numbers,
  };
}
"""
"""Heights in CSS pixels of what is read first and of the whole folded answer; numbers before the first fold."""


class Screen(NamedTuple):
    """A window's width and height in CSS pixels, and the largest allowed sizes of an answer there, in window
    heights.
    """

    width: int
    height: int
    opening: float
    whole: float


SCREENS = {"screen": Screen(1280, 800, 1.0, 2.0), "telephone": Screen(375, 812, 1.3, 2.0)}
MOST_NUMBERS = 12


class Allowance(NamedTuple):
    """The share of answers that may exceed a budget, and the factor by which they may at most."""

    share: float
    factor: float


ALLOWED_BEYOND = {"opening": Allowance(0.08, 1.15), "whole": Allowance(0.04, 1.06), "numbers": Allowance(0.25, 2.2)}
"""Of "numbers": texts about a formula with its numbers, such as the gain 5/3."""


class Sizes(NamedTuple):
    """The sizes of one answer, in screens, and its numbers before the first fold."""

    entry: str
    opening: float
    whole: float
    numbers: int


@pytest.fixture(scope="module")
def experiments() -> dict[str, Experiment]:
    """The shipped experiments."""
    return shipped.EXPERIMENTS


@pytest.fixture(scope="module")
def library(experiments: dict[str, Experiment]) -> Library:
    """The shipped entries."""
    return shipped.library()


def show_answer(page: Page, entry: Entry, library: Library, experiments: Mapping[str, Experiment], lang: Lang) -> None:
    """Shows the answer with this entry as a turn of the page, before any of its runs."""
    related = tuple(library[each] for each in entry.related)
    answer = Answer(
        id="", status=AnswerStatus.ANSWERED, lang=lang, question="", entry=entry, confidence=1.0, matches=(), params={},
        related=related,
    )  # fmt: skip
    questions = {each.id: each.question[lang] for each in library.values()}
    _, body = render.page_event(AnswerReady(answer), lang, experiments, entry, questions)
    block = entry.evidence[0]
    card = cards.evidence_card(entry, block, experiments[block.experiment], lang, state="running")
    page.evaluate(SHOW, [dict(body)["html"], render.render_template("card.html", lang, card=card)])


def measure(
    page: Page, library: Library, experiments: Mapping[str, Experiment], entries: Iterable[Entry], screen: Screen
) -> list[Sizes]:
    """The sizes of the answers with these entries in the page's language, on this screen."""
    page.set_viewport_size({"width": screen.width, "height": screen.height})
    lang: Lang = "zh" if page.locator("html").get_attribute("lang") == HTML_LANG["zh"] else "en"
    found = []
    for entry in entries:
        show_answer(page, entry, library, experiments, lang)
        sizes = page.evaluate(SIZES)
        found.append(
            Sizes(entry.id, sizes["opening"] / screen.height, sizes["whole"] / screen.height, sizes["numbers"])
        )
    return found


def check(found: list[Sizes], screen: Screen, *, sampled: bool = False) -> None:
    """Asserts that nearly every answer is within its budgets, and none far beyond them.

    For a sample, the allowed share is larger by two standard deviations.
    """
    for size, limit in (("opening", screen.opening), ("whole", screen.whole), ("numbers", MOST_NUMBERS)):
        beyond = {each.entry: getattr(each, size) for each in found if getattr(each, size) > limit}
        allowed = ALLOWED_BEYOND[size]
        deviation = (allowed.share * (1 - allowed.share) * len(found)) ** 0.5 if sampled else 0.0
        assert len(beyond) <= 1 + allowed.share * len(found) + 2 * deviation, (size, beyond)
        assert all(value <= allowed.factor * limit for value in beyond.values()), (size, beyond)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_sample_of_answers_fits_its_budgets(
    visit: Callable[..., Page], library: Library, experiments: Mapping[str, Experiment], lang: Lang
) -> None:
    """Tests every sixteenth entry; the exhaustive tests take all."""
    chosen = list(library.values())[5::16]
    page = visit(f"/?lang={lang}")
    for screen in SCREENS.values():
        check(measure(page, library, experiments, chosen, screen), screen, sampled=True)


@pytest.mark.exhaustive
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_answer_fits_its_budgets(
    visit: Callable[..., Page], library: Library, experiments: Mapping[str, Experiment], lang: Lang
) -> None:
    page = visit(f"/?lang={lang}")
    for screen in SCREENS.values():
        check(measure(page, library, experiments, library.values(), screen), screen)
