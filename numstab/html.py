"""Results as HTML for notebooks: self-contained, styles inline, pictures inside, no script, legible on light and dark.

A saved notebook keeps what it shows, also where it is opened by somebody who does not trust it: what a sanitiser may
take away (styles, pictures) leaves a readable text.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from numstab.json_object import JsonObject
from numstab.text import comparison_table, formula_table, metric_rows, number_text, run_line, verdict_of
from numstab.words import RESULT_WORDS, VERDICT_MARKS
from qa_service.model import Lang

_HTML_LANG = {"zh": "zh-CN", "en": "en"}
_TONES = {"holds": "#2e8b57", "fails": "#d2513b", "unknown": "#b7791f", "elsewhere": "#8a8f98"}
"""Verdict → colour of the border of its claim; contrast 3:1 against white and against near black."""
_QUIET = "opacity:.75;font-size:.9em"
_CELL = "text-align:left;padding:.2em .8em .2em 0"
_REFERENCE = re.compile(r'\bid="([^"]+)"')


def answer_html(data: JsonObject, pictures: Sequence[str]) -> str:
    """The HTML of an answer: short answer, proof, what to do, how to tell; why, scope and further evidence are
    folded.
    """
    lang: Lang = data["lang"]
    entry, parts = data["entry"], data["parts"] or {}
    blocks = [f"<h4>{escape(entry['question'])} <code>{escape(entry['id'])}</code></h4>"] if entry else []
    blocks += [f"<p>⚠ {escape(note)}</p>" for note in data["notes"]]
    short = _markdown(parts.get("short") or data["answer"])
    blocks.append(f"<div><strong>{_inline(short)}</strong></div>" if entry else short)
    if parts.get("your_case"):
        blocks.append(_markdown(parts["your_case"]))
    elif data.get("clue"):  # an older server sends none
        blocks.append(_markdown(data["clue"]["text"]))
    proof, others = data["evidence"][:1], data["evidence"][1:]
    blocks += [_framed(svg) for svg in pictures]
    blocks += [_claims(one, lang) + _run_line(one, lang) for one in proof]
    if parts.get("do"):
        blocks.append(_section("do", _markdown(parts["do"]), lang))
    if parts.get("tell"):
        blocks.append(_section("tell", _tell(parts["tell"]), lang))
    blocks += [_fold(RESULT_WORDS[part][lang], _markdown(parts[part])) for part in ("why", "scope") if parts.get(part)]
    if others:
        inside = "".join(f"<p>{escape(one['title'])}</p>{_claims(one, lang)}{_run_line(one, lang)}" for one in others)
        blocks.append(_fold(RESULT_WORDS["evidence"][lang], inside))
    blocks += [_receipt(one, lang) for one in proof]
    return _document(blocks, lang)


def run_html(data: JsonObject, svg: str, lang: Lang) -> str:
    """The HTML of a run: chart, claims and metrics."""
    metrics = _html_table([RESULT_WORDS["metric"][lang], RESULT_WORDS["value"][lang]], metric_rows(data, lang))
    return _document(
        [
            f"<h4>{escape(data['title'])}</h4>",
            _framed(svg),
            _claims(data, lang),
            _run_line(data, lang),
            metrics,
            _receipt(data, lang),
        ],
        lang,
    )


def comparison_html(runs: Sequence[JsonObject], pictures: Sequence[str], lang: Lang) -> str:
    """The HTML of a comparison: the metrics that differ, and the chart of each run."""
    head, rows = comparison_table(runs, lang)
    charts = "".join(
        f"<p><code>{escape(title)}</code></p>{_framed(svg)}" for title, svg in zip(head[1:], pictures, strict=True)
    )
    table = _html_table(head, rows)
    return _document([f"<h4>{escape(runs[0]['title'])}</h4>", table, _fold(RESULT_WORDS["charts"][lang], charts)], lang)


def formula_html(data: JsonObject, lang: Lang) -> str:
    """The HTML of a formula: its value in each format, where it breaks, and forms that hold."""
    at = ", ".join(f"{name} = {number_text(value, lang)}" for name, value in data["at"].items())
    blocks = [
        f"<h4><code>{escape(data['expression'])}</code> {escape(at)}</h4>",
        f"<p>{RESULT_WORDS['exact'][lang]}: {escape(number_text(data['exact'], lang))}</p>",
        _html_table(*formula_table(data, lang)),
    ]
    if data["breaks_at"]:
        found = [
            (dtype, RESULT_WORDS["never"][lang] if value is None else number_text(value, lang))
            for dtype, value in data["breaks_at"].items()
        ]
        blocks.append(_html_table([RESULT_WORDS["format"][lang], RESULT_WORDS["breaks"][lang]], found))
    for form in data["stable"][:2]:
        blocks.append(f"<p>{RESULT_WORDS['stable'][lang]}: <code>{escape(form['torch'])}</code></p>")
    blocks += [_receipt(one, lang) for one in data["evidence"]]
    return _document(blocks, lang)


def diagnosis_html(data: JsonObject, pictures: Sequence[str], lang: Lang) -> str:
    """The HTML of a report: verdict, each cause with what speaks for it and its cure, the experiment at the run's
    numbers.
    """
    blocks = [f"<p><strong>{escape(data['summary'])}</strong></p>"]
    for cause in data["causes"]:
        because = "".join(f"<li>{escape(each)}</li>" for each in cause["because"])
        cure = f"<p>{RESULT_WORDS['cure'][lang]}: {escape(cause['cure'])}</p>" if cause["cure"] else ""
        patch = f"<pre><code>{escape(cause['patch'])}</code></pre>" if cause["patch"] else ""
        head = f"<p>{escape(cause['name'])} ({cause['probability']:.0%}) <code>{escape(cause['entry'])}</code></p>"
        blocks.append(f"{head}<ul>{because}</ul>{cure}{patch}")
    blocks += [f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in data['margins'])}</ul>"] if data["margins"] else []
    blocks += [_framed(svg) for svg in pictures]
    blocks += [f"<p>{escape(data['ask'])}</p>"] if data["ask"] else []
    blocks += [f"<pre><code>{escape(data['next'])}</code></pre>"] if data["next"] else []
    return _document(blocks, lang)


def listing_html(rows: Sequence[JsonObject], lang: Lang) -> str:
    """The HTML of a list: a table of entries or experiments."""
    head = list(rows[0]) if rows else []
    return _document([_html_table(head, [[str(cell) for cell in row.values()] for row in rows])], lang)


def static_chart(data: JsonObject) -> dict[str, Any]:
    """The chart of a run in Vega-Lite 5, as its picture is drawn."""
    from qa_service.presentation.picture import static_spec

    return static_spec(data["chart"])


def picture(data: JsonObject) -> str:
    """The chart of a run as SVG with a text alternative; "" for a run without rows, or where it cannot be drawn."""
    if not data["rows"] or not data["chart"]:
        return ""
    try:
        from qa_service.presentation.picture import to_svg

        svg = to_svg(static_chart(data))
    except (ImportError, ValueError):  # the library that draws is missing, or has failed
        return ""
    prefix = f"n{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    svg = _REFERENCE.sub(rf'id="{prefix}\1"', svg).replace("url(#", f"url(#{prefix}")  # pictures share a document
    label = escape(data["chart_in_words"], quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" style="max-width:100%;height:auto" ', 1)


def _document(blocks: Iterable[str], lang: Lang) -> str:
    return f'<div lang="{_HTML_LANG[lang]}" style="max-width:52em">{"".join(filter(None, blocks))}</div>'


def _framed(svg: str) -> str:
    """HTML that shows an SVG as an image, which sanitisers keep, on a white ground, so that it is legible on a dark
    page.
    """
    if not svg:
        return ""
    label = re.search(r'aria-label="([^"]*)"', svg)
    source = f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
    style = "background:#fff;padding:.5em;border-radius:6px;max-width:100%;height:auto;box-sizing:border-box"
    return f'<p><img src="{source}" alt="{label[1] if label else ""}" style="{style}"></p>'


def _claims(data: JsonObject, lang: Lang) -> str:
    lines = []
    for claim in data["claims"]:
        verdict = verdict_of(claim)
        value, bound = (number_text(claim[name], lang) for name in ("value", "bound"))
        against = f"{claim['metric']} = {value}, {claim['op']} {bound}"
        lines.append(
            f'<li style="border-left:4px solid {_TONES[verdict]};padding-left:.6em;margin:.3em 0;list-style:none">'
            f"{VERDICT_MARKS[verdict]} <strong>{RESULT_WORDS[verdict][lang]}</strong> {escape(claim['says'])} "
            f'<span style="{_QUIET}">[{escape(against)}]</span></li>'
        )
    return f'<ul style="padding:0;margin:.5em 0">{"".join(lines)}</ul>' if lines else ""


def _run_line(data: JsonObject, lang: Lang) -> str:
    return f'<p style="{_QUIET}"><code>{escape(run_line(data, lang))}</code></p>'


def _tell(rows: Iterable[JsonObject]) -> str:
    listed = (f"<li>{_inline(_markdown(row['see']))} → {_inline(_markdown(row['means']))}</li>" for row in rows)
    return f"<ul>{''.join(listed)}</ul>"


def _section(part: str, inside: str, lang: Lang) -> str:
    return f"<h5>{RESULT_WORDS[part][lang]}</h5>{inside}"


def _fold(title: str, inside: str) -> str:
    return f"<details><summary>{title}</summary>{inside}</details>"


def _receipt(data: JsonObject, lang: Lang) -> str:
    receipt = data["receipt"]
    versions = ", ".join(f"{name} {version}" for name, version in receipt["versions"].items())
    shown = [f"seed {data['seed']}", f"code {receipt['code_hash'][:12]}", versions, receipt["machine"]]
    return _fold(RESULT_WORDS["receipt"][lang], f'<p style="{_QUIET}">{escape(" · ".join(shown))}</p>')


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col" style="{_CELL}">{escape(each)}</th>' for each in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _markdown(text: str) -> str:
    """Markdown as safe HTML. Formulas become Unicode, not MathML: a sanitiser strips its tags, and 1/√L would become
    1/L.
    """
    from qa_service.fronts.terminal.formulas import markdown_to_unicode
    from qa_service.fronts.web.markup import markdown_to_html

    return markdown_to_html(markdown_to_unicode(text))


def _inline(html: str) -> str:
    """HTML without its `<p>` tags if it is a single paragraph; unchanged if it is several."""
    stripped = html.strip()
    return stripped.removeprefix("<p>").removesuffix("</p>") if stripped.count("<p>") == 1 else stripped
