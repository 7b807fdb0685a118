"""The page on which users enter their own formula, as a browser without scripts receives it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest
from conftest import TOYS, WordHash
from fastapi.testclient import TestClient

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.lab.runner import ProcessRunner
from qa_service.paths import bundled
from qa_service.settings import Settings


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    with open_client(tmp_path_factory.mktemp("formula"), rate="1000/minute") as client:
        yield client


@contextmanager
def open_client(folder: Path, rate: str) -> Iterator[TestClient]:
    """A client of a server with the toy entries and the experiment `formula`."""
    shutil.copytree(TOYS / "demos", folder / "demos")
    shutil.copytree(Path(bundled("demos")) / "formula", folder / "demos" / "formula")
    settings = Settings(kb=TOYS / "kb", demos=folder / "demos", cache=folder / "cache", data=folder / "data", rate=rate)
    runner = ProcessRunner(deadline=60.0, memory=2048, slots=1)
    service = Service(Knowledge.read(settings, WordHash()), runner, threshold=0.5)
    with TestClient(create_app(service, settings), raise_server_exceptions=False) as client:
        yield client


def page_of(client, lang="en", **query):
    response = client.get("/formula", params={**query, "lang": lang})
    return response.status_code, unescape(response.text)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_empty_page_has_a_box_and_examples(client):
    status, html = page_of(client)
    assert status == 200
    assert '<input type="text" name="expression"' in html
    assert "/formula?expression=log%281%2Bexp%28x%29%29" in html
    assert "stable" not in text_of(html).split("For example")[1]


@pytest.mark.parametrize(("lang", "words"), [("en", "overflows here"), ("zh", "在这里溢出")])
def test_a_formula_with_a_range_shows_values_the_wrong_step_the_map_and_a_stable_form(client, lang, words):
    status, html = page_of(client, lang, expression="log(1+exp(x))", x="-1000..1000")
    assert status == 200
    text = text_of(html)
    assert "softplus" in text
    assert words in text
    assert re.search(r'<tr class="first-wrong">.*?<code>exp\(x\)</code>', html, re.DOTALL)
    assert html.count('class="strip-name"') >= 7
    assert 'name="x" value="-1000..1000"' in html


def test_a_formula_without_variables_shows_its_values_alone(client):
    status, html = page_of(client, expression="2048+1", dtype="float16")
    assert status == 200
    assert re.search(r'<code>float16</code></th><td class="computed">2048<', html)
    assert "2049" in text_of(html)
    assert "formula-map" not in html


def test_the_permalink_gives_the_same_page_again(client):
    _, html = page_of(client, expression="sqrt(x+1)-sqrt(x)", x="0..1e8", gradient="1")
    link = re.search(r'<p class="take-away"><a href="([^"]+)"', html)[1]
    again = unescape(client.get(link).text)
    assert "x=0..1" in link.replace("%2B", "+")
    for part in ("formula-steps", "formula-map", "The gradient by x"):
        assert part in again
    pattern = r'<table class="data formula-values">.*?</table>'
    assert re.findall(pattern, again, re.DOTALL) == re.findall(pattern, html, re.DOTALL)


def test_the_other_language_keeps_the_formula(client):
    _, html = page_of(client, expression="exp(x)-1", x="1e-9")
    switch = re.search(r'data-part="language-switch"[^>]*href="([^"]+)"', html)[1]
    assert "expression=exp%28x%29-1" in switch
    assert "x=1e-9" in switch
    assert switch.endswith("lang=zh")


@pytest.mark.parametrize("expression", ["log(1+exq(x))", "log(1+", "<script>alert(1)</script>", "x;y"])
def test_what_cannot_be_read_is_explained_above_the_box_that_still_holds_it(client, expression):
    response = client.get("/formula", params={"expression": expression, "lang": "en"})
    assert response.status_code == 422
    assert 'role="alert"' in response.text
    assert "<script>alert" not in response.text
    assert f'value="{expression}"' in unescape(response.text)


def test_a_variable_with_the_name_of_a_field_of_the_page_is_a_variable(client):
    status, html = page_of(client, expression="lang*2", **{"v:lang": "3"})
    assert status == 200
    assert 'name="v:lang" value="3"' in html
    assert re.search(r'<code>float32</code></th><td class="computed">6<', html)


def test_robots_do_not_measure_formulas(client):
    """robots.txt forbids crawlers the addresses that would measure a formula."""
    assert "Disallow: /formula?" in client.get("/robots.txt").text


def test_a_tower_of_powers_is_measured_in_bounded_time(client):
    status, html = page_of(client, expression="9**9**9**9")
    assert status == 200
    assert "inf" in text_of(html)


def test_runs_of_the_page_count_against_the_rate(tmp_path):
    """Each formula measured by the page counts against the client's rate limit; opening the page without one does
    not.
    """
    with open_client(tmp_path, rate="2/minute") as client:
        measured = [page_of(client, expression=f"2048+{n}", dtype="float16")[0] for n in (1, 2, 3)]
        assert measured == [200, 200, 429]
        assert page_of(client)[0] == 200
