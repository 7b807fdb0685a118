"""API keys, rate limits, CORS, security headers, timeouts and graceful shutdown."""

import json
import logging
import re
import shutil
import signal
import socket
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from processes import TIMEOUT_SECONDS, numstab_server, session_processes, until

from bench.server import free_port
from qa_service.app import create_app
from qa_service.errors import BadField
from qa_service.server import auth
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.lifecycle import is_public
from qa_service.settings import Settings

TOYS = Path(__file__).resolve().parent / "toys"
ASK = {"question": "counting numbers one", "run": False}


@pytest.fixture
def make_client(toy_service, tmp_path):
    """A function that makes a client of the toy service with the given settings, at the given address."""

    def make(*, address: str = "10.0.0.7", public: bool = True, **settings: object) -> TestClient:
        app = create_app(toy_service, Settings(data=tmp_path, **settings), is_public=public)
        return TestClient(app, base_url="http://localhost", client=(address, 5000), follow_redirects=False)

    return make


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_api_key_grants_its_scope_only(make_client, tmp_path):
    """Scopes read, ask and operate; without a key only /livez; revoked and rotated keys are invalid."""
    keys = ApiKeyStore(tmp_path)
    secrets = {scope: keys.add(scope, (scope,)) for scope in ("read", "ask", "operate")}
    client = make_client(public=False)
    assert client.get("/livez").status_code == 200
    response = client.post("/api/v1/ask", json=ASK, headers={"Accept-Language": "zh"})
    assert (response.status_code, response.json()["code"]) == (401, "refused")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "密钥" in response.json()["detail"]
    statuses = {
        scope: (
            client.get("/api/v1/entries", headers=bearer(secret)).status_code,
            client.post("/api/v1/ask", json=ASK, headers=bearer(secret)).status_code,
            client.get("/metrics", headers=bearer(secret)).status_code,
        )
        for scope, secret in secrets.items()
    }
    assert statuses == {"read": (200, 403, 403), "ask": (200, 200, 403), "operate": (403, 403, 200)}
    assert client.get("/api/v1/entries", headers=bearer("nst_wrong")).status_code == 401
    keys.revoke("read")
    assert client.get("/api/v1/entries", headers=bearer(secrets["read"])).status_code == 401
    rotated = keys.rotate("ask")
    assert client.get("/api/v1/entries", headers=bearer(secrets["ask"])).status_code == 401
    assert client.get("/api/v1/entries", headers=bearer(rotated)).status_code == 200


def test_api_keys_are_stored_hashed_and_private(tmp_path):
    secret = ApiKeyStore(tmp_path).add("a class", ("ask",))
    path = tmp_path / "keys.json"
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ApiKeyStore(tmp_path).find(secret).name == "a class"
    with pytest.raises(BadField):
        ApiKeyStore(tmp_path).add("a class", ("ask",))


def test_key_in_a_url_becomes_a_cookie(make_client, tmp_path):
    """The response redirects to the URL without the key and sets an HttpOnly cookie."""
    secret = ApiKeyStore(tmp_path).add("class", ("ask",))
    client = make_client(public=False)
    redirect = client.get(f"/entries?lang=en&key={secret}")
    assert (redirect.status_code, redirect.headers["location"]) == (303, "/entries?lang=en")
    assert {"HttpOnly", "SameSite=strict"} <= set(redirect.headers["set-cookie"].split("; "))
    assert client.get("/entries?lang=en").status_code == 200
    client.cookies.clear()
    assert client.get("/entries?key=wrong").status_code == 401


def test_metrics_need_loopback_or_a_key(make_client):
    """They need it even if the service is public."""
    assert make_client(address="10.0.0.7").get("/metrics").status_code == 401
    assert make_client(address="127.0.0.1").get("/metrics").status_code == 200


@pytest.mark.parametrize("path", ["/metrics%0a", "/metrics%0A", "/metrics%00", "/%0ametrics", "/livez%0a", "/a%7fb"])
def test_a_path_with_a_control_character_is_refused(make_client, tmp_path, path):
    """A route's pattern would match before a final line feed: /metrics%0a was once open to everybody, and to a read
    key.
    """
    read_key = ApiKeyStore(tmp_path).add("read", ("read",))
    for client, headers in ((make_client(), {}), (make_client(public=False), bearer(read_key))):
        reply = client.get(path, headers=headers)
        assert reply.status_code == 404
        assert reply.headers["content-type"] == "application/problem+json"


