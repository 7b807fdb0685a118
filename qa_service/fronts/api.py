"""The HTTP API under /api/v1: JSON in and out, server-sent events, errors as problem+json."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from qa_service.answering import diagnosing, diagnosis_runs
from qa_service.answering.formula import FormulaStudy
from qa_service.answering.service import Service
from qa_service.lab.clients import CLIENT
from qa_service.model import Evidence, Lang, Request
from qa_service.model.events import AnswerReady, Done, EvidenceReady
from qa_service.settings import Settings
from qa_service.tools import notebook

if TYPE_CHECKING:
    from fastapi import APIRouter


_BRIEF = "without rows and charts, for language models: an answer has at most 9 KB"


def router(service: Service, settings: Settings) -> "APIRouter":
    """Every route of the API."""
    from fastapi import APIRouter

    from qa_service.schemas import openapi

    api = APIRouter(prefix="/api/v1", responses=openapi.PROBLEM_RESPONSES)
    _add_ask(api, service)
    _add_entries(api, service)
    _add_experiments(api, service)
    _add_runs(api, service)
    _add_formula(api, service)
    _add_diagnose(api, service)
    _add_feedback(api)
    return api


def _add_ask(api: "APIRouter", service: Service) -> None:
    from fastapi import Depends, Query, Response
    from fastapi import Request as HttpRequest
    from fastapi.routing import APIRoute

    from qa_service.schemas import openapi, requests
    from qa_service.schemas.answers import AnswerJson, answer_json, answer_pieces
    from qa_service.schemas.events import event_json
    from qa_service.server.responses import AnswerResponse, BodyResponse, accepts_gzip
    from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json
    from qa_service.server.text_answers import TextAnswerThread

    async def read_body(http: HttpRequest, brief: Annotated[bool, Query(description=_BRIEF)] = False) -> Request:
        request = requests.read_request(await read_json(http))
        return replace(request, brief=True) if brief else request

    async def open_answer(http: HttpRequest, request: Annotated[Request, Depends(read_body)]) -> EventStream:
        # raises an error that occurs before the first event, so that it sets the HTTP status
        return await open_stream(http, partial(service.stream, request))

    class WithoutQuery(APIRoute):
        """A route that skips FastAPI's parsing of parameters, which takes time, for requests without a query."""

        def get_route_handler(self) -> Callable[[HttpRequest], Coroutine[Any, Any, Response]]:
            with_query = super().get_route_handler()

            async def handle(http: HttpRequest) -> Response:
                if http.scope["query_string"]:
                    return await with_query(http)
                return await ask(http, await read_body(http))

            return handle

    async def ask(http: HttpRequest, request: Annotated[Request, Depends(read_body)]) -> Response:
        """Answer a question about numerical stability in deep learning, with numbers measured now.

        For questions on nan and inf, overflow, precision, exploding or vanishing gradients, initialisation, losses, in
        English or Chinese. The reply has the answer in parts, and evidence: metrics, claims with verdicts, receipt.
        """
        texts: TextAnswerThread = http.app.state.texts
        if texts.accepts(request):
            answer = await texts.answer(request)
            if pieces := answer_pieces(answer, brief=request.brief):
                return AnswerResponse(pieces, gzip=accepts_gzip(http.headers))
            return BodyResponse(answer_json(answer, brief=request.brief))
        begun = await open_answer(http, request)
        last = await begun.collect(http)
        assert isinstance(last, Done)
        return BodyResponse(answer_json(last.answer, brief=last.brief))

    api.add_api_route(
        "/ask",
        ask,
        methods=["POST"],
        response_model=AnswerJson,
        openapi_extra=openapi.ASK_BODY,
        operation_id="ask",
        route_class_override=WithoutQuery,
    )

    @api.post(
        "/ask/stream",
        response_class=SSEResponse,
        operation_id="ask_stream",
        openapi_extra=openapi.ASK_BODY,
        responses=openapi.stream_responses(
            "AskEvent", "Server-sent events: answer, started, queued, row, evidence, done, error"
        ),
    )
    async def ask_stream(begun: Annotated[EventStream, Depends(open_answer)]) -> Response:
        """Server-sent events: answer, then started, row… and evidence for each experiment, then done."""
        assert isinstance(begun.first, AnswerReady)
        lang = begun.first.answer.lang
        return begun.respond(partial(event_json, lang=lang), lang)


