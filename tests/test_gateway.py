"""Who may come in, how often, and what a browser may do with the reply."""

import json
import logging
import shutil
import signal
import socket
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import TIMEOUT_SECONDS, numstab_server, session, until

from bench.server import free_port
from qa_service.app import create_app
from qa_service.errors import BadField
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.lifecycle import open_to_all
from qa_service.settings import Settings

TOYS = Path(__file__).resolve().parent / "toys"
ASK = {"question": "counting numbers one", "run": False}


@pytest.fixture
def served(toy_service, tmp_path):
    """Makes a client of the toy service with these settings."""

    def serve(*, address: str = "10.0.0.7", everybody: bool = True, **settings: object) -> TestClient:
        app = create_app(toy_service, Settings(data=tmp_path, **settings), open_to_all=everybody)
        return TestClient(app, client=(address, 5000), follow_redirects=False)

    return serve


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_key_opens_what_it_is_for(served, tmp_path):
    """Reading, asking, operating; without one nothing but whether the service lives."""
    keys = ApiKeyStore(tmp_path)
    secrets = {scope: keys.add(scope, (scope,)) for scope in ("read", "ask", "operate")}
    client = served(everybody=False)
    assert client.get("/livez").status_code == 200
    refused = client.post("/api/v1/ask", json=ASK, headers={"Accept-Language": "zh"})
    assert (refused.status_code, refused.json()["code"]) == (401, "refused")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "密钥" in refused.json()["detail"]
    opened = {
        scope: (
            client.get("/api/v1/entries", headers=bearer(secret)).status_code,
            client.post("/api/v1/ask", json=ASK, headers=bearer(secret)).status_code,
            client.get("/metrics", headers=bearer(secret)).status_code,
        )
        for scope, secret in secrets.items()
    }
    assert opened == {"read": (200, 403, 403), "ask": (200, 200, 403), "operate": (403, 403, 200)}
    assert client.get("/api/v1/entries", headers=bearer("nst_wrong")).status_code == 401
    keys.revoke("read")
    assert client.get("/api/v1/entries", headers=bearer(secrets["read"])).status_code == 401
    rotated = keys.rotate("ask")
    assert client.get("/api/v1/entries", headers=bearer(secrets["ask"])).status_code == 401
    assert client.get("/api/v1/entries", headers=bearer(rotated)).status_code == 200


def test_keys_are_kept_as_hashes_for_their_owner_only(tmp_path):
    secret = ApiKeyStore(tmp_path).add("a class", ("ask",))
    path = tmp_path / "keys.json"
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ApiKeyStore(tmp_path).find(secret).name == "a class"
    with pytest.raises(BadField):
        ApiKeyStore(tmp_path).add("a class", ("ask",))


def test_a_browser_keeps_its_key_in_a_cookie(served, tmp_path):
    """Out of the address at once, and out of reach of scripts."""
    secret = ApiKeyStore(tmp_path).add("class", ("ask",))
    client = served(everybody=False)
    moved = client.get(f"/entries?lang=en&key={secret}")
    assert (moved.status_code, moved.headers["location"]) == (303, "/entries?lang=en")
    assert {"HttpOnly", "SameSite=strict"} <= set(moved.headers["set-cookie"].split("; "))
    assert client.get("/entries?lang=en").status_code == 200
    client.cookies.clear()
    assert client.get("/entries?key=wrong").status_code == 401


def test_metrics_are_for_operators(served):
    """From this machine, or with a key; never from elsewhere, however open the service is."""
    assert served(address="10.0.0.7").get("/metrics").status_code == 401
    assert served(address="127.0.0.1").get("/metrics").status_code == 200


def test_a_client_may_ask_only_so_often(served):
    """With the standard headers; another address has its own count; reading is free."""
    client = served(rate="3/minute")
    replies = [client.post("/api/v1/ask", json=ASK) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.headers["ratelimit-remaining"] for reply in replies[:3]] == ["2", "1", "0"]
    assert replies[0].headers["ratelimit-limit"] == "3"
    assert 1 <= int(replies[3].headers["retry-after"]) <= 60
    assert replies[3].json()["code"] == "rate_limited"
    assert client.get("/api/v1/entries").status_code == 200
    assert served(rate="").post("/api/v1/ask", json=ASK).status_code == 200


def test_no_other_origin_unless_it_is_named(served):
    """CORS is off; an origin that is set may call, with the headers it needs."""
    asked = {"Origin": "https://school.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "content-type"}  # fmt: skip
    assert "access-control-allow-origin" not in served().options("/api/v1/ask", headers=asked).headers
    allowed = served(origins="https://school.example").options("/api/v1/ask", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://school.example"
    other = served(origins="https://school.example").options(
        "/api/v1/ask", headers=asked | {"Origin": "https://x.example"}
    )
    assert "access-control-allow-origin" not in other.headers


def test_every_reply_forbids_what_it_does_not_need(served):
    client = served()
    for reply in (
        client.get("/api/v1/entries"),
        client.post("/api/v1/ask", json=ASK),
        client.get("/nope"),
        client.get("/livez"),
    ):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert client.get("/?lang=en").headers["content-security-policy"].startswith("default-src 'self'")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_is_open(host, tmp_path):
    assert open_to_all(host, Settings(data=tmp_path), public=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "school.example"])
def test_any_other_address_needs_a_key_or_a_word(host, tmp_path):
    """Refused before anything listens, with both ways on."""
    with pytest.raises(BadField, match="--public"):
        open_to_all(host, Settings(data=tmp_path), public=False)
    assert open_to_all(host, Settings(data=tmp_path), public=True)
    ApiKeyStore(tmp_path).add("class", ("ask",))
    assert not open_to_all(host, Settings(data=tmp_path), public=False)


@pytest.fixture
def listening(toy_service, tmp_path):
    """The port of a real server of the toy service in a thread of this process."""
    import uvicorn

    port = free_port()
    app = create_app(toy_service, Settings(data=tmp_path))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join(30)


def test_a_body_that_comes_too_slowly_is_refused(listening, monkeypatch):
    """And a reader who is slow to leave is not: only the body has a clock."""
    monkeypatch.setattr("qa_service.server.timeout.BODY_TIMEOUT_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", listening), timeout=60) as client:
        client.sendall(b"POST /api/v1/ask HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert client.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_reader_who_takes_too_long_is_cut_off(listening, monkeypatch, caplog):
    """He asks for much and reads nothing: one line in the log, no error, and his connection is gone."""
    monkeypatch.setattr("qa_service.server.timeout.SEND_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(logging.getLogger("numstab"), "propagate", True)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", listening))
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
        until(lambda: "a reader was too slow" in caplog.text, why=lambda: caplog.text[-2000:])
        with suppress(ConnectionResetError):
            while client.recv(1 << 20):
                pass
    assert "unforeseen" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.server
def test_told_to_stop_a_server_lets_answers_end(cache, tmp_path):
    """A short run is heard to its end; a long one ends with an error event in time. No process or file is left, and
    standard error has nothing but lines of the log.
    """
    short_name = Path(tempfile.mkdtemp(prefix="n-"))  # a socket's path has 107 bytes at most
    env = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_DATA": str(tmp_path),
           "NUMSTAB_CACHE": str(cache), "NUMSTAB_DEADLINE": "60", "TMPDIR": str(short_name)}  # fmt: skip
    begun = threading.Semaphore(0)

    def heard(address: str, steps: int) -> list[tuple[str, dict]]:
        route = f"{address}/api/v1/experiments/sleeps/runs/stream"
        events: list[tuple[str, dict]] = []
        with httpx.stream("POST", route, json={"params": {"steps": steps}}, timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("event:"):
                    name = line.removeprefix("event: ")
                if line.startswith("data:"):
                    events.append((name, json.loads(line[5:])))
                    if len(events) == 3:
                        begun.release()
        return events

    try:
        with ThreadPoolExecutor(2) as pool, numstab_server(env, tmp_path / "log") as (address, server):
            short, long = (pool.submit(heard, address, steps) for steps in (20, 100_000))
            for _ in (short, long):
                assert begun.acquire(timeout=TIMEOUT_SECONDS)
            server.send_signal(signal.SIGTERM)
            assert short.result(TIMEOUT_SECONDS)[-1][0] == "evidence"
            name, data = long.result(TIMEOUT_SECONDS)[-1]
            assert (name, data["code"]) == ("error", "shutting_down")
            assert server.wait(TIMEOUT_SECONDS) == 0
            until(lambda: not session(server.pid), why=lambda: session(server.pid))
        left = [one.name for one in short_name.iterdir() if not one.name.startswith("torchinductor_")]
        assert left == []
        said = (tmp_path / "log").read_text().splitlines()
        assert [line for line in said if not line.startswith("time=")] == []
    finally:
        shutil.rmtree(short_name)
