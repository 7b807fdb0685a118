"""The addresses of the page: chat, entries, assets, and the stream behind the chat."""

import asyncio
import hashlib
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from qa_service import wire
from qa_service.errors import NumstabError
from qa_service.fronts.web import cards, labels, render
from qa_service.fronts.web.bundle import vega_bundle
from qa_service.model import LANGS, Answered, Entry, Event, Lang
from qa_service.service import Service
from qa_service.streaming import problem, pump, read_json

_STATIC = Path(__file__).resolve().parent / "static"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'",  # Vega compiles its expressions, and styles inline
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language",
}


def language(http: Request) -> Lang | None:
    """`?lang=`, else the first language of the browser that we speak, else Chinese; None for one that we do not."""
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
    assets = {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.is_file()}

    def shown(http: Request, name: str, **values: Any) -> HTMLResponse:
        lang = language(http)
        if lang is None:
            return HTMLResponse(render.bad_lang(http.url.path), 422, HEADERS)
        return HTMLResponse(render.page(name, lang, here=http.url.path, **values), 200, HEADERS)

    @web.get("/")
    async def chat(http: Request) -> HTMLResponse:
        return shown(http, "chat.html", examples=labels.EXAMPLES[language(http) or "zh"])

    @web.get("/entries")
    async def entries(http: Request) -> HTMLResponse:
        return shown(http, "entries.html", items=_by_item(service))

    @web.get("/entries/{entry_id}")
    async def entry(http: Request, entry_id: str) -> HTMLResponse:
        lang = language(http)
        try:
            one = service.library[entry_id]
        except NumstabError as error:
            page = render.page("problem.html", lang or "zh", here="/entries", message=error[lang or "zh"])
            return HTMLResponse(page, error.status, HEADERS)
        return shown(http, "entry.html", **render.entry_values(one, lang or "zh", service)) 

    @web.get("/static/vega.js")
    async def vega() -> FileResponse:
        path = await asyncio.to_thread(vega_bundle, cache)
        kept = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type="text/javascript", headers=kept)

    for name, content in assets.items():
        web.add_api_route(f"/static/{name}", _asset(name, content), methods=["GET"])

    async def asked(http: Request) -> tuple[Entry | None, Event, AsyncIterator[Event]]:
        request = wire.read_request(await read_json(http))
        events = pump(lambda stopped: service.stream(request, stopped))
        first = await anext(events)  # an error in here still becomes a status
        assert isinstance(first, Answered)
        return first.answer.entry, first, events

    @web.post("/page/ask", response_class=EventSourceResponse)
    async def ask(opened: Annotated[Any, Depends(asked)]) -> AsyncIterator[ServerSentEvent]:
        entry, first, events = opened
        lang = first.answer.lang
        try:
            name, data = render.event(first, lang, experiments, entry)
            yield ServerSentEvent(event=name, data=data)
            async for event in events:
                name, data = render.event(event, lang, experiments, entry)
                yield ServerSentEvent(event=name, data=data)
        except Exception as error:  # the status has gone out: the stream itself must say that it failed
            yield ServerSentEvent(event="error", data=problem(error, lang))

    return web
