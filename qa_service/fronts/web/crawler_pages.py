"""Pages for crawlers and language models: every entry as Markdown (.md), llms.txt, sitemap.xml, robots.txt."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request, Response

from qa_service.answering.service import Service
from qa_service.errors import BadRequest
from qa_service.fronts.web.language import page_language
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, Entry, Experiment, Lang, Text
from qa_service.presentation import prose
from qa_service.presentation.comparison import format_params
from qa_service.presentation.numbers import format_number

_ABOUT = Text(
    "深度学习数值稳定性的问答：每个词条都带可以运行的证据，数由实验当场测得。",
    "Questions about numerical stability in deep learning, each answered with evidence that can be run.",
)
_EVIDENCE_TITLE, _REFERENCES_TITLE = Text("证据", "Evidence"), Text("参考文献", "References")
_CONTROL_LABEL = Text("对照（断言必须不成立）", "control (must fail)")
_OF_THIS_HOST = {"Cache-Control": "no-store"}
"""Headers of pages that contain the request's Host, so that no cache serves them for another host."""
_ELLIPSIS_NOTE = Text("省略号是运行实验才有的数：", "An ellipsis is a number that running the experiments gives:")


def add_crawler_routes(web: APIRouter, service: Service) -> None:
    """Adds the routes of the entries as Markdown, and of llms.txt, sitemap.xml and robots.txt."""

    @web.get("/entries/{entry_id}.md")
    async def entry_as_markdown(http: Request, entry_id: str) -> Response:
        lang = page_language(http) or "zh"
        try:
            text = entry_markdown(service.knowledge.library[entry_id], lang)
        except BadRequest as error:
            return Response(error[lang], error.status, media_type="text/plain; charset=utf-8")
        return Response(text, media_type="text/markdown; charset=utf-8", headers={"Vary": "Accept-Language"})

    @web.get("/llms.txt")
    async def llms(http: Request) -> Response:
        base = str(http.base_url)
        entries = [
            f"- [{one.question.en}]({base}entries/{one.id}.md?lang=en)" for one in service.knowledge.library.values()
        ]
        lines = [
            "# numstab",
            "",
            f"> {_ABOUT.en}",
            "",
            "## Entries",
            "",
            *entries,
            "",
            "## API",
            "",
            f"- [OpenAPI]({base}openapi.json)",
            f"- [Entries as JSON]({base}api/v1/entries)",
        ]
        return Response("\n".join(lines) + "\n", media_type="text/plain; charset=utf-8", headers=_OF_THIS_HOST)

    @web.get("/sitemap.xml")
    async def sitemap(http: Request) -> Response:
        paths = ["", "entries", "experiments", "formula", "diagnose"]
        paths += [f"entries/{entry_id}" for entry_id in service.knowledge.library]
        paths += [f"experiments/{slug}" for slug in service.knowledge.experiments]
        return Response(_sitemap_xml(str(http.base_url), paths), media_type="application/xml", headers=_OF_THIS_HOST)

    @web.get("/robots.txt")
    async def robots(http: Request) -> Response:
        closed = "".join(f"Disallow: {path}\n" for path in ("/e/", "/page/", "/formula?"))
        rules = f"User-agent: *\n{closed}Sitemap: {http.base_url}sitemap.xml\n"
        return Response(rules, media_type="text/plain", headers=_OF_THIS_HOST)


def entry_markdown(entry: Entry, lang: Lang) -> str:
    """The entry as Markdown, with "…" for measured numbers."""
    parts = [f"# {entry.question[lang]}", prose.fill_placeholders(entry, (), lang)]
    for view in entry.other_views():
        parts += [f"## {view.question[lang]}", prose.fill_text(view.short[lang].strip(), entry, (), lang)]
    parts.append(f"## {_EVIDENCE_TITLE[lang]}")
    for block in entry.evidence:
        claims = [
            f"- {claim.says[lang]} (`{claim.metric} {claim.op} {format_number(claim.bound, lang)}`; "
            f"{_CONTROL_LABEL[lang]}: {format_params(claim.control, lang)})"
            for claim in block.claims
        ]
        parts.append("\n".join([f"`{block.experiment}({format_params(block.params, lang)})`", "", *claims]).strip())
    parts.append(f"{_ELLIPSIS_NOTE[lang]} `numstab ask --entry {entry.id} --lang {lang}`")
    if entry.references:
        parts += [f"## {_REFERENCES_TITLE[lang]}", "\n".join(f"- {cite}" for cite in entry.references)]
    return "\n\n".join(parts) + "\n"


def _sitemap_xml(base: str, paths: Sequence[str]) -> str:
    urls = []
    for path in paths:
        url = escape(f"{base}{path}")
        alternates = "".join(
            f'<xhtml:link rel="alternate" hreflang="{lang}" href="{url}?lang={lang}"/>' for lang in LANGS
        )
        urls.append(f"<url><loc>{url}</loc>{alternates}</url>")
    namespaces = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:xhtml="http://www.w3.org/1999/xhtml"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {namespaces}>' + "\n".join(urls) + "</urlset>\n"


def entries_using(library: Library, experiment: Experiment) -> list[Entry]:
    """The entries that have the experiment as evidence."""
    return [one for one in library.values() if any(block.experiment == experiment.slug for block in one.evidence)]
