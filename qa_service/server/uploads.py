"""Reads a log, a table or a trace from a request: as text in JSON, or as the body itself, either of them compressed."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_service.errors import BadField, BodyTooLarge, UnreadableRun
from qa_service.model import Lang
from qa_service.schemas.diagnosis import MAX_LOG_BYTES, read_diagnose, read_options
from qa_service.server.streaming import parse_json, read_bytes

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

MAX_INFLATED_BYTES = 60_000_000
"""The largest decompressed size of a body, in bytes."""
_FILE_TYPES = frozenset({
    "text/plain", "text/csv", "text/tab-separated-values", "application/x-ndjson", "application/jsonl",
    "application/gzip", "application/x-gzip", "application/octet-stream",
})  # fmt: skip
"""The media types of a body that is the file itself."""
_GZIP = b"\x1f\x8b"
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be diagnosed, with the options of the request."""

    data: bytes
    name: str
    lang: Lang | None
    run: bool


async def read_upload(http: "HttpRequest") -> Upload:
    """The file of a request.

    Raises `BodyTooLarge`, also for a decompressed size above `MAX_INFLATED_BYTES`; `BadText` and `BadField` for
    malformed JSON or options, and `UnreadableRun` for damaged compression. Sets `http.state.lang`, the language of
    later errors, if the request names one.
    """
    from starlette.concurrency import run_in_threadpool

    options = read_options(http.query_params)
    if options.lang:
        http.state.lang = options.lang
    sent = await read_bytes(http, MAX_LOG_BYTES)
    data = await run_in_threadpool(_undo_encoding, sent, http.headers.get("content-encoding", ""))
    media_type = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _FILE_TYPES:
        body = _parse(http, data, media_type)
        given = read_diagnose(options.model_dump(exclude_unset=True) | body if isinstance(body, dict) else body)
        return Upload(given.text.encode("utf-8", "replace"), given.name, given.lang, given.run)
    if not data:
        raise BadField(zh="请求体是空的：请发送日志本身", en="the body is empty: send the log itself", field="body")
    if data.startswith(_GZIP):
        await run_in_threadpool(_check_inflated_size, data)
    return Upload(data, options.name, options.lang, options.run)


def _parse(http: "HttpRequest", data: bytes, media_type: str) -> object:
    """A body as JSON. The error for what is not JSON says, unless the media type does, how to send the log itself."""
    try:
        return parse_json(http, data)
    except BadField:
        if media_type == "application/json":
            raise
        raise BadField(
            zh='请求体不是 JSON。发送日志本身时请写明 Content-Type: text/plain，或用 JSON：{"text": "…"}',
            en="the body is not JSON. To send the log itself, say Content-Type: text/plain; or send JSON: "
            '{"text": "…"}',
            field="body",
        ) from None


def _undo_encoding(data: bytes, encoding: str) -> bytes:
    """The body with its Content-Encoding undone; raises `BadField` for one that is not supported."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return data
    if name not in ("gzip", "x-gzip"):
        raise BadField(
            zh=f"不认识 Content-Encoding {encoding[:40]!r}，只认识 gzip",
            en=f"unknown Content-Encoding {encoding[:40]!r}; gzip is known",
            field="Content-Encoding",
        )
    return b"".join(_inflate(data))


def _check_inflated_size(data: bytes) -> None:
    """Raises `BodyTooLarge` if a gzip file is too large decompressed, `UnreadableRun` if none of it can be read."""
    read = 0
    try:
        for piece in _inflate(data):
            read += len(piece)
    except UnreadableRun:
        if not read:  # the part before the damage can be diagnosed
            raise


def _inflate(data: bytes) -> Iterator[bytes]:
    """The content of a gzip file with one or more members, in chunks of at most `_PIECE_BYTES`.

    Raises `BodyTooLarge` at the first chunk beyond `MAX_INFLATED_BYTES`, and `UnreadableRun` where it is damaged.
    """
    total = 0
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                piece = member.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise _damaged() from None
            if not piece and not member.eof:
                raise _damaged()
            data = member.unconsumed_tail
            total += len(piece)
            if total > MAX_INFLATED_BYTES:
                limit = MAX_INFLATED_BYTES // 10**6
                raise BodyTooLarge(
                    zh=f"解压后太大，最多 {limit} MB；更大的文件用命令 numstab diagnose 来读",
                    en=f"too large when inflated; at most {limit} MB. The command numstab diagnose reads more",
                    field="body",
                )
            yield piece
        data = member.unused_data.lstrip(b"\0")


def _damaged() -> UnreadableRun:
    return UnreadableRun(
        zh="压缩的请求体已损坏，或没有发完。请重新压缩，或直接发送文件本身。",
        en="The compressed body is damaged or cut off. Compress it again, or send the file itself.",
    )
