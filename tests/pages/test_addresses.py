"""What the server responds at each URL of the page."""

import re

import httpx
import pytest
from browsing import ROOT

from qa_service.answering.service import Service
from qa_service.fronts.web import labels
from qa_service.model import LANGS


@pytest.mark.parametrize(
    ("query", "accept_language", "lang"),
    [
        ("", "", "zh-CN"),
        ("", "en-GB,en;q=0.9,zh;q=0.5", "en"),
        ("", "fr,zh-TW;q=0.8,en;q=0.5", "zh-CN"),
        ("?lang=en", "zh", "en"),
        ("?lang=zh", "en", "zh-CN"),
    ],
)
def test_the_language_is_that_of_the_query_the_browser_or_chinese(
    client: httpx.Client, query: str, accept_language: str, lang: str
) -> None:
    page = client.get(f"/entries{query}", headers={"Accept-Language": accept_language})
    assert f'<html lang="{lang}">' in page.text


@pytest.mark.parametrize("path", ["/", "/entries", "/entries/nan-and-inf"])
def test_an_unknown_language_is_rejected_in_both_languages(client: httpx.Client, path: str) -> None:
    page = client.get(path, params={"lang": "<script>"})
    assert page.status_code == 422
    assert all(labels.LABELS["bad_lang"][lang] in page.text for lang in LANGS)
    assert "<script>" not in page.text.replace('<script type="application/json"', "")


