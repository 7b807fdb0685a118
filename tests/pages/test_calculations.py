"""The page's reply to a question for the value of a formula: the value, a table of formats, a link to the formula's
page.
"""

from collections.abc import Callable

from browsing import PageLook, ask_and_wait, check_accessibility, label_text, short_answer
from playwright.sync_api import Page, expect

from qa_service.model import Text

QUESTION = Text("exp(89) 在 float32 里是多少", "what is exp(89) in float32")
FOLLOW_UP = Text("那 float16 呢", "and in float16?")


def test_a_value_is_shown_in_every_format(visit: Callable[..., Page], look: PageLook) -> None:
    """The reply has the measured numbers and a link to the formula's page; a follow-up asks for another format."""
    page = visit(f"/?lang={look.lang}")
    ask_and_wait(page, QUESTION[look.lang])
    expect(short_answer(page)).to_contain_text("4.489612819×10³⁸")
    rows = page.locator("[data-name=values] tbody tr")
    expect(rows).to_have_count(6)
    expect(rows.filter(has_text="float32")).to_contain_text("inf")
    link = page.get_by_role("link", name=label_text("open_formula", look.lang))
    expect(link).to_have_attribute("href", f"/formula?expression=exp%2889%29&lang={look.lang}")
    check_accessibility(page)
    ask_and_wait(page, FOLLOW_UP[look.lang])
    expect(page.locator("[data-name=short]").last).to_contain_text("65504")
