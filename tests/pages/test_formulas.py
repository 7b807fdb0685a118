"""The font of formulas: small, complete, and loaded with the page."""

import re
from collections.abc import Callable
from html import unescape
from io import BytesIO

import httpx
import pytest
from browsing import wait_until_complete
from fontTools.ttLib import TTFont
from playwright.sync_api import Page

from qa_service.answering.service import Service
from qa_service.fronts.web import markup
from qa_service.fronts.web.math_font import FONT_CHARACTERS
from qa_service.model import LANGS, Lang

FONT_STATUS = "[...document.fonts].filter((face) => face.family.includes('STIX')).map((face) => face.status).join()"


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize("lang", LANGS)
def test_the_math_font_has_every_character_of_the_formulas(service: Service, lang: Lang) -> None:
    """Words in formulas are excepted, as they are set in the text's fonts."""
    used: set[str] = set()
    for entry in service.knowledge.library.values():
        for formula in re.findall(r"<math.*?</math>", markup.markdown_to_html(entry.text(lang)), re.DOTALL):
            used |= {*unescape(re.sub(r"<mtext>[^<]*</mtext>|<[^>]*>", "", formula))}
    assert len(used) > 60
    assert {sign for sign in used if sign not in FONT_CHARACTERS and not "\u2e80" < sign < "\ufff0"} <= {
        "\u2061",
        "\xa0",
    }


def test_the_math_font_is_small_and_has_a_math_table(client: httpx.Client) -> None:
    response = client.get("/static/math.woff")
    assert response.headers["content-type"] == "font/woff"
    assert len(response.content) < 50_000
    font = TTFont(BytesIO(response.content))
    assert font["MATH"].table.MathConstants.SuperscriptShiftUp.Value > 0
    assert {ord(sign) for sign in FONT_CHARACTERS if sign.isprintable()} <= set(font.getBestCmap())


@pytest.mark.parametrize(
    "path",
    ["/?lang=zh&entry=loss-surface", pytest.param("/entries/loss-surface?lang=en", marks=pytest.mark.exhaustive)],
)
def test_a_page_with_formulas_loads_the_math_font(visit: Callable[..., Page], path: str) -> None:
    page = visit(path)
    wait_until_complete(page)
    page.evaluate("document.fonts.ready.then(() => null)")
    assert page.evaluate(FONT_STATUS) == "loaded"


@pytest.mark.exhaustive
def test_a_page_without_formulas_does_not_load_the_math_font(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=en")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(FONT_STATUS) == "unloaded"
