"""What the tests of the page share: asking in a browser and waiting until everything is there."""

from pathlib import Path

from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60_000
ASKED = {"zh": "100 个 1.5 连乘会怎样？", "en": "What happens when 100 factors of 1.5 are multiplied?"}


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
