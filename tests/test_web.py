"""The page in a real browser, and its parts: what a reader sees, in both languages, from our own origin only."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright, Route, expect, sync_playwright

from qa_service.fronts.web import bundle, labels, markup, render
from qa_service.model import LANGS, Lang, Request
from qa_service.service import Service

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60_000
ASKED = {"zh": "100 个 1.5 连乘会怎样？", "en": "What happens when 100 factors of 1.5 are multiplied?"}


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[str]:
    """`numstab serve` as a reader starts it, on a port of its own; yields its address."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    set_ = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(folder / "data"), "NUMSTAB_DEADLINE": "30"}
    command = [sys.executable, "-m", "qa_service", "serve", "--port", str(port)]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, env=os.environ | set_, stdout=log, stderr=log) as server,
    ):
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not ready(address):
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                pytest.fail((folder / "log").read_text())
            time.sleep(0.2)
        yield address
        server.terminate()


def ready(address: str) -> bool:
    """Whether the server says that it has warmed up."""
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; scripts/browser.sh says how to get one."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium")
        pytest.skip("no Chromium; see scripts/browser.sh")
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, live_server: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Opens a page. At the end: no request left our origin, and the console stayed silent but for what is expected."""
    silent, open_ = [], []

    def open_page(path: str, *, expected: str = "nothing", **context: Any) -> Page:
        context = {"viewport": {"width": 1280, "height": 900}, "locale": "zh-CN"} | context
        page = chromium.new_context(base_url=live_server, **context).new_page()
        page.set_default_timeout(PATIENCE)

        def note(what: str) -> None:
            if not re.search(expected, what):
                silent.append(what)

        page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith((live_server, "data:")) else note(sent.url))
        open_.append(page)
        page.goto(path)
        return page

    yield open_page
    keep(open_, request.node.name)
    for page in open_:
        page.context.close()
    assert silent == []


def keep(pages: list[Page], name: str) -> None:
    """Pictures for people, where CI collects them."""
    if (ROOT / "ci-output").is_dir():
        for at, page in enumerate(pages):
            page.screenshot(path=ROOT / "ci-output" / f"{re.sub(r'[^a-z0-9]+', '-', name)}-{at}.png", full_page=True)


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


# What a reader sees


@pytest.mark.parametrize("lang", LANGS)
def test_an_answer_comes_with_its_numbers_its_verdicts_and_a_chart(visit: Callable[..., Page], lang: Lang) -> None:
    """In either language: text with measured numbers, a card per experiment, a verdict in words, a chart as SVG."""
    page = visit(f"/?lang={lang}")
    ask(page, ASKED[lang])
    reply = page.locator(".reply > div")
    expect(reply).to_have_attribute("lang", labels.HTML_LANG[lang])
    expect(reply.locator('.prose [data-of="powers.product"]').first).to_have_text("4.0656×10¹⁷")
    assert "…" not in reply.locator(".prose .measured").all_inner_texts()
    cards = reply.locator(".card")
    expect(cards).to_have_count(2)
    first = cards.first
    expect(first.locator(".verdict")).to_have_text([labels.LABELS["holds"][lang]] * 3)
    expect(first.locator(".against").first).to_contain_text("4.0656×10¹⁷")
    expect(first.locator(".against").first).to_contain_text("> 1×10⁶")
    assert first.locator(".data tbody tr").count() == 100
    expect(page.locator("#status")).to_have_text(labels.LABELS["finished"][lang])
    expect(page.locator("#turns")).not_to_contain_text("undefined")


def test_changed_parameters_are_measured_again_and_the_entrys_can_be_restored(visit: Callable[..., Page]) -> None:
    """Only that card runs; the text follows its numbers; a claim that is no longer visible says so."""
    page = visit("/?lang=en")
    ask(page, ASKED["en"])
    first, second = page.locator(".card").all()
    second.evaluate("element => element.dataset.untouched = element.innerHTML.length")
    first.locator("[name=x]").fill("0.9")
    first.locator(".run").click()
    expect(first.locator(".invisible")).to_contain_text(labels.LABELS["not_visible"].en)
    expect(first.locator(".verdict").first).to_have_text("fails")
    expect(page.locator('.prose [data-of="powers.x"]').first).to_have_text("0.9")
    expect(page.locator('.prose [data-of="powers.product"]').first).to_contain_text("×10⁻⁵")
    assert second.evaluate("element => element.dataset.untouched == element.innerHTML.length")
    first.locator(".restore").click()
    expect(first.locator(".verdict").first).to_have_text("holds")
    expect(first.locator("[name=x]")).to_have_value("1.5")
    expect(first.locator(".invisible")).to_have_count(0)
    expect(first.locator(".chart svg")).to_be_visible()


def test_inf_and_nan_can_be_typed_and_are_shown_as_words(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=zh")
    ask(page, ASKED["zh"])
    card = page.locator(".card").first
    card.locator("[name=x]").fill("nan")
    card.locator("[name=x]").press("Enter")
    expect(card.locator(".against .nan").first).to_have_text("nan")
    expect(card.locator("[name=x]")).to_have_value("nan")
    card.locator("[name=x]").fill("-inf")
    card.locator("[name=x]").press("Enter")
    expect(card.locator(".metrics .inf").first).to_have_text(re.compile("-?inf"))


def test_the_die_rolls_another_seed(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=zh")
    ask(page, ASKED["zh"])
    card = page.locator(".card").last
    before = card.locator("dl.receipt dd").first.text_content()
    card.locator(".die").click()
    expect(card.locator("dl.receipt dd").first).not_to_have_text(str(before))
    assert card.locator("[name=seed]").input_value() == card.locator("dl.receipt dd").first.text_content()


def test_a_refused_parameter_is_marked_and_explained(visit: Callable[..., Page]) -> None:
    """The card keeps what it showed; the service's sentence stands beside the input it is about."""
    page = visit("/?lang=zh", expected="422")
    ask(page, ASKED["zh"])
    card = page.locator(".card").first
    card.locator("[name=n]").fill("0")
    card.locator(".run").click()
    expect(card.locator(".wrong")).to_contain_text("1 到 10000")
    expect(card.locator("[name=n]")).to_have_attribute("aria-invalid", "true")
    expect(card.locator(".verdict").first).to_have_text("成立")


