"""The server of the protocol, for any transport: lists and serves the tools, resources and prompts."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from mcp import types
from mcp.server.apps import EXTENSION_ID
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from pydantic.json_schema import GenerateJsonSchema

from qa_service import __version__
from qa_service.answering.service import Service
from qa_service.errors import NumstabError
from qa_service.fronts.mcp import resources, results, text
from qa_service.fronts.mcp.calls import SESSION_HEADER, CallsInProgress, ToolCall
from qa_service.fronts.mcp.prompts import PROMPTS, PromptSpec
from qa_service.fronts.mcp.tools import TOOLS, ToolSpec, language
from qa_service.lab.runner import Cancelled
from qa_service.model import Entry, Lang, Text
from qa_service.schemas.requests import read_body

T = TypeVar("T")
_Context = ServerRequestContext[Any, Any]

INSTRUCTIONS = """\
numstab answers questions about numerical stability in deep learning and measures its evidence at once.
Use ask first, with the user's own words and numbers (Chinese or English), and diagnose where there is a training log;
run_experiment, compare and formula measure at other numbers; check_claim repeats the claims of an entry over seeds.
Quote only numbers that these tools return, say which claims hold, and say so when the knowledge base does not cover
a question.
"""
_HOUR = 3_600_000  # ms
_FIXED = CacheHint(ttl_ms=_HOUR, scope="public")
_MAX_LINKS = 6
_MAX_COMPLETIONS = 100
_BROKEN = Text(
    "numstab 内部出错，已写入日志。请换个参数再试，或先用别的工具。",
    "Something broke inside numstab and was logged. Try other arguments, or go on without this tool.",
)
_LISTED = (
    ("numstab://entries", "entries", "All entries", "Every question that is answered, by item, in both languages."),
    ("numstab://experiments", "experiments", "All experiments", "Every experiment that can be run."),
)


def build_server(service: Callable[[], Service], calls: CallsInProgress | None = None) -> Server[Any]:
    """The server; `service` is called in a thread by each request that needs the service, and may block.

    `calls` is the registry of calls in progress, for a transport in which another request cancels them.
    """
    handlers = _Handlers(service, calls or CallsInProgress())
    server: Server[Any] = Server(
        "numstab",
        version=__version__,
        title="numstab",
        description="Questions about numerical stability in deep learning, answered with runnable evidence",
        instructions=INSTRUCTIONS,
        cache_hints={
            "server/discover": _FIXED,
            "tools/list": _FIXED,
            "resources/list": _FIXED,
            "resources/templates/list": _FIXED,
            "prompts/list": _FIXED,
        },
        get_tool_input_schema=lambda name: _input_schema(TOOLS[name]) if name in TOOLS else None,
        on_list_tools=_list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=_list_resources,
        on_list_resource_templates=_list_templates,
        on_read_resource=handlers.read_resource,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
        on_completion=handlers.complete,
    )
    server.extensions[EXTENSION_ID] = {}
    return server


class _UntitledSchema(GenerateJsonSchema):
    """JSON Schema without titles of fields, which would only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Returns False for every field: none gets a title."""
        return False


class _Handlers:
    """The handlers of requests that need the service: tools, resources and completions."""

    def __init__(self, service: Callable[[], Service], calls: CallsInProgress) -> None:
        self._service = service
        self._calls = calls

    async def call_tool(self, context: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Calls a tool. An error in its arguments is a result with `is_error`, so that the model can correct them.

        Raises `MCPError` for an unknown tool or a cancelled call.
        """
        tool = TOOLS.get(params.name)
        if tool is None:
            names = ", ".join(TOOLS)
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:80]!r}. There are: {names}")
        arguments = params.arguments or {}
        call = ToolCall(language(arguments))

        def serve(call: ToolCall) -> types.CallToolResult:
            given = read_body(tool.arguments, arguments)
            result, entries = tool.serve(self._service(), given, call)
            return _tool_result(result, entries)

        try:
            with self._calls.registered(_session(context), context.request_id, call):
                return await call.run(serve, context.session.report_progress)
        except NumstabError as error:
            return _error_result(f"{error.code}: {error[call.lang]}")
        except Cancelled:
            raise MCPError(types.INTERNAL_ERROR, "cancelled") from None
        except Exception:  # the details are in the log only
            logging.getLogger("numstab").exception("tool failed: %s", tool.name)
            return _error_result(_BROKEN[call.lang])

    async def read_resource(
        self, context: _Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Reads a resource; raises `MCPError` if it does not exist or cannot be read."""
        uri = str(params.uri)
        call = ToolCall("en")
        try:
            content, mime_type = await call.run(
                lambda call: resources.read_resource_text(self._service(), uri, call), context.session.report_progress
            )
        except (NumstabError, Cancelled) as error:
            wrong = isinstance(error, NumstabError) and error.status < 500
            code = types.INVALID_PARAMS if wrong else types.INTERNAL_ERROR
            raise MCPError(code, str(error) or "cancelled", {"uri": uri[:500]}) from error
        meta: dict[str, Any] | None = {"ui": {"prefersBorder": True}} if uri == resources.APP_URI else None
        contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=content, _meta=meta)
        return types.ReadResourceResult(contents=[contents])

    async def complete(self, context: _Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Completes the id of an entry, the name of an experiment, or the topic of a lesson."""
        kind, begun = params.argument.name, params.argument.value.lower()

        def names(_call: ToolCall) -> list[str]:
            knowledge = self._service().knowledge
            known = {"id": knowledge.library, "slug": knowledge.experiments, "topic": knowledge.library}
            return sorted(name for name in known.get(kind, ()) if begun in name.lower())

        found = await ToolCall("en").run(names, context.session.report_progress)
        return types.CompleteResult(
            completion=types.Completion(
                values=found[:_MAX_COMPLETIONS], total=len(found), has_more=len(found) > _MAX_COMPLETIONS
            )
        )


async def _list_tools(_context: _Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_tool(spec) for spec in TOOLS.values()])


