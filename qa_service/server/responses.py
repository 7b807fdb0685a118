"""Schema models as HTTP responses, compressed if the client accepts it."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.responses import JSONResponse, Response

from qa_service.schemas.answers import AnswerPieces
from qa_service.schemas.values import Body

_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # RFC 1952: deflate, no name, no time, unknown operating system
_CACHED_TEXTS = 1000  # compressed texts of some 2 kB
_CACHED_LEVEL, _SINGLE_LEVEL = 9, 5  # compression levels of a text that is cached, and of what is sent only once
_SMALL_WINDOW, _SMALL_MEMORY = -12, 5  # wbits (raw deflate, 4 kB) and memLevel: enough for what is sent only once


class BodyResponse(JSONResponse):
    """A body, or a list of bodies, as JSON; inf and nan are strings, where FastAPI's own serialisation writes null."""

    def render(self, content: Body | Sequence[Body]) -> bytes:
        """The JSON in UTF-8."""
        if isinstance(content, Body):
            return content.to_json()
        return b"[%b]" % b",".join([each.to_json() for each in content])


class AnswerResponse(Response):
    """An answer as JSON; with `gzip` compressed here, with a cached text, so that `GZipMiddleware` leaves it alone."""

    media_type = "application/json"

    def __init__(self, answer: AnswerPieces, *, gzip: bool) -> None:
        headers = {"content-encoding": "gzip", "vary": "Accept-Encoding"} if gzip else None
        super().__init__(_gzip(answer) if gzip else answer.join(), headers=headers)


def _gzip(answer: AnswerPieces) -> bytes:
    """The answer as a gzip file (RFC 1952).

    Each piece is compressed without references to the others (full flush), so that the text can come from a cache.
    """
    before, text, after = answer.before, answer.text, answer.after
    compressor = zlib.compressobj(_SINGLE_LEVEL, zlib.DEFLATED, _SMALL_WINDOW, _SMALL_MEMORY)
    return b"".join(
        (
            _GZIP_HEADER,
            compressor.compress(before),
            compressor.flush(zlib.Z_FULL_FLUSH),
            _deflated(text),
            compressor.compress(after),
            compressor.flush(),
            struct.pack(
                "<II", zlib.crc32(after, zlib.crc32(text, zlib.crc32(before))), len(before) + len(text) + len(after)
            ),
        )
    )


@lru_cache(_CACHED_TEXTS)
def _deflated(text: bytes) -> bytes:
    """The text as blocks of a raw deflate stream that end at a byte boundary; further blocks may follow."""
    compressor = zlib.compressobj(_CACHED_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Whether the client that sent these headers accepts a reply compressed by gzip."""
    return "gzip" in headers.get("accept-encoding", "")
