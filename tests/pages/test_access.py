"""For everyone: axe, telephones, the keyboard."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import complete
from playwright.sync_api import Page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/?lang=zh", "/?lang=en&entry=nan-and-inf", "/entries?lang=zh",
                                  "/entries/float16-precision?lang=en", "/experiments?lang=en",
                                  "/experiments/pow_vs_sum?lang=zh&n=50"])  # fmt: skip
def test_axe_finds_nothing(visit: Callable[..., Page], path: str, scheme: str) -> None:
    """Labels, roles, order of headings, contrast (AA), in both colour schemes."""
    page = visit(path, color_scheme=scheme)
    complete(page)
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("path", ["/?lang=en", "/?lang=zh&entry=float16-precision", "/entries?lang=en",
                                  "/entries/loss-surface?lang=zh", "/experiments?lang=zh",
                                  "/experiments/pow_vs_sum?lang=en&n=50"])  # fmt: skip
def test_a_telephone_shows_the_page_without_scrolling_sideways(visit: Callable[..., Page], path: str) -> None:
    page = visit(path, viewport={"width": 375, "height": 800})
    complete(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
