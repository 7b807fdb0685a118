"""The addresses of the page: chat, entries, and the stream behind the chat. Assets are in assets.py."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from qa_service.answering.service import Service
from qa_service.errors import BadRequest, NumstabError
from qa_service.experiments.parameters import fill_defaults
from qa_service.fronts.web import assets, render
from qa_service.fronts.web import machine_pages as plain
from qa_service.fronts.web import not_found as lost
from qa_service.fronts.web.labels import EXAMPLES
from qa_service.fronts.web.language import language
from qa_service.fronts.web.themes import THEMES, by_theme
from qa_service.model import Entry, Lang
from qa_service.model.events import AnswerReady
from qa_service.schemas import requests
from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language",
}


def nowhere(service: Service) -> Callable[[Request, NumstabError], Response]:
    """The page that a browser gets at an address where there is nothing."""

    def page(http: Request, error: NumstabError) -> Response:
        return HTMLResponse(
            lost.not_found_page(service, http.url.path, error, language(http) or "zh"), error.status, HEADERS
        )

    return page


def routes(service: Service, cache: Path) -> APIRouter:
    """Every route of the page; the chart bundle is kept in the cache folder."""
    web = APIRouter(include_in_schema=False)

    def by_item() -> list[list[Entry]]:
        items: dict[int, list[Entry]] = {}
        for each in service.library.values():
            items.setdefault(each.item, []).append(each)
        return list(items.values())

    def page(http: Request, name: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(render.page(name, values.pop("lang"), here=http.url.path, **values), 200, HEADERS)

    def refused(http: Request) -> HTMLResponse:
        return HTMLResponse(render.bad_language(http.url.path), 422, HEADERS)

    def wrong(http: Request, error: BadRequest, lang: Lang) -> HTMLResponse:
        return HTMLResponse(lost.not_found_page(service, http.url.path, error, lang), error.status, HEADERS)

    @web.get("/")
    async def chat(http: Request) -> HTMLResponse:
        lang = language(http)
        if lang is None:
            return refused(http)
        asked = not {"q", "entry"}.isdisjoint(http.query_params)
        return page(http, "chat.html", lang=lang, examples=EXAMPLES[lang], mathematics=asked)

    @web.get("/entries")
    async def entries(http: Request) -> HTMLResponse:
        lang = language(http)
        return page(http, "entries.html", lang=lang, entries=by_item(), themes=THEMES) if lang else refused(http)

    plain.add_routes(web, service)  # before the pages: a twin's address is its page's and .md

    @web.get("/entries/{entry_id}")
    async def entry(http: Request, entry_id: str) -> HTMLResponse:
        lang = language(http)
        if lang is None:
            return refused(http)
        try:
            one = service.library[entry_id]
        except BadRequest as error:
            return wrong(http, error, lang)
        related = [service.library[other] for other in one.related]
        shown = render.entry(one, related, service.lab.experiments, lang)
        return page(http, "entry.html", lang=lang, seeds=1, **shown)

    @web.get("/e/{entry_id}")
    async def permalink(http: Request, entry_id: str) -> HTMLResponse:
        """An entry's page with these parameters and this seed, run as soon as it is there."""
        lang = language(http)
        if lang is None:
            return refused(http)
        try:
            query, compare, seeds = requests.split_compare_and_seeds(http.query_params)
            one, plans = service.planned(requests.read_query(entry_id, {**query, "lang": lang}))
        except BadRequest as error:
            return wrong(http, error, lang)
        related = [service.library[other] for other in one.related]
        seed = int(http.query_params.get("seed", "0"))
        shown = render.entry(one, related, service.lab.experiments, lang, plans, seed, compare)
        return page(http, "entry.html", lang=lang, seeds=seeds, **shown)

    @web.get("/experiments")
    async def playgrounds(http: Request) -> HTMLResponse:
        lang = language(http)
        if lang is None:
            return refused(http)
        shelved = by_theme(service.lab.experiments.values())
        return page(http, "experiments.html", lang=lang, shelves=shelved)

    @web.get("/experiments/{slug}")
    async def playground(http: Request, slug: str) -> HTMLResponse:
        """An experiment to play with; parameters and seed in the address run it as soon as the page is there."""
        lang = language(http)
        if lang is None:
            return refused(http)
        try:
            experiment = service.lab.experiment(slug)
            asked = requests.read_query(slug, {**http.query_params, "lang": lang})
            params = fill_defaults(experiment, asked.params)
        except BadRequest as error:
            return wrong(http, error, lang)
        about = render.playground(experiment, plain.uses(service, experiment), params, asked.seed, lang)
        return page(http, "experiment.html", lang=lang, **about)

    async def asked(http: Request) -> EventStream:
        request = requests.read_request(await read_json(http))
        return await open_stream(lambda stopped: service.stream(request, stopped))  # an error in here becomes a status

    @web.post("/page/ask", response_class=SSEResponse)
    async def ask(begun: Annotated[EventStream, Depends(asked)]) -> Response:
        assert isinstance(begun.first, AnswerReady)
        entry, lang = begun.first.answer.entry, begun.first.answer.lang
        return begun.respond(partial(render.event, lang=lang, experiments=service.lab.experiments, entry=entry), lang)

    async def running(http: Request) -> tuple[Lang, EventStream]:
        one = requests.read_page_run(await read_json(http))
        events = await open_stream(lambda stopped: service.run(one.experiment, one.params, one.seed, stopped))
        return one.lang or "zh", events

    @web.post("/page/run", response_class=SSEResponse)
    async def run(begun: Annotated[tuple[Lang, EventStream], Depends(running)]) -> Response:
        lang, one = begun
        return one.respond(partial(render.event, lang=lang, experiments=service.lab.experiments, entry=None), lang)

    assets.add_routes(web, cache)
    return web