def test_the_route_of_the_metrics_asks_for_an_operator_itself(make_client, monkeypatch):
    """Therefore no spelling of the path avoids the check."""
    monkeypatch.setattr(auth, "CONTROL_CHARACTERS", re.compile("(?!)"))
    assert make_client().get("/metrics%0a").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.0.2.1"])
def test_an_operator_on_this_machine_addresses_this_machine(make_client, host):
    """The Host header must be a loopback name: another site could resolve its own name to 127.0.0.1 and read the
    metrics.
    """
    client = make_client(address="127.0.0.1")
    assert client.get("/metrics", headers={"Host": host}).status_code == 401
    assert "why" not in client.get("/readyz", headers={"Host": host}).json()
    for own in ("127.0.0.1:8000", "[::1]:8000", "LOCALHOST"):
        assert client.get("/metrics", headers={"Host": own}).status_code == 200


@pytest.mark.parametrize("cookie", ["a@b=1", "=", ";;", "numstab_key", 'x="', "\xff=1"])
def test_cookies_of_other_applications_do_no_harm(make_client, tmp_path, cookie):
    """Other cookies are not parsed: a malformed one once gave a 500 everywhere. Ours is found among them."""
    secret = ApiKeyStore(tmp_path).add("ask", ("ask",))
    client = make_client(public=False)
    theirs = {"Cookie": cookie.encode("latin-1")}
    ours = {"Cookie": cookie.encode("latin-1") + f"; numstab_key={secret}; b@c=2".encode()}
    assert client.get("/livez", headers=theirs).status_code == 200
    assert client.get("/api/v1/entries", headers=theirs).status_code == 401
    assert client.get("/api/v1/entries", headers=ours).status_code == 200


def test_a_key_in_a_url_leads_to_no_other_host(make_client, tmp_path):
    """The redirect's path gets a single leading slash, as an address that begins with two slashes would name a host."""
    secret = ApiKeyStore(tmp_path).add("ask", ("ask",))
    reply = make_client(public=False).get(f"http://localhost//evil.example/?key={secret}")
    assert (reply.status_code, reply.headers["location"]) == (303, "/evil.example/")


@pytest.mark.parametrize("path", ["/livez", "/robots.txt", "/metrics", "/entries"])
def test_a_wrong_key_in_a_url_replaces_no_cookie(make_client, path):
    """Otherwise any site could make a browser open /livez?key=x and so log its user out."""
    assert "set-cookie" not in make_client(public=False).get(f"{path}?key=x").headers


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "{}", '[{"name": "a"}]', "\xff", "[" * 5000, '[{"name": "a", "scopes": ["ask"], "sha256": "0"}]',
     '[{"name": "a", "scopes": "ask", "sha256": "0", "made": "x"}]',
     '[{"name": "a", "scopes": ["everything"], "sha256": "0", "made": "x"}]',
     '[{"name": NaN, "scopes": ["ask"], "sha256": "0", "made": "x"}]'],
)  # fmt: skip
def test_a_broken_file_of_keys_lets_nobody_in(make_client, tmp_path, text, caplog):
    """Requests get 401, not 500, and the log a line; a command reports the file and does not overwrite it."""
    secret = ApiKeyStore(tmp_path).add("ask", ("ask",))
    (tmp_path / "keys.json").write_text(text, "latin-1")
    client = make_client(public=False)
    assert client.get("/api/v1/entries", headers=bearer(secret)).status_code == 401
    assert client.get("/livez", headers=bearer(secret)).status_code == 200
    with pytest.raises(BadField, match=r"keys\.json"):
        ApiKeyStore(tmp_path).add("another", ("ask",))
    assert (tmp_path / "keys.json").read_text("latin-1") == text


def test_a_file_of_keys_of_another_version_is_read(tmp_path):
    """Files in the format of earlier versions are read, and files with a field that is not known yet."""
    secret = "nst_" + "a" * 43
    row = {"name": "班", "scopes": ["read", "ask"], "sha256": sha256(secret.encode()).hexdigest(), "made": "2026-01-01"}
    for rows in ([row], [row | {"note": [1]}]):
        (tmp_path / "keys.json").write_text(json.dumps(rows, indent=1), "utf-8")
        found = ApiKeyStore(tmp_path).find(secret)
        assert (found.name, found.scopes, found.made) == ("班", ("read", "ask"), "2026-01-01")
    keys = ApiKeyStore(tmp_path)
    keys.add("another", ("ask",))
    text = (tmp_path / "keys.json").read_text("utf-8")
    assert text == json.dumps(json.loads(text), indent=1)
    assert json.loads(text)[0] == row


