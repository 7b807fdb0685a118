"""For operators, at the root: is it alive, is it ready, what has it done."""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from qa_service.events import Done, Event, Finished
from qa_service.service import Service
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import APIRouter


def router(service: Service, settings: Settings) -> "APIRouter":
    """/livez, /readyz, /metrics. Warming up begins here, so that the first reader does not wait for it."""
    from fastapi import APIRouter, Response
    from fastapi.responses import JSONResponse
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

    registry = CollectorRegistry()
    questions = Counter("numstab_questions", "Questions answered", ["status"], registry=registry)
    runs = Counter("numstab_runs", "Experiments run", ["experiment", "status"], registry=registry)
    seconds = Histogram("numstab_run_seconds", "Time of a run", registry=registry)
    ready = threading.Event()

    def count(event: Event) -> None:
        if isinstance(event, Done):
            questions.labels(event.answer.status.value).inc()
        elif isinstance(event, Finished):
            run = event.evidence.run
            runs.labels(event.evidence.experiment.slug, run.status.value).inc()
            seconds.observe(run.seconds)

    def warm_up() -> None:
        with suppress(Exception):  # not ready is what readyz then says; the server itself goes on
            service.matcher.match("nan")
            experiment = next(iter(service.lab.experiments.values()))
            service.lab.run(experiment, {name: each.default for name, each in experiment.params.items()})
            ready.set()

    service.observers.append(count)
    threading.Thread(target=warm_up, daemon=True, name="warm-up").start()
    routes = APIRouter()

    @routes.get("/livez")
    async def livez() -> JSONResponse:
        """The process answers."""
        return JSONResponse({"live": True})

    @routes.get("/readyz", responses={503: {"description": "Still warming up"}})
    async def readyz() -> JSONResponse:
        """Model, index and library are there, and a child has run."""
        return JSONResponse({"ready": ready.is_set()}, 200 if ready.is_set() else 503)

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes
