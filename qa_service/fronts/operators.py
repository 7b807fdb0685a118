"""For operators, at the root: is it alive, is it ready, what has it done. On the command line: what is in force."""

import asyncio
import threading
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.model import RunStatus
from qa_service.parsing import parse_question
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import APIRouter

WARM_UP_QUESTION = "一百个一点五连乘, five hundred times"
"""A question whose reading loads all that any question's does: tables of characters and numerals, patterns."""
_AGAIN = 5.0  # seconds until a warm-up that failed is tried again


class Readiness:
    """What must be there before a reader is let in; `why` says of each part that is not what is wrong with it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.parts = {"library": False, "model": False, "index": False, "child": False}
        self.why: dict[str, str] = {}
        self._ping = None
        if service.store is not None:
            from qa_service.store.health import HealthProbe

            self._ping = HealthProbe(service.store)
        threading.Thread(target=self._warm_up, daemon=True, name="warm-up").start()

    async def look(self) -> dict[str, bool]:
        """Part → whether it is there, now."""
        found = dict(self.parts)
        if self._ping is not None:
            problem = await asyncio.to_thread(self._ping.problem)
            found["store"] = problem is None
            self.why.pop("store", None)
            if problem:
                self.why["store"] = problem
        return found

    def _warm_up(self) -> None:
        while not all(self.parts.values()):
            for part in self.parts:
                try:
                    getattr(self, f"_{part}")()
                except Exception as error:  # not ready is what readyz then says; the server itself goes on
                    self.why[part] = f"{type(error).__name__}: {error}"
                    break
                self.why.pop(part, None)
                self.parts[part] = True
            else:
                return
            time.sleep(_AGAIN)

    def _library(self) -> None:
        if not len(self._service.library):
            raise LookupError("no entries")

    def _model(self) -> None:
        self._service.matcher.embedder.encode_query(["nan"])

    def _index(self) -> None:
        self._service.matcher.match(parse_question(WARM_UP_QUESTION).text)

    def _child(self) -> None:
        experiment = next(iter(self._service.lab.experiments.values()))
        run = self._service.lab.run(experiment, {name: each.default for name, each in experiment.params.items()})
        if run.status not in (RunStatus.RAN, RunStatus.RAISED):  # raised, the child has worked all the same
            raise RuntimeError(f"{experiment.slug}: {run.status} {run.note.en}")


def router(service: Service, settings: Settings) -> "APIRouter":
    """/livez, /readyz, /metrics. Warming up begins here, so that the first reader does not wait for it."""
    from fastapi import APIRouter, Request, Response

    from qa_service.schemas import openapi
    from qa_service.schemas.problems import LiveJson, OperatorReadyJson, ReadyJson
    from qa_service.server.bodies import BodyResponse

    readiness = Readiness(service)
    routes = APIRouter()

    @routes.get("/livez", response_model=LiveJson)
    async def livez() -> BodyResponse:
        """The process answers."""
        return BodyResponse(LiveJson())

    state = OperatorReadyJson | ReadyJson
    not_ready: dict[int | str, dict[str, Any]] = {
        503: {"model": state, "description": "Some part is not ready; it says which"}
    }

    @routes.get("/readyz", response_model=state, responses=not_ready)
    async def readyz(http: Request) -> BodyResponse:
        """Library, model and index are there, a child has run, the store is reached. Operators also read why not."""
        parts = await readiness.look()
        report = ReadyJson(ready=all(parts.values()), parts=parts)
        if getattr(http.state, "operator", False):
            reload = http.app.state.reloading.problem
            report = OperatorReadyJson(**dict(report), why=dict(readiness.why), reload=reload)
        return BodyResponse(report, 200 if report.ready else 503)

    described = openapi.METRICS | {status: openapi.PROBLEMS[status] for status in (401, 403, 500)}

    @routes.get("/metrics", response_class=Response, responses=described)
    async def metrics(http: Request) -> Response:
        """Counts in Prometheus' text format, of all workers together."""
        text, media_type = await asyncio.to_thread(http.app.state.metrics.text)
        return Response(text, media_type=media_type)

    return routes


def add_commands(parsers: Any) -> None:
    """Adds `settings`."""
    parser: ArgumentParser = parsers.add_parser("settings", help="what is in force, and where it comes from")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")
    parser.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    parser.set_defaults(settled=_settings)


def _settings(arguments: Namespace, settings: Settings) -> int:
    import json
    import sys

    shown, sources = settings.redacted(), Settings.sources(arguments.env)
    if arguments.json:
        about = {name: {"value": value, "from": sources[name]} for name, value in shown.items()}
        sys.stdout.write(json.dumps(about, ensure_ascii=False) + "\n")
        return 0
    width = max(map(len, shown))
    for name, value in shown.items():
        sys.stdout.write(f"{name:{width}}  {value or '-'}  ({sources[name]})\n")
    return 0