def test_what_is_not_covered_offers_the_nearest_three(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=en")
    ask(page, "What is the capital of France?")
    candidates = page.locator(".candidates button")
    expect(candidates).to_have_count(3)
    expect(page.locator(".card")).to_have_count(0)
    question = candidates.first.inner_text()
    candidates.first.click()
    expect(page.locator(".asked").last).to_have_text(question)
    complete(page)
    assert page.locator(".card").count() > 0


def test_a_follow_up_keeps_the_entry(visit: Callable[..., Page]) -> None:
    """A question that means nothing by itself goes on with the answer before it."""
    page = visit("/?lang=zh")
    ask(page, "200 个 0.9 连乘会怎样？")
    ask(page, "改成 300 个 0.5 呢？")
    turn = page.locator(".turn").last
    expect(turn.locator(".read a")).to_have_attribute("href", re.compile("/entries/multiply-vs-add"))
    expect(turn.locator(".card [name=n]").first).to_have_value("300")


def test_the_switch_keeps_the_question(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=zh")
    ask(page, ASKED["zh"])
    page.locator("#switch").click()
    complete(page)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".asked")).to_have_text(ASKED["zh"])
    expect(page.locator(".card .verdict").first).to_have_text("holds")
    page.goto("/entries/nan-and-inf?lang=zh")
    page.locator("#switch").click()
    expect(page).to_have_url(re.compile(r"/entries/nan-and-inf\?lang=en$"))


def test_stop_ends_the_stream_and_keeps_what_came(visit: Callable[..., Page]) -> None:
    page = visit("/?lang=en&entry=loss-surface")
    expect(page.locator(".card").first).to_be_visible()
    page.locator("#stop").click()
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert len(page.locator(".prose").inner_text()) > 200
    page.locator(".card").first.locator(".run").click()
    expect(page.locator(".card").first.locator(".verdict").first).to_have_text("holds")


def test_an_unreachable_service_is_a_sentence_and_another_try(visit: Callable[..., Page]) -> None:
    """The question stays; the second try answers it."""
    page = visit("/?lang=en", expected="ERR_FAILED")

    def fail(route: Route) -> None:
        route.abort()

    page.route("**/page/ask", fail)
    page.locator("#question").fill(ASKED["en"])
    page.locator("#ask").click()
    trouble = page.locator(".trouble")
    expect(trouble).to_contain_text(labels.LABELS["unreachable"].en)
    expect(page.locator(".asked")).to_have_text(ASKED["en"])
    page.unroute("**/page/ask", fail)
    trouble.get_by_role("button").click()
    complete(page)
    expect(page.locator(".card").first.locator(".verdict").first).to_have_text("holds")
    expect(trouble).to_be_hidden()


def test_an_entrys_page_measures_and_fills_its_text(visit: Callable[..., Page]) -> None:
    page = visit("/entries/multiply-vs-add?lang=en")
    product = page.locator('[data-of="powers.product"]').first
    expect(product).to_have_text("…")
    page.locator("#run-all").click()
    expect(product).to_have_text("4.0656×10¹⁷")
    expect(page.locator(".card").last.locator(".verdict").first).to_have_text("holds")
    assert "…" not in page.locator(".prose .measured").all_inner_texts()


