"""Text questions per second of one worker, and the CPU of its process for each, at 16 clients with open connections."""

import asyncio
import contextlib
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.clients import percentile
from bench.load import distinct_questions
from bench.server import Server, cpu_seconds_of, free_port, run_server

_CLIENTS = 16
_QUESTIONS = int(os.environ.get("BENCH_QUESTIONS", "800"))
"""The number of questions in a round, no two alike."""
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
BASELINE_CHECKOUT = os.environ.get("BENCH_AGAINST", "")
"""Another checkout whose server is measured in turn with this one."""
_WARM_UP = 200  # questions before the first round
_PATH = "/api/v1/ask"
_CHANGING = re.compile(rb'^{"id":"[0-9A-Z]{26}",')  # of a reply


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRound:
    """The measurements of one round of questions: seconds, CPU seconds of the server's process, latencies, bytes of
    bodies.
    """

    seconds: float
    cpu: float
    latencies: Sequence[float]
    sizes: Sequence[int]
    errors: int

    @property
    def cpu_each(self) -> float:
        """CPU milliseconds for each question."""
        return self.cpu / len(self.latencies) * 1e3


def question_rate() -> None:
    """Distinct text questions of one worker at 16 clients: rate, CPU, latency, bytes; beside a bare application."""
    asked = [json.dumps({"question": each, "run": False}).encode() for each in distinct_questions()]
    with contextlib.ExitStack() as stack:
        servers = {"this checkout": stack.enter_context(_serving(Path.cwd()))}
        if BASELINE_CHECKOUT:
            servers[BASELINE_CHECKOUT] = stack.enter_context(_serving(Path(BASELINE_CHECKOUT)))
        warm, asked = asked[:_WARM_UP], asked[_WARM_UP:]
        replies = [_ask(server, warm)[1] for server in servers.values()]
        if BASELINE_CHECKOUT:
            print(_compare_replies([*servers.values()], asked[-_QUESTIONS:]), flush=True)
        median = sorted(replies[0], key=len)[len(replies[0]) // 2]
        control, bare = stack.enter_context(_bare_application(median)), "bare application"
        rounds: dict[str, list[QuestionRound]] = {name: [] for name in (*servers, bare)}
        for number in range(_ROUNDS):
            bodies = asked[number * _QUESTIONS : (number + 1) * _QUESTIONS]
            for name, server in servers.items():
                rounds[name].append(_ask(server, bodies)[0])
            rounds[bare].append(_ask(control, bodies)[0])
    print(f"{_CLIENTS} clients, {_QUESTIONS} questions a round, load {Path('/proc/loadavg').read_text().split()[0]}")
    for name, measured in rounds.items():
        print(format_rounds(name, measured), flush=True)


def _compare_replies(servers: Sequence[Server], bodies: Sequence[bytes]) -> str:
    """Whether two servers reply the same, but for ids, to questions that are asked one after the other.

    Asked together the last digits of scores depend on which questions are matched at once.
    """
    replies = [[_without_id(_ask(server, [body])[1][0]) for body in bodies] for server in servers]
    differing = [
        json.loads(body)["question"] for body, own, their in zip(bodies, *replies, strict=True) if own != their
    ]
    return f"replies to {len(bodies)} questions, one after the other: {len(differing)} differ {differing[:5] or ''}"


def _without_id(reply: bytes) -> bytes:
    return _CHANGING.sub(b"{", gzip.decompress(reply))


def format_rounds(name: str, rounds: Sequence[QuestionRound]) -> str:
    """The results of several rounds as one line of medians."""
    cpu = statistics.median(each.cpu_each for each in rounds)
    rate = statistics.median(len(each.latencies) / each.seconds for each in rounds)
    latencies = [seconds * 1e3 for each in rounds for seconds in each.latencies]
    return (
        f"{name:24s} {rate:6.0f} questions/s, CPU {cpu:5.2f} ms each "
        f"({', '.join(f'{each.cpu_each:.2f}' for each in rounds)}): at most {1e3 / cpu:4.0f}/s a core; "
        f"p50 {percentile(latencies, 0.5):.0f} p95 {percentile(latencies, 0.95):.0f} ms; "
        f"{statistics.median(size for each in rounds for size in each.sizes) / 1e3:.1f} kB sent in the median; "
        f"{sum(each.errors for each in rounds)} errors"
    )


@contextmanager
def _serving(checkout: Path) -> Iterator[Server]:
    """Runs a server of the code in `checkout`, without a rate limit, for the duration of the block."""
    with run_server({"NUMSTAB_RATE": ""}, checkout=checkout) as server:
        yield server


@dataclass(frozen=True, slots=True)
class _BareServer:
    process: subprocess.Popen[bytes]
    port: int


_BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

body = sys.stdin.buffer.read()


async def reply(request):
    await request.body()
    return Response(body, headers={"content-encoding": "gzip"}, media_type="application/json")


app = Starlette(routes=[Route("/api/v1/ask", reply, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="error", http="h11", loop="asyncio")
"""


@contextmanager
def _bare_application(reply: bytes) -> Iterator[_BareServer]:
    """An application that replies to every question with the same bytes, behind the same HTTP server."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", _BARE, str(port)], stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(reply)
        process.stdin.close()
        server = _BareServer(process, port)
        try:
            while True:
                try:
                    _ask(server, [b"{}"])
                    break
                except OSError:
                    time.sleep(0.1)
            yield server
        finally:
            process.terminate()


def _ask(server: Server | _BareServer, bodies: Sequence[bytes]) -> tuple[QuestionRound, list[bytes]]:
    """Asks all questions over `_CLIENTS` connections, each client the next one as soon as it has its answer."""
    latencies: list[float] = []
    replies: list[bytes] = []
    errors = 0
    remaining = iter(bodies)

    async def client() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
        for body in remaining:
            started = time.perf_counter()
            writer.write(
                b"POST %b HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (_PATH.encode(), len(body), body)
            )
            status, reply = await _read_reply(reader)
            latencies.append(time.perf_counter() - started)
            replies.append(reply)
            errors += status != 200
        writer.close()

    async def clients() -> None:
        await asyncio.gather(*(client() for _ in range(min(_CLIENTS, len(bodies)))))

    cpu, started = cpu_seconds_of(server.process.pid), time.perf_counter()
    asyncio.run(clients())
    seconds, cpu = time.perf_counter() - started, cpu_seconds_of(server.process.pid) - cpu
    return QuestionRound(
        seconds=seconds, cpu=cpu, latencies=latencies, sizes=[*map(len, replies)], errors=errors
    ), replies


async def _read_reply(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)
