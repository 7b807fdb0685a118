"""Each middleware by itself, and what their order promises: every refusal is a whole reply."""

import asyncio
import json
from typing import ClassVar

import pytest
from fastapi.testclient import TestClient
from limits.storage import MemoryStorage
from processes import run_async

from qa_service.app import create_app
from qa_service.server import timeout
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.problems import SlowClient
from qa_service.server.rate_limit import RateLimitMiddleware
from qa_service.server.security_headers import SecurityHeadersMiddleware
from qa_service.server.timeout import TimeoutMiddleware
from qa_service.settings import Settings

ASK = {"question": "counting numbers one", "run": False}
ORIGIN = {"Origin": "https://school.example"}


async def hello(_scope, _receive, send) -> None:
    """An application that greets everybody, with a policy of its own."""
    headers = [(b"Content-Security-Policy", b"default-src 'self'")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


async def echo(_scope, receive, send) -> None:
    """An application that waits for the whole body and then for the client to disconnect."""
    while (message := await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"], "more_body": True})
    assert (await receive())["type"] == "http.disconnect"


def call(app, *messages, take: float = 0.0, client: str = "10.0.0.7", key: object = None) -> tuple[int, dict, bytes]:
    """Status, headers and body of one POST whose messages come after so many seconds each; `take` is the client's."""
    sent: list[dict] = []
    coming = iter(messages or [(0.0, b"", False)])

    async def receive() -> dict:
        seconds, body, more = next(coming, (0.0, None, False))
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body,
                                                                 "more_body": more}  # fmt: skip

    async def send(message: dict) -> None:
        await asyncio.sleep(take)
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [],
             "client": (client, 5000), "state": {"api_key": key}}  # fmt: skip
    run_async(app(scope, receive, send))
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def test_security_headers_leave_a_routes_own():
    _, headers, body = call(SecurityHeadersMiddleware(hello))
    assert body == b"hello"
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_body_that_stops_coming_is_408(monkeypatch):
    """With the problem's JSON; one that comes slowly but steadily is read, however long it takes in all."""
    monkeypatch.setattr(timeout, "BODY_TIMEOUT_SECONDS", 0.5)
    app = TimeoutMiddleware(echo)
    status, headers, body = call(app, (0.0, b"{", True), (60.0, b"}", False))
    assert (status, json.loads(body)["code"]) == (408, "too_slow")
    assert headers["content-type"] == "application/problem+json"
    assert call(app, *[(0.15, b"x", True)] * 5, (0.1, b"end", False))[2] == b"end"


def test_how_long_a_client_stays_is_not_limited(monkeypatch):
    """Only the body has a time limit: the wait for the disconnect has none."""
    monkeypatch.setattr(timeout, "BODY_TIMEOUT_SECONDS", 0.2)
    assert call(TimeoutMiddleware(echo), (0.0, b"all", False), (0.6, None, False))[0] == 200


def test_a_reply_that_is_not_taken_ends(monkeypatch):
    monkeypatch.setattr(timeout, "SEND_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(SlowClient):
        call(TimeoutMiddleware(hello), take=60.0)


class TeamStorage(MemoryStorage):
    """A storage that several processes share, here in one."""

    STORAGE_SCHEME: ClassVar = ["team"]
    hits: ClassVar[dict] = {}

    def __init__(self, uri: str | None = None, **options: str) -> None:
        super().__init__(uri, **options)
        self.events = self.hits


def test_where_requests_are_counted_is_an_argument():
    """Two processes with one storage count together, two with memory of their own do not."""
    for uri, statuses in (("memory://", [200, 200, 200]), ("team://", [200, 200, 429])):
        workers = [RateLimitMiddleware(hello, rate="2/minute", storage_uri=uri) for _ in range(2)]
        assert [call(workers[at % 2])[0] for at in range(3)] == statuses


def test_a_key_is_counted_by_itself(toy_service, tmp_path):
    """Two keys at one address have a count each; a request that is refused for its key is not counted."""
    keys = ApiKeyStore(tmp_path)
    secrets = [keys.add(name, ("ask",)) for name in ("one", "two")]
    app = create_app(toy_service, Settings(data=tmp_path, rate="2/minute"), open_to_all=False)
    client = TestClient(app, client=("10.0.0.7", 5000))

    def ask(secret: str) -> int:
        return client.post("/api/v1/ask", json=ASK, headers={"Authorization": f"Bearer {secret}"}).status_code

    assert [ask("nst_wrong") for _ in range(3)] == [401] * 3
    assert [ask(secrets[0]) for _ in range(3)] == [200, 200, 429]
    assert [ask(secrets[1]) for _ in range(3)] == [200, 200, 429]


def test_every_refusal_is_a_whole_reply(toy_service, tmp_path):
    """401, 403 and 429 have security headers, an id, and what a script of another origin needs to read them."""
    keys = ApiKeyStore(tmp_path)
    read, asks = keys.add("reads", ("read",)), keys.add("asks", ("ask",))
    settings = Settings(data=tmp_path, rate="1/minute", origins=ORIGIN["Origin"])
    client = TestClient(create_app(toy_service, settings, open_to_all=False), client=("10.0.0.7", 5000))

    def post(secret: str | None) -> object:
        given = {"Authorization": f"Bearer {secret}"} if secret else {}
        return client.post("/api/v1/ask", json=ASK, headers=ORIGIN | given)

    refusals = [post(None), post(read), post(asks), post(asks)]
    assert [reply.status_code for reply in refusals] == [401, 403, 200, 429]
    for reply in refusals:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert reply.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert reply.headers["x-request-id"]
    assert refusals[0].headers["www-authenticate"] == "Bearer"
    assert int(refusals[3].headers["retry-after"]) >= 1
    assert all(reply.json()["request_id"] == reply.headers["x-request-id"] for reply in refusals if reply.is_error)
