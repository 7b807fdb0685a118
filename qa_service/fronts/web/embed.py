"""Entries embedded in pages of other sites: the page in the frame, and the script of the custom element."""

from pathlib import Path
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from qa_service.answering.execute import cached_evidence
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadRequest
from qa_service.fronts.web import cards, labels, not_found, render
from qa_service.fronts.web.language import page_language
from qa_service.fronts.web.link_previews import ANY_ORIGIN_HEADERS, EMBED_PATH
from qa_service.model import Entry, Evidence, Lang
from qa_service.model.events import EvidenceReady
from qa_service.schemas import requests
from qa_service.settings import Settings

MAX_REMEMBERED_ROWS = 2000
"""The largest number of rows of a cached run that the page contains; the chart of a longer one is drawn only when it is
run again.
"""
_SCRIPT = Path(__file__).resolve().parent / "static" / "embed.js"


def add_embed_routes(web: APIRouter, service: Service, settings: Settings, page_headers: dict[str, str]) -> None:
    """Adds the page, which the origins of `settings.embed` may show in a frame, and the script, for any site."""
    origins = " ".join(settings.embed_origins)
    policy = page_headers["Content-Security-Policy"].replace("frame-ancestors 'none'", f"frame-ancestors {origins}")
    headers = page_headers | ANY_ORIGIN_HEADERS | {"Content-Security-Policy": policy}
    script = _SCRIPT.read_bytes()

    @web.get("/embed.js")
    async def element() -> Response:
        free = ANY_ORIGIN_HEADERS | {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}
        return Response(script, media_type="text/javascript", headers=free)

    @web.get(f"{EMBED_PATH}{{entry_id}}")
    async def frame(http: Request, entry_id: str) -> HTMLResponse:
        """The page of an entry without navigation; parameters and seed as in a permalink. It runs on demand only."""
        lang: Lang = page_language(http) or "en"
        if not origins or "key" in http.query_params:
            return _refusal(http, lang, "embed_closed" if not origins else "embed_no_key", page_headers)
        knowledge = service.knowledge
        try:
            query, _, _ = requests.split_compare_and_seeds(http.query_params)
            seed = query.get("seed", "0")
            entry = knowledge.library[entry_id]
            proof = {"block": entry.evidence[0].id} if entry.evidence else {}
            entry, plans = service.plan(requests.read_query(entry_id, {**query, "lang": lang, **proof}), knowledge)
        except BadRequest as error:
            html = not_found.not_found_html(service, f"/entries/{entry_id}", error, lang)
            return HTMLResponse(html, error.status, page_headers)
        before = await to_thread.run_sync(cached_evidence, plans, entry, service.runner, int(seed))
        told = [knowledge.library[each.entry] for each in entry.tell if each.entry]
        shown = render.entry_values(
            entry, (), told, knowledge.experiments, lang, plans, int(seed), evidence=before, state="idle"
        )
        if plans and entry.evidence:
            shown["proof"] = cards.evidence_card(
                entry,
                entry.evidence[0],
                plans[0].experiment,
                lang,
                params=plans[0].params,
                seed=int(seed),
                evidence=before[0] if before else None,
            )
        values = {
            **shown,
            "remembered": _event(before, entry, lang, knowledge),
            "address": _permalink(entry, query, lang),
        }
        return HTMLResponse(render.render_page("embed.html", lang, here=http.url.path, **values), 200, headers)


def _refusal(http: Request, lang: Lang, reason: str, headers: dict[str, str]) -> HTMLResponse:
    """A page with status 403 and the text of the label `reason`."""
    messages = {lang: labels.LABELS[reason][lang]}
    html = render.render_page("problem.html", lang, here=http.url.path, similar=(), messages=messages)
    return HTMLResponse(html, 403, headers)


def _event(before: tuple[Evidence, ...], entry: Entry, lang: Lang, knowledge: Knowledge) -> dict[str, object] | None:
    """The cached evidence as an event of the page's stream; None without any, or if it has too many rows."""
    if not before or len(before[0].run.rows) > MAX_REMEMBERED_ROWS:
        return None
    _, event = render.page_event(EvidenceReady(before[0]), lang, knowledge.experiments, entry)
    return event.to_dict()


def _permalink(entry: Entry, query: dict[str, str], lang: Lang) -> str:
    """The address of the same entry, parameters and seed on this server's own pages."""
    rest = {name: value for name, value in query.items() if name != "lang"}
    return f"/e/{entry.id}?{urlencode({**rest, 'lang': lang})}" if rest else f"/entries/{entry.id}?lang={lang}"
