"""Interactive parts of the page: sliders, guesses, bits, downloads, playgrounds, history, the index."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import QUESTION, ask_and_wait, label_text, quoted_number, short_answer, wait_until_complete
from playwright.sync_api import Page, expect

from qa_service.fronts.web import labels
from qa_service.fronts.web.themes import THEMES
from qa_service.model import Lang, Text

THEME = next(theme.name for theme in THEMES if theme.slug == "initialisation")
QUESTION_TO_EDIT = Text("200 个 0.9 连乘会怎样？", "What happens when 200 factors of 0.9 are multiplied?")


def test_a_slider_runs_the_experiment_again(visit: Callable[..., Page], lang: Lang) -> None:
    """Its scale is logarithmic around the experiment's own value, 100; a new value replaces a running one."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=30")
    card = page.locator("[data-part=card]")
    expect(card.locator("[data-part=chart] svg")).to_be_visible()
    slider = card.locator("input[type=range][data-for=n]")
    assert 300 < int(slider.input_value()) < 450
    slider.fill("1000")
    expect(card.locator("[name=n]")).to_have_value("10000")
    expect(card.locator("[data-part=panel] .inf").first).to_have_text("inf")
    slider.fill("500")
    expect(card.locator("[name=n]")).to_have_value("100")
    expect(card.locator("[data-part=panel] dd").first).to_have_text("4.0656×10¹⁷")


@pytest.mark.exhaustive
def test_the_url_of_a_playground_reproduces_it(visit: Callable[..., Page], lang: Lang) -> None:
    """The URL contains parameters and seed; a reload gives the same numbers to the last digit."""
    page = visit(f"/experiments/init_gain?lang={lang}&layers=7")
    numbers = page.locator("[data-part=card] [data-part=panel] dd")
    expect(page.locator("[data-part=card] [data-part=chart] svg")).to_be_visible()
    page.locator("[data-part=card] [data-part=roll-seed]").click()
    expect(page).to_have_url(re.compile(r"seed=[1-9]"))
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_be_visible()
    shown = numbers.all_inner_texts()
    page.reload()
    expect(page.locator("[data-part=card] [data-part=state][data-state=ran]")).to_be_visible()
    assert numbers.all_inner_texts() == shown
    assert "layers=7" in page.url


def test_users_can_guess_before_they_see_results(visit: Callable[..., Page], lang: Lang) -> None:
    """Measured values are hidden until one of a few numbers is chosen, which is then shown beside them."""
    page = visit(f"/?lang={lang}")
    page.locator("[data-pref=predict]").click()
    expect(page.locator("[data-pref=predict]")).to_have_attribute("aria-pressed", "true")
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.keyboard.press("Enter")
    guess = page.locator("[data-part=guess]")
    expect(guess).to_be_visible()
    card = page.locator("[data-part=card]").first
    expect(card.locator("[data-part=chart]")).to_be_hidden()
    expect(quoted_number(page, "powers.product")).to_have_text("…")
    expect(short_answer(page)).to_be_hidden()
    choices = guess.locator("[data-part=choice]")
    assert "4.1×10¹⁷" in choices.all_inner_texts()
    choice = choices.first.inner_text()
    choices.first.click()
    expect(card.locator("[data-part=guessed]")).to_have_text(label_text("guessed", lang).format(choice, "4.0656×10¹⁷"))
    expect(card.locator("[data-part=chart] svg")).to_be_visible()
    expect(quoted_number(page, "powers.product")).to_have_text("4.07×10¹⁷")
    expect(page.locator("[data-covered]")).to_have_count(0)
    expect(short_answer(page)).to_be_visible()