def test_an_entry_can_be_read_without_scripts(visit: Callable[..., Page]) -> None:
    """Question, the lecture's words as the lecture's, answer, claims, source, references, related, phrasings."""
    page = visit("/entries/multiply-vs-add?lang=zh", java_script_enabled=False)
    main = page.locator("main")
    for said in (
        "为什么乘法变加法会让训练更稳定？",
        "讲座答",
        "连乘的结果超过一百万",
        "Deep residual learning",
        "接着看",
    ):
        expect(main).to_contain_text(said)
    expect(main.locator(".phrasings li").first).to_have_text("为什么乘法变加法会让训练更稳定？")
    expect(page.locator("#run-all")).to_be_hidden()
    expect(page.locator(".run").first).to_be_hidden()
    page.locator(".source summary").first.click()
    expect(page.locator(".source pre").first).to_contain_text("def run(")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/?lang=zh", "/?lang=en&entry=nan-and-inf", "/entries?lang=zh",
                                  "/entries/float16-precision?lang=en"])  # fmt: skip
def test_axe_finds_nothing(visit: Callable[..., Page], path: str, scheme: str) -> None:
    """Labels, roles, order of headings, contrast (AA), in both colour schemes."""
    page = visit(path, color_scheme=scheme)
    complete(page)
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("path", ["/?lang=en", "/?lang=zh&entry=float16-precision", "/entries?lang=en",
                                  "/entries/loss-surface?lang=zh"])  # fmt: skip
