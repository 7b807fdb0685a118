"""Finds the fronts and puts them together: their commands on one command line, their routes in one web application."""

import gc
import importlib
import json
import pkgutil
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qa_service import fronts as _fronts
from qa_service.errors import BadField
from qa_service.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from qa_service.answering.service import Service


_WORKERS = "NUMSTAB_WORKER"
"""Environment variable with the options that the parent process passes to its workers, as JSON."""
_FORK_SERVER = "fork-server"
"""The file name of the socket of the fork server that workers share; it lies in their shared folder."""
_COLLECT_AFTER = 20_000  # net allocations before a collection of the youngest generation: some twenty answers
_MIN_COMPRESSED, _GZIP_LEVEL = 1024, 5  # bytes; higher levels gain little


def fronts() -> list[ModuleType]:
    """Every module of `qa_service.fronts`; a new file there is a new front."""
    return [
        importlib.import_module(f"{_fronts.__name__}.{found.name}") for found in pkgutil.iter_modules(_fronts.__path__)
    ]


def create_app(
    service: "Service",
    settings: Settings,
    *,
    is_public: bool = True,
    shared: Path | None = None,
    watch_knowledge: bool = False,
) -> "FastAPI":
    """The web application: the routes and mounts of every front behind the middlewares.

    It does nothing until its lifespan begins. `shared` is the folder in which several workers add up their metrics;
    with `watch_knowledge` kb and demos are reloaded whenever a file changes.
    """
    from fastapi import FastAPI

    from qa_service import __version__
    from qa_service.answering.reload import KnowledgeReloader
    from qa_service.schemas.openapi import extend_openapi
    from qa_service.server.api_keys import ApiKeyStore
    from qa_service.server.metrics import Metrics
    from qa_service.server.priority import TextPriority
    from qa_service.server.problems import handle_errors
    from qa_service.server.rate_limit import RateLimits
    from qa_service.server.streaming import ShutdownDeadline
    from qa_service.server.text_answers import TextAnswerThread
    from qa_service.shared_state import SharedState
    from qa_service.store import Store
    from qa_service.store.health import HealthProbe
    from qa_service.store.threads import StoreThreads
    from qa_service.telemetry.tracing import Tracing

    app = FastAPI(
        title="numstab",
        version=__version__,
        summary="Questions about numerical stability in deep learning, answered with runnable evidence.",
        docs_url=None,  # FastAPI's page of documentation loads scripts from another origin
        redoc_url=None,
        servers=[{"url": settings.url.rstrip("/")}] if settings.url else None,
        lifespan=partial(_lifespan, service=service, settings=settings, watch_knowledge=watch_knowledge),
    )
    state = app.state
    state.text_priority, state.shutdown = TextPriority(), ShutdownDeadline()
    state.texts = TextAnswerThread(service, state.text_priority)
    state.metrics, state.tracing = Metrics(service, shared), Tracing()
    state.store = Store(settings.store_url, settings.keep_questions, on_failure=state.metrics.store_failed)
    state.keys = ApiKeyStore.of(settings)
    state.store_threads = StoreThreads()
    state.shared_rates = SharedState(settings.shared) if settings.shared else None
    state.rate_limits = RateLimits(settings.rate, state.shared_rates) if settings.rate else None
    state.store_health = HealthProbe(state.store)
    state.reloader = KnowledgeReloader(service, settings, lambda succeeded: state.metrics.reloaded(succeeded=succeeded))
    state.error_formats = {}
    handle_errors(app)
    _add_middlewares(app, settings, is_public=is_public)
    for front in fronts():
        if hasattr(front, "router"):
            app.include_router(front.router(service, settings))
        if hasattr(front, "mounts"):
            for path, mounted in front.mounts(service, settings).items():
                app.mount(path, mounted)
        if hasattr(front, "error_formats"):
            state.error_formats = {**state.error_formats, **front.error_formats(service, settings)}
        if hasattr(front, "not_found_page"):
            state.not_found_page = front.not_found_page(service)
    extend_openapi(app)
    return app


