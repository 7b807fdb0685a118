"""Readers by the hundred, as cheap as can be: they share two cores with the server that they measure."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

_TIMEOUT = 300.0


@dataclass(slots=True)
class ClientResult:
    """What one reader heard: seconds until the text, until the last word, and what was wrong."""

    status: int = 0
    text: float = float("nan")
    done: float = float("nan")
    error: str = ""
    queued: int = 0
    rows: int = 0
    evidence: list[dict[str, Any]] = field(default_factory=list)

    @property
    def runs(self) -> list[tuple[str, str, int, float]]:
        """Each run heard of: what, with what, and how long it took, to the microsecond: that tells runs apart."""
        return [
            (each["experiment"], json.dumps(each["params"], sort_keys=True), each["seed"], each["seconds"])
            for each in self.evidence
        ]


async def stream_answer(port: int, body: dict[str, Any], path: str = "/api/v1/ask/stream") -> ClientResult:
    """Asks and listens to the end."""
    heard, began = ClientResult(), time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
            try:
                data = json.dumps(body).encode()
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
                writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
                await _read_events(reader, heard, began)
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        heard.error = heard.error or repr(error)
    return heard


async def _read_events(reader: asyncio.StreamReader, heard: ClientResult, began: float) -> None:
    heard.status = int((await reader.readline()).split()[1])
    if heard.status != 200:
        heard.error = f"status {heard.status}"
    name = b""
    async for line in reader:
        if line.startswith(b"event: "):
            name = line[7:].strip()
            heard.rows += name == b"row"
            heard.queued += name == b"queued"
        elif line.startswith(b"data: "):
            if name == b"answer":
                heard.text = time.perf_counter() - began
            elif name == b"error":
                heard.error = json.loads(line[6:])["code"]
            elif name == b"evidence":
                heard.evidence.append(json.loads(line[6:]))
            elif name == b"done":
                heard.done = time.perf_counter() - began
    if heard.done != heard.done and not heard.error:
        heard.error = "the stream ended before it was done"


def run_clients(port: int, bodies: list[dict[str, Any]], path: str = "/api/v1/ask/stream") -> list[ClientResult]:
    """All of them at once."""

    async def together() -> list[ClientResult]:
        return await asyncio.gather(*(stream_answer(port, body, path) for body in bodies))

    with ThreadPoolExecutor(1) as own:  # whoever calls may have a loop running in his thread
        return own.submit(lambda: asyncio.run(together())).result()


def percentile(values: list[float], share: float) -> float:
    """The nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
