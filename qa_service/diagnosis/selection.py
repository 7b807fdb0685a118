"""Selects the lines of a file to be read: all of a short one; of a long one the ends, samples and unusual lines.

A file is read once, in chunks, with bounded memory.
"""

import codecs
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from qa_service.parsing.logs.messages import find_message

LOG_CHUNK_BYTES = 256 * 1024
_MAX_PIECE_BYTES = 1024 * 1024
"""The length in bytes at which a piece without a line break is split; of each part, only `_KEPT_OF_PIECE` bytes are
kept.
"""
_KEPT_OF_PIECE = 8 * 1024
END_BYTES, END_PIECES = 6 * 1024 * 1024, 20_000
"""The largest number of bytes, and of lines or pieces of lines, that are read completely at each end of the file."""
SAMPLED_PIECES, _BLOCK_PIECES = 10_000, 100
_BEFORE, _AFTER, _AFTER_TRACEBACK = 6, 2, 60
_MAX_OF_KIND = 25
"""The number of non-finite values under one name, and of messages of one kind, after which no more are looked for
between the ends.
"""
_MAX_TESTED = 20_000
_MAX_KINDS = 600
MAX_READ_BYTES = 1 << 30
"""The number of bytes after which the rest of a stream is left unread."""
_NONFINITE = re.compile(rb"(?<![A-Za-z(])(?:nan|NaN|NAN|inf|Inf|INF|Infinity)(?![A-Za-z]| iterations)")
_NONFINITE_HINTS = (b"nan", b"NaN", b"NAN", b"inf", b"Inf", b"INF")
_MESSAGE_HINTS = (
    b"overflow", b"error", b"exception", b"traceback", b"loss scale", b"out of memory", b"non-finite", b"infinite",
    b"encountered", b"skipping", b"assert", b"out of bounds", b"contains nan", b"is nan", b"spiky",
)  # fmt: skip
_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")
_NAME_BYTES = 14

Piece = tuple[int, bytes]
"""(number of the line, from 1; the line, or a part of it that a progress bar has overwritten)."""


@dataclass(slots=True)
class Selection:
    """The lines of a file that were selected to be read."""

    pieces: list[Piece]
    """The lines, or pieces of lines, in the order of the file."""
    total: int
    """The number of all lines of the file."""
    cut: bool
    """Whether some lines are left out."""


@dataclass(slots=True)
class _Chunk:
    pieces: list[Piece]
    size: int
    place: int
    """How many pieces come before it."""


def select_lines(stream: BinaryIO) -> Selection:
    """Selects the lines to read, in one pass. A decompression error counts as the end of the file."""
    head: list[Piece] = []
    head_bytes = 0
    tail: deque[_Chunk] = deque()
    middle = _Middle()
    ended = _Ended()
    for chunk in _chunks(stream, ended):
        if not tail and head_bytes < END_BYTES and len(head) < END_PIECES:
            head += chunk.pieces
            head_bytes += chunk.size
            continue
        tail.append(chunk)
        while len(tail) > 1 and _exceeds(tail):
            middle.add(tail.popleft())
    last = [piece for chunk in tail for piece in chunk.pieces]
    pieces = [*head, *middle.selected(), *last]
    return Selection(pieces, ended.lines, middle.cut or ended.cut)


def _exceeds(tail: deque[_Chunk]) -> bool:
    """Whether the tail exceeds a bound even without its first chunk, which then belongs to the middle."""
    rest = list(tail)[1:]
    return sum(chunk.size for chunk in rest) > END_BYTES or sum(len(chunk.pieces) for chunk in rest) > END_PIECES


@dataclass(slots=True)
class _Ended:
    """How the reading of the file ended."""

    lines: int = 0
    cut: bool = False


def _chunks(stream: BinaryIO, ended: _Ended) -> Iterator[_Chunk]:
    """The file in chunks of whole lines; a line that is too long is split between chunks."""
    pending, line, read, place = b"", 1, 0, 0
    while True:
        try:
            data = stream.read(LOG_CHUNK_BYTES)
        except (EOFError, OSError, ValueError, ArithmeticError):  # a damaged or truncated compressed file
            data, ended.cut = b"", True
        except Exception as error:
            if type(error).__module__ != "zlib":
                raise
            data, ended.cut = b"", True
        read += len(data)
        if not data or read > MAX_READ_BYTES:
            ended.cut = ended.cut or bool(data)
            break
        pending += data
        end = max(pending.rfind(b"\n"), pending.rfind(b"\r")) + 1
        if not end:
            if len(pending) < _MAX_PIECE_BYTES:
                continue
            end = len(pending)
        chunk, pending = pending[:end], pending[end:]
        pieces = list(_split(chunk, line, ended))
        yield _Chunk(pieces, len(chunk), place)
        place += len(pieces)
        line += chunk.count(b"\n")
    if pending:
        yield _Chunk(list(_split(pending, line, ended)), len(pending), place)
        line += 1
    ended.lines = max(line - 1, 0) + (1 if not pending and line == 1 and read else 0)


def _split(chunk: bytes, line: int, ended: _Ended) -> Iterator[Piece]:
    for number, whole in enumerate(chunk.split(b"\n"), start=line):
        for piece in whole.split(b"\r") if b"\r" in whole else (whole,):
            if len(piece) > _KEPT_OF_PIECE:
                yield from ((number, part) for part in _split_long(piece, ended))
            elif piece:
                yield number, piece


def _split_long(piece: bytes, ended: _Ended) -> Iterator[bytes]:
    """The records of JSON on one line; of any other long line, the beginning."""
    if re.match(rb'\s*[,\[{"]', piece) and b"}" in piece:
        for part in re.split(rb"(?<=\}),\s*(?=\{)", piece):
            ended.cut = ended.cut or len(part) > _KEPT_OF_PIECE
            yield part[:_KEPT_OF_PIECE]
    else:
        ended.cut = True
        yield piece[:_KEPT_OF_PIECE]


class _Middle:
    """The part of a long file between its ends."""

    def __init__(self) -> None:
        self.cut = False
        self._blocks: list[_Chunk] = []
        self._sampled = 0
        self._stride = 1
        self._count = 0
        self._found: dict[int, Piece] = {}
        self._kinds: dict[bytes | str, int] = {}
        self._tested = 0
        self._before: list[Piece] = []

    def add(self, chunk: _Chunk) -> None:
        """Keeps a sample of a chunk, and its lines about non-finite values and messages."""
        self._sample(chunk)
        joined = b"\n".join(piece for _, piece in chunk.pieces).replace(b"nan iterations", b"")
        if any(hint in joined for hint in _NONFINITE_HINTS):
            self._find_nonfinite(chunk)
        if self._tested < _MAX_TESTED and any(hint in (lower := joined.lower()) for hint in _MESSAGE_HINTS):
            self._find_messages(chunk, lower.split(b"\n"))
        self._before = chunk.pieces[-_BEFORE:]

    def selected(self) -> list[Piece]:
        """The pieces that were kept, in order, each once."""
        pieces = {block.place + index: piece for block in self._blocks for index, piece in enumerate(block.pieces)}
        pieces |= self._found
        return [pieces[place] for place in sorted(pieces)]

    def _sample(self, chunk: _Chunk) -> None:
        if self._count % self._stride == 0:
            self._blocks.append(_Chunk(chunk.pieces[:_BLOCK_PIECES], chunk.size, chunk.place))
            self._sampled += len(self._blocks[-1].pieces)
            self.cut = self.cut or len(chunk.pieces) > _BLOCK_PIECES
        else:
            self.cut = True
        self._count += 1
        if self._sampled > SAMPLED_PIECES:
            self._blocks = self._blocks[::2]
            self._sampled = sum(len(block.pieces) for block in self._blocks)
            self._stride *= 2
            self.cut = True

    def _find_nonfinite(self, chunk: _Chunk) -> None:
        for index, (_, piece) in enumerate(chunk.pieces):
            if not any(hint in piece for hint in _NONFINITE_HINTS):
                continue
            for match in _NONFINITE.finditer(piece[:_KEPT_OF_PIECE]):
                name = piece[max(0, match.start() - _NAME_BYTES) : match.start()].translate(_DIGITS, b"+-. 0")
                if self._is_new(name):
                    self._keep(chunk, index, _BEFORE, _AFTER)

    def _find_messages(self, chunk: _Chunk, lower: list[bytes]) -> None:
        for index, text in enumerate(lower):
            if self._tested >= _MAX_TESTED or not any(hint in text for hint in _MESSAGE_HINTS):
                continue
            self._tested += 1
            if b"traceback (most recent" in text and self._is_new("traceback"):
                self._keep(chunk, index, _BEFORE, _AFTER_TRACEBACK)
            known = find_message(chunk.pieces[index][1][:_KEPT_OF_PIECE].decode("utf-8", "replace"))
            if known and self._is_new(known[0].id):
                self._keep(chunk, index, _BEFORE, _AFTER)

    def _is_new(self, kind: bytes | str) -> bool:
        count = self._kinds.get(kind, 0)
        if count >= _MAX_OF_KIND or len(self._kinds) > _MAX_KINDS:
            return False
        self._kinds[kind] = count + 1
        return True

    def _keep(self, chunk: _Chunk, index: int, before: int, after: int) -> None:
        first = max(0, index - before)
        for place, piece in enumerate(chunk.pieces[first : index + after + 1], start=chunk.place + first):
            self._found[place] = piece
        missing = before - index
        if missing > 0:
            for back, piece in enumerate(reversed(self._before[-missing:]), start=1):
                self._found[chunk.place - back] = piece


class Transcoded:
    """A stream in another encoding (here UTF-16), read as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

    def read(self, size: int) -> bytes:
        """The next bytes, as UTF-8: more or fewer than `size`; none at the end."""
        while data := self._stream.read(size):
            if text := self._decoder.decode(data):
                return text.encode("utf-8", "replace")
        return self._decoder.decode(b"", final=True).encode("utf-8", "replace")
