"""Reads the scalars of a TensorBoard event file.

The file is a sequence of records: length (uint64), a checksum of it (uint32), the bytes, a checksum of these (uint32).
Each record is a protobuf `Event` with a step and a `Summary` of values, which are either a `simple_value` or, as
TensorFlow 2 writes them, a scalar tensor. Checksums are not verified: a run that crashed may have torn its last record.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
_MAX_RECORD_BYTES = 64 * 1024 * 1024
_MAX_SUMMARY_BYTES = 1024 * 1024
"""The size in bytes above which a record is skipped: larger ones hold images or graphs."""
MAX_SCALARS = 400_000
_MAX_TAG_BYTES = 300
_MIN_STREAM_BYTES = 24
_NONFINITE = (b"\x00\x00\xc0\x7f", b"\x00\x00\xc0\xff", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff")
"""nan and inf in float32, as simple values hold them."""
_FLOATS = {1: "<f", 2: "<d"}
_WHOLE = {3: "<i", 4: "<B", 6: "<b", 9: "<q"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value of a tag, the name of a series in TensorBoard, at a step."""

    tag: str
    step: int
    value: float


@dataclass(slots=True)
class EventFile:
    """The scalars of a file, in its order."""

    scalars: list[Scalar]
    cut: bool
    """Whether scalars are left out, a record is damaged, or the file ends in the middle of one."""


def is_event_file(head: bytes) -> bool:
    """Whether bytes begin an event file: a first record with the version of the format."""
    if len(head) < _MIN_STREAM_BYTES:
        return False
    length, _ = _HEADER.unpack_from(head)
    return 0 < length < 4096 and b"brain.Event:" in head[: _HEADER.size + length + 64]


def read_event_file(stream: BinaryIO) -> EventFile:
    """All scalars; of very many, all non-finite ones and an even selection of the others."""
    found = EventFile([], cut=False)
    stride, index = 1, 0
    for payload in _records(stream, found):
        index += 1
        if index % stride and not any(bits in payload for bits in _NONFINITE):
            found.cut = True
            continue
        try:
            found.scalars += _scalars(payload)
        except (ValueError, IndexError, struct.error):  # a damaged record
            found.cut = True
        if len(found.scalars) > MAX_SCALARS:
            found.scalars = [
                each for place, each in enumerate(found.scalars) if place % 2 == 0 or not math.isfinite(each.value)
            ]
            stride *= 2
            if len(found.scalars) > MAX_SCALARS:
                found.cut = True
                break
    return found


def _records(stream: BinaryIO, found: EventFile) -> Iterator[bytes]:
    """The payloads of all records but those with images or graphs; sets `found.cut` where the file is torn."""
    while header := stream.read(_HEADER.size):
        if len(header) < _HEADER.size:
            found.cut = True
            return
        length, _ = _HEADER.unpack(header)
        if length > _MAX_RECORD_BYTES:
            found.cut = True
            return
        payload = stream.read(length)
        if len(payload) < length or len(stream.read(_FOOTER_BYTES)) < _FOOTER_BYTES:
            found.cut = True
            return
        if length <= _MAX_SUMMARY_BYTES:
            yield payload


def _scalars(event: bytes) -> list[Scalar]:
    step, summary = 0, b""
    for number, value in _fields(event):
        if number == 2 and isinstance(value, int):
            step = _signed(value)
        elif number == 5 and isinstance(value, bytes):
            summary = value
    scalars = []
    for number, value in _fields(summary):
        if number == 1 and isinstance(value, bytes) and (read := _summary_value(value)):
            scalars.append(Scalar(read[0], step, read[1]))
    return scalars


def _summary_value(data: bytes) -> tuple[str, float] | None:
    """(tag, value) of a `Summary.Value`; None if it is no scalar."""
    tag, found = "", None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value[:_MAX_TAG_BYTES].decode("utf-8", "replace")
        elif number == 2 and isinstance(value, float):
            found = value
        elif number == 8 and isinstance(value, bytes):
            found = _tensor_scalar(value)
    return (tag, found) if tag and found is not None else None


def _tensor_scalar(data: bytes) -> float | None:
    """The value of a tensor with a single number, in `tensor_content` or in the field of its dtype; else None."""
    dtype, content, single, shape = 0, b"", None, b""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and isinstance(value, bytes):
            shape = value
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif number in (5, 6, 7, 10):
            single = _first_number(number, value)
    if any(number == 2 for number, _ in _fields(shape)) and not _is_single(shape):
        return None
    if content and (form := _FLOATS.get(dtype) or _WHOLE.get(dtype)):
        return float(struct.unpack_from(form, content)[0])
    return single


def _is_single(shape: bytes) -> bool:
    """Whether every dimension has the size 1."""
    sizes = [
        size
        for number, dimension in _fields(shape)
        if number == 2 and isinstance(dimension, bytes)
        for inner, size in _fields(dimension)
        if inner == 1
    ]
    return all(size == 1 for size in sizes)


def _first_number(number: int, value: float | bytes) -> float | None:
    if isinstance(value, bytes):  # packed
        if number in (5, 6):
            form = "<f" if number == 5 else "<d"
            return float(struct.unpack_from(form, value)[0]) if len(value) == struct.calcsize(form) else None
        return float(_signed(_varint(value, 0)[0])) if value else None
    return float(_signed(value) if isinstance(value, int) else value)


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of each field of a message. Raises ValueError, IndexError or struct.error if malformed."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        value: int | float | bytes
        match kind:
            case 0:
                value, position = _varint(data, position)
            case 1:
                value, position = struct.unpack_from("<d", data, position)[0], position + 8
            case 2:
                length, position = _varint(data, position)
                if position + length > end:
                    raise ValueError("a field is longer than its message")
                value, position = data[position : position + length], position + length
            case 5:
                value, position = struct.unpack_from("<f", data, position)[0], position + 4
            case _:
                raise ValueError(f"no field of kind {kind}")
        yield number, value


def _signed(value: int) -> int:
    """An unsigned number of 64 bits as the signed one with the same bits, as protobuf writes negative numbers."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(unsigned number, position after it). Raises ValueError for more than 64 bits, IndexError at the end."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
