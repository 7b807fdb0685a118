"""The page `/diagnose`: a form for a training log, and the whole diagnosis. It works without scripts."""

import base64
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from qa_service.answering import diagnosing, diagnosis_runs
from qa_service.answering.execute import cached_own_evidence
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadField, BodyTooLarge, NumstabError
from qa_service.experiments.parameters import fill_defaults
from qa_service.fronts.web import cards, labels, markup, render, run_chart
from qa_service.fronts.web.language import page_language
from qa_service.lab.clients import CLIENT
from qa_service.model import Evidence, Lang, Text
from qa_service.model.diagnosis import Cause, Diagnosis, Finding, Hypothesis
from qa_service.presentation import chart, prose
from qa_service.presentation.alt_text import chart_alt_text
from qa_service.presentation.comparison import format_params
from qa_service.presentation.numbers import format_number, format_unit
from qa_service.schemas.diagnosis import diagnosis_json
from qa_service.schemas.evidence import evidence_json
from qa_service.server.problems import ClientDisconnected
from qa_service.server.streaming import open_stream

MAX_UPLOAD_BYTES = 8 << 20
"""The largest log or file that the page accepts."""
_MAX_BODY_BYTES = MAX_UPLOAD_BYTES + (64 << 10)
_MAX_NAME_CHARS = 200
_MAX_FINDINGS, _MAX_METRICS = 6, 6
_MAX_LINES = 40
"""The greatest number of lines of the excerpt."""
_AROUND = 2
"""Lines shown before and after a cited line."""
_MAX_SHOWN_CHARS = 300
_GAP = "\ue003"
"""Marks a number that is not measured in a text."""
_ENDED = re.compile(r"[.。!?！？][”’」\")）]*$")
_STOPS = {"；": "。", ";": "."}
_SENTENCE_END = re.compile(r"[。；]|[.;](?=\s)")
_PLACE = re.compile(r"第 (\d+) 行|\blines? (\d+)")
"""A reference to a line of the log in the text of a finding."""


@dataclass(frozen=True, slots=True)
class _Upload:
    """The contents of the form: a pasted text, or a file."""

    text: str = ""
    data: bytes = b""
    name: str = ""


@dataclass(slots=True)
class _LineLinks:
    """Makes references to lines of the log in texts links to the excerpt; `lines` are those that it shows."""

    lines: frozenset[int]
    lang: Lang

    def link(self, text: str, lines: Sequence[int] = ()) -> Markup:
        """A text in which each line of the excerpt that it names is a link; other `lines` are added at its end."""
        told: set[int] = set()

        def linked(found: re.Match[str]) -> str:
            number = int(found[1] or found[2])
            told.add(number)
            return self._anchor(number, found[0]) if number in self.lines else found[0]

        html = _PLACE.sub(linked, str(escape(text)))
        word = labels.LABELS["diagnosis_line"][self.lang]
        more = [self._anchor(each, word.format(each)) for each in lines if each in self.lines and each not in told]
        return Markup(html + (f" <span class='places'>{' '.join(more)}</span>" if more else ""))  # noqa: S704

    @staticmethod
    def _anchor(number: int, text: str) -> str:
        return f'<a href="#line-{number}">{text}</a>'


def add_diagnosis_page(web: APIRouter, service: Service, headers: Mapping[str, str]) -> None:
    """Adds the routes of `/diagnose`: GET shows the form, POST the report."""

    def respond(http: Request, lang: Lang, status: int = 200, **values: Any) -> Response:
        shown = {"report": None, "error": "", "text": "", "file_name": "", "max_bytes": MAX_UPLOAD_BYTES, **values}
        page = render.render_page("diagnosis.html", lang, here=http.url.path, script="diagnose.js", **shown)
        return HTMLResponse(page, status, dict(headers))

    @web.get("/diagnose")
    async def form(http: Request) -> Response:
        lang = page_language(http)
        if lang is None:
            return HTMLResponse(render.unsupported_language_page(http.url.path), 422, dict(headers))
        return respond(http, lang)

    @web.post("/diagnose")
    async def diagnose(http: Request) -> Response:
        lang = page_language(http)
        if lang is None:
            return HTMLResponse(render.unsupported_language_page(http.url.path), 422, dict(headers))
        sent = _Upload()
        try:
            sent = await _read_upload(http)
            found = await run_in_threadpool(diagnosing.diagnose_file, sent.data, sent.name)
            knowledge = service.knowledge
            evidence, failure = await _run(http, service, knowledge, found)
        except NumstabError as error:
            return respond(http, lang, error.status, error=error[lang], text=sent.text, file_name=sent.name)
        report = await run_in_threadpool(_report, service, knowledge, found, evidence, failure, lang)
        return respond(http, lang, report=report, text=sent.text, file_name=sent.name)


