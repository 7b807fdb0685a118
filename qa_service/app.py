"""Finds the fronts and puts them together: commands on one command line, routers in one application."""

import importlib
import json
import pkgutil
from argparse import ArgumentParser, Namespace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qa_service import fronts as _fronts
from qa_service.errors import BadField
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from qa_service.service import Service


_WORKERS = "NUMSTAB_WORKER"  # what the parent tells its workers


def fronts() -> list[ModuleType]:
    """Every module of `qa_service.fronts`; a new file there is a new front."""
    return [
        importlib.import_module(f"{_fronts.__name__}.{found.name}") for found in pkgutil.iter_modules(_fronts.__path__)
    ]


def create_app(service: "Service", settings: Settings, *, open_to_all: bool = True) -> "FastAPI":
    """The web application: every front's routes, every error as a problem, and the guard before them all."""
    from fastapi import FastAPI

    from qa_service import __version__
    from qa_service.guard import Guard
    from qa_service.problems import handle_errors
    from qa_service.serving import closing_in_time

    app = FastAPI(
        title="numstab",
        version=__version__,
        summary="Questions about numerical stability in deep learning, answered with runnable evidence.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=closing_in_time,
    )
    handle_errors(app)
    app.add_middleware(Guard, settings=settings, open_to_all=open_to_all)
    if settings.origins:
        from starlette.middleware.cors import CORSMiddleware

        origins = [origin.strip() for origin in settings.origins.split(",")]
        shown = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"]
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Accept-Language"], expose_headers=shown,
        )  # fmt: skip
    for front in fronts():
        if hasattr(front, "router"):
            app.include_router(front.router(service, settings))
    return app


def own_commands(parsers: Any) -> None:
    """Adds `serve` and `prepare`, which concern every front."""
    parsers.add_parser("prepare", help="build what is built once").set_defaults(settled=_prepare)
    parser: ArgumentParser = parsers.add_parser("serve", help="open the page and the API")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", default="8000", help="port (default 8000; 0 takes a free one)")
    parser.add_argument("--public", action="store_true", help="on any address, let everybody in without a key")
    parser.add_argument("--workers", default="1", help="processes (default 1)")
    parser.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    parser.set_defaults(settled=_serve)


def _prepare(_arguments: Namespace, settings: Settings) -> int:
    """Builds every cache, so that the first question waits for none."""
    from qa_service.service import build

    build(settings, warm=None).matcher.match("nan")
    for front in fronts():
        if hasattr(front, "prepare"):
            front.prepare(settings)
    return 0


def _serve(arguments: Namespace, settings: Settings) -> int:
    from qa_service.serving import open_to_all, serve

    port, workers = _number(arguments.port, "--port", 0, 65535), _number(arguments.workers, "--workers", 1, 64)
    everybody = open_to_all(arguments.host, settings, public=arguments.public)
    service = warm_service(settings)  # a broken library stops us here, with its problems, not in a worker
    if workers == 1:
        serve(create_app(service, settings, open_to_all=everybody), settings, host=arguments.host, port=port)
    else:
        import os

        os.environ[_WORKERS] = json.dumps({"open_to_all": everybody})
        serve("qa_service.app:worker_app", settings, factory=True, host=arguments.host, port=port, workers=workers)
    return 0


def worker_app() -> "FastAPI":
    """The application of one of several worker processes; settings come from the environment they inherited."""
    import os

    settings = Settings.from_env(os.environ)
    return create_app(warm_service(settings), settings, **json.loads(os.environ[_WORKERS]))


def warm_service(settings: Settings) -> "Service":
    """A service warmed for many questions."""
    from qa_service.lab import SERVER
    from qa_service.service import build

    return build(settings, warm=SERVER, many=True)


def _number(word: str, option: str, low: int, high: int) -> int:
    if word.isdecimal() and low <= int(word) <= high:
        return int(word)
    raise BadField(
        zh=f"{option} 应当是 {low} 到 {high} 的整数，不能是 {word!r}",
        en=f"{option} should be an integer from {low} to {high}, not {word!r}",
        field=option,
    )
