"""Routes of the pages: chat, entries, experiments, and the chat's event stream. Assets are in assets.py."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from qa_service.answering.service import Service
from qa_service.errors import BadRequest, NumstabError
from qa_service.experiments.parameters import fill_defaults
from qa_service.fronts.web import assets, machine_pages, not_found, render
from qa_service.fronts.web.labels import EXAMPLES
from qa_service.fronts.web.language import page_language
from qa_service.fronts.web.themes import THEMES, by_theme
from qa_service.model import Entry, Lang
from qa_service.model.events import AnswerReady
from qa_service.schemas import requests
from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language",
}


def not_found_response(service: Service) -> Callable[[Request, NumstabError], Response]:
    """A handler that makes the page for an unknown address."""

    def page(http: Request, error: NumstabError) -> Response:
        return HTMLResponse(
            not_found.not_found_html(service, http.url.path, error, page_language(http) or "zh"),
            error.status,
            PAGE_HEADERS,
        )

    return page


def create_router(service: Service, cache: Path) -> APIRouter:
    """Every route of the web front; built assets are in the folder `cache`."""
    web = APIRouter(include_in_schema=False)

    def by_item() -> list[list[Entry]]:
        items: dict[int, list[Entry]] = {}
        for each in service.library.values():
            items.setdefault(each.item, []).append(each)
        return list(items.values())

    def page(http: Request, name: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(
            render.render_page(name, values.pop("lang"), here=http.url.path, **values), 200, PAGE_HEADERS
        )

    def refused(http: Request) -> HTMLResponse:
        return HTMLResponse(render.unsupported_language_page(http.url.path), 422, PAGE_HEADERS)

    def wrong(http: Request, error: BadRequest, lang: Lang) -> HTMLResponse:
        return HTMLResponse(not_found.not_found_html(service, http.url.path, error, lang), error.status, PAGE_HEADERS)

    @web.get("/")
    async def chat(http: Request) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return refused(http)
        asked = not {"q", "entry"}.isdisjoint(http.query_params)
        return page(http, "chat.html", lang=lang, examples=EXAMPLES[lang], mathematics=asked)

    @web.get("/entries")
    async def entries(http: Request) -> HTMLResponse:
        lang = page_language(http)
        return page(http, "entries.html", lang=lang, entries=by_item(), themes=THEMES) if lang else refused(http)

    machine_pages.add_machine_routes(web, service)  # first: /entries/{entry_id} would match the .md addresses

    @web.get("/entries/{entry_id}")
    async def entry(http: Request, entry_id: str) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return refused(http)
        try:
            one = service.library[entry_id]
        except BadRequest as error:
            return wrong(http, error, lang)
        related = [service.library[other] for other in one.related]
        shown = render.entry_values(one, related, service.lab.experiments, lang)
        return page(http, "entry.html", lang=lang, seeds=1, **shown)

    @web.get("/e/{entry_id}")
    async def permalink(http: Request, entry_id: str) -> HTMLResponse:
        """An entry's page with these parameters and this seed, run as soon as the page is loaded."""
        lang = page_language(http)
        if lang is None:
            return refused(http)
        try:
            query, compare, seeds = requests.split_compare_and_seeds(http.query_params)
            one, plans = service.planned(requests.read_query(entry_id, {**query, "lang": lang}))
        except BadRequest as error:
            return wrong(http, error, lang)
        related = [service.library[other] for other in one.related]
        seed = int(http.query_params.get("seed", "0"))
        shown = render.entry_values(one, related, service.lab.experiments, lang, plans, seed, compare)
        return page(http, "entry.html", lang=lang, seeds=seeds, **shown)

    @web.get("/experiments")
    async def playgrounds(http: Request) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return refused(http)
        groups = by_theme(service.lab.experiments.values())
        return page(http, "experiments.html", lang=lang, shelves=groups)

    @web.get("/experiments/{slug}")
    async def playground(http: Request, slug: str) -> HTMLResponse:
        """An experiment's page with the parameters and the seed of the address, run as soon as the page is loaded."""
        lang = page_language(http)
        if lang is None:
            return refused(http)
        try:
            experiment = service.lab.experiment(slug)
            asked = requests.read_query(slug, {**http.query_params, "lang": lang})
            params = fill_defaults(experiment, asked.params)
        except BadRequest as error:
            return wrong(http, error, lang)
        about = render.experiment_values(
            experiment, machine_pages.entries_using(service, experiment), params, asked.seed, lang
        )
        return page(http, "experiment.html", lang=lang, **about)

    async def asked(http: Request) -> EventStream:
        request = requests.read_request(await read_json(http))
        return await open_stream(lambda stopped: service.stream(request, stopped))  # an error in here becomes a status

    @web.post("/page/ask", response_class=SSEResponse)
    async def ask(begun: Annotated[EventStream, Depends(asked)]) -> Response:
        assert isinstance(begun.first, AnswerReady)
        entry, lang = begun.first.answer.entry, begun.first.answer.lang
        return begun.respond(
            partial(render.page_event, lang=lang, experiments=service.lab.experiments, entry=entry), lang
        )

    async def running(http: Request) -> tuple[Lang, EventStream]:
        slug, params, seed, lang = requests.read_run(await read_json(http))
        return lang or "zh", await open_stream(lambda stopped: service.run(slug, params, seed, stopped))

    @web.post("/page/run", response_class=SSEResponse)
    async def run(begun: Annotated[tuple[Lang, EventStream], Depends(running)]) -> Response:
        lang, one = begun
        return one.respond(partial(render.page_event, lang=lang, experiments=service.lab.experiments, entry=None), lang)

    assets.add_asset_routes(web, cache)
    return web