async def _run(
    http: Request, service: Service, knowledge: Knowledge, found: Diagnosis
) -> tuple[list[Evidence], NumstabError | None]:
    """The evidence of the experiment, without and with the cure; if it fails, none and the error, for the report."""
    evidence: list[Evidence] = []
    if found.experiment is None:
        return evidence, None
    try:
        CLIENT.get().charge(1)  # two runs, of which the request itself counts as one
        run = partial(diagnosis_runs.run_experiments, found, service, evidence.append, knowledge=knowledge)
        stream = await open_stream(http, run)
        await stream.collect(http)
    except NumstabError as error:
        return [], error
    return evidence, None


async def _read_upload(http: Request) -> _Upload:
    """The pasted text or the file of a form; raises `BodyTooLarge` and `BadField`."""
    try:
        if http.headers.get("content-type", "").startswith("multipart/"):
            form = await MultiPartParser(
                http.headers, _bounded(http), max_files=1, max_fields=8, max_part_size=_MAX_BODY_BYTES
            ).parse()
        else:
            form = await FormParser(http.headers, _bounded(http)).parse()
    except ClientDisconnect:
        raise ClientDisconnected from None
    except (MultiPartException, UnicodeError):
        raise BadField(zh="这个表单读不了", en="the form cannot be read", field="body") from None
    try:
        text, file = form.get("text", ""), form.get("file")
        text = text if isinstance(text, str) else ""
        if isinstance(file, UploadFile) and file.filename:
            return _Upload(text, await file.read(), file.filename[-_MAX_NAME_CHARS:])
    finally:
        await form.close()
    if not text.strip():
        raise BadField(
            zh="这里还没有日志：粘贴一段，或选一个文件。",
            en="There is no log yet: paste one, or choose a file.",
            field="text",
        )
    return _Upload(text, text.encode("utf-8", "replace"))


async def _bounded(http: Request) -> AsyncGenerator[bytes, None]:
    """The chunks of the body; raises `BodyTooLarge`."""
    total = 0
    async for chunk in http.stream():
        total += len(chunk)
        if total > _MAX_BODY_BYTES:
            limit = MAX_UPLOAD_BYTES >> 20
            raise BodyTooLarge(
                zh=f"日志太大，这一页最多收 {limit} MiB。更大的文件请在自己的机器上用命令 numstab diagnose 来看。",
                en=f"The log is too large: this page takes at most {limit} MiB. "
                "For a larger file use the command numstab diagnose on your own machine.",
                field="file",
            )
        yield chunk


def _report(
    service: Service,
    knowledge: Knowledge,
    found: Diagnosis,
    evidence: Sequence[Evidence],
    failure: NumstabError | None,
    lang: Lang,
) -> dict[str, Any]:
    """The template values of the report."""
    shown = found.hypotheses[:2] if found.status == "undecided" else found.hypotheses[:1]
    cited = _cited_lines(found, shown)
    excerpt = _excerpt(found.run.excerpt, cited)
    links = _LineLinks(frozenset(number for number, _ in excerpt), lang)
    return {
        **_verdict(found, links, lang),
        "evidence": [
            (found.causes[each.cause].name[lang], _certainty(each, lang), _facts(each, links, lang)) for each in shown
        ],
        "other": _other(found, lang),
        "margins": [links.link(each[lang]) for each in found.harmless_anomalies],
        "question": found.question[lang] if found.question else "",
        "excerpt": _with_gaps(excerpt),
        "cited": frozenset(cited),
        "charts": run_chart.run_charts(found, lang),
        "excluded": [(found.causes[each.cause].name[lang], links.link(each.reason[lang])) for each in found.excluded],
        "entries": [
            each
            for one in shown
            if (each := _entry(service, knowledge, found.causes[one.cause].entry, lang)) is not None
        ],
        "experiment": _experiment(knowledge, found, evidence, lang),
        "failure": failure[lang] if failure else "",
        "cures": _cures([found.causes[each.cause] for each in shown], lang),
        "unseen": [each[lang] for each in found.unseen] if found.status != "healthy" else [],
        "next_line": _code(found.line_to_add) if found.line_to_add else "",
        "json": base64.b64encode(diagnosis_json(found, lang, evidence).to_json()).decode(),
        "read": labels.LABELS["diagnosis_read"][lang].format(found.run.lines_read, found.run.lines)
        if found.run.lines
        else "",
        "framework": found.run.framework,
        "cut": found.run.cut,
    }


