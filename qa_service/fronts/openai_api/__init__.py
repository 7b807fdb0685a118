"""An OpenAI-compatible API under /v1, so that chat programs and client libraries can use numstab as a model.

`GET /v1/models`, `POST /v1/chat/completions`, `POST /v1/responses`, the last two also as server-sent events. The
package is not called `openai`, which is the name of the client library.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from qa_service.answering.service import Service
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import APIRouter

    from qa_service.schemas.problems import ProblemJson
    from qa_service.schemas.values import Body

API_PREFIX = "/v1"


def router(service: Service, settings: Settings) -> "APIRouter":
    """The routes under /v1. They are not in our OpenAPI document: their clients know the protocol."""
    from qa_service.fronts.openai_api.routes import create_router

    return create_router(service, settings, API_PREFIX)


def error_formats(service: Service, settings: Settings) -> "Mapping[str, Callable[[ProblemJson], tuple[int, Body]]]":
    """Errors under /v1 have OpenAI's format, also those of the middlewares."""
    from qa_service.fronts.openai_api.errors import openai_error

    return {API_PREFIX + "/": openai_error}