def test_a_telephone_shows_the_page_without_scrolling_sideways(visit: Callable[..., Page], path: str) -> None:
    page = visit(path, viewport={"width": 375, "height": 800})
    complete(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_the_keyboard_alone_asks(visit: Callable[..., Page]) -> None:
    """Shift+Enter breaks the line, Enter asks; the focus is visible."""
    page = visit("/?lang=en")
    for _ in range(6):
        if page.evaluate("document.activeElement.id") == "question":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("Why is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("my loss nan?")
    page.keyboard.press("Enter")
    complete(page)
    expect(page.locator(".asked")).to_have_text("Why is\nmy loss nan?")


# What the server says


@pytest.fixture(scope="session")
def client(live_server: str) -> Iterator[httpx.Client]:
    """Plain HTTP to the same server."""
    with httpx.Client(base_url=live_server, timeout=60) as http:
        yield http


@pytest.mark.parametrize(
    ("query", "accepts", "lang"),
    [
        ("", "", "zh-CN"),
        ("", "en-GB,en;q=0.9,zh;q=0.5", "en"),
        ("", "fr,zh-TW;q=0.8,en;q=0.5", "zh-CN"),
        ("?lang=en", "zh", "en"),
        ("?lang=zh", "en", "zh-CN"),
    ],
)
def test_the_language_is_asked_for_then_the_browsers_then_chinese(
    client: httpx.Client, query: str, accepts: str, lang: str
) -> None:
    page = client.get(f"/entries{query}", headers={"Accept-Language": accepts})
    assert f'<html lang="{lang}">' in page.text


@pytest.mark.parametrize("path", ["/", "/entries", "/entries/nan-and-inf"])
def test_an_unknown_language_is_refused_in_both(client: httpx.Client, path: str) -> None:
    page = client.get(path, params={"lang": "<script>"})
    assert page.status_code == 422
    assert all(labels.LABELS["bad_lang"][lang] in page.text for lang in LANGS)
    assert "<script>" not in page.text.replace('<script type="application/json"', "")


def test_an_unknown_entry_is_a_page_in_the_readers_language(client: httpx.Client) -> None:
    page = client.get("/entries/<b>nope", params={"lang": "en"})
    assert page.status_code == 404
    assert "There is no" in page.text or "there is no entry" in page.text
    assert "<b>" not in page.text


def test_pages_allow_nothing_from_elsewhere(client: httpx.Client) -> None:
    """The policy forbids inline scripts; no page has one, and no asset names another origin."""
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    for path in ("/", "/entries", "/entries/nan-and-inf"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*(?:src=\"/|application/json))", page)
        assert not re.search(r"\son[a-z]+=|(?:src|href)=\"(?:https?:)?//", page)
    for asset in (ROOT / "qa_service/fronts/web/static").iterdir():
        text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), asset.name


def test_assets_are_those_in_the_folder_and_nothing_else(client: httpx.Client) -> None:
    folder = ROOT / "qa_service/fronts/web/static"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 60_000
    for path in folder.iterdir():
        sent = client.get(f"/static/{path.name}")
        assert sent.content == path.read_bytes()
        again = client.get(f"/static/{path.name}", headers={"If-None-Match": sent.headers["etag"]})
        assert again.status_code == 304
    for path in ("../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "%2fetc%2fpasswd", "nope.js", ""):
        assert client.get(f"/static/{path}").status_code == 404


def test_the_stream_carries_html_beside_what_the_api_sends(client: httpx.Client) -> None:
    """Same events, same errors."""
    body = {"question": "", "entry": "multiply-vs-add", "lang": "en"}
    text = client.post("/page/ask", json=body).text
    names = re.findall(r"^event: (\w+)", text, re.MULTILINE)
    assert names[0] == "answer"
    assert names[-1] == "done"
    assert text.count('"answer_html"') == 2
    refused = client.post("/page/ask", json={"question": "", "lang": "zh"})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert "问题是空的" in refused.json()["detail"]


# The parts


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](https://elsewhere.example/x.png)",
    r"\(\text{<script>alert(1)</script>}\)",
    r"\(\text{&lt;script&gt;alert(1)&lt;/script&gt;}\)",
    r"\(\href{javascript:alert(1)}{x}\)",
    r"$$\text{</math><img src=x onerror=alert(1)>}$$",
    r"\(\frac{<svg onload=alert(1)>\)",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "| <iframe src=//x> |\n|---|\n| <style>*{}</style> |",
    '\ue000measured:a.b\ue001<script>\ue002 \ue000measured:" onclick="x\ue0011\ue002',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_cannot_become_script(text: str) -> None:
    """No element but those we list, no attribute that acts, no address but the web's."""
    html = markup.to_html(text)
    assert not re.search(r"<(?:script|img|svg|iframe|style|/math><img)", html)
    assert not re.search(r"<[^>]*(?:\son\w+=|javascript:)", html)


def test_a_lone_dollar_is_money() -> None:
    html = markup.to_html(r"from $5 to $6, and \(a\le b\)")
    assert html.count("<math") == 1
    assert "$5 to $6" in html


@pytest.mark.parametrize("lang", LANGS)
def test_every_entry_becomes_html_without_leftovers(service: Service, lang: Lang) -> None:
    """No formula, emphasis or placeholder stays as it was written."""
    for entry in service.library.values():
        html = str(render.entry(entry, [], service.lab.experiments, lang)["text"])
        prose = re.sub(r"<pre.*?</pre>", "", html, flags=re.DOTALL)
        assert not re.search(r"\*\*|\\\(|\$\$|\[\[|[\ue000-\ue002]|<code>\\", prose), entry.id


@pytest.mark.parametrize("lang", LANGS)
def test_every_example_has_an_answer_in_its_language(service: Service, lang: Lang) -> None:
    for example in labels.EXAMPLES[lang]:
        answer = service.ask(Request(question=example))
        assert (answer.status.value, answer.lang) == ("answered", lang), example


def test_the_chart_bundle_is_built_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a build that fails leaves nothing behind: the next request builds again."""
    built = []

    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[bytes]:
        built.append(1)
        time.sleep(0.05)
        if len(built) == 1:
            raise subprocess.CalledProcessError(1, "build")
        return subprocess.CompletedProcess([], 0, b"script")

    monkeypatch.setattr(bundle.subprocess, "run", run)
    with pytest.raises(subprocess.CalledProcessError):
        bundle.vega_bundle(tmp_path)
    readers = [threading.Thread(target=bundle.vega_bundle, args=(tmp_path,)) for _ in range(5)]
    with started(readers):
        assert bundle.vega_bundle(tmp_path).read_bytes() == b"script"
    assert len(built) == 2
    assert len(list(tmp_path.iterdir())) == 1


@contextmanager
def started(threads: list[threading.Thread]) -> Iterator[None]:
    """Threads that run meanwhile."""
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def test_two_values_are_put_side_by_side(visit: Callable[..., Page]) -> None:
    """A card for each run, named by what differs, and one table above them; the text keeps the first run's numbers."""
    page = visit("/?lang=zh")
    page.locator("#question").fill("1.01 的 365 次方和 0.99 的 365 次方")
    page.keyboard.press("Enter")
    table = page.locator(".comparison table")
    expect(table.locator("thead")).to_contain_text("x=1.01", timeout=30_000)
    expect(table.locator("thead")).to_contain_text("x=0.99")
    expect(table.locator("tbody tr").first).to_contain_text("37.78")
    expect(page.locator(".card .compared")).to_have_text(["x=1.01", "x=0.99"])
    expect(page.locator(".turn .prose").last).to_contain_text("37.78")
