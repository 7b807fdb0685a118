"""The HTTP API under /api/v1: JSON in and out, server-sent events, errors as problem+json."""

from typing import TYPE_CHECKING, Annotated

from qa_service.answering.service import Service
from qa_service.model import Lang, Request
from qa_service.model.events import AnswerReady, Done, EvidenceReady
from qa_service.settings import Settings
from qa_service.tools import notebook as export

if TYPE_CHECKING:
    from fastapi import APIRouter


def router(service: Service, settings: Settings) -> "APIRouter":
    """Every route of the API; feedback goes to the data folder."""
    from fastapi import APIRouter, Depends, Response
    from fastapi import Request as HttpRequest
    from starlette.concurrency import run_in_threadpool

    from qa_service.schemas import openapi, requests
    from qa_service.schemas.answers import AnswerJson, answer_json
    from qa_service.schemas.catalogue import EntryJson, ExperimentJson, entry_json, experiment_json
    from qa_service.schemas.events import event_json
    from qa_service.schemas.evidence import EvidenceJson, evidence_json
    from qa_service.schemas.problems import StoredJson
    from qa_service.server.bodies import BodyResponse
    from qa_service.server.problems import language
    from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json
    from qa_service.store import Store
    from qa_service.store.writer import BackgroundWriter

    store = service.store or Store(settings.store_url, settings.keep_questions)
    service.observers.append(BackgroundWriter(store))
    api = APIRouter(prefix="/api/v1", responses=openapi.PROBLEMS)

    async def asked(http: HttpRequest) -> Request:
        return requests.read_request(await read_json(http))

    async def answering(request: Annotated[Request, Depends(asked)]) -> EventStream:
        return await open_stream(
            lambda stopped: service.stream(request, stopped)
        )  # an error in here still becomes a status

    async def running(http: HttpRequest, slug: str) -> tuple[Lang, EventStream]:
        request = requests.read_run(await read_json(http, empty={}))
        lang = request.lang or language(http)
        return lang, await open_stream(lambda stopped: service.run(slug, request.params, request.seed, stopped))

    def sent(begun: EventStream, lang: Lang) -> Response:
        return begun.respond(lambda event: event_json(event, lang), lang)

    @api.post("/ask", response_model=AnswerJson, openapi_extra=openapi.ASK)
    async def ask(http: HttpRequest, begun: Annotated[EventStream, Depends(answering)]) -> BodyResponse:
        """The whole answer, evidence included."""
        last = await begun.collect(http)
        assert isinstance(last, Done)
        return BodyResponse(answer_json(last.answer))

    @api.post(
        "/ask/stream",
        response_class=SSEResponse,
        openapi_extra=openapi.ASK,
        responses=openapi.stream("AskEvent", "Server-sent events: answer, started, queued, row, evidence, done, error"),
    )
    async def ask_stream(begun: Annotated[EventStream, Depends(answering)]) -> Response:
        """Server-sent events: answer, then started, row… and evidence for each experiment, then done."""
        assert isinstance(begun.first, AnswerReady)
        return sent(begun, begun.first.answer.lang)

    @api.get("/entries", response_model=list[EntryJson])
    async def entries() -> BodyResponse:
        """The knowledge base, both languages."""
        return BodyResponse([entry_json(entry) for entry in service.library.values()])

    @api.get("/entries/{entry_id}", response_model=EntryJson)
    async def entry(entry_id: str) -> BodyResponse:
        """One entry, both languages."""
        return BodyResponse(entry_json(service.library[entry_id]))

    @api.get("/entries/{entry_id}/export", openapi_extra=openapi.EXPORT, response_class=Response)
    async def take_away(http: HttpRequest, entry_id: str) -> Response:
        """The entry as a notebook or a script that needs nothing but torch."""
        form = export.read_form(http.query_params.get("form", "ipynb"), "form")
        request = requests.read_query(entry_id, dict(http.query_params))
        one, plans = service.planned(request)
        text = export.export(one, plans, request.seed, request.lang or language(http), form)
        name = {"Content-Disposition": f'attachment; filename="{one.id}.{form}"'}
        return Response(text, media_type=export.FORMS[form], headers=name)

    @api.get("/experiments", response_model=list[ExperimentJson])
    async def experiments() -> BodyResponse:
        """What can be measured: parameters as JSON Schema, metrics, source."""
        return BodyResponse([experiment_json(experiment) for experiment in service.lab.experiments.values()])

    @api.get("/experiments/{slug}", response_model=ExperimentJson)
    async def experiment(slug: str) -> BodyResponse:
        """One experiment."""
        return BodyResponse(experiment_json(service.lab.experiment(slug)))

    @api.post("/experiments/{slug}/runs", response_model=EvidenceJson, openapi_extra=openapi.RUN)
    async def runs(http: HttpRequest, begun: Annotated[tuple[Lang, EventStream], Depends(running)]) -> BodyResponse:
        """One run: an Evidence without claims."""
        lang, run = begun
        last = await run.collect(http)
        assert isinstance(last, EvidenceReady)
        return BodyResponse(evidence_json(last.evidence, lang))

    @api.post(
        "/experiments/{slug}/runs/stream",
        response_class=SSEResponse,
        openapi_extra=openapi.RUN,
        responses=openapi.stream("RunEvent", "Server-sent events: started, queued, row, evidence, error"),
    )
    async def runs_stream(begun: Annotated[tuple[Lang, EventStream], Depends(running)]) -> Response:
        """Server-sent events: started, row…, evidence."""
        lang, run = begun
        return sent(run, lang)

    @api.post("/feedback", status_code=201, response_model=StoredJson, openapi_extra=openapi.FEEDBACK)
    async def feedback(http: HttpRequest) -> BodyResponse:
        """Helpful or not, and why. Answered once it is on disk."""
        given = requests.read_feedback(await read_json(http))
        await run_in_threadpool(store.add_feedback, given.answer_id, given.helpful, given.reason)
        return BodyResponse(StoredJson(), 201)

    return api
