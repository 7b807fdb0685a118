"""The HTTP API under /api/v1: JSON in and out, server-sent events, errors as problem+json."""

from typing import TYPE_CHECKING, Annotated, Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.model import Lang, Request
from qa_service.model.events import AnswerReady, Done, EvidenceReady
from qa_service.schemas import requests as incoming
from qa_service.schemas import responses as wire
from qa_service.settings import Settings
from qa_service.tools import notebook as export

if TYPE_CHECKING:
    from fastapi import APIRouter

_LONGEST_REASON = 2000


def router(service: Service, settings: Settings) -> "APIRouter":
    """Every route of the API."""
    from fastapi import APIRouter

    from qa_service.schemas import openapi as schemas

    api = APIRouter(prefix="/api/v1", responses=schemas.PROBLEMS)
    _add_ask(api, service)
    _add_entries(api, service)
    _add_experiments(api, service)
    _add_runs(api, service)
    _add_feedback(api)
    return api


def _add_ask(api: "APIRouter", service: Service) -> None:
    from fastapi import Depends, Response
    from fastapi import Request as HttpRequest
    from fastapi.responses import JSONResponse

    from qa_service.schemas import openapi as schemas
    from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json

    async def read_body(http: HttpRequest) -> Request:
        return incoming.read_request(await read_json(http))

    async def open_answer(http: HttpRequest, request: Annotated[Request, Depends(read_body)]) -> EventStream:
        # An error before the first event still sets the status.
        return await open_stream(http, lambda stopped: service.stream(request, stopped))

    @api.post("/ask", openapi_extra=schemas.body(schemas.REQUEST), responses={200: schemas.ANSWER})
    async def ask(http: HttpRequest, begun: Annotated[EventStream, Depends(open_answer)]) -> JSONResponse:
        """The whole answer, evidence included."""
        last = await begun.collect(http)
        assert isinstance(last, Done)
        return JSONResponse(wire.answer(last.answer))

    @api.post(
        "/ask/stream",
        response_class=SSEResponse,
        openapi_extra=schemas.body(schemas.REQUEST),
        responses={200: schemas.EVENTS},
    )
    async def ask_stream(begun: Annotated[EventStream, Depends(open_answer)]) -> Response:
        """Server-sent events: answer, then started, row… and evidence for each experiment, then done."""
        assert isinstance(begun.first, AnswerReady)
        lang = begun.first.answer.lang
        return begun.respond(lambda event: wire.event(event, lang), lang)


def _add_entries(api: "APIRouter", service: Service) -> None:
    from fastapi import Request as HttpRequest
    from fastapi import Response
    from fastapi.responses import JSONResponse

    from qa_service.schemas import openapi as schemas
    from qa_service.server.problems import language

    @api.get("/entries")
    async def entries() -> JSONResponse:
        """The knowledge base, both languages."""
        return JSONResponse([wire.entry(entry) for entry in service.knowledge.library.values()])

    @api.get("/entries/{entry_id}")
    async def entry(entry_id: str) -> JSONResponse:
        """One entry, both languages."""
        return JSONResponse(wire.entry(service.knowledge.library[entry_id]))

    @api.get("/entries/{entry_id}/export", openapi_extra=schemas.EXPORT, response_class=Response)
    async def take_away(http: HttpRequest, entry_id: str) -> Response:
        """The entry as a notebook or a script that needs nothing but torch."""
        form = export.parse_export_format(http.query_params.get("form", "ipynb"), "form")
        request = incoming.read_query(entry_id, dict(http.query_params))
        one, plans = service.plan(request)
        text = export.export_entry(one, plans, request.seed, request.lang or language(http), form)
        name = {"Content-Disposition": f'attachment; filename="{one.id}.{form}"'}
        return Response(text, media_type=export.EXPORT_FORMATS[form], headers=name)


