"""What the tests of the page share: looks, asking in a browser, waiting for an answer, accessibility."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from qa_service.fronts.web import labels
from qa_service.model import Lang

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_MS = 60_000
QUESTION = {
    "zh": "100 个 1.5 连乘，为什么变成加法更稳定？",
    "en": "With 100 factors of 1.5, why is addition more stable than multiplication?",
}
COMPARISON = {
    "zh": "为什么加法比乘法稳定：100 个 1.5，和 100 个 0.5 比呢？",
    "en": "Why is addition more stable than multiplication, with 100 factors of 1.5 versus 100 factors of 0.5?",
}
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WAIT_FOR_TRANSITIONS = """
Promise.allSettled(
  document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished),
).then(() => null)
"""
"""Resolves when no CSS transition is running. (`wait_for_function` uses eval, which the page's policy forbids.)"""
CLIPPED_ELEMENTS = """
() => {
  const styles = new Map();
  const styleOf = (each) => styles.get(each) ?? (styles.set(each, getComputedStyle(each)), styles.get(each));
  const right = (each) => each.getBoundingClientRect().right;
  return [...document.querySelectorAll("main *:not(svg *, math *)")].filter((each) => {
    if (!each.getBoundingClientRect().width) return false;
    for (let ancestor = each.parentElement; ancestor; ancestor = ancestor.parentElement) {
      const { overflowX, textOverflow } = styleOf(ancestor);
      if (/auto|scroll/.test(overflowX) || textOverflow === "ellipsis" || ancestor.clientWidth < 2) return false;
      if (overflowX !== "visible" && right(each) > right(ancestor) + 1) return true;
    }
    return false;
  }).map((each) => each.outerHTML.slice(0, 120));
}
"""
"""Elements that extend beyond an ancestor that hides them and cannot be scrolled."""


class PageLook(NamedTuple):
    """The language, the width of the screen (CSS pixels) and the colour scheme with which a page is opened."""

    lang: Lang
    width: int
    scheme: str

    @property
    def context(self) -> dict[str, Any]:
        """The options of a browser context with this look."""
        return {
            "viewport": {"width": self.width, "height": 800 if self.width < 500 else 900},
            "color_scheme": self.scheme,
            "locale": {"zh": "zh-CN", "en": "en-GB"}[self.lang],
        }


DEFAULT_LOOK = PageLook("zh", 1280, "light")
LOOKS = {f"{look.lang}-{look.width}-{look.scheme}": look for look in (
    DEFAULT_LOOK, PageLook("zh", 375, "dark"), PageLook("en", 375, "dark"), PageLook("en", 1280, "light"),
)}  # fmt: skip
"""Every language with every width and with every scheme; test_states.py checks each in the other scheme as well."""
FLOW_LOOKS = ["zh-375-dark", "en-1280-light"]
"""Two looks that differ in language, width and scheme: `make test` runs a flow in one of them."""

one_look_per_language = pytest.mark.parametrize("look", FLOW_LOOKS, indirect=True)
"""For slow flows: they run in these two looks only, in `make test-all` too."""


def ask_and_wait(page: Page, question: str) -> None:
    """Types a question and waits until its answer is complete."""
    page.locator("[data-part=question]").fill(question)
    page.locator("[data-part=question]").press("Enter")
    wait_until_complete(page)


def wait_until_complete(page: Page) -> None:
    """Waits for the end of the stream and for every chart that is not folded."""
    if page.locator("[data-part=stop]").count():
        expect(page.locator("[data-part=stop]")).to_be_hidden(timeout=TIMEOUT_MS)
    for card in page.locator("[data-part=card]:has([data-part=chart])").all():
        if not card.is_visible():
            continue
        expect(card.locator("[data-part=chart] svg")).to_be_visible(timeout=TIMEOUT_MS)


def unfold(card: Locator) -> None:
    """Opens the fold that contains a card, and shows all its parameters, its seed and its data."""
    fold = card.locator("xpath=ancestor::details[1]")
    if fold.count() and fold.get_attribute("open") is None:
        fold.locator("> summary").click()
    if card.get_attribute("data-open") is None:
        card.locator("[data-part=more]").click()


def short_answer(page: Page) -> Locator:
    """The short answer of the last turn, or of an entry's page."""
    return page.locator("[data-part=prose][data-name=short]").last


def quoted_number(page: Page, name: str) -> Locator:
    """The element of the first number in the text, folded or not, that quotes "block.metric"."""
    return page.locator(f'[data-part=prose] [data-of="{name}"]').first


def check_accessibility(page: Page) -> None:
    """Asserts that axe finds no violation (labels, roles, heading order, contrast, sizes), and runs `check_layout`."""
    page.evaluate(WAIT_FOR_TRANSITIONS)
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    check_layout(page)


def check_contrast(page: Page) -> None:
    """Asserts that axe finds all text legible in this colour scheme; marks of charts, which may be thousands, are left
    out.
    """
    page.evaluate(WAIT_FOR_TRANSITIONS)
    exclude = [[".chart svg [class*=mark-]:not(.mark-text)"]]
    options = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
    found = Axe().run(page, context={"exclude": exclude}, options=options)
    assert found.violations_count == 0, found.generate_report()


def check_layout(page: Page) -> None:
    """Asserts that nothing on the page is clipped or scrolls sideways."""
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(CLIPPED_ELEMENTS) == []


def save_screenshot(page: Page, name: str) -> None:
    """Saves a screenshot where CI collects them."""
    if (ROOT / "ci-output").is_dir():
        page.screenshot(path=ROOT / "ci-output" / f"{re.sub(r'[^a-z0-9]+', '-', name)}.png", full_page=True)


def label_text(label: str, lang: Lang) -> str:
    """The text with this label on the page, in the given language."""
    return labels.LABELS[label][lang]
