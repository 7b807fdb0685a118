"""MCP, the Model Context Protocol, over HTTP: one endpoint with the same keys, rates, hosts and origins as the
server.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from mcp import Client
from processes import TIMEOUT_SECONDS, run_async, session_processes, until

from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.fronts.mcp.calls import CallsInProgress, ToolCall
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.streaming import MAX_BODY_BYTES
from qa_service.settings import Settings

TOYS = Path(__file__).resolve().parents[1] / "toys"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
QUESTION = {"question": "counting numbers one"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def message(method: str, params: dict[str, Any] | None = None, version: str = MODERN) -> dict[str, Any]:
    """A request of the protocol, with the fields that this version of its specification requires."""
    params = dict(params or {})
    if version == MODERN:
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def headers(sent: dict[str, Any], version: str = MODERN) -> dict[str, str]:
    """The headers of a request."""
    name = sent.get("params", {}).get("name") or sent.get("params", {}).get("uri")
    modern = {"Mcp-Method": str(sent.get("method"))} | ({"Mcp-Name": name} if name else {})
    return ACCEPT | {"MCP-Protocol-Version": version} | ({} if version == LEGACY else modern)


@pytest.fixture
def open_app(new_toy_service: Callable[[], Service], tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """A function that makes a client of a server with these settings; the client has a loopback address."""
    opened: list[TestClient] = []

    def make(*, is_public: bool = True, address: str = "127.0.0.1", **settings: Any) -> TestClient:
        made = Settings(data=tmp_path / "data", cache=tmp_path / "cache", **settings)
        client = TestClient(
            create_app(new_toy_service(), made, is_public=is_public),
            client=(address, 5000),
            base_url="http://localhost",
        )
        opened.append(client)
        return client.__enter__()

    yield make
    for client in opened:
        client.__exit__()


def post(client: TestClient, method: str, params: dict[str, Any] | None = None, **more: str) -> httpx.Response:
    sent = message(method, params)
    return client.post("/mcp", json=sent, headers=headers(sent) | more)


@pytest.mark.parametrize("method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"])
def test_lists_may_be_kept_for_an_hour_by_anybody(open_app, method):
    result = post(open_app(), method).json()["result"]
    assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (3_600_000, "public", "complete")


def test_the_server_says_what_it_is(open_app):
    result = post(open_app(), "server/discover").json()["result"]
    assert result["supportedVersions"] == [MODERN]
    assert set(result["capabilities"]) == {"tools", "resources", "prompts", "completions", "extensions"}
    assert "io.modelcontextprotocol/ui" in result["capabilities"]["extensions"]
    assert "Quote only numbers" in result["instructions"]


def test_an_older_client_shakes_hands(open_app):
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    sent = message("initialize", params, LEGACY)
    reply = open_app().post("/mcp", json=sent, headers=ACCEPT)
    result = json.loads(reply.text.partition("data: ")[2].splitlines()[0])["result"]
    assert (result["protocolVersion"], result["serverInfo"]["name"]) == (LEGACY, "numstab")
    assert len(reply.headers["mcp-session-id"]) > 20


def test_a_newer_client_gets_no_session(open_app):
    assert "mcp-session-id" not in post(open_app(), "server/discover").headers


def test_a_tool_is_called_with_one_request(open_app):
    result = post(open_app(), "tools/call", {"name": "ask", "arguments": QUESTION}).json()["result"]
    assert result["structuredContent"]["entry"]["entry"] == "counting"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"garbage", 400, -32700),
        (b'{"jsonrpc":"2.0",', 400, -32700),
        (b"[" * 100_000, 400, -32700),
        (b"[]", 400, -32600),
        (b'{"id":1}', 400, -32600),
        (json.dumps(message("nothing/at/all")).encode(), 404, -32601),
        (json.dumps(message("tools/call", {"arguments": {}})).encode(), 400, -32602),
        (json.dumps(message("tools/call", {"name": "nothing"})).encode(), 400, -32602),
        (json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode(), 400, -32602),
    ],
)
def test_what_is_no_request_gets_the_protocols_error(open_app, body, status, code):
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = {}
    named = headers(sent) if isinstance(sent, dict) else headers({})
    reply = open_app().post("/mcp", content=body, headers=named | {"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert "Traceback" not in reply.text


def test_a_version_that_is_not_known_is_told_which_are(open_app):
    sent = message("tools/list")
    sent["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2031-01-01"
    reply = open_app().post("/mcp", json=sent, headers=headers(sent, "2031-01-01"))
    assert reply.status_code == 400
    assert MODERN in reply.json()["error"]["data"]["supported"]


def test_headers_must_agree_with_the_body(open_app):
    reply = post(open_app(), "tools/list", **{"Mcp-Method": "tools/call"})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == -32020


@pytest.mark.parametrize("version", [MODERN, LEGACY])
def test_a_body_that_is_too_large_is_refused(open_app, version):
    sent = message("tools/call", {"name": "ask", "arguments": {"question": "x" * MAX_BODY_BYTES}}, version)
    assert open_app().post("/mcp", json=sent, headers=headers(sent, version)).status_code == 413


def test_only_post_is_served_as_nothing_is_sent_unasked(open_app):
    """Other methods get 405: the server never sends messages on its own, so it needs no GET stream."""
    client = open_app()
    for method in ("GET", "DELETE", "PUT"):
        reply = client.request(method, "/mcp", headers=ACCEPT)
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("settings", "sent", "status"),
    [
        ({}, {"Host": "localhost"}, 200),
        ({}, {"Host": "127.0.0.1:8000"}, 200),
        ({}, {"Host": "[::1]:8000"}, 200),
        ({}, {"Host": "evil.example"}, 421),  # its name may have been given our address
        ({}, {"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({}, {"Host": "localhost.evil.example"}, 421),
        ({}, {"Origin": "https://evil.example"}, 403),
        ({}, {"Origin": "http://localhost"}, 200),
        ({}, {"Origin": "null"}, 403),
        ({}, {"Sec-Fetch-Site": "cross-site"}, 403),
        ({"hosts": "numstab.example"}, {"Host": "numstab.example"}, 200),
        ({"hosts": "numstab.example"}, {"Host": "localhost"}, 200),
        ({"hosts": "numstab.example"}, {"Host": "other.example"}, 421),
        ({"origins": "https://app.example"}, {"Origin": "https://app.example"}, 200),
        ({"origins": "https://app.example"}, {"Origin": "https://other.example"}, 403),
    ],
)
def test_hosts_and_origins_are_those_of_the_settings(open_app, settings, sent, status):
    reply = post(open_app(**settings), "tools/list", **sent)
    assert reply.status_code == status, reply.text


def test_from_another_machine_any_host_may_be_named_if_the_settings_name_none(open_app):
    assert post(open_app(address="192.0.2.7"), "tools/list", Host="numstab.example").status_code == 200


def test_a_key_is_needed_where_the_server_is_not_open_to_all(open_app, tmp_path):
    client = open_app(is_public=False)
    keys = ApiKeyStore(tmp_path / "data")
    refused = post(client, "tools/list")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    reader, asker = keys.add("reader", ("read",)), keys.add("asker", ("read", "ask"))
    assert post(client, "tools/list", Authorization=f"Bearer {reader}").status_code == 403
    assert post(client, "tools/list", Authorization=f"Bearer {asker}").status_code == 200


def test_requests_count_against_the_rate(open_app):
    client = open_app(rate="2/minute")
    statuses = [post(client, "tools/list").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert int(post(client, "tools/list").headers["retry-after"]) > 0


def test_requests_are_counted_under_their_route(open_app):
    """Refused requests too are counted in the metrics under the MCP route; once they counted as matching no route."""
    client = open_app()
    assert post(client, "tools/list").status_code == 200
    assert client.post("/mcp", content=b"{", headers={"Content-Type": "application/json"}).status_code >= 400
    assert client.get("/mcp").status_code == 405
    lines = client.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("numstab_requests_total") and 'route="/mcp"' in line]
    assert len(counted) == 3, counted
    assert not [line for line in lines if 'route="unmatched"' in line]


@pytest.mark.parametrize("version", [MODERN, LEGACY])
def test_a_call_of_many_runs_counts_as_many_requests(open_app, version):
    client = open_app(rate="3/minute")
    # 20 seeds at the parameters and at the control: 40 runs, as many as four requests.
    sent = message("tools/call", {"name": "check_claim", "arguments": {"entry": "counting", "seeds": 20}}, version)
    reply = client.post("/mcp", json=sent, headers=headers(sent, version))
    assert '"isError":true' in reply.text
    assert "rate_limited" in reply.text


def test_a_call_is_cancelled_by_its_own_client_only():
    calls, call = CallsInProgress(), ToolCall("en")
    with calls.registered("mine", 7, call):
        calls.cancel("theirs", 7)
        calls.cancel("", 7)
        calls.cancel("mine", 8)
        assert not call.is_cancelled()
        calls.cancel("mine", 7)
        assert call.is_cancelled()
    calls.cancel("mine", 7)  # it is over


@pytest.mark.parametrize(
    "body",
    [
        {"method": "notifications/cancelled"},
        {"method": "notifications/cancelled", "params": {"requestId": 1.5}},
        {"method": ["notifications/cancelled"], "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
        ["notifications/cancelled"],
        "notifications/cancelled",
    ],
)
def test_a_cancellation_of_no_call_is_harmless(open_app, body):
    client = open_app()
    named = ACCEPT | {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": "mine"}
    assert client.post("/mcp", json=body, headers=named).status_code in (202, 400)
    sent = message("tools/call", {"name": "ask", "arguments": QUESTION}, LEGACY)
    assert '"status":"answered"' in client.post("/mcp", json=sent, headers=named).text.replace(" ", "")


# ---- a real server -------------------------------------------------------------------------------------------------


def children(process: subprocess.Popen[Any]) -> int:
    """The number of the fork server's children: those that wait for work and those that run."""
    return sum("forkserver" in command for command in session_processes(process.pid).values()) - 1