async def _list_resources(
    _context: _Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourcesResult:
    listed = [
        types.Resource(uri=uri, name=name, title=title, description=about, mime_type="text/markdown")
        for uri, name, title, about in _LISTED
    ]
    page = types.Resource(
        uri=resources.APP_URI,
        name="evidence",
        title="Evidence",
        description="The page that shows a result: chart, numbers, and a form to run again.",
        mime_type=resources.APP_MIME_TYPE,
    )
    return types.ListResourcesResult(resources=[*listed, page])


async def _list_templates(
    _context: _Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(
        resource_templates=[
            types.ResourceTemplate(
                uri_template=each.uri,
                name=each.name,
                title=each.title,
                description=each.description,
                mime_type=each.mime_type,
            )
            for each in resources.TEMPLATES
        ]
    )


async def _list_prompts(_context: _Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[_prompt(spec) for spec in PROMPTS.values()])


async def _get_prompt(_context: _Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    spec = PROMPTS.get(params.name)
    if spec is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name[:80]!r}. There are: {', '.join(PROMPTS)}")
    value = (params.arguments or {}).get(spec.argument, "").strip()
    if not value:
        raise MCPError(types.INVALID_PARAMS, f"The prompt {spec.name} needs the argument {spec.argument}: {spec.about}")
    message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=spec.fill(value)))
    return types.GetPromptResult(description=spec.description, messages=[message])


def _prompt(spec: PromptSpec) -> types.Prompt:
    argument = types.PromptArgument(name=spec.argument, description=spec.about, required=True)
    return types.Prompt(name=spec.name, title=spec.title, description=spec.description, arguments=[argument])


@cache
def _tool(spec: ToolSpec) -> types.Tool:
    return types.Tool(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=_input_schema(spec),
        output_schema=spec.result.model_json_schema(schema_generator=_UntitledSchema, mode="serialization"),
        annotations=types.ToolAnnotations(
            title=spec.title,
            read_only_hint=True,
            idempotent_hint=True,
            destructive_hint=False,
            open_world_hint=False,
        ),
        _meta={"ui": {"resourceUri": resources.APP_URI}} if spec.with_app else None,
    )


@cache
def _input_schema(spec: ToolSpec) -> dict[str, Any]:
    schema: dict[str, Any] = spec.arguments.model_json_schema(schema_generator=_UntitledSchema)
    return schema


def _tool_result(result: results.ToolResult, entries: list[Entry]) -> types.CallToolResult:
    """The result as text and as structured content, with links to its entries and to the rows of its runs."""
    fitting, written = results.fit_to_limit(result, text.render_result)
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=written)]
    for entry in entries:
        content.append(
            types.ResourceLink(
                type="resource_link",
                uri=f"numstab://entries/{entry.id}",
                name=entry.id,
                title=entry.question[_lang(fitting)],
                mime_type="text/markdown",
            )
        )
    for run in (fitting.runs if isinstance(fitting, results.RunsResult) else [])[:_MAX_LINKS]:
        content.append(
            types.ResourceLink(
                type="resource_link", uri=run.rows, name=run.experiment, title=run.title, mime_type="application/json"
            )
        )
    return types.CallToolResult(content=content, structured_content=fitting.to_dict())


def _session(context: _Context) -> str:
    """The session id of a client of the specification 2025-11-25 over HTTP; "" for any other."""
    return context.request.headers.get(SESSION_HEADER, "") if context.request is not None else ""


def _lang(result: results.ToolResult) -> Lang:
    lang: Lang = getattr(result, "lang", "en")
    return lang


def _error_result(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=message)], is_error=True)
