"""Replies of the OpenAI-compatible endpoint: how long until their first text, and until their end."""

import http.client
import json
import time
from collections.abc import Sequence

from bench.clients import percentile
from bench.server import Server, run_server

_ENTRIES = 40


def chat_latency() -> None:
    """Milliseconds to the first text and to the end of a streamed reply, nothing measured before."""
    with run_server() as server:
        entries = json.loads(server.get("/api/v1/entries")[1])
        questions = [entry["question"]["en"] for entry in entries[:: max(1, len(entries) // _ENTRIES)]][:_ENTRIES]
        _stream(server, questions[0], "numstab-text")  # the first request reads the index
        for model in ("numstab", "numstab-text"):
            times = [_stream(server, question, model) for question in questions]
            late = sum("still being measured" in text for _, _, text in times)
            print(f"{model}: {len(times)} questions, {late} with numbers at the end")
            _print_times("first text", [first for first, _, _ in times])
            _print_times("end", [end for _, end, _ in times])


def _print_times(name: str, seconds: Sequence[float]) -> None:
    p50, p95, most = (
        1000 * each for each in (percentile(list(seconds), 0.5), percentile(list(seconds), 0.95), max(seconds))
    )
    print(f"  {name:<10} p50 {p50:6.0f}  p95 {p95:6.0f}  most {most:6.0f} ms")


def _stream(server: Server, question: str, model: str) -> tuple[float, float, str]:
    """Seconds to the first text, seconds to the end, the text."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": question}]})
    began, first, text = time.perf_counter(), 0.0, ""
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            choices = json.loads(line.removeprefix(b"data: "))["choices"]
            text += choices[0]["delta"].get("content") or ""
            if text and not first:
                first = time.perf_counter() - began
    connection.close()
    return first, time.perf_counter() - began, text
