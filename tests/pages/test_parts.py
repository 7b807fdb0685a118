"""Markup, templates and scripts of the page, without a browser."""

import re
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import running_threads

from qa_service.answering.service import Service
from qa_service.fronts.web import build as bundle
from qa_service.fronts.web import labels, markup, render
from qa_service.model import LANGS, Lang, Request

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
def test_markup_cannot_inject_scripts(text: str) -> None:
    """HTML has only listed elements, no event handlers, and only web addresses."""
    html = markup.markdown_to_html(text)
    assert not re.search(r"<(?:script|img|svg|iframe|style|/math><img)", html)
    assert not re.search(r"<[^>]*(?:\son\w+=|javascript:)", html)


def test_chinese_bold_text_may_end_in_a_comma() -> None:
    """CommonMark expects a space after the closing asterisks; Chinese has none."""
    html = markup.markdown_to_html("**对整数是对的，**但与稳定性无关，**乘方**则不同；`a**b`，**不是**强调")
    assert "<strong>对整数是对的</strong>，但" in html
    assert "<strong>乘方</strong>则" in html
    assert "<code>a**b</code>，<strong>不是</strong>" in html


def test_a_single_dollar_sign_is_no_formula() -> None:
    html = markup.markdown_to_html(r"from $5 to $6, and \(a\le b\)")
    assert html.count("<math") == 1
    assert "$5 to $6" in html


def test_operators_in_formulas_are_spaced_as_in_print() -> None:
    """Thin spaces surround ln only beside letters; the minus sign of a number has no space after it."""
    assert '<mo lspace="0.167em" rspace="0.167em">ln</mo><mi>x</mi>' in markup.latex_to_mathml(r"n\ln x")
    assert '<mo lspace="0" rspace="0">ln</mo>' in markup.latex_to_mathml(r"\ln(x)")
    assert '<mo lspace="0" rspace="0.167em">log</mo>' in markup.latex_to_mathml(r"=\log_2 x")
    assert '<mo form="prefix">−</mo>' in markup.latex_to_mathml(r"y \approx -0.01")
    assert "prefix" not in markup.latex_to_mathml("(a)-b")


def test_a_comma_is_not_separated_from_its_formula() -> None:
    """A browser would break the line between them."""
    assert re.search(
        r'<span class="together"><math display="inline">.*</math>，</span>仍',
        markup.markdown_to_html(r"是 \(x\)，仍是 \(y\) 的"),
    )


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize("lang", LANGS)
def test_rendered_entries_contain_no_raw_markup(service: Service, lang: Lang) -> None:
    """No formula, emphasis or placeholder is left unrendered in prose; code blocks are not checked."""
    experiments = {slug: replace(each, source="") for slug, each in service.knowledge.experiments.items()}
    for entry in service.knowledge.library.values():
        shown = render.entry_values(entry, [], [], experiments, lang)
        html = "".join([*shown["texts"].values(), *(row.see + row.means for row in shown["rows"])])
        prose = re.sub(r"<pre.*?</pre>|<code>[^\\<][^<]*</code>", "", html, flags=re.DOTALL)
        assert not re.search(r"\*\*|\\\(|\$\$|\[\[|[\ue000-\ue002]|<code>\\", prose), entry.id


@pytest.mark.parametrize("lang", LANGS)
def test_every_example_question_is_answered_in_its_language(service: Service, lang: Lang) -> None:
    for example in labels.EXAMPLES[lang]:
        answer = service.ask(Request(question=example))
        assert (answer.status.value, answer.lang) == ("answered", lang), example


def test_concurrent_requests_build_the_chart_bundle_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails leaves no file; the next request builds again."""
    builds = []

    def fake_build(*_: Any, **__: Any) -> subprocess.CompletedProcess[bytes]:
        builds.append(1)
        for _ in range(50):
            time.sleep(0)  # lets the other threads come in, if they can
        if len(builds) == 1:
            raise subprocess.CalledProcessError(1, "build")
        return subprocess.CompletedProcess([], 0, b"script")

    monkeypatch.setattr(bundle.subprocess, "run", fake_build)
    with pytest.raises(subprocess.CalledProcessError):
        bundle.build_vega_bundle(tmp_path)
    threads = [threading.Thread(target=bundle.build_vega_bundle, args=(tmp_path,)) for _ in range(5)]
    with running_threads(threads):
        assert bundle.build_vega_bundle(tmp_path).read_bytes() == b"script"
    assert len(builds) == 2
    assert len(list(tmp_path.iterdir())) == 1
