"""The addresses of the page: chat, entries, and the stream behind the chat. Assets are in assets.py."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from qa_service import incoming
from qa_service.errors import BadRequest
from qa_service.events import Answered, Event
from qa_service.fronts.web import assets, render
from qa_service.fronts.web.labels import EXAMPLES
from qa_service.model import LANGS, Lang
from qa_service.service import Service
from qa_service.streaming import pump, read_json, relay

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'",  # Vega compiles its expressions and styles its tooltip inline
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language",
}


def language(http: Request) -> Lang | None:
    """`?lang=`, else the first of the browser's languages that we speak, else Chinese; None for one we do not speak."""
    asked = http.query_params.get("lang")
    if asked is not None:
        return next((lang for lang in LANGS if lang == asked), None)
    spoken = http.headers.get("accept-language", "").lower().split(",")
    wanted = [word.partition(";")[0].strip().partition("-")[0] for word in spoken]
    return next((lang for word in wanted for lang in LANGS if lang == word), "zh")


def routes(service: Service, cache: Path) -> APIRouter:
    """Every route of the page; the chart bundle is kept in the cache folder."""
    web = APIRouter(include_in_schema=False)
    experiments = service.lab.experiments

    def page(http: Request, name: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(render.page(name, values.pop("lang"), here=http.url.path, **values), 200, HEADERS)

    def refused(http: Request) -> HTMLResponse:
        return HTMLResponse(render.bad_language(http.url.path), 422, HEADERS)

    @web.get("/")
    async def chat(http: Request) -> HTMLResponse:
        lang = language(http)
        return page(http, "chat.html", lang=lang, examples=EXAMPLES[lang]) if lang else refused(http)

    @web.get("/entries")
    async def entries(http: Request) -> HTMLResponse:
        lang = language(http)
        return page(http, "entries.html", lang=lang, entries=service.library.values()) if lang else refused(http)

    @web.get("/entries/{entry_id}")
    async def entry(http: Request, entry_id: str) -> HTMLResponse:
        lang = language(http)
        if lang is None:
            return refused(http)
        try:
            one = service.library[entry_id]
        except BadRequest as error:
            shown = render.page("problem.html", lang, here="/entries", said={lang: error[lang]})
            return HTMLResponse(shown, error.status, HEADERS)
        related = [service.library[other] for other in one.related]
        return page(http, "entry.html", lang=lang, **render.entry(one, related, experiments, lang))

    @web.get("/e/{entry_id}")
    async def permalink(http: Request, entry_id: str) -> HTMLResponse:
        """An entry's page with these parameters and this seed, run as soon as it is there."""
        lang = language(http)
        if lang is None:
            return refused(http)
        try:
            one, plans = service.planned(incoming.read_query(entry_id, {**http.query_params, "lang": lang}))
        except BadRequest as error:
            shown = render.page("problem.html", lang, here="/entries", said={lang: error[lang]})
            return HTMLResponse(shown, error.status, HEADERS)
        related = [service.library[other] for other in one.related]
        seed = int(http.query_params.get("seed", "0"))
        return page(http, "entry.html", lang=lang, **render.entry(one, related, experiments, lang, plans, seed))

    async def asked(http: Request) -> tuple[Answered, AsyncIterator[Event]]:
        request = incoming.read_request(await read_json(http))
        events = pump(lambda stopped: service.stream(request, stopped))
        first = await anext(events)  # an error in here still becomes a status
        assert isinstance(first, Answered)
        return first, events

    @web.post("/page/ask", response_class=EventSourceResponse)
    async def ask(opened: Annotated[Any, Depends(asked)]) -> AsyncIterator[ServerSentEvent]:
        first, events = opened
        entry, lang = first.answer.entry, first.answer.lang
        encode = partial(render.event, lang=lang, experiments=experiments, entry=entry)
        async for name, data in relay(first, events, encode, lang):
            yield ServerSentEvent(event=name, data=data)

    assets.add_routes(web, cache)
    return web
