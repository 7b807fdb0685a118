"""The resources: entries, the source of experiments, the rows and charts of runs, and the page that shows a result."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qa_service.answering.execute import cached_own_evidence
from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.mcp.calls import ToolCall
from qa_service.fronts.mcp.receipts import CompactReceipt
from qa_service.model import LANGS, Entry, Evidence, Lang
from qa_service.model.events import EvidenceReady
from qa_service.presentation import chart, prose
from qa_service.schemas.evidence import evidence_json

APP_URI = "ui://numstab/evidence.html"
APP_MIME_TYPE = "text/html;profile=mcp-app"
_SCHEME = "numstab://"
_VEGA_LITE = "6.4"  # the version for which charts are written
_FURTHER = {"zh": "它还回答（aspect）", "en": "It also answers (aspect)"}
_NOT_MEASURED = {"zh": "（用 ask 测量）", "en": "(measured by ask)"}


@dataclass(frozen=True, slots=True)
class ResourceTemplate:
    """A resource template. `read` is called with the service, the variable part of the URI, and the call."""

    uri: str
    name: str
    title: str
    description: str
    mime_type: str
    read: Callable[[Service, str, ToolCall], str]

    def match(self, uri: str) -> str | None:
        """The variable part of a URI that matches the template; None for any other."""
        before, _, after = self.uri.partition("{")
        after = after.partition("}")[2]
        if not uri.startswith(before) or not uri.endswith(after) or len(uri) < len(before) + len(after) + 1:
            return None
        variable = uri[len(before) : len(uri) - len(after)]
        return None if "/" in variable else variable


def read_resource_text(service: Service, uri: str, call: ToolCall) -> tuple[str, str]:
    """(text, media type) of a resource. Raises `BadRequest` for an unknown URI."""
    if uri == APP_URI:
        return app_html(), APP_MIME_TYPE
    if uri in INDEXES:
        return INDEXES[uri](service), "text/markdown"
    for template in TEMPLATES:
        if (variable := template.match(uri)) is not None:
            return template.read(service, variable, call), template.mime_type
    known = ", ".join([*INDEXES, *(template.uri for template in TEMPLATES)])
    raise BadField(
        zh=f"没有这个资源。有的是：{known}", en=f"there is no such resource. There are: {known}", field="uri"
    )


@functools.cache
def app_html() -> str:
    """The self-contained page that shows a result."""
    return Path(__file__).with_name("evidence.html").read_text("utf-8")


def _entry_index(service: Service) -> str:
    lines = ["# numstab: entries", ""]
    for entry in sorted(service.knowledge.library.values(), key=lambda entry: (entry.item, entry.id)):
        lines.append(f"- [{entry.id}]({_SCHEME}entries/{entry.id}): {entry.question.en} / {entry.question.zh}")
    return "\n".join(lines)


def _experiment_index(service: Service) -> str:
    lines = ["# numstab: experiments", ""]
    for slug, experiment in sorted(service.knowledge.experiments.items()):
        lines.append(f"- [{slug}]({_SCHEME}experiments/{slug}): {experiment.title.en} / {experiment.title.zh}")
    return "\n".join(lines)


def _entry(service: Service, entry_id: str, _call: ToolCall) -> str:
    knowledge = service.knowledge
    entry = knowledge.library[entry_id]
    evidence = cached_own_evidence(entry, knowledge.experiments, service.runner)
    texts = [_entry_in(entry, evidence, lang) for lang in reversed(LANGS)]
    links = [f"- {_SCHEME}entries/{other}" for other in entry.related]
    links += [f"- {_SCHEME}experiments/{block.experiment}" for block in entry.evidence]
    references = [f"- {reference}" for reference in entry.references]
    return "\n".join([*texts, "## References", *references, "", "## See also", *dict.fromkeys(links)])


def _entry_in(entry: Entry, evidence: tuple[Evidence, ...], lang: Lang) -> str:
    """The entry as Markdown in one language: its text, its aspects and its claims."""
    text = prose.fill_text(prose.entry_text(entry, lang), entry, evidence, lang, _NOT_MEASURED[lang])
    claims = [
        f"- {claim.says[lang]} (`{claim.id}`: {claim.metric} {claim.op} {claim.bound!r}, {claim.expected_verdict})"
        for block in entry.evidence
        for claim in block.claims
    ]
    further = [
        f"- `{view.aspect}`: {view.question[lang]} "
        f"{prose.fill_text(view.short[lang].strip(), entry, evidence, lang, _NOT_MEASURED[lang])}"
        for view in entry.other_views()
    ]
    heading = [f"### {_FURTHER[lang]}", "", *further, ""] if further else []
    return "\n".join([f"# {entry.question[lang]}", "", text, "", *heading, *claims, ""])


def _source(service: Service, slug: str, _call: ToolCall) -> str:
    return service.knowledge.experiment(slug).source


def _run(service: Service, receipt: str, call: ToolCall) -> str:
    evidence, lang = _repeat(service, receipt, call)
    return json.dumps(evidence_json(evidence, lang).to_dict(), ensure_ascii=False)


def _chart(service: Service, receipt: str, call: ToolCall) -> str:
    import vl_convert

    evidence, lang = _repeat(service, receipt, call)
    spec = chart.evidence_spec(evidence, lang)
    if not evidence.run.rows:
        raise BadField(
            zh=f"没有可画的数据：{evidence.run.note.zh}", en=f"nothing to draw: {evidence.run.note.en}", field="uri"
        )
    svg: str = vl_convert.vegalite_to_svg(json.dumps(spec, allow_nan=False), vl_version=_VEGA_LITE)
    return svg


def _repeat(service: Service, text: str, call: ToolCall) -> tuple[Evidence, Lang]:
    """The run of a receipt, from the cache or executed again, with the same results."""
    receipt = CompactReceipt.decode(text)
    knowledge = service.knowledge
    experiment = knowledge.experiment(receipt.experiment)
    receipt.check(experiment)
    ready = call.wait_for_last(service.run(experiment.slug, receipt.params, receipt.seed, call.is_cancelled, knowledge))
    assert isinstance(ready, EvidenceReady)
    return ready.evidence, receipt.lang


INDEXES: dict[str, Callable[[Service], str]] = {
    f"{_SCHEME}entries": _entry_index,
    f"{_SCHEME}experiments": _experiment_index,
}
"""URI → the function that lists all entries, or all experiments."""
TEMPLATES = (
    ResourceTemplate(
        f"{_SCHEME}entries/{{id}}", "entry", "Entry", "One curated answer in both languages, with its claims.",
        "text/markdown", _entry,
    ),
    ResourceTemplate(
        f"{_SCHEME}experiments/{{slug}}", "experiment", "Source of an experiment",
        "The Python file of an experiment; it needs nothing but torch.", "text/x-python", _source,
    ),
    ResourceTemplate(
        f"{_SCHEME}runs/{{receipt}}", "run", "Rows of a run",
        "Every row, the metrics, the Vega-Lite chart and the receipt of a run, by the address in a tool's result.",
        "application/json", _run,
    ),
    ResourceTemplate(
        f"{_SCHEME}runs/{{receipt}}/chart.svg", "chart", "Chart of a run", "The chart of a run as SVG.",
        "image/svg+xml", _chart,
    ),
)  # fmt: skip
