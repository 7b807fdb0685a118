"""What the tests of the page share: looks of the page, asking in a browser, waiting until everything is there."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from qa_service.fronts.web import labels
from qa_service.model import Lang

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60_000
ASKED = {"zh": "100 个 1.5 连乘会怎样？", "en": "What happens when 100 factors of 1.5 are multiplied?"}
COMPARED = {
    "zh": "100 个 1.5 连乘，和 100 个 0.5 连乘比呢？",
    "en": "multiplying 100 factors of 1.5 versus 100 factors of 0.5",
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SETTLED = """
Promise.allSettled(
  document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished),
).then(() => null)
"""
"""Until no colour is on its way. (`wait_for_function` would ask again by eval, which the page's policy forbids.)"""
CUT_OFF = """
() => {
  const style = new Map();
  const of = (each) => style.get(each) ?? (style.set(each, getComputedStyle(each)), style.get(each));
  const right = (each) => each.getBoundingClientRect().right;
  return [...document.querySelectorAll("main *:not(svg *, math *)")].filter((each) => {
    if (!each.getBoundingClientRect().width) return false;
    for (let around = each.parentElement; around; around = around.parentElement) {
      const { overflowX, textOverflow } = of(around);
      if (/auto|scroll/.test(overflowX) || textOverflow === "ellipsis" || around.clientWidth < 2) return false;
      if (overflowX !== "visible" && right(each) > right(around) + 1) return true;
    }
    return false;
  }).map((each) => each.outerHTML.slice(0, 120));
}
"""
"""What reaches out of an element that hides the rest, with no way to scroll there."""


class Look(NamedTuple):
    """How a reader sees the page: in which language, on which screen, light or dark."""

    lang: Lang
    width: int
    scheme: str

    @property
    def context(self) -> dict[str, Any]:
        """The browser that shows it so."""
        return {
            "viewport": {"width": self.width, "height": 800 if self.width < 500 else 900},
            "color_scheme": self.scheme,
            "locale": {"zh": "zh-CN", "en": "en-GB"}[self.lang],
        }


FIRST = Look("zh", 1280, "light")
LOOKS = {f"{look.lang}-{look.width}-{look.scheme}": look for look in (
    FIRST, Look("zh", 375, "dark"), Look("en", 375, "dark"), Look("en", 1280, "light"),
)}  # fmt: skip
"""Every language with every width and with every scheme; test_states.py shows each in the other scheme as well."""
FLOW_LOOKS = ["zh-375-dark", "en-1280-light"]
"""Two looks in which language, width and scheme all differ: `make test` has what a user does in one of them."""

once_a_language = pytest.mark.parametrize("look", FLOW_LOOKS, indirect=True)
"""For flows that take long: no other looks in `make test-all` either."""


def ready(address: str) -> bool:
    """Whether the server says that it has warmed up."""
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def ask(page: Page, question: str) -> None:
    """Types a question and waits until everything is there."""
    page.locator("#question").fill(question)
    page.locator("#question").press("Enter")
    complete(page)


def complete(page: Page) -> None:
    """Waits for the end of the stream and the last chart."""
    expect(page.locator("#stop")).to_be_hidden(timeout=PATIENCE)
    for card in page.locator("[data-part=card]:has([data-part=chart])").all():
        expect(card.locator("[data-part=chart] svg")).to_be_visible(timeout=PATIENCE)


def check_access(page: Page) -> None:
    """Axe finds nothing (labels, roles, order of headings, contrast, sizes); nothing is cut off or scrolls sideways."""
    page.evaluate(SETTLED)
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    check_fit(page)


def check_contrast(page: Page) -> None:
    """Axe finds all text legible: what another scheme may change. Marks of charts are no text, and may be thousands."""
    page.evaluate(SETTLED)
    exclude = [[".chart svg [class*=mark-]:not(.mark-text)"]]
    options = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
    found = Axe().run(page, context={"exclude": exclude}, options=options)
    assert found.violations_count == 0, found.generate_report()


def check_fit(page: Page) -> None:
    """Nothing is cut off or scrolls sideways."""
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(CUT_OFF) == []


def keep(page: Page, name: str) -> None:
    """A picture for people, where CI collects them."""
    if (ROOT / "ci-output").is_dir():
        page.screenshot(path=ROOT / "ci-output" / f"{re.sub(r'[^a-z0-9]+', '-', name)}.png", full_page=True)


def in_words(label: str, lang: Lang) -> str:
    """What the page says there."""
    return labels.LABELS[label][lang]