def test_questions_are_rate_limited(make_client):
    """429 with the standard headers; reading entries is not limited."""
    client = make_client(rate="3/minute")
    replies = [client.post("/api/v1/ask", json=ASK) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.headers["ratelimit-remaining"] for reply in replies[:3]] == ["2", "1", "0"]
    assert replies[0].headers["ratelimit-limit"] == "3"
    assert 1 <= int(replies[3].headers["retry-after"]) <= 60
    assert replies[3].json()["code"] == "rate_limited"
    assert client.get("/api/v1/entries").status_code == 200
    assert make_client(rate="").post("/api/v1/ask", json=ASK).status_code == 200


def test_cors_allows_configured_origins_only(make_client):
    """By default no origin is allowed; with the setting, only those listed."""
    preflight = {"Origin": "https://school.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "content-type, x-stainless-lang"}  # fmt: skip
    assert "access-control-allow-origin" not in make_client().options("/api/v1/ask", headers=preflight).headers
    allowed = make_client(origins="https://school.example").options("/api/v1/ask", headers=preflight)
    assert allowed.headers["access-control-allow-origin"] == "https://school.example"
    assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
    other = make_client(origins="https://school.example").options(
        "/api/v1/ask", headers=preflight | {"Origin": "https://x.example"}
    )
    assert "access-control-allow-origin" not in other.headers


def test_every_response_has_security_headers(make_client):
    client = make_client()
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
def test_loopback_needs_no_key(host, tmp_path):
    assert is_public(host, Settings(data=tmp_path), public=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "school.example"])
def test_other_addresses_need_a_key_or_public(host, tmp_path):
    """The error, raised before the server listens, names both options."""
    with pytest.raises(BadField, match="--public"):
        is_public(host, Settings(data=tmp_path), public=False)
    assert is_public(host, Settings(data=tmp_path), public=True)
    ApiKeyStore(tmp_path).add("class", ("ask",))
    assert not is_public(host, Settings(data=tmp_path), public=False)


@pytest.fixture
def server_port(toy_service, tmp_path):
    """The port of uvicorn with the toy service, in a thread of this process."""
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


def test_slow_request_body_is_408(server_port, monkeypatch):
    monkeypatch.setattr("qa_service.server.timeout.BODY_TIMEOUT_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", server_port), timeout=TIMEOUT_SECONDS) as client:
        client.sendall(b"POST /api/v1/ask HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert client.recv(4096).startswith(b"HTTP/1.1 408")


def test_slow_client_is_disconnected(server_port, monkeypatch, caplog):
    """A client that requests a lot and reads nothing: the log has a warning and no error."""
    monkeypatch.setattr("qa_service.server.timeout.SEND_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(logging.getLogger("numstab"), "propagate", True)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", server_port))
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
        until(lambda: "a reader was too slow" in caplog.text, why=lambda: caplog.text[-2000:])
        with suppress(ConnectionResetError):
            while client.recv(1 << 20):
                pass
    assert "unforeseen" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.server
