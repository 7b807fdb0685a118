"""The routes under /v1."""

from collections.abc import AsyncIterator

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.fronts.openai_api.bodies import CHARACTERS_PER_TOKEN, ModelListObject, ModelObject
from qa_service.fronts.openai_api.chat import ChatCompletion
from qa_service.fronts.openai_api.conversation import (
    MODELS,
    Conversation,
    check_model,
    read_chat,
    read_responses,
)
from qa_service.fronts.openai_api.housekeeping import housekeeping_reply
from qa_service.fronts.openai_api.reply_stream import open_reply
from qa_service.fronts.openai_api.responses import Response as ResponseWriter
from qa_service.fronts.openai_api.text import Passage
from qa_service.model import Lang
from qa_service.parsing import MAX_QUESTION_CHARS
from qa_service.server.problems import request_language
from qa_service.server.responses import BodyResponse
from qa_service.server.streaming import SSEResponse, read_json
from qa_service.settings import Settings

_MODELS_SINCE = 1764374400
"""`created` of the models, in seconds since 1970; clients sort by it."""
_NAMES = {"numstab": "numstab", "numstab-text": "numstab (text only)"}
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def create_router(service: Service, settings: Settings, prefix: str) -> APIRouter:
    """The router with all routes, whose paths begin with `prefix`."""
    api = APIRouter(prefix=prefix, include_in_schema=False)
    _add_models(api)
    _add_chat(api, service, settings)
    _add_responses(api, service, settings)
    return api


def _add_models(api: APIRouter) -> None:
    @api.get("/models")
    async def models() -> BodyResponse:
        return BodyResponse(ModelListObject(data=[_model_object(model) for model in MODELS]))

    @api.get("/models/{model}")
    async def model(model: str) -> BodyResponse:
        return BodyResponse(_model_object(check_model(model)))


def _model_object(model: str) -> ModelObject:
    tokens = MAX_QUESTION_CHARS // CHARACTERS_PER_TOKEN
    return ModelObject(id=model, created=_MODELS_SINCE, name=_NAMES[model], context_length=tokens)


def _add_chat(api: APIRouter, service: Service, settings: Settings) -> None:
    @api.post("/chat/completions")
    async def chat(http: Request) -> Response:
        conversation = read_chat(await read_json(http))
        knowledge = service.knowledge
        completion = ChatCompletion.new(conversation, f"fp_{knowledge.library.hash[:10]}")
        return await _reply(http, service, knowledge, settings, conversation, completion)


def _add_responses(api: APIRouter, service: Service, settings: Settings) -> None:
    @api.post("/responses")
    async def responses(http: Request) -> Response:
        conversation = read_responses(await read_json(http))
        return await _reply(http, service, service.knowledge, settings, conversation, ResponseWriter(conversation))


async def _reply(
    http: Request,
    service: Service,
    knowledge: Knowledge,
    settings: Settings,
    conversation: Conversation,
    form: ChatCompletion | ResponseWriter,
) -> Response:
    """The reply to a conversation by this knowledge, as an object or as a stream of either protocol."""
    reader = _language(http, conversation)
    text = await to_thread.run_sync(housekeeping_reply, service, knowledge, conversation)
    if text is not None:
        return _stream(form.stream_text(text)) if conversation.stream else BodyResponse(form.whole([Passage(text)]))
    reply = await open_reply(service, knowledge, http, conversation, _base(http, settings), reader)
    if conversation.stream:
        return _stream(form.stream(reply))
    return BodyResponse(form.whole(await reply.whole(http)))


def _stream(events: AsyncIterator[bytes]) -> SSEResponse:
    return SSEResponse(events, headers=_STREAM_HEADERS)


def _language(http: Request, conversation: Conversation) -> Lang | None:
    """The language for an answer to a question that shows none, from Accept-Language; sets that of errors."""
    if (shown := conversation.lang) is not None:
        http.state.lang = shown
    return request_language(http) if "accept-language" in http.headers else None


def _base(http: Request, settings: Settings) -> str:
    """Our own address for links, with a slash at its end: that of the settings, else that of the request."""
    return f"{settings.url.rstrip('/')}/" if settings.url else str(http.base_url)
