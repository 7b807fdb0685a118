"""The card of an entry: a picture of 1200 × 630 pixels for link previews, with its question and its proof.

`draw_card` is to be called in a process of its own, because the drawing library holds the GIL for a second.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import Any

from qa_service.presentation.picture import CHART_FONT, SERIES_COLOURS, to_svg

CARD_WIDTH, CARD_HEIGHT = 1200, 630
EXIT_NO_FONT = 3
"""Exit status of the drawing process if no font has Chinese characters."""
_INK, _MUTED, _LINE = "#171c22", "#5b636c", "#e2dfd8"
_LEFT, _TEXT_WIDTH = 56, 470
_CHART_X, _CHART_Y, _CHART_WIDTH, _CHART_HEIGHT = 560, 110, 600, 430
_SUPERSCRIPTS = re.compile("[⁻⁰¹²³⁴-⁹]+")
_OPENING_BRACKETS, _CLOSING = "（“‘《〔", "，。；：！？、）”’》〕"


def card_svg(question: str, sentence: str, verdicts: Sequence[tuple[str, str]], chart: str) -> str:
    """The card as SVG. `verdicts` are (✓ or another sign, claim), of which two are shown; `chart` is an SVG or ""."""
    text: list[str] = []
    y = 176
    for size, weight, colour, words, most in ((38, 700, _INK, question, 4), (24, 400, _MUTED, sentence, 8)):
        room = (CARD_HEIGHT - 30 - y) // round(1.34 * size)
        for line in wrap_lines(words, _TEXT_WIDTH / size, min(most, room)):
            text.append(_line(_LEFT, y, line, size, weight, colour))
            y += round(1.34 * size)
        y += 18
    y = max(y, 470)
    for sign, claim in verdicts[:2]:
        lines = wrap_lines(f"{sign} {claim}", _TEXT_WIDTH / 22, 2)
        if y + 30 * len(lines) > CARD_HEIGHT - 24:
            break
        for each in lines:
            text.append(_line(_LEFT, y, each, 22, 600, "#14633a" if sign == "✓" else "#a02a1a"))
            y += 30
    brand = _line(_LEFT, 92, "numstab", 34, 700, SERIES_COLOURS[0])
    frame = f'<rect width="{CARD_WIDTH}" height="{CARD_HEIGHT}" fill="#fff"/>'
    frame += f'<rect width="{CARD_WIDTH}" height="12" fill="{SERIES_COLOURS[0]}"/>'
    extent = f'width="{CARD_WIDTH}" height="{CARD_HEIGHT}" viewBox="0 0 {CARD_WIDTH} {CARD_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {extent}>{frame}{brand}{"".join(text)}{_place_chart(chart)}</svg>'


def draw_card(job: bytes) -> bytes:
    """The PNG of a card, from JSON: question, sentence, verdicts, spec (a `static_spec` or null), lang.

    Raises `SystemExit` with `EXIT_NO_FONT` for a Chinese card if no font has its characters.
    """
    import vl_convert

    asked: dict[str, Any] = json.loads(job)
    if asked["lang"] == "zh" and not has_chinese_font():
        raise SystemExit(EXIT_NO_FONT)
    chart = to_svg(asked["spec"]) if asked["spec"] else ""
    verdicts = [(sign, claim) for sign, claim in asked["verdicts"]]
    svg = card_svg(asked["question"], asked["sentence"], verdicts, chart)
    png: bytes = vl_convert.svg_to_png(svg, scale=1)
    return png


def has_chinese_font() -> bool:
    """Whether a font has Chinese characters: without one, two different characters are drawn as the same box."""
    import vl_convert

    first, second = (vl_convert.svg_to_png(card_svg(each, "", (), ""), scale=0.1) for each in ("数", "图"))
    return bool(first != second)


def wrap_lines(text: str, width: float, most: int) -> list[str]:
    """The text broken into at most `most` lines that are at most `width` wide, in ems; an ellipsis ends a cut text.

    Chinese is broken between any two characters, but not before closing or after opening punctuation.
    """
    words = re.findall(
        rf"[{_OPENING_BRACKETS}]*[\u2e80-\u9fff\uff00-\uffef][{_CLOSING}]*\s?|[^\s\u2e80-\u9fff]+\s?", text
    )
    lines: list[str] = [""]
    for word in words:
        if lines[-1] and width_in_ems(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1].rstrip(_CLOSING + ".,;: ") + "…"]
    return lines


def width_in_ems(text: str) -> float:
    """The approximate width of a text in ems: 1 for a Chinese character, 0.53 for others."""
    return sum(1.0 if unicodedata.east_asian_width(each) in "WF" else 0.53 for each in text)


def _line(x: int, y: int, text: str, size: int, weight: int, colour: str) -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{colour}"'
    raised = _SUPERSCRIPTS.sub(lambda found: _superscript(found[0]), escape(text))
    return f'<text x="{x}" y="{y}" font-family="{escape(CHART_FONT)}" {style}>{raised}</text>'


def _superscript(digits: str) -> str:
    """Superscript digits as raised ordinary ones, as the font may lack the superscript characters."""
    plain = digits.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "−0123456789"))
    return f'<tspan baseline-shift="super" font-size="65%">{plain}</tspan>'


def _place_chart(chart: str) -> str:
    """The chart, scaled to its place in the card; "" for no chart."""
    if not chart:
        return ""
    head, _, inside = chart.partition(">")
    view = re.search(r'viewBox="([^"]+)"', head)
    place = f'x="{_CHART_X}" y="{_CHART_Y}" width="{_CHART_WIDTH}" height="{_CHART_HEIGHT}"'
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {links} {place} viewBox="{view[1] if view else "0 0 600 430"}">{inside}'