def _verdict(found: Diagnosis, links: _LineLinks, lang: Lang) -> dict[str, Any]:
    """Heading, certainty and harms; the heading is the cause, if there is one, else the summary."""
    harms = [links.link(_sentence(each.text, lang), each.lines) for each in found.harms]
    if found.status in ("sick", "not_numerics") and found.hypotheses:
        first = found.hypotheses[0]
        return {
            "status": found.status,
            "word": labels.LABELS[f"diagnosis_{found.status}"][lang],
            "certainty": _certainty(first, lang),
            "heading": found.causes[first.cause].name[lang],
            "harms": harms,
        }
    word = labels.LABELS[f"diagnosis_{found.status}"][lang]
    told = found.summary[lang].rstrip("。.").removeprefix(f"{word}{labels.LABELS['colon'][lang]}")
    return {
        "status": found.status,
        "word": word,
        "certainty": "",
        "heading": f"{told[:1].upper()}{told[1:]}",
        "harms": harms[1:],
    }


def _sentence(text: Text, lang: Lang) -> str:
    """The text with a full stop, unless it ends with punctuation."""
    told = text[lang]
    return told if _ENDED.search(told) else f"{told}{'。' if lang == 'zh' else '.'}"


def _certainty(hypothesis: Hypothesis, lang: Lang) -> str:
    return labels.LABELS[f"diagnosis_{hypothesis.certainty}"][lang]


def _facts(hypothesis: Hypothesis, links: _LineLinks, lang: Lang) -> list[Markup]:
    """The facts that speak for a cause, with links to their lines."""
    facts = []
    for each in _supporting(hypothesis):
        text = _sentence(each.text, lang)
        if not each.lines and each.step is not None and str(each.step) not in text:
            text += f" ({labels.LABELS['diagnosis_step'][lang].format(each.step)})"
        if each.layer and each.layer not in text:
            text += f" [{each.layer}]"
        facts.append(links.link(text, each.lines[:3]))
    return facts


def _supporting(hypothesis: Hypothesis) -> list[Finding]:
    """The findings that speak for a cause, one for each text, at most `_MAX_FINDINGS`."""
    unique: dict[str, Finding] = {}
    for each in hypothesis.findings:
        if each.weight > 0:
            unique.setdefault(each.text.en, each)
    return list(unique.values())[:_MAX_FINDINGS]


def _other(found: Diagnosis, lang: Lang) -> str:
    """A sentence with the second cause of a run that is not undecided; "" if there is none."""
    if found.status == "undecided" or len(found.hypotheses) < 2:
        return ""
    second = found.hypotheses[1]
    return labels.LABELS["diagnosis_also"][lang].format(found.causes[second.cause].name[lang], _certainty(second, lang))


def _cited_lines(found: Diagnosis, shown: Sequence[Hypothesis]) -> list[int]:
    """The lines that harms and findings cite and whose text is known, the most important first."""
    lines = [line for harm in found.harms for line in harm.lines]
    lines += [line for each in shown for finding in _supporting(each) for line in finding.lines]
    return [line for line in dict.fromkeys(lines) if line in found.run.excerpt]


def _excerpt(kept: Mapping[int, str], cited: Sequence[int]) -> list[tuple[int, str]]:
    """(number, text) of the cited lines and those around them, in order; at most `_MAX_LINES`."""
    lines: dict[int, None] = dict.fromkeys(cited[:_MAX_LINES])
    for number in cited:
        around = [near for near in range(number - _AROUND, number + _AROUND + 1) if near in kept]
        if len({*lines, *around}) > _MAX_LINES:
            break
        lines |= dict.fromkeys(around)
    return [(number, kept[number][:_MAX_SHOWN_CHARS]) for number in sorted(lines)]


