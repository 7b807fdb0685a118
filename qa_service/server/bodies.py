"""Schema models as HTTP responses, and whether a client takes them compressed."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.responses import JSONResponse, Response

from qa_service.schemas.answers import AnswerPieces
from qa_service.schemas.values import Body

_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # deflated, no name, no time, of an unknown system
_KEPT_TEXTS = 1000  # compressed, those asked for last: 2 kB each
_OFTEN, _ONCE = 9, 5  # levels of compression: of what is compressed for many replies, and for one
_SMALL_WINDOW, _SMALL_MEMORY = -12, 5  # of zlib, without its header: 4 kB are enough for what is compressed for one


class BodyResponse(JSONResponse):
    """A body, or a list of bodies, as JSON. FastAPI's own serialisation of a model turns inf and nan into null."""

    def render(self, content: Body | Sequence[Body]) -> bytes:
        """The bytes that are sent."""
        if isinstance(content, Body):
            return content.to_json()
        return b"[%b]" % b",".join([each.to_json() for each in content])


class AnswerResponse(Response):
    """An answer. With `gzip` it is compressed here, as the entry's text is kept so, and `GZipMiddleware` leaves it."""

    media_type = "application/json"

    def __init__(self, answer: AnswerPieces, *, gzip: bool) -> None:
        headers = {"content-encoding": "gzip", "vary": "Accept-Encoding"} if gzip else None
        super().__init__(_gzip(answer) if gzip else answer.join(), headers=headers)


def _gzip(answer: AnswerPieces) -> bytes:
    """A gzip file of the answer (RFC 1952). Each piece is compressed by itself, so nothing refers across their ends."""
    before, text, after = answer.before, answer.text, answer.after
    compressor = zlib.compressobj(_ONCE, zlib.DEFLATED, _SMALL_WINDOW, _SMALL_MEMORY)
    return b"".join((
        _GZIP_HEADER,
        compressor.compress(before),
        compressor.flush(zlib.Z_FULL_FLUSH),
        _deflated(text),
        compressor.compress(after),
        compressor.flush(),
        struct.pack(
            "<II", zlib.crc32(after, zlib.crc32(text, zlib.crc32(before))), len(before) + len(text) + len(after)
        ),
    ))  # fmt: skip


@lru_cache(_KEPT_TEXTS)
def _deflated(text: bytes) -> bytes:
    """Blocks of a deflated stream that end at a whole byte."""
    compressor = zlib.compressobj(_OFTEN, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """Whether the client that sent these headers takes a compressed reply."""
    return "gzip" in headers.get("accept-encoding", "")