def _add_entries(api: "APIRouter", service: Service) -> None:
    from fastapi import Request as HttpRequest
    from fastapi import Response

    from qa_service.schemas import openapi, requests
    from qa_service.schemas.catalogue import EntryJson, entry_json
    from qa_service.server.problems import request_language
    from qa_service.server.responses import BodyResponse

    @api.get("/entries", response_model=list[EntryJson], operation_id="list_entries")
    async def entries() -> BodyResponse:
        """The knowledge base, both languages."""
        return BodyResponse([entry_json(entry) for entry in service.knowledge.library.values()])

    @api.get("/entries/{entry_id}", response_model=EntryJson, operation_id="get_entry")
    async def entry(entry_id: str) -> BodyResponse:
        """One entry, both languages."""
        return BodyResponse(entry_json(service.knowledge.library[entry_id]))

    @api.get(
        "/entries/{entry_id}/export",
        operation_id="export_entry",
        openapi_extra=openapi.EXPORT_PARAMETERS,
        response_class=Response,
    )
    async def export(http: HttpRequest, entry_id: str) -> Response:
        """The entry as a notebook or a script that needs nothing but torch."""
        export_format = notebook.parse_export_format(http.query_params.get("form", "ipynb"), "form")
        request = requests.read_query(entry_id, dict(http.query_params))
        entry, runs = service.plan(request)
        text = notebook.export_entry(entry, runs, request.seed, request.lang or request_language(http), export_format)
        headers = {"Content-Disposition": f'attachment; filename="{entry.id}.{export_format}"'}
        return Response(text, media_type=notebook.EXPORT_FORMATS[export_format], headers=headers)


def _add_experiments(api: "APIRouter", service: Service) -> None:
    from qa_service.schemas.catalogue import ExperimentJson, experiment_json
    from qa_service.server.responses import BodyResponse

    @api.get("/experiments", response_model=list[ExperimentJson], operation_id="list_experiments")
    async def experiments() -> BodyResponse:
        """Every experiment: parameters as JSON Schema, metrics, source."""
        return BodyResponse([experiment_json(experiment) for experiment in service.knowledge.experiments.values()])

    @api.get("/experiments/{slug}", response_model=ExperimentJson, operation_id="get_experiment")
    async def experiment(slug: str) -> BodyResponse:
        """One experiment."""
        return BodyResponse(experiment_json(service.knowledge.experiment(slug)))


def _add_runs(api: "APIRouter", service: Service) -> None:
    from fastapi import Depends, Query, Response
    from fastapi import Request as HttpRequest

    from qa_service.schemas import openapi, requests
    from qa_service.schemas.events import event_json
    from qa_service.schemas.evidence import EvidenceJson, evidence_json
    from qa_service.server.problems import request_language
    from qa_service.server.responses import BodyResponse
    from qa_service.server.streaming import EventStream, SSEResponse, open_stream, read_json

    async def open_run(http: HttpRequest, slug: str) -> tuple[Lang, EventStream]:
        run = requests.read_run_request(await read_json(http, empty={}))
        stream = await open_stream(http, partial(service.run, slug, run.params, run.seed))
        return run.lang or request_language(http), stream

    @api.post(
        "/experiments/{slug}/runs",
        response_model=EvidenceJson,
        operation_id="run_experiment",
        openapi_extra=openapi.RUN_BODY,
    )
    async def runs(
        http: HttpRequest,
        begun: Annotated[tuple[Lang, EventStream], Depends(open_run)],
        brief: Annotated[bool, Query(description=_BRIEF)] = False,
    ) -> BodyResponse:
        """Run one experiment with these parameters and this seed: an Evidence without claims.

        `get_experiment` describes the parameters and metrics; those that are left out have defaults.
        """
        lang, stream = begun
        last = await stream.collect(http)
        assert isinstance(last, EvidenceReady)
        return BodyResponse(evidence_json(last.evidence, lang, brief=brief))

    @api.post(
        "/experiments/{slug}/runs/stream",
        response_class=SSEResponse,
        operation_id="run_experiment_stream",
        openapi_extra=openapi.RUN_BODY,
        responses=openapi.stream_responses("RunEvent", "Server-sent events: started, queued, row, evidence, error"),
    )
    async def runs_stream(begun: Annotated[tuple[Lang, EventStream], Depends(open_run)]) -> Response:
        """Server-sent events: started, row…, evidence."""
        lang, stream = begun
        return stream.respond(partial(event_json, lang=lang), lang)


