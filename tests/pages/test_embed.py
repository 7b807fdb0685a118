"""An entry on pages of other sites: in a frame, as oEmbed, as the picture of a link."""

import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import httpx
import pytest
from browsing import TIMEOUT_MS, check_contrast, label_text
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, FrameLocator, Page, expect
from processes import TIMEOUT_SECONDS

from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.errors import BadField
from qa_service.fronts.web import link_previews
from qa_service.model import Lang
from qa_service.presentation.card import CARD_HEIGHT, CARD_WIDTH, draw_card, wrap_lines
from qa_service.server.api_keys import ApiKeyStore
from qa_service.settings import Settings

ENTRY = "multiply-vs-add"
TITLE = {
    "zh": "为什么乘法变加法会让训练更稳定？",
    "en": "Why does turning multiplication into addition make training more stable?",
}
BLOG = """<!doctype html><html lang="{lang}"><title>A blog</title><h1>A blog</h1>
<numstab-answer entry="multiply-vs-add" params="n={n}&amp;x=2" lang="{lang}">
<a href="{server}/entries/multiply-vs-add">link</a></numstab-answer>
<script src="{server}/embed.js" async></script>
<script>
  window.heights = [];
  addEventListener("message", ({{ origin, data }}) => heights.push([origin, data]));
</script>"""
FORGED = """
document.querySelector("iframe").dataset.before = document.querySelector("iframe").style.height;
postMessage({ numstab: 1, height: 7777 }, "*");
"""


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """(folder, address) of a site of another origin, which serves the folder's files."""
    folder = tmp_path_factory.mktemp("blog")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def open_blog(chromium: Browser, blog: tuple[Path, str]) -> Iterator[Callable[..., Page]]:
    """A function that opens a page of the blog, in a language, which embeds an entry of a server."""
    pages = []

    def open_page(server: str, lang: Lang, n: int = 20, origin: str = "", **context: object) -> Page:
        (blog[0] / f"{lang}.html").write_text(BLOG.format(lang=lang, server=server, n=n), "utf-8")
        page = chromium.new_context(viewport={"width": 800, "height": 1200}, **context).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        pages.append(page)
        page.goto(f"{origin or blog[1]}/{lang}.html")
        return page

    yield open_page
    for page in pages:
        page.context.close()


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("numstab-answer iframe")


@pytest.mark.sampled(one_in=2)
@pytest.mark.server
@pytest.mark.parametrize(("lang", "scheme"), [("zh", "dark"), ("en", "light")])
def test_a_page_of_another_site_shows_an_entry_which_runs_when_asked(
    open_blog: Callable[..., Page], live_server: str, lang: Lang, scheme: str
) -> None:
    """Nothing runs before the click; the frame is as high as its content, ignores other pages' messages, and sets no
    cookie.
    """
    n = {"zh": 20, "en": 21}[lang]  # that nobody has run before
    page = open_blog(live_server, lang, n, color_scheme=scheme)
    frame = frame_of(page)
    expect(frame.locator("h1")).to_have_text(TITLE[lang])
    expect(frame.locator("nav")).to_have_count(0)
    expect(frame.locator("[data-part=controls] input[name=n]")).to_have_value(str(n))
    product = frame.locator('[data-name=short] [data-of="powers.product"]').first
    page.wait_for_load_state("networkidle")  # before its scripts are loaded a click has no effect
    frame.locator("[data-part=run]").click()
    expect(product).to_have_text({20: "1.05×10⁶", 21: "2.1×10⁶"}[n])
    expect(frame.locator("[data-part=chart] svg")).to_be_visible()
    expect(frame.locator("[data-part=verdict]").first).to_have_text(label_text("holds", lang))
    inside = frame.locator("body").evaluate("body => Math.ceil(body.getBoundingClientRect().height)")
    expect(page.locator("iframe")).to_have_css("height", f"{inside}px")
    messages = page.evaluate("heights")
    assert messages
    assert {origin for origin, _ in messages} == {live_server}
    page.evaluate(FORGED)
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    assert page.evaluate("document.querySelector('iframe').style.height !== '7777px'")
    assert page.context.cookies() == []
    frame.locator("body").evaluate("() => null")
    inner = next(each for each in page.frames if "/embed/" in each.url)
    assert inner.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    target = frame.locator("h1 a").evaluate("link => [link.href, link.target || document.querySelector('base').target]")
    assert target[1] == "_blank"
    assert f"/e/{ENTRY}?n={n}&x=2" in target[0]


