"""The parts of the page without a browser."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qa_service.answering.service import Service
from qa_service.fronts.web import build as bundle
from qa_service.fronts.web import labels, markup, render
from qa_service.model import LANGS, Lang, Request

WEB = Path(render.__file__).parent
ASKED = re.compile(r"""\b(?:part|findPart|allParts|enclosingPart)\([^"]*?"([\w-]+)"\)|\[data-part=["']?([\w-]+)""")
"""A part that a script or a test looks for."""

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
    html = markup.markdown_to_html(text)
    assert not re.search(r"<(?:script|img|svg|iframe|style|/math><img)", html)
    assert not re.search(r"<[^>]*(?:\son\w+=|javascript:)", html)


def test_chinese_bold_may_end_in_a_comma() -> None:
    """Markdown ends bold before a space; Chinese has none."""
    html = markup.markdown_to_html("**对整数是对的，**但与稳定性无关，**乘方**则不同；`a**b`，**不是**强调")
    assert "<strong>对整数是对的</strong>，但" in html
    assert "<strong>乘方</strong>则" in html
    assert "<code>a**b</code>，<strong>不是</strong>" in html


def test_a_lone_dollar_is_money() -> None:
    html = markup.markdown_to_html(r"from $5 to $6, and \(a\le b\)")
    assert html.count("<math") == 1
    assert "$5 to $6" in html


def test_names_and_signs_are_spaced_as_in_print() -> None:
    """A thin space on either side of ln where a letter stands there; the minus of a number stands close to it."""
    assert '<mo lspace="0.167em" rspace="0.167em">ln</mo><mi>x</mi>' in markup.latex_to_mathml(r"n\ln x")
    assert '<mo lspace="0" rspace="0">ln</mo>' in markup.latex_to_mathml(r"\ln(x)")
    assert '<mo lspace="0" rspace="0.167em">log</mo>' in markup.latex_to_mathml(r"=\log_2 x")
    assert '<mo form="prefix">−</mo>' in markup.latex_to_mathml(r"y \approx -0.01")
    assert "prefix" not in markup.latex_to_mathml("(a)-b")


def test_a_comma_stays_with_its_formula() -> None:
    """A browser would break the line between them."""
    assert re.search(
        r'<span class="together"><math display="inline">.*</math>，</span>仍',
        markup.markdown_to_html(r"是 \(x\)，仍是 \(y\) 的"),
    )


@pytest.mark.parametrize("lang", LANGS)
def test_every_entry_becomes_html_without_leftovers(service: Service, lang: Lang) -> None:
    """No formula, emphasis or placeholder stays as it was written."""
    for entry in service.knowledge.library.values():
        html = str(render.entry_values(entry, [], service.knowledge.experiments, lang)["text"])
        prose = re.sub(r"<pre.*?</pre>|<code>[^\\<][^<]*</code>", "", html, flags=re.DOTALL)
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
        bundle.build_vega_bundle(tmp_path)
    readers = [threading.Thread(target=bundle.build_vega_bundle, args=(tmp_path,)) for _ in range(5)]
    with started(readers):
        assert bundle.build_vega_bundle(tmp_path).read_bytes() == b"script"
    assert len(built) == 2
    assert len(list(tmp_path.iterdir())) == 1


@contextmanager
def started(threads: list[threading.Thread]) -> Iterator[None]:
    """Threads that run meanwhile."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(timeout=30)


def found(pattern: str | re.Pattern[str], *paths: Path) -> set[str]:
    """What a pattern's groups match in these files."""
    return {
        each
        for path in paths
        for match in re.finditer(pattern, path.read_text("utf-8"))
        for each in match.groups()
        if each
    }


def test_scripts_and_tests_ask_for_parts_that_there_are() -> None:
    """`data-part` is the contract: each part asked for is in a template or made by a script; parts.js lists all."""
    scripts, templates = list((WEB / "static").glob("*.js")), list((WEB / "templates").glob("*.html"))
    parts = found(r'data-part="([\w-]+)"', *templates, *scripts) | found(r'dataset\.part = "([\w-]+)"', *scripts)
    asked = found(ASKED, *scripts)
    assert len(asked) > 30
    assert asked <= parts
    assert found(ASKED, *Path(__file__).parent.glob("*.py"), Path(__file__).parent.parent / "browsing.py") <= parts
    listed = (WEB / "static" / "parts.js").read_text("utf-8").partition("([")[2].partition("])")[0]
    assert set(re.findall(r'"([\w-]+)"', listed)) == parts


def test_scripts_find_nothing_by_the_name_of_a_class() -> None:
    """Classes are for styling: a change of looks breaks no script."""
    by_class = r"""\.(?:querySelector(?:All)?|closest|matches)\(["'`]([^"'`]*\.[a-z][^"'`]*)["'`]"""
    assert found(by_class, *(WEB / "static").glob("*.js")) == set()
