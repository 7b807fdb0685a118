"""Failures and unusual use: restarts, proxies, offline, no storage, double clicks, long questions."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import (
    QUESTION,
    ask_and_wait,
    label_text,
    one_look_per_language,
    short_answer,
    unfold,
    wait_until_complete,
)
from playwright.sync_api import Page, Route, expect
from processes import numstab_server

from bench.server import free_port
from qa_service.model import Lang, Text

NO_LOCAL_STORAGE = (
    "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
)


@pytest.mark.exhaustive
@one_look_per_language  # it starts two servers of its own
def test_a_restart_in_the_middle_of_an_answer_is_reported(
    visit: Callable[..., Page], lang: Lang, cache: Path, tmp_path: Path
) -> None:
    """Text and question stay, and the retry button continues."""
    port = free_port()
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "30"}
    with numstab_server(env, tmp_path / "log", port=port) as (origin, server):
        page = visit(
            f"/?lang={lang}&entry=loss-surface",
            origin=origin,
            expected="ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION|ERR_EMPTY_RESPONSE",
        )
        expect(page.locator("[data-part=card]").first).to_be_visible()
        server.kill()
        expect(page.locator("[data-part=trouble]")).to_contain_text(label_text("broken", lang))
        expect(page.locator("[data-part=retry]")).to_be_in_viewport(ratio=1)
        assert len(short_answer(page).inner_text()) > 15
        question = page.locator("[data-part=asked]").inner_text()
    with numstab_server(env, tmp_path / "log", port=port):
        page.locator("[data-part=retry]").click()
        expect(page.locator("[data-part=stop]")).to_be_visible()
        wait_until_complete(page)
        expect(page.locator("[data-part=trouble]")).to_be_hidden()
        expect(page.locator("[data-part=asked]")).to_have_text(question)
        expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(label_text("holds", lang))


@pytest.mark.parametrize(
    ("status", "label"),
    [(429, "too_often"), *(pytest.param(*each, marks=pytest.mark.exhaustive)
                           for each in ((503, "restarting"), (504, "silent")))],
)  # fmt: skip
def test_errors_of_a_proxy_are_explained(visit: Callable[..., Page], lang: Lang, status: int, label: str) -> None:
    page = visit(f"/?lang={lang}", expected="the server responded with a status", alone=False)
    page.route("**/page/ask", lambda route: route.fulfill(status=status, body="<html>no", content_type="text/html"))
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.locator("[data-part=ask]").click()
    expect(page.locator("[data-part=trouble]")).to_contain_text(label_text(label, lang))
    page.unroute("**/page/ask")
    page.locator("[data-part=retry]").click()
    wait_until_complete(page)
    expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(label_text("holds", lang))


@pytest.mark.exhaustive
def test_being_offline_is_reported_and_the_question_kept(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}", expected="ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.locator("[data-part=ask]").click()
    expect(page.locator("[data-part=trouble]")).to_contain_text(label_text("offline", lang))
    page.context.set_offline(False)
    page.locator("[data-part=retry]").click()
    wait_until_complete(page)
    expect(page.locator("[data-part=asked]")).to_have_text(QUESTION[lang])


@pytest.mark.exhaustive
def test_a_service_that_does_not_respond_times_out(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED")
    page.clock.install()
    page.goto(f"/?lang={lang}")
    pending: list[Route] = []
    page.route("**/page/ask", lambda route: pending.append(route))  # noqa: PLW0108  # playwright wants a function
    page.locator("[data-part=question]").fill(QUESTION[lang])
    page.locator("[data-part=ask]").click()
    expect(page.locator("[data-part=status]")).to_have_text(label_text("looking", lang))
    page.clock.fast_forward(61_000)
    expect(page.locator("[data-part=trouble]")).to_contain_text(label_text("silent", lang))
    pending[0].abort()


@pytest.mark.exhaustive
def test_the_page_works_without_local_storage(visit: Callable[..., Page], lang: Lang) -> None:
    """Where storage is denied, as in some private windows, preferences last as long as the page and no history is
    listed.
    """
    page = visit("/robots.txt")
    page.add_init_script(NO_LOCAL_STORAGE)
    page.goto(f"/?lang={lang}")
    page.locator("[data-pref=large]").click()
    expect(page.locator("html")).to_have_attribute("data-large", "")
    page.locator("[data-pref=large]").click()
    ask_and_wait(page, QUESTION[lang])
    expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(label_text("holds", lang))
    expect(page.locator("[data-part=past]")).to_be_hidden()


@pytest.mark.exhaustive
def test_a_double_click_asks_once_and_a_new_question_replaces_the_running_one(
    visit: Callable[..., Page], lang: Lang
) -> None:
    """The new question follows up on the running answer, which is stopped."""
    page = visit(f"/?lang={lang}")
    page.locator("[data-part=examples] button", has_text=QUESTION[lang]).dblclick()
    expect(short_answer(page)).to_be_visible()
    expect(page.locator("[data-part=turn]")).to_have_count(1)
    ask_and_wait(page, Text("改成 300 个 0.5 呢？", "What about 300 factors of 0.5?")[lang])
    expect(page.locator("[data-part=turn]")).to_have_count(2)
    expect(page.locator("[data-part=turn]").last.locator("[data-part=parsed] a")).to_have_attribute(
        "href", f"/entries/multiply-vs-add?lang={lang}"
    )
    expect(page.locator("[data-part=turn]").last.locator("[name=n]").first).to_have_value("300")
    unfold(page.locator("[data-part=turn]").last.locator("[data-part=card]").first)
    page.locator("[data-part=turn]").last.locator("[data-part=run]").first.dblclick()
    cards = page.locator("[data-part=turn]").last.locator("[data-part=card]")
    expect(cards.locator("[data-part=state][data-state=ran]")).to_have_count(cards.count())


@pytest.mark.exhaustive
def test_a_very_long_question_is_answered_and_survives_a_reload(visit: Callable[..., Page], lang: Lang) -> None:
    """It is too long for a URL and kept in the browser's history; the page shows eight lines of it."""
    page = visit(f"/?lang={lang}")
    start, filler = (
        Text("loss 变成 nan 了怎么办？", "Why is my loss nan? ")[lang],
        Text("改学习率之前还好好的。", "It was fine before. "),
    )
    question = start + filler[lang] * 400
    ask_and_wait(page, question)
    assert len(page.url) < 2000
    assert page.locator("[data-part=asked]").evaluate("heading => heading.offsetHeight") < 320
    page.reload()
    expect(page.locator("[data-part=asked]")).to_have_text(question.strip())
    wait_until_complete(page)