def test_sigterm_lets_running_answers_finish(cache, tmp_path):
    """A short run is completed; a long one ends with an error event within the grace period.

    No process or temporary file is left, and standard error has only lines of the log.
    """
    short_path = Path(tempfile.mkdtemp(prefix="n-"))  # the path of a Unix socket is limited to 107 bytes
    env = {"NUMSTAB_KB": str(TOYS / "kb"), "NUMSTAB_DEMOS": str(TOYS / "demos"), "NUMSTAB_DATA": str(tmp_path),
           "NUMSTAB_CACHE": str(cache), "NUMSTAB_DEADLINE": "240", "TMPDIR": str(short_path)}  # fmt: skip
    started = threading.Semaphore(0)

    def stream_run(address: str, steps: int) -> list[tuple[str, dict]]:
        route = f"{address}/api/v1/experiments/sleeps/runs/stream"
        events: list[tuple[str, dict]] = []
        with httpx.stream("POST", route, json={"params": {"steps": steps}}, timeout=TIMEOUT_SECONDS) as stream:
            for line in stream.iter_lines():
                if line.startswith("event:"):
                    name = line.removeprefix("event: ")
                if line.startswith("data:"):
                    events.append((name, json.loads(line[5:])))
                    if len(events) == 3:
                        started.release()
        return events

    try:
        with ThreadPoolExecutor(2) as pool, numstab_server(env, tmp_path / "log") as (address, server):
            short, long = (pool.submit(stream_run, address, steps) for steps in (20, 100_000))
            for _ in (short, long):
                assert started.acquire(timeout=TIMEOUT_SECONDS)
            server.send_signal(signal.SIGTERM)
            assert short.result(TIMEOUT_SECONDS)[-1][0] == "evidence"
            name, data = long.result(TIMEOUT_SECONDS)[-1]
            assert (name, data["code"]) == ("error", "shutting_down")
            assert server.wait(TIMEOUT_SECONDS) == 0
            until(lambda: not session_processes(server.pid), why=lambda: session_processes(server.pid))
        remaining = [file.name for file in short_path.iterdir() if not file.name.startswith("torchinductor_")]
        assert remaining == []
        lines = (tmp_path / "log").read_text().splitlines()
        assert [line for line in lines if not line.startswith("time=")] == []
    finally:
        shutil.rmtree(short_path)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://inner.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://school.example"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[evil"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_post(make_client, headers, status):
    """Browsers send text/plain across sites without a preflight; such feedback was once stored. Configured origins may
    post.
    """
    client = make_client(origins="https://school.example")
    reply = client.post("/api/v1/ask", content=json.dumps(ASK), headers={"Content-Type": "text/plain"} | headers)
    assert reply.status_code == status
    assert client.get("/api/v1/entries", headers=headers).status_code == 200


def test_only_the_hosts_of_the_settings_are_served(make_client):
    """Other Host headers get 421, so that a foreign name for our address shows nothing; by default any host is
    served.
    """
    client = make_client(hosts="school.example, numstab.example")
    for host, status in (("school.example:8443", 200), ("NUMSTAB.example.", 200), ("127.0.0.1:8000", 200),
                         ("evil.example", 421), ("school.example.evil.example", 421)):  # fmt: skip
        assert client.get("/api/v1/entries", headers={"Host": host}).status_code == status, host
    assert make_client().get("/api/v1/entries", headers={"Host": "any.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/robots.txt", "/sitemap.xml", "/llms.txt"])
def test_pages_that_quote_the_host_are_not_cached(make_client, path):
    """A cached page requested under a foreign Host would send other users there; configured hosts rule out foreign
    ones.
    """
    assert make_client().get(path).headers["cache-control"] == "no-store"
    assert make_client(hosts="school.example").get(path, headers={"Host": "evil.example"}).status_code == 421


def test_a_store_that_hangs_costs_feedback_a_503_and_nothing_else(make_client, monkeypatch):
    """Such a store once blocked all threads: 45 of 45 feedbacks had no reply after 40 s, static files took 20 s."""
    monkeypatch.setattr("qa_service.store.threads.MAX_SECONDS", 0.5)
    hangs = threading.Event()
    monkeypatch.setattr("qa_service.store.Store.add_feedback", lambda *_: hangs.wait(TIMEOUT_SECONDS))
    feedback = {"answer_id": "01K0000000000000000000000A", "helpful": True}
    client = make_client()
    try:
        with client, ThreadPoolExecutor(45) as pool:
            replies = list(pool.map(lambda _: client.post("/api/v1/feedback", json=feedback), range(45)))
            assert {(reply.status_code, reply.json()["code"]) for reply in replies} == {(503, "store_unavailable")}
            assert {reply.headers["retry-after"] for reply in replies} == {"5"}
            assert client.get("/static/chart.js").status_code == 200
    finally:
        hangs.set()


def test_an_unforeseen_error_in_a_stream_is_in_the_log(make_client, monkeypatch, caplog):
    """The client is told that it was recorded."""
    from qa_service.fronts.web import render

    def fail(*_: object, **__: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(render, "page_event", fail)
    response = make_client().post("/page/ask", json=ASK)
    assert "event: error" in response.text
    assert "unforeseen error in a stream" in caplog.text
