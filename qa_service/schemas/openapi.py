"""Completes FastAPI's OpenAPI document: request bodies, event streams and errors, which the signatures do not show."""

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from qa_service.schemas.diagnosis import DiagnoseBody, DiagnoseQuery
from qa_service.schemas.events import AskEvent, RunEvent
from qa_service.schemas.formula import FormulaBody
from qa_service.schemas.problems import ProblemJson
from qa_service.schemas.requests import AskRequest, ExportQuery, FeedbackRequest, RunRequest
from qa_service.schemas.values import Body

if TYPE_CHECKING:
    from fastapi import FastAPI

_REF = "#/components/schemas/"
_COMPONENTS: dict[str, tuple[Any, JsonSchemaMode]] = {
    **{
        model.__name__: (model, "validation")
        for model in (AskRequest, RunRequest, FeedbackRequest, FormulaBody, DiagnoseBody)
    },
    ProblemJson.__name__: (ProblemJson, "serialization"),
    "AskEvent": (AskEvent, "serialization"),
    "RunEvent": (RunEvent, "serialization"),
}
"""Name → (type, mode) of the schemas of bodies that routes parse or serialise themselves, unknown to FastAPI."""


def request_body(model: type[Body]) -> dict[str, Any]:
    """`openapi_extra` for a route that reads this body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _ref(model.__name__)}}}}


def diagnose_body() -> dict[str, Any]:
    """`openapi_extra` for a route that reads a file as the body, or its text in JSON."""
    file = {"schema": {"type": "string", "format": "binary"}}
    content = {
        "application/json": {"schema": _ref(DiagnoseBody.__name__)},
        "text/plain": {"schema": {"type": "string"}},
        "application/gzip": file,
        "application/octet-stream": file,
    }
    about = "A log, a table, an event file or a trace; at most 5 MB. It may be compressed by gzip, from at most 60 MB."
    return {
        **query_parameters(DiagnoseQuery),
        "requestBody": {"required": True, "description": about, "content": content},
    }


def stream_responses(events: str, about: str) -> dict[int | str, dict[str, Any]]:
    """`responses` for a route that sends server-sent events; `events` is "AskEvent" or "RunEvent"."""
    return {200: {"description": about, "content": {"text/event-stream": {"itemSchema": _ref(events)}}}}


def problem_responses(status: int, about: str) -> dict[int | str, dict[str, Any]]:
    """`responses` for an error with this status."""
    return {status: {"description": about, "content": {"application/problem+json": {"schema": _ref("ProblemJson")}}}}


def query_parameters(model: type[Body]) -> dict[str, Any]:
    """`openapi_extra` for a route whose query has the fields of this model."""
    properties = model.model_json_schema()["properties"]
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()
        ]
    }


def extend_openapi(app: "FastAPI") -> None:
    """Adds the schemas of all bodies to the application's OpenAPI document."""
    generate = app.openapi

    @cache
    def document() -> dict[str, Any]:
        described = generate()
        described["components"]["schemas"] = _components() | described["components"]["schemas"]
        return described

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _components() -> dict[str, Any]:
    adapters = [(name, mode, TypeAdapter(model)) for name, (model, mode) in _COMPONENTS.items()]
    schemas, rest = TypeAdapter.json_schemas(adapters, ref_template=_REF + "{model}")
    named = {name: schemas[name, mode] for name, mode, _ in adapters}
    # A model's own schema is a reference to its definition; that of a union has no definition of its own.
    definitions: dict[str, Any] = rest.get("$defs", {})
    return definitions | {name: schema for name, schema in named.items() if "$ref" not in schema}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF + name}


ASK_BODY = request_body(AskRequest)
RUN_BODY = request_body(RunRequest)
FORMULA_BODY = request_body(FormulaBody)
DIAGNOSE_BODY = diagnose_body()
FEEDBACK_BODY = request_body(FeedbackRequest)
EXPORT_PARAMETERS = query_parameters(ExportQuery)
METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: shown
    for code, about in (
        (401, "No valid API key"),
        (403, "The API key lacks the scope, or the request comes from a page of another site"),
        (404, "Unknown entry or experiment"),
        (408, "The body did not arrive in time"),
        (413, "Body too large"),
        (422, "Invalid input"),
        (429, "Too many requests; Retry-After says when to retry"),
        (500, "Internal error"),
        (503, "Overloaded, shutting down, or the store is unavailable; Retry-After says when to retry"),
    )
    for status, shown in problem_responses(code, about).items()
}