@pytest.mark.server
def test_the_frame_shows_what_was_measured_before(open_blog: Callable[..., Page], live_server: str) -> None:
    """The next visitor sees numbers, verdicts and the chart of the previous run without starting one."""
    httpx.post(
        f"{live_server}/api/v1/ask",
        json={"question": "", "entry": ENTRY, "params": {"n": 20, "x": 2}},
        timeout=120,
    ).raise_for_status()
    page = open_blog(live_server, "en")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    frame = frame_of(page)
    expect(frame.locator("[data-part=chart] svg")).to_be_visible()
    expect(frame.locator('[data-name=short] [data-of="powers.product"]').first).to_have_text("1.05×10⁶")
    assert not [url for url in asked if "/page/" in url]


@pytest.mark.server
def test_a_site_that_is_not_listed_shows_nothing(
    open_blog: Callable[..., Page], live_server: str, blog: tuple[Path, str]
) -> None:
    """The browser refuses to show the frame: `localhost` is another origin than 127.0.0.1."""
    page = open_blog(live_server, "en", origin=blog[1].replace("127.0.0.1", "localhost"))
    with page.expect_console_message(lambda entry: "frame-ancestors" in entry.text):
        page.reload()
    expect(frame_of(page).locator("[data-part=entry]")).to_have_count(0)


@pytest.mark.sampled(one_in=2)
@pytest.mark.server
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_without_scripts_the_text_and_the_link_are_there(
    chromium: Browser, live_server: str, open_blog: Callable[..., Page], lang: Lang
) -> None:
    page = open_blog(live_server, lang, java_script_enabled=False)
    expect(page.get_by_role("link", name="link")).to_be_visible()
    page.goto(f"{live_server}/embed/entries/{ENTRY}?lang={lang}")
    expect(page.get_by_role("heading", level=1)).to_have_text(TITLE[lang])
    expect(page.locator("[data-name=do]")).to_be_visible()
    expect(page.locator("[data-part=run]")).to_be_hidden()