def _with_gaps(excerpt: Sequence[tuple[int, str]]) -> list[tuple[int, str, bool]]:
    """(number, text, whether lines before it are left out)."""
    before = [0, *(number for number, _ in excerpt)]
    return [(number, text, number != last + 1) for (number, text), last in zip(excerpt, before, strict=False)]


def _entry(service: Service, knowledge: Knowledge, name: str, lang: Lang) -> dict[str, Any] | None:
    """The entry of a cause, with its short answer as far as its numbers were measured before."""
    entry = knowledge.library.get(name)
    if entry is None:
        return None
    evidence = cached_own_evidence(entry, knowledge.experiments, service.runner)
    short = _before_gap(prose.fill_text(entry.short[lang], entry, evidence, lang, missing=_GAP))
    return {"id": entry.id, "question": entry.question[lang], "short": Markup(markup.markdown_to_html(short))}  # noqa: S704


def _cures(causes: Sequence[Cause], lang: Lang) -> list[dict[str, Any]]:
    """The cures of each cause; the causes are named only if there are several."""
    return [
        {
            "name": each.name[lang] if len(causes) > 1 else "",
            "cure": each.cure[lang] if each.cure else "",
            "patch": _code(each.patch) if each.patch else "",
        }
        for each in causes
        if each.cure or each.patch
    ]


def _before_gap(text: str) -> str:
    """The whole sentences before the first number that was not measured yet; all of the text if there is none."""
    told, gap, _ = text.partition(_GAP)
    if not gap:
        return text
    ends = [found.end() for found in _SENTENCE_END.finditer(told)]
    if not ends:
        return text.replace(_GAP, "…")
    whole = told[: ends[-1]].strip()
    return f"{whole[:-1]}{_STOPS.get(whole[-1], whole[-1])}"


def _experiment(
    knowledge: Knowledge, found: Diagnosis, evidence: Sequence[Evidence], lang: Lang
) -> dict[str, Any] | None:
    """The template values of both runs: parameters, charts, the metrics that differ, receipts."""
    planned = found.experiment
    if planned is None:
        return None
    experiment = knowledge.experiment(planned.experiment)
    both = planned.params, {**planned.params, **planned.cured}
    runs = []
    for index, params in enumerate(both):
        one = evidence[index] if len(evidence) == 2 else None
        runs.append(
            {
                "name": labels.LABELS[("diagnosis_as_is", "diagnosis_cured")[index]][lang],
                "params": format_params(params, lang),
                "address": cards.experiment_url(experiment, fill_defaults(experiment, params), lang),
                "note": one.run.note[lang] if one else "",
                "spec": chart.evidence_spec(one, lang) if one and one.run.rows else None,
                "alt": chart_alt_text(experiment, one.run.rows, lang) if one else "",
                "seconds": format_number(one.run.seconds, lang, 2) if one else "",
                "receipt": evidence_json(one, lang, brief=True).receipt if one else None,
            }
        )
    titles = [experiment.params[name].title[lang] for name in planned.from_run if name in experiment.params]
    return {
        "title": _sentence(experiment.title, lang),
        "yours": ("、" if lang == "zh" else ", ").join(titles),
        "change": format_params(planned.cured, lang),
        "runs": runs,
        "metrics": _metrics(evidence, lang) if len(evidence) == 2 else [],
    }


def _metrics(evidence: Sequence[Evidence], lang: Lang) -> list[tuple[str, list[dict[str, Any]]]]:
    """(title of a metric, its values in both runs) of the metrics that the cure changes; of all if it changes none."""
    one, two = evidence
    metrics = one.experiment.metrics
    names = [name for name in one.run.measured if name in metrics]
    differing = [name for name in names if repr(one.run.measured[name]) != repr(two.run.measured.get(name))] or names
    return [
        (
            metrics[name].title[lang],
            [
                {
                    "value": _metric_value(each.run.measured.get(name), lang),
                    "unit": format_unit(metrics[name].unit, lang, each.run.measured.get(name)),
                }
                for each in evidence
            ],
        )
        for name in differing[:_MAX_METRICS]
    ]


def _metric_value(value: object, lang: Lang) -> cards.FormattedValue:
    return (
        cards.FormattedValue(labels.LABELS["never"][lang], "none") if value is None else cards.format_value(value, lang)
    )


def _code(code: str) -> Markup:
    return Markup(markup.highlight_code(code))  # noqa: S704