def idle_children() -> int:
    """The number of children that a server keeps waiting for work."""
    return os.cpu_count() or 1


@pytest.mark.sampled(one_in=2)
@pytest.mark.server
@pytest.mark.parametrize(("mode", "version"), [("auto", MODERN), ("legacy", LEGACY)])
def test_clients_of_both_versions_ask_and_hear_progress(toy_server, mode, version):
    address = f"http://127.0.0.1:{toy_server.port}"

    async def test() -> None:
        told: list[str] = []

        async def listen(_progress: float, _total: float | None, text: str | None) -> None:
            told.append(text or "")

        async with Client(f"{address}/mcp", mode=mode) as client:
            assert client.protocol_version == version
            asked = await client.call_tool("ask", QUESTION)
            assert asked.structured_content["entry"]["entry"] == "counting"
            seed = {MODERN: 1, LEGACY: 2}[version]
            arguments = {"experiment": "sleeps", "params": {"steps": 20}, "seed": seed}
            await client.call_tool("run_experiment", arguments, progress_callback=listen)
            assert any("row" in text for text in told)
            results = await asyncio.gather(*(client.call_tool("ask", QUESTION) for _ in range(50)))
            assert not any(result.is_error for result in results)

    run_async(test())


def settle(address: str, process: subprocess.Popen[Any]) -> None:
    """Waits until no experiment runs and the idle children have been forked."""
    httpx.post(f"{address}/api/v1/experiments/counts/runs", json={}, timeout=TIMEOUT_SECONDS)
    until(lambda: children(process) == idle_children())