@pytest.mark.sampled(one_in=4)
@pytest.mark.server
@pytest.mark.parametrize(("lang", "scheme"), [("zh", "dark"), ("en", "light"), ("zh", "light"), ("en", "dark")])
def test_the_frame_is_accessible(
    chromium: Browser, live_server: str, check_page: Callable[[Page], None], lang: Lang, scheme: str
) -> None:
    """Checked before and after the run."""
    context = chromium.new_context(viewport={"width": 640, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{live_server}/embed/entries/{ENTRY}?lang={lang}&n={30 + 2 * (lang == 'en') + (scheme == 'dark')}")
    check_page(page)
    page.locator("[data-part=run]").click()
    expect(page.locator("[data-part=chart] svg")).to_be_visible()
    check_page(page)
    check_contrast(page)
    context.close()


@pytest.fixture
def check_page() -> Callable[[Page], None]:
    """Checks accessibility by axe and the layout, as for every page."""
    from browsing import check_accessibility

    return check_accessibility


class Head(HTMLParser):
    """Parses the meta properties and links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.meta: dict[str, str] = {}
        self.oembed: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and "property" in values:
            self.meta[values["property"]] = values["content"]
        if tag == "link" and values.get("type") == "application/json+oembed":
            self.oembed.append(values["href"])


@pytest.fixture
def client(service: Service, tmp_path: Path, settings: Settings) -> Callable[..., TestClient]:
    """A function that makes a client of the shipped service with settings."""

    def make(embed: str = "https://blog.example", *, public: bool = True) -> TestClient:
        own = Settings(data=tmp_path, cache=settings.cache, embed=embed)
        return TestClient(
            create_app(service, own, is_public=public), base_url="http://localhost", follow_redirects=False
        )

    return make


def test_only_listed_origins_may_frame_and_only_these_pages(client: Callable[..., TestClient]) -> None:
    """Apart from frame-ancestors, the security policy is as strict as that of every page."""
    listed = client("https://blog.example, https://*.school.example:8443")
    reply = listed.get(f"/embed/entries/{ENTRY}?lang=en")
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "frame-ancestors https://blog.example https://*.school.example:8443" in policy
    page = listed.get(f"/entries/{ENTRY}").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page
    assert policy.partition("frame-ancestors")[0] == page.partition("frame-ancestors")[0]
    assert reply.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "set-cookie" not in reply.headers
    assert "frame-ancestors *" in client("*").get(f"/embed/entries/{ENTRY}").headers["content-security-policy"]


@pytest.mark.parametrize(("lang", "reason"), [("zh", "NUMSTAB_EMBED"), ("en", "does not let pages of other sites")])
def test_nobody_may_frame_by_default(client: Callable[..., TestClient], lang: Lang, reason: str) -> None:
    """The page explains this; oEmbed is not available, and no page links to it."""
    reply = client("").get(f"/embed/entries/{ENTRY}?lang={lang}")
    assert reply.status_code == 403
    assert reason in reply.text
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert client("").get("/oembed", params={"url": f"http://localhost/entries/{ENTRY}"}).status_code == 404
    assert Head(client("").get(f"/entries/{ENTRY}").text).oembed == []


def test_a_frame_takes_no_key_and_makes_no_cookie(client: Callable[..., TestClient], tmp_path: Path) -> None:
    secret = ApiKeyStore(tmp_path).add("class", ("ask",))
    closed = client(public=False)
    assert closed.get(f"/embed/entries/{ENTRY}").status_code == 401
    reply = closed.get(f"/embed/entries/{ENTRY}?key={secret}")
    assert reply.status_code == 403
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("path", ["nothing-such", f"{ENTRY}?n=-1", f"{ENTRY}?seed=x", f"{ENTRY}?nope=1"])
def test_a_frame_of_nothing_is_an_error_page(client: Callable[..., TestClient], path: str) -> None:
    """The frame of an unknown entry or with invalid parameters is an error that no site may frame."""
    reply = client().get(f"/embed/entries/{path}")
    assert reply.status_code in (404, 422)
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "origins", ["blog.example", "https://a.example; script-src *", "https://a b", "'self'", "https://x/path"]
)
def test_an_origin_that_is_none_is_refused(origins: str) -> None:
    """A malformed origin in the settings is refused, as it would be copied into a header."""
    with pytest.raises(BadField, match="NUMSTAB_EMBED"):
        Settings(embed=origins)


def test_any_site_may_load_the_script(client: Callable[..., TestClient]) -> None:
    reply = client("").get("/embed.js")
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["cross-origin-resource-policy"] == "cross-origin"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert len(reply.content) <= 5 * 1024


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_entry_page_leads_to_its_oembed_and_its_card(client: Callable[..., TestClient], lang: Lang) -> None:
    """The links are elements within the first 150 KB of the page, as consumers read no more."""
    web = client()
    reply = web.get(f"/entries/{ENTRY}?lang={lang}")
    head = Head(reply.text[:150_000])
    assert head.meta["og:title"] == TITLE[lang]
    assert head.meta["og:url"] == f"http://localhost/entries/{ENTRY}?lang={lang}"
    assert head.meta["og:image"] == f"http://localhost/entries/{ENTRY}/card.png?lang={lang}"
    assert head.meta["og:description"]
    assert reply.headers["cache-control"] == "private", "it quotes the host"
    (link,) = head.oembed
    found = web.get(link).json()
    assert found["title"] == TITLE[lang]


def test_oembed_is_as_its_specification_has_it(client: Callable[..., TestClient]) -> None:
    """Type rich, version 1.0, a frame within maxwidth and maxheight, and a thumbnail only where it fits within them."""
    web = client()

    def ask(url: str, **query: object) -> httpx.Response:
        return web.get("/oembed", params={"url": url, **query})

    reply = ask(f"http://localhost/e/{ENTRY}?n=20&x=2&lang=zh&compare=dtype&seeds=3")
    assert reply.headers["content-type"] == "application/json"
    found = reply.json()
    assert (found["version"], found["type"], found["title"]) == ("1.0", "rich", TITLE["zh"])
    assert f'src="http://localhost/embed/entries/{ENTRY}?n=20&amp;x=2&amp;lang=zh"' in found["html"]
    assert (found["thumbnail_width"], found["thumbnail_height"]) == (CARD_WIDTH, CARD_HEIGHT)
    assert web.get(found["html"].partition('src="')[2].partition('"')[0].replace("&amp;", "&")).status_code == 200
    small = ask(f"http://localhost/entries/{ENTRY}", maxwidth=400, maxheight=300, format="json").json()
    assert (small["width"], small["height"]) == (400, 300)
    assert 'width="400" height="300"' in small["html"]
    assert not [name for name in small if name.startswith("thumbnail")]
    assert ask(f"http://localhost/entries/{ENTRY}", format="xml").status_code == 501
    assert ask(f"http://localhost/entries/{ENTRY}", maxwidth="wide").status_code == 422
    for url in ("", "http://localhost/entries", "http://localhost/entries/nothing-such", "//localhost/entries/x",
                f"http://evil.example/entries/{ENTRY}", f"javascript:/entries/{ENTRY}", "http://[",
                f"http://localhost/entries/{ENTRY}?n=-1"):  # fmt: skip
        assert ask(url).status_code == 404, url


def png_size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_the_card_is_a_picture_of_fixed_size_that_is_drawn_once(
    client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_previews, "DRAW_SECONDS", 240)  # a machine under load is no failure
    web = client("")
    first = web.get(f"/entries/{ENTRY}/card.png?lang=en")
    assert first.status_code == 200
    assert first.headers["content-type"] == "image/png"
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    assert png_size(first.content) == (CARD_WIDTH, CARD_HEIGHT)
    assert len(first.content) < 300_000
    monkeypatch.setattr(link_previews, "draw_in_subprocess", None)
    again = web.get(f"/entries/{ENTRY}/card.png?lang=en", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert web.get("/entries/nothing-such/card.png").status_code == 404


@pytest.mark.exhaustive
@pytest.mark.parametrize("entry", ["gradients-explode", "loss-landscape-of-resnets", "how-it-starts-nan"])
def test_cards_of_other_charts_have_the_same_size(client: Callable[..., TestClient], entry: str) -> None:
    reply = client("").get(f"/entries/{entry}/card.png?lang=zh")
    if reply.status_code != 404:
        assert png_size(reply.content) == (CARD_WIDTH, CARD_HEIGHT)


def test_text_of_a_card_is_wrapped_and_cut() -> None:
    """Chinese between characters, not before punctuation; English between words."""
    lines = wrap_lines("因为连乘随层数按指数变化，连加只按层数线性变化。", 6, 9)
    assert all(len(line) <= 7 for line in lines)
    assert not [line for line in lines if line[0] in "，。"]
    assert "".join(lines) == "因为连乘随层数按指数变化，连加只按层数线性变化。"
    assert wrap_lines("one two three four five six", 4, 2)[-1].endswith("…")
    assert wrap_lines("", 10, 2) == []


def test_a_chinese_card_needs_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Chinese font the process logs this, and the card is in English."""
    monkeypatch.setattr("qa_service.presentation.card.has_chinese_font", lambda: False)
    with pytest.raises(SystemExit) as ended:
        draw_card(b'{"lang": "zh", "question": "", "sentence": "", "verdicts": [], "spec": null}')
    assert ended.value.code == 3


def test_too_many_cards_at_once_are_refused(
    toy_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get 503 with Retry-After, and the threads of other routes stay free."""
    began, may_end = threading.Semaphore(0), threading.Event()

    def draw_slowly(*_: object) -> tuple[bytes, bool]:
        began.release()
        may_end.wait(TIMEOUT_SECONDS)
        return b"a picture", False

    monkeypatch.setattr(link_previews, "draw_in_subprocess", draw_slowly)
    web = TestClient(create_app(toy_service, Settings(data=tmp_path, cache=tmp_path)))
    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(web.get, "/entries/counting/card.png") for _ in range(8)]
        try:
            assert began.acquire(timeout=TIMEOUT_SECONDS)
            refused = [each.result() for each in islice(as_completed(replies), 4)]
        finally:
            may_end.set()
        statuses = sorted(each.result().status_code for each in replies)
    assert [each.status_code for each in refused] == [503] * 4
    assert all(each.headers["retry-after"] for each in refused)
    assert statuses == [200] * 4 + [503] * 4
