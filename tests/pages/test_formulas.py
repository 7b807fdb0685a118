"""The font of formulas: small, whole, and on the page before the formula is."""

import re
from collections.abc import Callable
from html import unescape
from io import BytesIO

import httpx
import pytest
from browsing import complete
from fontTools.ttLib import TTFont
from playwright.sync_api import Page

from qa_service.answering.service import Service
from qa_service.fronts.web import markup
from qa_service.fronts.web.math_font import CHARACTERS
from qa_service.model import LANGS, Lang

LOADED = "[...document.fonts].filter((face) => face.family.includes('STIX')).map((face) => face.status).join()"


@pytest.mark.parametrize("lang", LANGS)
def test_no_formula_needs_a_character_that_the_font_lacks(service: Service, lang: Lang) -> None:
    """Words in a formula apart: they are set in the fonts of the text."""
    used: set[str] = set()
    for entry in service.knowledge.library.values():
        for formula in re.findall(r"<math.*?</math>", markup.markdown_to_html(entry.answer[lang]), re.DOTALL):
            used |= {*unescape(re.sub(r"<mtext>[^<]*</mtext>|<[^>]*>", "", formula))}
    assert len(used) > 60
    assert {sign for sign in used if sign not in CHARACTERS and not "\u2e80" < sign < "\ufff0"} <= {"\u2061", "\xa0"}


def test_the_font_is_small_and_has_what_mathematics_needs(client: httpx.Client) -> None:
    answer = client.get("/static/math.woff")
    assert answer.headers["content-type"] == "font/woff"
    assert len(answer.content) < 50_000
    font = TTFont(BytesIO(answer.content))
    assert font["MATH"].table.MathConstants.SuperscriptShiftUp.Value > 0
    assert {ord(sign) for sign in CHARACTERS if sign.isprintable()} <= set(font.getBestCmap())


@pytest.mark.parametrize("path", ["/?lang=zh&entry=loss-surface", "/entries/loss-surface?lang=en"])
def test_formulas_are_set_in_it(visit: Callable[..., Page], path: str) -> None:
    page = visit(path)
    complete(page)
    page.evaluate("document.fonts.ready.then(() => null)")
    assert page.evaluate(LOADED) == "loaded"


def test_a_page_without_formulas_does_not_load_it(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=en")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(LOADED) == "unloaded"
