"""What the tests of the page share: asking in a browser and waiting until everything is there."""

from pathlib import Path

import httpx
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
    for card in page.locator(".card:has(.chart)").all():
        expect(card.locator(".chart svg")).to_be_visible(timeout=PATIENCE)


def in_words(label: str, lang: Lang) -> str:
    """What the page says there."""
    return labels.LABELS[label][lang]
