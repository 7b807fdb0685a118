"""OpenTelemetry traces; the packages are imported only if the address of a collector is set."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from qa_service import __version__
from qa_service.settings import Settings
from qa_service.telemetry.timing import Stage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_SPAN_ATTRIBUTES = ("answer", "entry", "answered")


def tracer_provider(settings: Settings) -> "TracerProvider | None":
    """A provider that exports to the collector of the settings; None without an address or without numstab[traces]."""
    if not settings.traces:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logging.getLogger("numstab").warning("no traces: install numstab[traces]")
        return None
    address = settings.traces.rstrip("/") + "/v1/traces"
    found = TracerProvider(resource=Resource.create({"service.name": "numstab", "service.version": __version__}))
    found.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    return found


class Tracing:
    """Spans of requests and, inside them, of the stages of an answer. Outside of `export` it does nothing."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    @contextmanager
    def export(self, settings: Settings) -> Iterator[None]:
        """Exports spans for the duration of the block; sends the remaining ones at its end."""
        exporter = tracer_provider(settings)
        self._tracer = exporter.get_tracer("numstab", __version__) if exporter else None
        try:
            yield
        finally:
            self._tracer = None
            if exporter is not None:
                with suppress(Exception):  # a collector that is down does not fail the shutdown
                    exporter.shutdown()

    def request(self, scope: Any) -> Any:
        """The span of a request: a context manager that yields a function to be called with route, status, log fields.

        While nothing is exported it yields None.
        """
        return nullcontext() if self._tracer is None else self._request(scope)

    @contextmanager
    def _request(self, scope: Any) -> Iterator[Callable[[str, int, dict[str, Any]], None]]:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        assert self._tracer is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = extract({name: headers[name] for name in ("traceparent", "tracestate") if name in headers})
        with self._tracer.start_as_current_span("request", context=parent, kind=SpanKind.SERVER) as span:

            def ended(route: str, status: int, about: dict[str, Any]) -> None:
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes(
                    {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
                )
                span.set_attributes({f"numstab.{name}": about[name] for name in _SPAN_ATTRIBUTES if about.get(name)})
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))

            yield ended

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """A child span of the request's. It is not made the current span, as another thread may end it."""
        return nullcontext() if self._tracer is None else self._stage(self._tracer, stage)

    @staticmethod
    @contextmanager
    def _stage(tracer: "Tracer", stage: Stage) -> Iterator[None]:
        span = tracer.start_span(stage)
        try:
            yield
        finally:
            span.end()
