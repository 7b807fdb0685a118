"""Charts in a browser: they fill their card, and their text grows with the page's type size."""

from collections.abc import Callable

import pytest
from browsing import TIMEOUT_MS, wait_until_complete
from playwright.sync_api import Page

from qa_service.model import Lang

LABEL_FONT_SIZE = (
    "parseFloat(getComputedStyle(document.querySelector('[data-part=chart] .role-axis-label text')).fontSize)"
)


def wait_until(page: Page, condition: str) -> None:
    """Waits until a function without arguments is true. (`wait_for_function` uses eval, which the policy forbids.)"""
    page.evaluate(f"""async () => {{
      const condition = {condition}, end = performance.now() + {TIMEOUT_MS};
      while (!condition()) {{
        if (performance.now() > end) throw new Error("never true");
        await new Promise(requestAnimationFrame);
      }}
    }}""")


@pytest.mark.parametrize("width", [375, pytest.param(1280, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    "path",
    ["/experiments/loss_surface?lang=zh",
     pytest.param("/experiments/pow_vs_sum?lang=en&n=300", marks=pytest.mark.exhaustive)],
)  # fmt: skip
def test_a_chart_fills_the_width_of_its_card(visit: Callable[..., Page], path: str, width: int) -> None:
    """Line charts and maps both do, also after the window is resized."""
    page = visit(path, viewport={"width": 900, "height": 900})
    wait_until_complete(page)
    page.set_viewport_size({"width": width, "height": 900})
    wait_until(
        page,
        """() => {
      const available = document.querySelector("[data-part=card]").clientWidth;
      const drawn = document.querySelector("[data-part=chart] svg").getBoundingClientRect().width;
      return 0.82 * available < drawn && drawn <= available;
    }""",
    )


@pytest.mark.exhaustive
def test_a_chart_grows_with_the_type_and_keeps_its_marks_at_the_edge(visit: Callable[..., Page], lang: Lang) -> None:
    """Zeros on a logarithmic axis are marked on its lower edge, however high the chart is."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=60&x=0.5&dtype=float16")
    wait_until_complete(page)
    small = page.evaluate(LABEL_FONT_SIZE)
    page.locator("[data-pref=large]").click()
    wait_until(page, f"() => {LABEL_FONT_SIZE} > {1.3 * small}")
    edge = page.locator("[data-part=chart] svg .role-frame > g > path.background").first.bounding_box()
    mark = page.locator("[data-part=chart] svg .mark-symbol.role-mark path").last.bounding_box()
    assert edge is not None
    assert mark is not None
    assert 0 <= edge["y"] + edge["height"] - mark["y"] - mark["height"] < 10
