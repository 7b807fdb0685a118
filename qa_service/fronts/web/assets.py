"""Routes of the assets: one for each file of static/, and those for files that are built from packages."""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from qa_service.fronts.web.build import build_math_font, build_vega_bundle
from qa_service.server.responses import accepts_gzip

_STATIC_FOLDER = Path(__file__).resolve().parent / "static"
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def add_asset_routes(web: APIRouter, cache: Path) -> None:
    """Adds one route per file, so that no part of a request's path is used as a file name."""

    @web.get("/static/vega.js")
    async def vega() -> FileResponse:
        return _built_file(await asyncio.to_thread(build_vega_bundle, cache), "text/javascript")

    @web.get("/static/math.woff")
    async def math() -> FileResponse:
        return _built_file(await asyncio.to_thread(build_math_font, cache), "font/woff")

    for path in sorted(_STATIC_FOLDER.iterdir()):
        if path.suffix in _MEDIA_TYPES:
            web.add_api_route(
                f"/static/{path.name}", _static_endpoint(path.read_bytes(), _MEDIA_TYPES[path.suffix]), methods=["GET"]
            )


def _built_file(path: Path, media_type: str) -> FileResponse:
    headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=media_type, headers=headers)


def _static_endpoint(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that serves a file with an ETag, compressed if the client accepts gzip."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    common = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
    plain = content, common | {"ETag": f'"{digest}"'}
    compressed = gzip.compress(content, mtime=0), common | {"ETag": f'"{digest}-gzip"', "Content-Encoding": "gzip"}

    async def asset(http: Request) -> Response:
        body, headers = compressed if accepts_gzip(http.headers) else plain
        if http.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=media_type, headers=headers)

    return asset
