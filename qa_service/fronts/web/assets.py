"""What the pages load: the files of static/, each at an address of its own, and what is built from packages."""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from qa_service.fronts.web.build import math_font, vega_bundle

_FOLDER = Path(__file__).resolve().parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def add_routes(web: APIRouter, cache: Path) -> None:
    """One route per file: no path of a request ever reaches the disk."""

    @web.get("/static/vega.js")
    async def vega() -> FileResponse:
        return _kept(await asyncio.to_thread(vega_bundle, cache), "text/javascript")

    @web.get("/static/math.woff")
    async def math() -> FileResponse:
        return _kept(await asyncio.to_thread(math_font, cache), "font/woff")

    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _TYPES:
            web.add_api_route(f"/static/{path.name}", _asset(path.read_bytes(), _TYPES[path.suffix]), methods=["GET"])


def _kept(path: Path, media_type: str) -> FileResponse:
    kept = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=media_type, headers=kept)


def _asset(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    """Compressed for whoever takes gzip: comments and long names in the scripts then cost next to nothing."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    always = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
    plain = content, always | {"ETag": f'"{digest}"'}
    packed = gzip.compress(content, mtime=0), always | {"ETag": f'"{digest}-gzip"', "Content-Encoding": "gzip"}

    async def asset(http: Request) -> Response:
        body, headers = packed if "gzip" in http.headers.get("accept-encoding", "") else plain
        if http.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=media_type, headers=headers)

    return asset