@pytest.mark.exhaustive
def test_bits_can_be_toggled(visit: Callable[..., Page], lang: Lang) -> None:
    """0.1 is shown in three formats; the sign bit negates it, and a value out of range becomes inf."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&x=0.1&n=20")
    page.locator("details:has([data-part=bits]) summary").click()
    rows = {
        dtype: page.locator(f"[data-part=bits] [data-dtype={dtype}]") for dtype in ("float32", "bfloat16", "float16")
    }
    for dtype, stored in (
        ("float32", "0.10000000149011612"),
        ("bfloat16", "0.10009765625"),
        ("float16", "0.0999755859375"),
    ):
        expect(rows[dtype].locator("output")).to_have_text(stored)
        assert rows[dtype].locator("button").count() == (32 if dtype == "float32" else 16)
    rows["float16"].locator("button").first.click()
    expect(page.locator("[data-part=bits] input")).to_have_value("-0.0999755859375")
    page.locator("[data-part=bits] input").fill("70000")
    expect(rows["float16"].locator("output")).to_have_text("inf")
    expect(rows["bfloat16"].locator("output")).to_have_text("70144")
    page.locator("[data-part=bits] input").fill("nan")
    expect(rows["float32"].locator("output")).to_have_text("nan")


@pytest.mark.exhaustive
def test_charts_and_rows_can_be_downloaded(visit: Callable[..., Page], lang: Lang, tmp_path: Path) -> None:
    """Charts are SVG and PNG, rows CSV with inf as a word."""
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=300")
    expect(page.locator("[data-part=card] [data-part=chart] svg")).to_be_visible()
    saved = {}
    for kind in ("svg", "png", "csv"):
        with page.expect_download() as download:
            page.locator(f"[data-part=save][data-format={kind}]").click()
        download.value.save_as(tmp_path / kind)
        assert download.value.suggested_filename == f"pow_vs_sum.{kind}"
        saved[kind] = (tmp_path / kind).read_bytes()
    assert b"<svg" in saved["svg"]
    assert saved["png"].startswith(b"\x89PNG")
    lines = saved["csv"].decode().splitlines()
    assert lines[0] == "step,product,sum"
    assert lines[-1] == "300,Infinity,450"


def test_a_chart_has_a_text_alternative(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/experiments/pow_vs_sum?lang={lang}&n=300")
    expect(page.locator("[data-part=chart] svg")).to_be_visible()
    alt = page.locator("[data-part=chart]").get_attribute("aria-label")
    assert alt is not None
    assert Text("连乘：从 1.5 到 inf", "product: from 1.5 to inf")[lang] in alt
    assert Text("在第几步 219 处首次为 inf", "first inf at step 219")[lang] in alt


@pytest.mark.exhaustive
def test_code_can_be_copied(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/entries/multiply-vs-add?lang={lang}", permissions=["clipboard-read", "clipboard-write"])
    page.locator("[data-fold=why] > summary").click()
    page.locator("[data-part=prose] [data-part=copy]").first.click()
    expect(page.locator("[data-part=prose] [data-part=copy]").first).to_have_text(label_text("copied", lang))
    assert "class Block(torch.nn.Module)" in page.evaluate("navigator.clipboard.readText()")


def test_thanks_appear_once_feedback_is_stored(visit: Callable[..., Page], lang: Lang) -> None:
    """A rejected submission shows the service's message and keeps what was written."""
    page = visit(f"/?lang={lang}", expected="503", alone=False)
    ask_and_wait(page, QUESTION[lang])
    form = page.locator("[data-part=feedback]")
    page.route(
        "**/api/v1/feedback",
        lambda route: route.fulfill(status=503, body=json.dumps({"detail": "full"}), content_type="application/json"),
    )
    form.locator("[value=no]").click()
    form.locator("textarea").fill("too short")
    form.locator("[type=submit]").click()
    expect(form.locator("output")).to_have_text("full")
    expect(form.locator("textarea")).to_have_value("too short")
    page.unroute("**/api/v1/feedback")
    form.locator("[type=submit]").click()
    expect(form.locator("output")).to_have_text(label_text("thanks", lang))


@pytest.mark.exhaustive
def test_past_questions_are_stored_in_the_browser(visit: Callable[..., Page], lang: Lang, tmp_path: Path) -> None:
    """They are listed, saved as a file with their answers, and cleared on request."""
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    follow_up = Text("改成 0.9 呢？", "and with 0.9?")[lang]
    ask_and_wait(page, follow_up)
    page.goto(f"/?lang={lang}")
    page.locator("[data-part=past] summary").click()
    expect(page.locator("[data-part=past] li")).to_have_text([follow_up, QUESTION[lang]])
    with page.expect_download() as download:
        page.locator("[data-part=past-export]").click()
    download.value.save_as(tmp_path / "past.md")
    assert "4.07×10¹⁷" in (tmp_path / "past.md").read_text("utf-8")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("[data-part=past-clear]").click()
    expect(page.locator("[data-part=past]")).to_be_hidden()