def _add_middlewares(app: "FastAPI", settings: Settings, *, is_public: bool) -> None:
    """Adds the middlewares from the innermost to the outermost: each one wraps those added before it.

    Rate limits count by API key, so they come after authentication. Both refuse requests themselves, so the timeouts
    and the security headers wrap them, and so does CORS: a browser hides a refusal without CORS headers from scripts.
    The access log is outermost, so it sees the request before and the reply after every other middleware.
    """
    from starlette.middleware.cors import CORSMiddleware
    from starlette.middleware.gzip import GZipMiddleware

    from qa_service.server.access_log import AccessLogMiddleware
    from qa_service.server.auth import AuthMiddleware
    from qa_service.server.origins import OriginMiddleware
    from qa_service.server.rate_limit import RateLimitMiddleware
    from qa_service.server.security_headers import SecurityHeadersMiddleware
    from qa_service.server.timeout import TimeoutMiddleware

    app.add_middleware(RateLimitMiddleware, limits=app.state.rate_limits)
    app.add_middleware(AuthMiddleware, settings=settings, keys=app.state.keys, is_public=is_public)
    app.add_middleware(OriginMiddleware, hosts=_words(settings.hosts), origins=_words(settings.origins))
    app.add_middleware(TimeoutMiddleware)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=_MIN_COMPRESSED, compresslevel=_GZIP_LEVEL)
    if settings.origins:
        shown = [
            "X-Request-ID",
            "RateLimit-Limit",
            "RateLimit-Remaining",
            "RateLimit-Reset",
            "Retry-After",
            "Mcp-Session-Id",
        ]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(_words(settings.origins)),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=shown,  # clients of chat and agent protocols send headers of their own
        )
    app.add_middleware(AccessLogMiddleware, served=app.state.metrics.request, span=app.state.tracing.request)


def _words(listed: str) -> frozenset[str]:
    """The items of a comma-separated setting."""
    return frozenset(word.strip() for word in listed.split(",") if word.strip())


@asynccontextmanager
async def _lifespan(
    app: "FastAPI", *, service: "Service", settings: Settings, watch_knowledge: bool
) -> AsyncIterator[dict[str, Any]]:
    """Starts the subscribers and the background threads, and stops them in reverse order.

    Yields the lifespan state: the merged mappings of the fronts' lifespans, available as `request.state`.
    """
    import asyncio

    from qa_service.server.access_log import log_answer
    from qa_service.server.lifecycle import (
        PAUSE_SECONDS,
        handle_signals,
        trim_memory_when_idle,
        unload_mapped_files,
    )
    from qa_service.store.writer import BackgroundWriter

    state = app.state
    async with AsyncExitStack() as stack:
        stack.callback(service.runner.close)
        stack.enter_context(state.tracing.export(settings))
        stack.callback(service.timings.subscribe(state.tracing.stage))
        stack.enter_context(state.metrics)
        if state.rate_limits is not None:
            stack.push_async_callback(state.rate_limits.close)
        for use, shared in (("runs", service.shared_runs), ("rates", state.shared_rates)):
            if shared is not None:
                stack.callback(shared.subscribe(partial(state.metrics.sharing_failed, use)))
        stack.callback(service.subscribe(log_answer(settings)))
        stack.callback(state.store.close)
        stack.callback(state.texts.close)
        stack.callback(state.store_threads.close)
        stack.callback(state.store_health.close)
        stack.enter_context(state.keys.refreshing())
        writer = stack.enter_context(BackgroundWriter(state.store))
        stack.callback(service.subscribe(writer))
        stack.callback(state.reloader.close)
        if watch_knowledge:
            state.reloader.watch()
        request_state: dict[str, Any] = {}
        for front in fronts():
            if hasattr(front, "lifespan"):
                request_state |= await stack.enter_async_context(front.lifespan(service, settings)) or {}
        stack.callback(asyncio.create_task(trim_memory_when_idle(state.text_priority)).cancel)
        state.text_priority.call_in_pauses(PAUSE_SECONDS, unload_mapped_files)
        stack.enter_context(handle_signals(state.shutdown, state.reloader.reload_in_background))
        gc.collect()
        gc.freeze()  # entries, vectors and routes live as long as the server: later collections skip them
        gc.set_threshold(_COLLECT_AFTER)  # an answer leaves hardly any reference cycles
        yield request_state


