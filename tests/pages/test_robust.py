"""What goes wrong and what readers do: servers restart, browsers keep nothing, impatience, long questions."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsing import ASKED, ROOT, ask, complete, in_words, once_a_language, ready
from playwright.sync_api import Page, Route, expect

from bench.server import free_port
from qa_service.model import Lang, Text

NO_STORE = (
    "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
)


@contextmanager
def a_server(port: int, cache: Path, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`numstab serve` on a port, killed at the end even where an assertion has failed meanwhile."""
    env = os.environ | {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(data), "NUMSTAB_DEADLINE": "30"}
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=quiet, stderr=quiet) as server:
        try:
            deadline = time.monotonic() + 300
            while not ready(f"http://127.0.0.1:{port}"):
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield server
        finally:
            server.kill()  # else leaving the block waits for it


@once_a_language  # it starts two servers of its own
def test_a_server_that_restarts_in_the_middle_of_an_answer(
    visit: Callable[..., Page], lang: Lang, cache: Path, tmp_path: Path
) -> None:
    """The reader is told so, text and question stay, and one button goes on."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with a_server(port, cache, tmp_path) as server:
        page = visit(
            f"/?lang={lang}&entry=loss-surface",
            origin=origin,
            expected="ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION|ERR_EMPTY_RESPONSE",
        )
        expect(page.locator("[data-part=card]").first).to_be_visible()
        server.kill()
        expect(page.locator("[data-part=trouble]")).to_contain_text(in_words("broken", lang))
        expect(page.locator("[data-part=retry]")).to_be_in_viewport(ratio=1)
        assert len(page.locator("[data-part=prose]").inner_text()) > 200
        asked = page.locator("[data-part=asked]").inner_text()
    with a_server(port, cache, tmp_path):
        page.locator("[data-part=retry]").click()
        expect(page.locator("#stop")).to_be_visible()
        complete(page)
        expect(page.locator("[data-part=trouble]")).to_be_hidden()
        expect(page.locator("[data-part=asked]")).to_have_text(asked)
        expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(in_words("holds", lang))


@pytest.mark.parametrize(
    ("status", "label"),
    [(429, "too_often"), *(pytest.param(*each, marks=pytest.mark.exhaustive)
                           for each in ((503, "restarting"), (504, "silent")))],
)  # fmt: skip
def test_what_a_proxy_says_is_said_in_words(visit: Callable[..., Page], lang: Lang, status: int, label: str) -> None:
    page = visit(f"/?lang={lang}", expected="the server responded with a status")
    page.route("**/page/ask", lambda route: route.fulfill(status=status, body="<html>no", content_type="text/html"))
    page.locator("#question").fill(ASKED[lang])
    page.locator("#ask").click()
    expect(page.locator("[data-part=trouble]")).to_contain_text(in_words(label, lang))
    page.unroute("**/page/ask")
    page.locator("[data-part=retry]").click()
    complete(page)
    expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(in_words("holds", lang))


def test_offline_is_said_and_the_question_kept(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}", expected="ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.locator("#question").fill(ASKED[lang])
    page.locator("#ask").click()
    expect(page.locator("[data-part=trouble]")).to_contain_text(in_words("offline", lang))
    page.context.set_offline(False)
    page.locator("[data-part=retry]").click()
    complete(page)
    expect(page.locator("[data-part=asked]")).to_have_text(ASKED[lang])


def test_a_service_that_says_nothing_is_not_waited_for_for_ever(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit("/robots.txt", expected="ERR_FAILED")
    page.clock.install()
    page.goto(f"/?lang={lang}")
    held: list[Route] = []
    page.route("**/page/ask", lambda route: held.append(route))  # noqa: PLW0108  # playwright wants a function
    page.locator("#question").fill(ASKED[lang])
    page.locator("#ask").click()
    expect(page.locator("#status")).to_have_text(in_words("looking", lang))
    page.clock.fast_forward(61_000)
    expect(page.locator("[data-part=trouble]")).to_contain_text(in_words("silent", lang))
    held[0].abort()


def test_a_browser_that_keeps_nothing_can_do_everything_else(visit: Callable[..., Page], lang: Lang) -> None:
    """Private windows may refuse localStorage outright: choices then hold for the page, and nothing is listed."""
    page = visit("/robots.txt")
    page.add_init_script(NO_STORE)
    page.goto(f"/?lang={lang}")
    page.locator("[data-pref=large]").click()
    expect(page.locator("html")).to_have_attribute("data-large", "")
    page.locator("[data-pref=large]").click()
    ask(page, ASKED[lang])
    expect(page.locator("[data-part=card] [data-part=verdict]").first).to_have_text(in_words("holds", lang))
    expect(page.locator("#past")).to_be_hidden()


def test_a_second_click_asks_once_and_another_question_takes_over(visit: Callable[..., Page], lang: Lang) -> None:
    """What is asked while an answer runs goes on from that answer, and the first one stops."""
    page = visit(f"/?lang={lang}")
    page.locator("#examples button", has_text=ASKED[lang]).dblclick()
    expect(page.locator("[data-part=turn] [data-part=prose]")).to_be_visible()
    expect(page.locator("[data-part=turn]")).to_have_count(1)
    ask(page, Text("改成 300 个 0.5 呢？", "What about 300 factors of 0.5?")[lang])
    expect(page.locator("[data-part=turn]")).to_have_count(2)
    expect(page.locator("[data-part=turn]").last.locator("[data-part=parsed] a")).to_have_attribute(
        "href", f"/entries/multiply-vs-add?lang={lang}"
    )
    expect(page.locator("[data-part=turn]").last.locator("[name=n]").first).to_have_value("300")
    page.locator("[data-part=turn]").last.locator("[data-part=run]").first.dblclick()
    cards = page.locator("[data-part=turn]").last.locator("[data-part=card]")
    expect(cards.locator("[data-part=state][data-state=ran]")).to_have_count(cards.count())


def test_a_very_long_question_is_answered_and_survives_a_reload(visit: Callable[..., Page], lang: Lang) -> None:
    """Too long for an address: the browser's history keeps it. On the page it takes eight lines."""
    page = visit(f"/?lang={lang}")
    asked, more = (
        Text("loss 变成 nan 了怎么办？", "Why is my loss nan? ")[lang],
        Text("改学习率之前还好好的。", "It was fine before. "),
    )
    question = asked + more[lang] * 400
    ask(page, question)
    assert len(page.url) < 2000
    assert page.locator("[data-part=asked]").evaluate("heading => heading.offsetHeight") < 320
    page.reload()
    expect(page.locator("[data-part=asked]")).to_have_text(question.strip())
    complete(page)