@pytest.mark.exhaustive
def test_back_and_forward_scroll_to_the_turns(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION[lang])
    ask_and_wait(page, Text("改成 300 个 0.5 呢？", "What about 300 factors of 0.5?")[lang])
    assert "0.5" in page.url
    page.go_back()
    assert "1.5" in page.url
    expect(page.locator("[data-part=asked]").first).to_be_in_viewport()
    page.go_forward()
    expect(page.locator("[data-part=asked]").last).to_be_in_viewport()


@pytest.mark.exhaustive
def test_a_question_can_be_edited_and_asked_again(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}")
    ask_and_wait(page, QUESTION_TO_EDIT[lang])
    page.locator("[data-part=edit]").click()
    expect(page.locator("[data-part=question]")).to_have_value(QUESTION_TO_EDIT[lang])
    page.locator("[data-part=question]").fill(QUESTION_TO_EDIT[lang].replace("200", "20"))
    page.keyboard.press("Enter")
    wait_until_complete(page)
    expect(page.locator("[data-part=turn]").last.locator("[data-part=card] [name=n]").first).to_have_value("20")


@pytest.mark.exhaustive
def test_large_type_is_remembered(visit: Callable[..., Page], lang: Lang) -> None:
    """Everything still fits: navigation, long file names, tables of numbers."""
    page = visit(f"/entries?lang={lang}")
    small = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    page.locator("[data-pref=large]").click()
    for path in ("/entries", "/entries/multiply-vs-add", "/experiments/pow_vs_sum"):
        page.goto(f"{path}?lang={lang}")
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") > 1.3 * small
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("[data-fold=metrics] summary").click()
    assert page.locator("[data-part=metrics]").evaluate("table => table.getBoundingClientRect().right <= innerWidth")


@pytest.mark.exhaustive
def test_the_search_of_the_index_is_kept(visit: Callable[..., Page], lang: Lang) -> None:
    """A reload and the other language show the same search and theme."""
    page = visit(f"/entries?lang={lang}")
    page.locator("[data-part=search-box]").fill("relu")
    page.locator("[data-part=theme]", has_text=THEME[lang]).click()
    shown = page.locator("[data-part=found] li:not([data-item]):visible")
    before = shown.count()
    assert before > 0
    page.reload()
    expect(page.locator("[data-part=search-box]")).to_have_value("relu")
    expect(page.locator("[data-part=theme][aria-current=true]")).to_have_text(THEME[lang])
    assert shown.count() == before
    page.locator("[data-part=language-switch]").click()
    other: Lang = "en" if lang == "zh" else "zh"
    expect(page.locator("html")).to_have_attribute("lang", labels.HTML_LANG[other])
    expect(page.locator("[data-part=search-box]")).to_have_value("relu")
    expect(page.locator("[data-part=theme][aria-current=true]")).to_have_text(THEME[other])


def test_the_index_can_be_searched_and_filtered_by_theme(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/entries?lang={lang}")
    shown = page.locator("[data-part=found] li:not([data-item]):visible")
    total = page.locator("[data-part=found] li:not([data-item])").count()
    page.locator("[data-part=search-box]").fill(Text("残差", "residual")[lang])
    expect(page.locator('[data-part=found] a[href^="/entries/multiply-vs-add"]')).to_be_visible()
    assert 0 < shown.count() < total
    page.goto("/entries?lang=zh&find=relu")  # only expansions of the last item match; its question stays above them
    expect(page.locator("[data-item]:visible").last.locator("[data-part=index] a")).to_be_visible()
    page.goto(f"/entries?lang={lang}")
    page.locator("[data-part=search-box]").fill(Text("鸭嘴兽", "platypus")[lang])
    expect(page.locator("[data-part=nothing]")).to_be_visible()
    page.locator("[data-part=search-box]").fill("bf16")  # many phrasings of other entries name it too
    expect(page.locator("[data-part=found] details li:visible").first).to_contain_text(re.compile("bf16|bfloat16"))
    page.locator("[data-part=search-box]").fill("")
    expect(page.locator("[data-item]").first).to_have_attribute("data-item", "1")
    page.locator("[data-part=theme]", has_text=THEME[lang]).click()
    expect(page.locator('[data-part=found] a[href^="/entries/best-init"]')).to_be_visible()
    expect(page.locator('[data-part=found] a[href^="/entries/loss-surface"]')).to_be_hidden()