def add_core_commands(parsers: Any) -> None:
    """Adds `prepare`, `serve`, `node` and `doctor`, which concern every front."""
    prepare: ArgumentParser = parsers.add_parser("prepare", help="build the caches ahead of the first question")
    prepare.add_argument("--export", metavar="FOLDER", help="write the trained classifier there as a wheel, to publish")
    prepare.add_argument(
        "--from",
        dest="source",
        metavar="WHEEL",
        help="take the classifier from such a wheel: a file, or an https address that ends in #sha256=…",
    )
    prepare.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    prepare.set_defaults(run_with_settings=_prepare)
    parser: ArgumentParser = parsers.add_parser("serve", help="serve the web pages and the API")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", default="8000", help="port (default 8000; 0 takes a free one)")
    parser.add_argument("--public", action="store_true", help="require no API key, whatever the address")
    parser.add_argument("--workers", default="1", help="processes (default 1)")
    parser.add_argument("--reload-kb", action="store_true", help="reload kb and demos whenever they change")
    parser.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    parser.set_defaults(run_with_settings=_serve)
    node: ArgumentParser = parsers.add_parser("node", help="run experiments for the services of a cluster")
    node.add_argument(
        "head", nargs="?", metavar="HEAD", help="host:port of the cluster's head (default: become the head)"
    )
    node.add_argument("--slots", help="experiments at once (default NUMSTAB_SLOTS; 0: none here)")
    node.add_argument("--port", default="6379", help="port of the head (default 6379)")
    node.add_argument("--address", default="", help="own address in the private network (default: as seen by the head)")
    node.add_argument("--folder", default="", help="folder of sockets and logs (default: Ray's)")
    node.add_argument("--lang", choices=("zh", "en"), help="language of messages")
    node.set_defaults(run_with_settings=_node)
    doctor: ArgumentParser = parsers.add_parser("doctor", help="check this installation, and say what to do")
    doctor.add_argument("--port", default="8000", help="port that should be free (default 8000)")
    doctor.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")
    doctor.add_argument("--lang", choices=("zh", "en"), help="language of the report (default: the system's)")
    doctor.set_defaults(run_with_settings=_doctor)


def _prepare(arguments: Namespace, settings: Settings) -> int:
    """Builds every cache ahead of the first question; imports or exports the classifier as a wheel if asked to."""
    import sys

    from qa_service.answering.composition import build

    matcher = build(settings, warm=None).knowledge.matcher
    if arguments.source:
        sys.stdout.write(f"sha256={matcher.unpack(arguments.source)}\n")
    matcher.match("nan")
    if arguments.export:
        sys.stdout.write(f"{matcher.export(Path(arguments.export))}\n")
        return 0
    for front in fronts():
        with suppress(ModuleNotFoundError):  # an extra of numstab-core that is not installed has nothing to build
            if hasattr(front, "prepare"):
                front.prepare(settings)
    return 0


def _doctor(arguments: Namespace, settings: Settings) -> int:
    from qa_service.tools.doctor import print_checks, run_checks

    found = run_checks(settings, _number(arguments.port, "--port", 0, 65535))
    for front in fronts():
        with suppress(ModuleNotFoundError):  # as in _prepare
            if hasattr(front, "checks"):
                found += front.checks(settings)
    return print_checks(found, arguments.lang, as_json=arguments.json)