def _add_experiments(api: "APIRouter", service: Service) -> None:
    from fastapi.responses import JSONResponse

    @api.get("/experiments")
    async def experiments() -> JSONResponse:
        """What can be measured: parameters as JSON Schema, metrics, source."""
        return JSONResponse([wire.experiment(experiment) for experiment in service.knowledge.experiments.values()])

    @api.get("/experiments/{slug}")
    async def experiment(slug: str) -> JSONResponse:
        """One experiment."""
        return JSONResponse(wire.experiment(service.knowledge.experiment(slug)))


def _add_runs(api: "APIRouter", service: Service) -> None:
    from fastapi import Depends, Response
    from fastapi import Request as HttpRequest
    from fastapi.responses import JSONResponse

    from qa_service.schemas import openapi as schemas
    from qa_service.server.problems import language
    from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json

    async def open_run(http: HttpRequest, slug: str) -> tuple[Lang, EventStream]:
        body = await read_json(http, empty={})
        if not isinstance(body, dict) or set(body) - {"params", "seed", "lang"}:
            raise BadField(
                zh="请求体只能有 params、seed、lang", en="the body may have params, seed and lang", field="body"
            )
        params, seed = incoming.read_params(body.get("params", {})), incoming.read_seed(body.get("seed", 0))
        lang = incoming.read_lang(body.get("lang")) or language(http)
        return lang, await open_stream(http, lambda stopped: service.run(slug, params, seed, stopped))

    @api.post("/experiments/{slug}/runs", openapi_extra=schemas.body(schemas.RUN), responses={200: schemas.EVIDENCE})
    async def runs(http: HttpRequest, begun: Annotated[tuple[Lang, EventStream], Depends(open_run)]) -> JSONResponse:
        """One run: an Evidence without claims."""
        lang, run = begun
        last = await run.collect(http)
        assert isinstance(last, EvidenceReady)
        return JSONResponse(wire.evidence(last.evidence, lang))

    @api.post(
        "/experiments/{slug}/runs/stream",
        response_class=SSEResponse,
        openapi_extra=schemas.body(schemas.RUN),
        responses={200: schemas.EVENTS},
    )
    async def runs_stream(begun: Annotated[tuple[Lang, EventStream], Depends(open_run)]) -> Response:
        """Server-sent events: started, row…, evidence."""
        lang, run = begun
        return run.respond(lambda event: wire.event(event, lang), lang)


def _add_feedback(api: "APIRouter") -> None:
    from fastapi import Request as HttpRequest
    from fastapi.responses import JSONResponse
    from starlette.concurrency import run_in_threadpool

    from qa_service.schemas import openapi as schemas
    from qa_service.server.streaming import read_json

    @api.post("/feedback", status_code=201, openapi_extra=schemas.body(schemas.FEEDBACK))
    async def feedback(http: HttpRequest) -> JSONResponse:
        """Helpful or not, and why. Answered once it is on disk."""
        answer_id, helpful, reason = _read_feedback(await read_json(http))
        await run_in_threadpool(http.app.state.store.add_feedback, answer_id, helpful, reason)
        return JSONResponse({"stored": True}, 201)


def _read_feedback(body: Any) -> tuple[str, bool, str | None]:
    if not isinstance(body, dict) or set(body) - {"answer_id", "helpful", "reason", "lang"}:
        raise BadField(
            zh="请求体应当是 {answer_id, helpful, reason?}",
            en="the body should be {answer_id, helpful, reason?}",
            field="body",
        )
    answer_id, helpful, reason = body.get("answer_id"), body.get("helpful"), body.get("reason")
    if not isinstance(answer_id, str) or len(answer_id) != 26 or not answer_id.isalnum():
        raise BadField(
            zh="answer_id 应当是某个回答的 id", en="answer_id should be the id of an answer", field="answer_id"
        )
    if not isinstance(helpful, bool):
        raise BadField(zh="helpful 应当是 true 或 false", en="helpful should be true or false", field="helpful")
    if reason is not None and (not isinstance(reason, str) or len(reason) > _LONGEST_REASON or "\0" in reason):
        most = _LONGEST_REASON
        raise BadField(
            zh=f"reason 应当是不超过 {most} 个字符的文字",
            en=f"reason should be a text of at most {most} characters",
            field="reason",
        )
    return answer_id, helpful, reason