def test_reload_and_back_in_the_middle_of_an_answer(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}", expected="ERR_ABORTED|network error")
    page.locator("[data-part=question]").fill(QUESTION[lang].replace("100", "150"))
    page.keyboard.press("Enter")
    expect(short_answer(page)).to_be_visible()
    page.reload()
    expect(page.locator("[data-part=asked]")).to_contain_text("150")
    expect(short_answer(page)).to_be_visible()
    page.go_back()
    expect(page.get_by_text(label_text("about", lang))).to_be_visible()
    expect(page.locator("[data-part=turn]")).to_have_count(0)
    page.go_forward()
    expect(page.locator("[data-part=asked]")).to_contain_text("150")
    wait_until_complete(page)


@pytest.mark.exhaustive
@one_look_per_language  # an experiment runs twenty times
def test_twenty_seeds_while_another_experiment_runs(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}&entry=gradient-overflow-skipping-step")
    wait_until_complete(page)
    first = page.locator("[data-part=card][data-block=healthy]")  # draws random numbers
    second = page.locator("[data-part=card][data-block=sick]")
    unfold(first)
    unfold(second)
    first.locator("[data-part=many-seeds]").click()
    second.locator("[data-part=run]").click()
    expect(first.locator("[data-part=claims]")).to_contain_text("20")
    expect(second.locator("[data-part=state][data-state=ran]")).to_be_visible()
    expect(second.locator("[data-part=verdict]").first).to_have_text(label_text("holds", lang))