def _node(arguments: Namespace, settings: Settings) -> int:
    """Replaces this process (exec) by a Ray node, which leaves the cluster when it is terminated."""
    from qa_service.lab.cluster_start import check_address, check_token, exec_node, start_command

    port = _number(arguments.port, "--port", 1, 65535)
    head = check_address(arguments.head or f"localhost:{port}", "HEAD")
    check_token(arguments.env)
    command = start_command(
        slots=settings.slots if arguments.slots is None else _number(arguments.slots, "--slots", 0, 1024),
        join=head if arguments.head else "",
        port=port,
        own_address=arguments.address,
        folder=arguments.folder,
    )
    exec_node(command, arguments.env)


def _serve(arguments: Namespace, settings: Settings) -> int:
    """Serves from this process, or from several workers that share a fork server and the folder of their metrics."""
    from qa_service.server.lifecycle import is_public, limit_malloc_arenas, serve, serve_many
    from qa_service.telemetry import logging as logs

    limit_malloc_arenas()
    logs.configure_logging(settings)
    port, workers = _number(arguments.port, "--port", 0, 65535), _number(arguments.workers, "--workers", 1, 64)
    public = is_public(arguments.host, settings, public=arguments.public)
    if workers == 1:
        app = create_app(warm_service(settings), settings, is_public=public, watch_knowledge=arguments.reload_kb)
        serve(app, settings, host=arguments.host, port=port)
        return 0
    import os

    from qa_service.answering.composition import build
    from qa_service.lab.interpreter import server_for_workers
    from qa_service.lab.runner import SERVER_PRELOAD

    build(settings, warm=None)  # reports an invalid library before any worker starts
    with tempfile.TemporaryDirectory(prefix="numstab-") as shared:
        worker_options = {"is_public": public, "shared": shared, "workers": workers, "reload_kb": arguments.reload_kb}
        os.environ[_WORKERS] = json.dumps(worker_options)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared  # read by prometheus_client when it is imported
        with server_for_workers(settings.python, SERVER_PRELOAD, Path(shared) / _FORK_SERVER):
            serve_many("qa_service.app:worker_app", settings, host=arguments.host, port=port, workers=workers)
    return 0


def worker_app() -> "FastAPI":
    """The application factory of one of several worker processes; its options come from the inherited environment.

    NUMSTAB_SLOTS and NUMSTAB_QUEUE are limits for all workers together, so each worker gets its share of them.
    """
    import os

    from qa_service.lab.interpreter import connect_interpreter
    from qa_service.lab.runner import SERVER_PRELOAD
    from qa_service.server.lifecycle import end_with_supervisor, limit_malloc_arenas, worker_index, worker_share
    from qa_service.telemetry import logging as logs

    limit_malloc_arenas()
    end_with_supervisor()
    worker_options = json.loads(os.environ[_WORKERS])
    settings, shared = Settings.load(os.environ), Path(worker_options["shared"])
    logs.configure_logging(settings)
    (index, lock), workers = worker_index(shared), worker_options["workers"]
    settings = replace(
        settings, slots=worker_share(settings.slots, workers, index), queue=worker_share(settings.queue, workers, index)
    )
    lab = connect_interpreter(settings.python, SERVER_PRELOAD, shared / _FORK_SERVER)
    app = create_app(
        warm_service(settings),
        settings,
        is_public=worker_options["is_public"],
        shared=shared,
        watch_knowledge=worker_options["reload_kb"],
    )
    app.state.worker_lock, app.state.lab = lock, lab  # held as long as the process lives
    return app


def warm_service(settings: Settings) -> "Service":
    """A service for many concurrent clients; it starts the processes of experiments before they are needed."""
    from qa_service.answering.composition import build
    from qa_service.lab.runner import SERVER_PRELOAD

    return build(settings, warm=SERVER_PRELOAD, many_clients=True)


def _number(word: str, option: str, low: int, high: int) -> int:
    """The value of an integer option; raises `BadField` outside `low` to `high`, both inclusive."""
    if word.isdecimal() and low <= int(word) <= high:
        return int(word)
    raise BadField(
        zh=f"{option} 应当是 {low} 到 {high} 的整数，不能是 {word!r}",
        en=f"{option} should be an integer from {low} to {high}, not {word!r}",
        field=option,
    )