@pytest.mark.sampled(one_in=2)
@pytest.mark.server
@pytest.mark.parametrize(("mode", "seed"), [("auto", 1), ("legacy", 2)])
def test_a_client_that_cancels_ends_its_run(toy_server, mode, seed):
    """The demo yields one row and then nothing, for longer than the test waits."""
    address, process = f"http://127.0.0.1:{toy_server.port}", toy_server.process
    settle(address, process)

    async def test() -> None:
        async with Client(f"{address}/mcp", mode=mode) as client:
            begun = asyncio.Event()

            async def listen(_progress: float, _total: float | None, text: str | None) -> None:
                if "row 1" in (text or ""):
                    begun.set()

            arguments = {"experiment": "hangs", "seed": seed}
            call = asyncio.create_task(client.call_tool("run_experiment", arguments, progress_callback=listen))
            await begun.wait()
            await asyncio.to_thread(until, lambda: children(process) > idle_children())
            call.cancel()
            await asyncio.to_thread(until, lambda: children(process) == idle_children(), 60)

    run_async(test())


@pytest.mark.sampled(one_in=2)
@pytest.mark.server
@pytest.mark.parametrize("version", [MODERN, LEGACY])
def test_a_client_that_disconnects_ends_its_run(toy_server, version):
    """The demo yields one row and then nothing, for longer than the test waits."""
    address, process = f"http://127.0.0.1:{toy_server.port}", toy_server.process
    arguments = {"experiment": "hangs", "seed": int(version[:4])}
    sent = message("tools/call", {"name": "run_experiment", "arguments": arguments}, version)
    sent["params"].setdefault("_meta", {})["progressToken"] = 1

    def disconnect_in_mid_run() -> None:
        with httpx.stream(
            "POST", f"{address}/mcp", json=sent, headers=headers(sent, version), timeout=TIMEOUT_SECONDS
        ) as reply:
            assert any("row 1" in line for line in reply.iter_lines())  # the child that measures it runs

    settle(address, process)
    disconnect_in_mid_run()
    until(lambda: children(process) == idle_children(), seconds=60)