def test_reload_and_back_in_the_middle_of_an_answer(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}", expected="ERR_ABORTED|network error")
    page.locator("#question").fill(ASKED[lang].replace("100", "150"))
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=turn] [data-part=prose]")).to_be_visible()
    page.reload()
    expect(page.locator("[data-part=asked]")).to_contain_text("150")
    expect(page.locator("[data-part=turn] [data-part=prose]")).to_be_visible()
    page.go_back()
    expect(page.locator("#hero p")).to_be_visible()
    expect(page.locator("[data-part=turn]")).to_have_count(0)
    page.go_forward()
    expect(page.locator("[data-part=asked]")).to_contain_text("150")
    complete(page)


@once_a_language  # an experiment runs twenty times
def test_twenty_seeds_while_another_experiment_runs(visit: Callable[..., Page], lang: Lang) -> None:
    page = visit(f"/?lang={lang}&entry=multiply-vs-add")
    complete(page)
    first, second = page.locator("[data-part=card]").all()[:2]
    first.locator("[data-part=many-seeds]").click()
    second.locator("[data-part=run]").click()
    expect(first.locator("[data-part=claims]")).to_contain_text("20")
    expect(second.locator("[data-part=state][data-state=ran]")).to_be_visible()
    expect(second.locator("[data-part=verdict]").first).to_have_text(in_words("holds", lang))