def _add_formula(api: "APIRouter", service: Service) -> None:
    from fastapi import Request as HttpRequest

    from qa_service.schemas import openapi
    from qa_service.schemas.formula import FormulaJson, formula_json, read_formula_request
    from qa_service.server.problems import request_language
    from qa_service.server.responses import BodyResponse
    from qa_service.server.streaming import open_stream, read_json

    @api.post(
        "/formula", response_model=FormulaJson, openapi_extra=openapi.FORMULA_BODY, operation_id="evaluate_formula"
    )
    async def formula(http: HttpRequest) -> BodyResponse:
        """A formula in every float format: values, steps, gradient, where it breaks, stable forms."""
        study = FormulaStudy.of(read_formula_request(await read_json(http)))
        stream = await open_stream(http, partial(study.stream, service))
        last = await stream.collect(http)
        assert isinstance(last, EvidenceReady)
        return BodyResponse(formula_json(study.result(last.evidence), request_language(http)))


def _add_diagnose(api: "APIRouter", service: Service) -> None:
    from fastapi import Request as HttpRequest
    from starlette.concurrency import run_in_threadpool

    from qa_service.schemas import openapi
    from qa_service.schemas.diagnosis import DiagnosisJson, diagnosis_json
    from qa_service.server.problems import request_language
    from qa_service.server.responses import BodyResponse
    from qa_service.server.streaming import open_stream
    from qa_service.server.uploads import read_upload

    @api.post("/diagnose", response_model=DiagnosisJson, openapi_extra=openapi.DIAGNOSE_BODY, operation_id="diagnose")
    async def diagnose(http: HttpRequest) -> BodyResponse:
        """What is wrong with a training run, from its log: causes, evidence, and an experiment with its settings.

        The body is the log itself (text/plain), a file (application/octet-stream, application/gzip), or JSON.
        """
        sent = await read_upload(http)
        lang = sent.lang or request_language(http)
        found = diagnosing.require_readable(await run_in_threadpool(diagnosing.diagnose_file, sent.data, sent.name))
        runs: list[Evidence] = []
        if found.experiment is not None and sent.run:
            CLIENT.get().charge(1)  # two runs, of which the request itself counts as one
            stream = await open_stream(http, partial(diagnosis_runs.run_experiments, found, service, runs.append))
            await stream.collect(http)
        return BodyResponse(diagnosis_json(found, lang, runs))


def _add_feedback(api: "APIRouter") -> None:
    from fastapi import Request as HttpRequest

    from qa_service.schemas import openapi, requests
    from qa_service.schemas.problems import StoredJson
    from qa_service.server.responses import BodyResponse
    from qa_service.server.streaming import read_json

    @api.post(
        "/feedback",
        status_code=201,
        response_model=StoredJson,
        operation_id="send_feedback",
        openapi_extra=openapi.FEEDBACK_BODY,
    )
    async def feedback(http: HttpRequest) -> BodyResponse:
        """Store whether an answer was helpful, and why. The response is sent once it is stored."""
        given = requests.read_feedback(await read_json(http))
        shared = http.app.state
        await shared.store_threads.call(shared.store.add_feedback, given.answer_id, given.helpful, given.reason)
        return BodyResponse(StoredJson(), 201)