@pytest.mark.parametrize(
    ("question", "leads_to"),
    [
        ("100 个 1.5 连乘会怎样", "/entries/multiply-vs-add?lang=zh"),
        ("float16 里 2048+1 等于多少", "/formula?expression=2048+%2B+1&lang=zh"),
    ],
)
def test_without_scripts_a_question_leads_to_the_page_that_answers(
    client: httpx.Client, question: str, leads_to: str
) -> None:
    """Without scripts, the page of a question redirects to the page of the answer, which shows the values measured
    last.
    """
    page = client.get("/", params={"q": question, "lang": "zh"}).text
    asked = re.search(r'<noscript><meta http-equiv="refresh" content="0; url=([^"]+)"', page)
    assert asked is not None
    response = client.get(asked[1].replace("&amp;", "&"), follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"].startswith(leads_to.split("?", maxsplit=1)[0])
    assert client.get(response.headers["location"]).status_code == 200


def test_without_scripts_a_question_for_a_derivative_leads_to_the_gradient(client: httpx.Client) -> None:
    page = client.get("/ask", params={"q": "derivative of x*x at x = 3", "lang": "en"}, follow_redirects=True)
    assert page.status_code == 200
    assert "The gradient by x" in page.text


def test_without_scripts_a_question_that_is_not_covered_is_declined(client: httpx.Client) -> None:
    """The page lists the nearest questions as links and shows the question as text; an empty question redirects
    back.
    """
    page = client.get("/ask", params={"q": "<b>今天天气怎么样", "lang": "zh"})
    assert page.status_code == 200
    assert "&lt;b&gt;今天天气怎么样" in page.text
    assert len(re.findall(r'<li><a href="/entries/', page.text)) == 3
    assert client.get("/ask?lang=zh", follow_redirects=False).headers["location"] == "/?lang=zh"
    assert 'url=/entries/nan-and-inf?lang=zh"' in client.get("/?entry=nan-and-inf&lang=zh").text


def test_an_unknown_entry_is_a_page_in_the_users_language(client: httpx.Client) -> None:
    page = client.get("/entries/<b>nope", params={"lang": "en"})
    assert page.status_code == 404
    assert "There is no" in page.text or "there is no entry" in page.text
    assert "<b>" not in page.text


def test_an_unknown_url_gives_browsers_a_page_and_programs_a_problem(client: httpx.Client) -> None:
    """The page is in the user's language."""
    for path in ("/nope", "/entries/multiply-vs-add/nope", "/api/v1/nope"):
        page = client.get(path, headers={"Accept": "text/html,*/*;q=0.8", "Accept-Language": "en"})
        assert page.status_code == 404
        assert '<html lang="en">' in page.text
        assert "There is nothing at this address" in page.text
        assert client.get(path).json()["code"] == "not_found"


def test_pages_load_nothing_from_other_origins(client: httpx.Client) -> None:
    """The policy forbids inline scripts; no page has one, and no asset names another origin."""
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for path in ("/", "/entries", "/entries/nan-and-inf", "/experiments", "/experiments/quad_gd"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*(?:src=\"/|application/json))", page)
        assert not re.search(r"\son[a-z]+=|(?:src|href)=\"(?:https?:)?//", page)
    for asset in (ROOT / "qa_service/fronts/web/static").iterdir():
        text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        for internal_url in ('[${name}^="url("]', "`url(#${prefix}$1)`"):  # colours of a legend, defined in the chart
            text = text.replace(internal_url, "")
        assert not re.search(r"https?://|@import(?! \{)|url\((?!\"/static/)", text), asset.name


def test_static_serves_exactly_the_files_of_its_folder(client: httpx.Client) -> None:
    folder = ROOT / "qa_service/fronts/web/static"
    for path in folder.iterdir():
        etags = set()
        for coding in ("gzip", "identity"):
            response = client.get(f"/static/{path.name}", headers={"Accept-Encoding": coding})
            assert response.headers.get("content-encoding", "identity") == coding
            assert response.content == path.read_bytes()
            etag = response.headers["etag"]
            second = client.get(f"/static/{path.name}", headers={"Accept-Encoding": coding, "If-None-Match": etag})
            assert second.status_code == 304
            etags.add(etag)
        assert len(etags) == 2, "a cache must distinguish the encodings"
    for path in ("../routes.py", "%2e%2e/routes.py", "..%2froutes.py", "%2fetc%2fpasswd", "nope.js", ""):
        assert client.get(f"/static/{path}").status_code == 404


def test_the_streams_of_the_page_add_html_to_those_of_the_api(client: httpx.Client) -> None:
    """Apart from the added HTML, events and errors are those of the API."""
    body = {"question": "", "entry": "multiply-vs-add", "lang": "en"}
    text = client.post("/page/ask", json=body).text
    names = re.findall(r"^event: (\w+)", text, re.MULTILINE)
    assert names[0] == "answer"
    assert names[-1] == "done"
    assert '"parts_html":{"short":' in text
    assert '"outcome_html":"' in text
    stream = client.post("/page/run", json={"experiment": "loss_surface", "lang": "zh"}).text
    assert '"words":{"plain":"普通网络"' in stream
    rejected = client.post("/page/ask", json={"question": "", "lang": "zh"})
    assert rejected.status_code == 422
    assert rejected.headers["content-type"] == "application/problem+json"
    assert "问题是空的" in rejected.json()["detail"]


def test_every_entry_is_available_as_markdown(client: httpx.Client, service: Service) -> None:
    """The Markdown is in the requested language; sitemap.xml and llms.txt list every entry."""
    for lang in LANGS:
        markdown = client.get("/entries/multiply-vs-add.md", params={"lang": lang})
        assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
        assert markdown.text.startswith(f"# {service.knowledge.library['multiply-vs-add'].question[lang]}")
        assert "pow_vs_sum(n=100, x=1.5" in markdown.text
    assert client.get("/entries/nope.md").status_code == 404
    sitemap, llms = client.get("/sitemap.xml").text, client.get("/llms.txt").text
    for entry in service.knowledge.library:
        assert f"/entries/{entry}</loc>" in sitemap
        assert f"/entries/{entry}.md?lang=en" in llms
    for slug in service.knowledge.experiments:
        assert f"/experiments/{slug}</loc>" in sitemap
    assert all(f"/{page}</loc>" in sitemap for page in ("entries", "experiments", "formula", "diagnose"))
    assert "sitemap.xml" in client.get("/robots.txt").text


def test_a_playground_rejects_unknown_and_invalid_parameters(client: httpx.Client) -> None:
    """The error is a page in the user's language, as it is for an unknown entry."""
    for path, status in (("nope", 404), ("pow_vs_sum?n=0", 422), ("pow_vs_sum?m=3", 422), ("pow_vs_sum?seed=x", 422)):
        page = client.get(f"/experiments/{path}", headers={"Accept-Language": "en"})
        assert page.status_code == status, path
        assert "text/html" in page.headers["content-type"]
    assert client.get("/experiments/pow_vs_sum?n=7&x=inf&seed=3").status_code == 200
    for seeds, status in (("20", 200), ("0", 422), ("many", 422), ("9999", 422)):
        assert client.get(f"/e/multiply-vs-add?compare=dtype&seeds={seeds}").status_code == status
    for body in ({}, {"experiment": "nope"}, {"experiment": "pow_vs_sum", "params": {"n": 0}}, [1]):
        assert client.post("/page/run", json=body).status_code in (404, 422)


def test_the_page_is_small_before_the_first_question(client: httpx.Client) -> None:
    """The page loads less than 155 kB, uncompressed; the chart library is loaded with the first chart."""
    page = client.get("/?lang=zh").text
    loaded = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    scripts = {path for path in loaded if path.endswith(".js")}
    while scripts:
        text = client.get(scripts.pop()).text
        imported = {f"/static/{name}" for name in re.findall(r'^import [^"]*"\./([^"]+)"', text, re.MULTILINE)} - loaded
        loaded |= imported
        scripts |= imported
    assert "/static/card.js" in loaded
    assert "/static/vega.js" not in loaded
    assert len(page.encode()) + sum(len(client.get(path).content) for path in loaded) < 155_000
