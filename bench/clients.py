"""Hundreds of HTTP clients at once, written to be cheap, as they share the cores with the server they measure."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

_TIMEOUT = 300.0


@dataclass(slots=True)
class ClientResult:
    """The outcome of one client: seconds until the text and until the end (nan: never), and the error if any."""

    status: int = 0
    text: float = float("nan")
    done: float = float("nan")
    error: str = ""
    queued: int = 0
    rows: int = 0
    evidence: list[dict[str, Any]] = field(default_factory=list)

    @property
    def runs(self) -> list[tuple[str, str, int, float]]:
        """(experiment, parameters, seed, seconds) of each evidence; the seconds tell shared runs from repeated ones."""
        return [
            (each["experiment"], json.dumps(each["params"], sort_keys=True), each["seed"], each["seconds"])
            for each in self.evidence
        ]


async def stream_answer(port: int, body: dict[str, Any], path: str = "/api/v1/ask/stream") -> ClientResult:
    """Sends one request and reads its event stream to the end."""
    result, started = ClientResult(), time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
            try:
                data = json.dumps(body).encode()
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
                writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
                await _read_events(reader, result, started)
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        result.error = result.error or repr(error)
    return result


async def _read_events(reader: asyncio.StreamReader, result: ClientResult, started: float) -> None:
    result.status = int((await reader.readline()).split()[1])
    if result.status != 200:
        result.error = f"status {result.status}"
    name = b""
    async for line in reader:
        if line.startswith(b"event: "):
            name = line[7:].strip()
            result.rows += name == b"row"
            result.queued += name == b"queued"
        elif line.startswith(b"data: "):
            if name == b"answer":
                result.text = time.perf_counter() - started
            elif name == b"error":
                result.error = json.loads(line[6:])["code"]
            elif name == b"evidence":
                result.evidence.append(json.loads(line[6:]))
            elif name == b"done":
                result.done = time.perf_counter() - started
    if result.done != result.done and not result.error:
        result.error = "the stream ended before it was done"


def run_clients(port: int, bodies: list[dict[str, Any]], path: str = "/api/v1/ask/stream") -> list[ClientResult]:
    """Sends all requests at once; returns the results in the same order."""

    async def gather() -> list[ClientResult]:
        return await asyncio.gather(*(stream_answer(port, body, path) for body in bodies))

    with ThreadPoolExecutor(1) as executor:  # the calling thread may already run an event loop
        return executor.submit(lambda: asyncio.run(gather())).result()


def percentile(values: list[float], share: float) -> float:
    """The value at rank `share` (0 to 1) of the sorted values; nan if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
