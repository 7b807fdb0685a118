"""What operators need: liveness and readiness probes, metrics, and the settings in force."""

import threading
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from qa_service.answering.service import Service
from qa_service.model import RunStatus
from qa_service.parsing import parse_question
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import APIRouter

WARM_UP_QUESTION = "一百个一点五连乘, five hundred times"
"""A question whose parsing loads all that is loaded on first use: tables of characters and numerals, patterns."""
_PARTS = ("library", "model", "index", "child")
_RETRY_SECONDS = 5.0  # after a check that failed
_CLOSE_TIMEOUT = 5.0  # seconds


class Readiness:
    """A context manager whose thread checks the parts of a service until all work; a check also warms its part up.

    `parts` maps each part to whether it works, `why` a part whose check failed to its error.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_checking, daemon=True, name="warm-up")
        self.parts = dict.fromkeys(_PARTS, False)
        self.why: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the checks; waits for a check in progress, for five seconds at most."""
        self._closed.set()
        self._thread.join(_CLOSE_TIMEOUT)

    def _keep_checking(self) -> None:
        while not (self._check_all() or self._closed.wait(_RETRY_SECONDS)):
            pass

    def _check_all(self) -> bool:
        """Checks the parts in order up to the first that fails; True if none fails or the context has ended."""
        for part in _PARTS:
            if self._closed.is_set():
                return True
            try:
                getattr(self, f"_{part}")()
            except Exception as error:  # /readyz reports it; the server goes on
                self.why[part] = f"{type(error).__name__}: {error}"
                return False
            self.why.pop(part, None)
            self.parts[part] = True
        return True

    def _library(self) -> None:
        if not len(self._service.knowledge.library):
            raise LookupError("no entries")

    def _model(self) -> None:
        self._service.knowledge.matcher.embedder.encode_query(["nan"])

    def _index(self) -> None:
        self._service.knowledge.matcher.match(parse_question(WARM_UP_QUESTION).text)

    def _child(self) -> None:
        experiment = next(iter(self._service.knowledge.experiments.values()))
        run = self._service.runner.run(experiment, {name: each.default for name, each in experiment.params.items()})
        if run.status not in (RunStatus.RAN, RunStatus.RAISED):  # if the demo raised, the child process worked
            raise RuntimeError(f"{experiment.slug}: {run.status} {run.note.en}")


@asynccontextmanager
async def lifespan(service: Service, settings: Settings) -> AsyncIterator[Mapping[str, Any]]:
    """Warms the service up ahead of the first question; the state of every request has its `readiness`."""
    with Readiness(service) as readiness:
        yield {"readiness": readiness}


def router(service: Service, settings: Settings) -> "APIRouter":
    """The routes /livez, /readyz and /metrics."""
    import asyncio

    from fastapi import APIRouter, Request, Response

    from qa_service.schemas import openapi
    from qa_service.schemas.problems import LiveJson, OperatorReadyJson, ReadyJson
    from qa_service.server.auth import require_operator
    from qa_service.server.responses import BodyResponse

    routes = APIRouter()

    @routes.get("/livez", response_model=LiveJson)
    async def livez() -> BodyResponse:
        """Liveness probe: the process is alive."""
        return BodyResponse(LiveJson())

    report_model = OperatorReadyJson | ReadyJson
    not_ready: dict[int | str, dict[str, Any]] = {
        503: {"model": report_model, "description": "Some part is not ready; the body says which"}
    }

    @routes.get("/readyz", response_model=report_model, responses=not_ready)
    async def readyz(http: Request) -> BodyResponse:
        """Readiness probe: 200 if library, model and index work and an experiment has run, else 503.

        For operators the body has the reasons. The state of the store is reported but does not count: without it only
        feedback fails, and a load balancer that removed all services for it would turn that into an outage.
        """
        readiness: Readiness = getattr(http.state, "readiness", None) or Readiness(service)  # before the lifespan: none
        store_problem = await asyncio.to_thread(http.app.state.store_health.problem)
        parts = {**readiness.parts, "store": store_problem is None}
        report = ReadyJson(ready=all(readiness.parts.values()), parts=parts)
        if getattr(http.state, "operator", False):
            why = {**readiness.why, **({"store": store_problem} if store_problem else {})}
            report = OperatorReadyJson(**dict(report), why=why, reload=http.app.state.reloader.problem)
        return BodyResponse(report, 200 if report.ready else 503)

    described = openapi.METRICS_RESPONSES | {status: openapi.PROBLEM_RESPONSES[status] for status in (401, 403, 500)}

    @routes.get("/metrics", response_class=Response, responses=described)
    async def metrics(http: Request) -> Response:
        """Metrics in Prometheus' text format, of all workers together."""
        require_operator(http)
        text, media_type = await asyncio.to_thread(http.app.state.metrics.text)
        return Response(text, media_type=media_type)

    return routes


def add_commands(parsers: Any) -> None:
    """Adds `settings`."""
    parser: ArgumentParser = parsers.add_parser("settings", help="list the settings in force and their sources")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")
    parser.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    parser.set_defaults(run_with_settings=_settings)


def _settings(arguments: Namespace, settings: Settings) -> int:
    import json
    import sys

    shown, sources = settings.redacted_values(), Settings.sources(arguments.env)
    if arguments.json:
        about = {name: {"value": value, "from": sources[name]} for name, value in shown.items()}
        sys.stdout.write(json.dumps(about, ensure_ascii=False) + "\n")
        return 0
    width = max(map(len, shown))
    for name, value in shown.items():
        sys.stdout.write(f"{name:{width}}  {value or '-'}  ({sources[name]})\n")
    return 0
