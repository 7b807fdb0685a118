"""The routes of the pages: chat, entries, experiments, and the event streams that their scripts read."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from qa_service.answering.decision import focus_on_aspect
from qa_service.answering.execute import cached_own_evidence
from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.errors import BadRequest, NumstabError
from qa_service.experiments.parameters import fill_defaults
from qa_service.fronts.web import (
    ask_page,
    assets,
    crawler_pages,
    diagnosis_page,
    embed,
    formula_page,
    link_previews,
    not_found,
    render,
)
from qa_service.fronts.web.labels import EXAMPLES
from qa_service.fronts.web.language import page_language
from qa_service.fronts.web.themes import THEMES, by_theme
from qa_service.model import Entry, Lang
from qa_service.model.events import AnswerReady
from qa_service.presentation.card import CARD_HEIGHT, CARD_WIDTH
from qa_service.schemas import requests
from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json
from qa_service.settings import Settings

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language",
}


def not_found_response(service: Service) -> Callable[[Request, NumstabError], Response]:
    """The handler that returns the page for an unknown address."""

    def page(http: Request, error: NumstabError) -> Response:
        return _problem_page(service, http, error, page_language(http) or "zh")

    return page


def create_router(service: Service, settings: Settings) -> APIRouter:
    """Every route of the pages."""
    web = APIRouter(include_in_schema=False)
    _add_chat(web)
    ask_page.add_ask_page(web, service, PAGE_HEADERS)
    crawler_pages.add_crawler_routes(web, service)  # before the entries: /entries/{id}.md would match /entries/{id}
    embeddable = bool(settings.embed_origins)
    link_previews.add_link_previews(web, service, settings.cache, embeddable=embeddable)
    embed.add_embed_routes(web, service, settings, PAGE_HEADERS)
    _add_entries(web, service, embeddable=embeddable)
    _add_experiments(web, service)
    _add_streams(web, service)
    formula_page.add_formula_page(web, service, PAGE_HEADERS)
    diagnosis_page.add_diagnosis_page(web, service, PAGE_HEADERS)
    assets.add_asset_routes(web, settings.cache)
    return web


def _page(http: Request, name: str, lang: Lang, **values: Any) -> HTMLResponse:
    return HTMLResponse(render.render_page(name, lang, here=http.url.path, **values), 200, PAGE_HEADERS)


def _unknown_language(http: Request) -> HTMLResponse:
    return HTMLResponse(render.unsupported_language_page(http.url.path), 422, PAGE_HEADERS)


def _problem_page(service: Service, http: Request, error: NumstabError, lang: Lang) -> HTMLResponse:
    return HTMLResponse(not_found.not_found_html(service, http.url.path, error, lang), error.status, PAGE_HEADERS)


def _add_chat(web: APIRouter) -> None:
    @web.get("/")
    async def chat(http: Request) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return _unknown_language(http)
        asked = not {"q", "entry"}.isdisjoint(http.query_params)
        question, entry_id = http.query_params.get("q", "").strip(), http.query_params.get("entry", "")
        unscripted = f"/ask?{urlencode({'q': question, 'lang': lang})}" if question else ""
        if entry_id:
            unscripted = f"/entries/{quote(entry_id, safe='')}?lang={lang}"
        return _page(http, "chat.html", lang, examples=EXAMPLES[lang], mathematics=asked, unscripted=unscripted)


def _add_entries(web: APIRouter, service: Service, *, embeddable: bool) -> None:
    @web.get("/entries")
    async def entries(http: Request) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return _unknown_language(http)
        return _page(
            http,
            "entries.html",
            lang,
            entries=_by_item(service.knowledge.library.values()),
            themes=[each for each in THEMES if each.items],
        )

    def _entry_page(http: Request, one: Entry, lang: Lang, **values: Any) -> HTMLResponse:
        """An entry's page with link previews; as these have addresses of this host, no shared cache may keep it."""
        base = str(http.base_url)
        link = base + one.address_in(lang).removeprefix("/")
        preview = {
            "link": link,
            "card": link_previews.card_address(base, one, lang),
            "oembed": f"/oembed?{urlencode({'url': link})}" if embeddable else "",
            "size": (CARD_WIDTH, CARD_HEIGHT),
        }
        page = _page(http, "entry.html", lang, preview=preview, **values)
        page.headers["Cache-Control"] = "private"
        return page

    @web.get("/entries/{entry_id}")
    async def entry(http: Request, entry_id: str) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return _unknown_language(http)
        knowledge = service.knowledge
        try:
            one = focus_on_aspect(knowledge.library[entry_id], http.query_params.get("aspect", ""))
        except BadRequest as error:
            return _problem_page(service, http, error, lang)
        related = [knowledge.library[other] for other in one.related]
        before = await to_thread.run_sync(cached_own_evidence, one, knowledge.experiments, service.runner)
        told = _entries_in_tell(one, knowledge)
        shown = render.entry_values(one, related, told, knowledge.experiments, lang, evidence=before)
        return _entry_page(http, one, lang, seeds=1, **shown)

    @web.get("/e/{entry_id}")
    async def permalink(http: Request, entry_id: str) -> HTMLResponse:
        """An entry's page with these parameters and this seed, run as soon as it is loaded."""
        lang = page_language(http)
        if lang is None:
            return _unknown_language(http)
        knowledge = service.knowledge
        try:
            query, compare, seeds = requests.split_compare_and_seeds(http.query_params)
            one, plans = service.plan(requests.read_query(entry_id, {**query, "lang": lang}), knowledge)
        except BadRequest as error:
            return _problem_page(service, http, error, lang)
        related = [knowledge.library[other] for other in one.related]
        seed = int(http.query_params.get("seed", "0"))
        told = _entries_in_tell(one, knowledge)
        shown = render.entry_values(one, related, told, knowledge.experiments, lang, plans, seed, compare)
        return _entry_page(http, one, lang, seeds=seeds, **shown)


def _entries_in_tell(entry: Entry, knowledge: Knowledge) -> list[Entry]:
    """The entries to which the rows of `tell` refer."""
    ids = dict.fromkeys(each.entry for each in entry.tell if each.entry)
    return [knowledge.library[each] for each in ids]


def _by_item(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The entries grouped by item."""
    items: dict[int, list[Entry]] = {}
    for each in entries:
        items.setdefault(each.item, []).append(each)
    return list(items.values())


def _add_experiments(web: APIRouter, service: Service) -> None:
    @web.get("/experiments")
    async def experiments(http: Request) -> HTMLResponse:
        lang = page_language(http)
        if lang is None:
            return _unknown_language(http)
        return _page(http, "experiments.html", lang, groups=by_theme(service.knowledge.experiments.values()))

    @web.get("/experiments/{slug}")
    async def playground(http: Request, slug: str) -> HTMLResponse:
        """An experiment with its form; parameters and a seed in the address run it as soon as the page is loaded."""
        lang = page_language(http)
        if lang is None:
            return _unknown_language(http)
        knowledge = service.knowledge
        try:
            experiment = knowledge.experiment(slug)
            asked = requests.read_query(slug, {**http.query_params, "lang": lang})
            params = fill_defaults(experiment, asked.params)
        except BadRequest as error:
            return _problem_page(service, http, error, lang)
        about = render.experiment_values(
            experiment, crawler_pages.entries_using(knowledge.library, experiment), params, asked.seed, lang
        )
        return _page(http, "experiment.html", lang, **about)


def _add_streams(web: APIRouter, service: Service) -> None:
    """Adds the streams that the pages' scripts read, whose events have rendered HTML."""

    async def open_answer(http: Request) -> tuple[Knowledge, EventStream]:
        request, knowledge = requests.read_request(await read_json(http)), service.knowledge
        return knowledge, await open_stream(http, lambda is_cancelled: service.stream(request, is_cancelled, knowledge))

    @web.post("/page/ask", response_class=SSEResponse)
    async def ask(begun: Annotated[tuple[Knowledge, EventStream], Depends(open_answer)]) -> Response:
        knowledge, stream = begun
        assert isinstance(stream.first, AnswerReady)
        entry, lang = stream.first.answer.entry, stream.first.answer.lang
        questions = {each.id: each.question[lang] for each in _entries_in_tell(entry, knowledge)} if entry else {}
        encode = partial(
            render.page_event, lang=lang, experiments=knowledge.experiments, entry=entry, questions=questions
        )
        return stream.respond(encode, lang)

    async def open_run(http: Request) -> tuple[Knowledge, Lang, EventStream]:
        run, knowledge = requests.read_page_run(await read_json(http)), service.knowledge
        events = partial(service.run, run.experiment, run.params, run.seed, knowledge=knowledge)
        return knowledge, run.lang or "zh", await open_stream(http, events)

    @web.post("/page/run", response_class=SSEResponse)
    async def run(begun: Annotated[tuple[Knowledge, Lang, EventStream], Depends(open_run)]) -> Response:
        knowledge, lang, stream = begun
        encode = partial(render.page_event, lang=lang, experiments=knowledge.experiments, entry=None)
        return stream.respond(encode, lang)
