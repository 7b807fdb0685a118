"""Finds the fronts and puts them together: commands on one command line, routers in one application."""

import importlib
import json
import pkgutil
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qa_service import fronts as _fronts
from qa_service.errors import BadField
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from qa_service.answering.service import Service


_WORKERS = "NUMSTAB_WORKER"  # what the parent tells its workers


def fronts() -> list[ModuleType]:
    """Every module of `qa_service.fronts`; a new file there is a new front."""
    return [
        importlib.import_module(f"{_fronts.__name__}.{found.name}") for found in pkgutil.iter_modules(_fronts.__path__)
    ]


def create_app(
    service: "Service", settings: Settings, *, open_to_all: bool = True, shared: Path | None = None
) -> "FastAPI":
    """The web application: every front's routes, every error as a problem, the guard and the log before them all.

    `shared` is the folder where several workers add up their counts.
    """
    from fastapi import FastAPI

    from qa_service import __version__
    from qa_service.answering.reload import KnowledgeReloader
    from qa_service.schemas.openapi import describe
    from qa_service.server.access_log import AccessLogMiddleware, log_answer
    from qa_service.server.gateway import GatewayMiddleware
    from qa_service.server.lifecycle import lifespan
    from qa_service.server.metrics import Metrics
    from qa_service.server.problems import handle_errors
    from qa_service.store import Store
    from qa_service.telemetry import tracing as traces

    metrics = Metrics(service, shared)
    spans = traces.Tracing(traces.provider(settings))
    service.store = Store(settings.store_url, settings.keep_questions)
    service.store.on_failure.append(metrics.store_failed)
    service.observers.append(log_answer(settings))
    service.stages.listeners.append(spans.stage)
    app = FastAPI(
        title="numstab",
        version=__version__,
        summary="Questions about numerical stability in deep learning, answered with runnable evidence.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.metrics, app.state.traces = metrics, spans
    app.state.reloading = KnowledgeReloader(service, settings, lambda well: metrics.reloaded(well=well))
    handle_errors(app)
    app.add_middleware(GatewayMiddleware, settings=settings, open_to_all=open_to_all)
    if settings.origins:
        from starlette.middleware.cors import CORSMiddleware

        origins = [origin.strip() for origin in settings.origins.split(",")]
        shown = ["X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Accept-Language"], expose_headers=shown,
        )  # fmt: skip
    app.add_middleware(AccessLogMiddleware, served=metrics.request, span=spans.request)
    for front in fronts():
        if hasattr(front, "router"):
            app.include_router(front.router(service, settings))
        if hasattr(front, "nowhere"):
            app.state.nowhere = front.nowhere(service)
    describe(app)
    return app


def add_core_commands(parsers: Any) -> None:
    """Adds `serve` and `prepare`, which concern every front."""
    parsers.add_parser("prepare", help="build what is built once").set_defaults(settled=_prepare)
    parser: ArgumentParser = parsers.add_parser("serve", help="open the page and the API")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", default="8000", help="port (default 8000; 0 takes a free one)")
    parser.add_argument("--public", action="store_true", help="on any address, let everybody in without a key")
    parser.add_argument("--workers", default="1", help="processes (default 1)")
    parser.add_argument("--reload-kb", action="store_true", help="read kb and demos again whenever they change")
    parser.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    parser.set_defaults(settled=_serve)
    doctor: ArgumentParser = parsers.add_parser("doctor", help="check this installation, and say what to do")
    doctor.add_argument("--port", default="8000", help="port that is to be free (default 8000)")
    doctor.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")
    doctor.add_argument("--lang", choices=("zh", "en"), help="language of the report (default: the system's)")
    doctor.set_defaults(settled=_doctor)


def _prepare(_arguments: Namespace, settings: Settings) -> int:
    """Builds every cache, so that the first question waits for none."""
    from qa_service.answering.service import build

    build(settings, warm=None).matcher.match("nan")
    for front in fronts():
        if hasattr(front, "prepare"):
            front.prepare(settings)
    return 0


def _doctor(arguments: Namespace, settings: Settings) -> int:
    from qa_service.tools.doctor import checks, report

    found = checks(settings, _number(arguments.port, "--port", 0, 65535))
    for front in fronts():
        if hasattr(front, "checks"):
            found += front.checks(settings)
    return report(found, arguments.lang, as_json=arguments.json)


def _serve(arguments: Namespace, settings: Settings) -> int:
    from qa_service.server.lifecycle import open_to_all, serve, serve_many
    from qa_service.telemetry import logging as logs

    logs.configure_logging(settings)
    port, workers = _number(arguments.port, "--port", 0, 65535), _number(arguments.workers, "--workers", 1, 64)
    everybody = open_to_all(arguments.host, settings, public=arguments.public)
    if workers == 1:
        app = create_app(warm_service(settings), settings, open_to_all=everybody)
        if arguments.reload_kb:
            app.state.reloading.watch()
        serve(app, settings, host=arguments.host, port=port)
        return 0
    import os

    from qa_service.answering.service import build

    build(settings, warm=None)  # a broken library stops us here, with its problems, not in a worker
    with tempfile.TemporaryDirectory(prefix="numstab-") as shared:
        told = {"open_to_all": everybody, "shared": shared, "workers": workers, "reload_kb": arguments.reload_kb}
        os.environ[_WORKERS] = json.dumps(told)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared  # read by prometheus_client when it is imported
        serve_many("qa_service.app:worker_app", settings, host=arguments.host, port=port, workers=workers)
    return 0


def worker_app() -> "FastAPI":
    """The application of one of several worker processes; settings come from the environment they inherited.

    Slots and places in the queue are what all workers have together: each gets its share.
    """
    import os

    from qa_service.server.lifecycle import share_of, worker_index
    from qa_service.telemetry import logging as logs

    worker_options = json.loads(os.environ[_WORKERS])
    settings, shared = Settings.load(os.environ), Path(worker_options["shared"])
    logs.configure_logging(settings)
    mine, workers = worker_index(shared), worker_options["workers"]
    settings = replace(
        settings, slots=share_of(settings.slots, workers, mine), queue=share_of(settings.queue, workers, mine)
    )  # fmt: skip
    app = create_app(warm_service(settings), settings, open_to_all=worker_options["open_to_all"], shared=shared)
    if worker_options["reload_kb"]:
        app.state.reloading.watch()
    return app


def warm_service(settings: Settings) -> "Service":
    """A service warmed for many questions."""
    from qa_service.answering.service import build
    from qa_service.lab.runner import SERVER

    return build(settings, warm=SERVER, many=True)


def _number(word: str, option: str, low: int, high: int) -> int:
    if word.isdecimal() and low <= int(word) <= high:
        return int(word)
    raise BadField(
        zh=f"{option} 应当是 {low} 到 {high} 的整数，不能是 {word!r}",
        en=f"{option} should be an integer from {low} to {high}, not {word!r}",
        field=option,
    )
