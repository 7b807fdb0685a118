"""Each middleware alone, and their order: every rejection is a complete response."""

import asyncio
import json

import pytest
from fastapi.testclient import TestClient
from processes import TimeSkippingLoop, run_async

from qa_service.app import create_app
from qa_service.server import timeout
from qa_service.server.api_keys import ApiKeyStore
from qa_service.server.problems import SlowClient
from qa_service.server.security_headers import SecurityHeadersMiddleware
from qa_service.server.timeout import TimeoutMiddleware
from qa_service.settings import Settings

ASK = {"question": "counting numbers one", "run": False}
ORIGIN = {"Origin": "https://school.example"}


async def hello_app(_scope, _receive, send) -> None:
    """An ASGI application that answers `hello`, with its own Content-Security-Policy."""
    headers = [(b"Content-Security-Policy", b"default-src 'self'")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


async def echo_app(_scope, receive, send) -> None:
    """An ASGI application that reads the body, sends its last part back and waits for the client to disconnect."""
    while (message := await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"], "more_body": True})
    assert (await receive())["type"] == "http.disconnect"


def post(app, *messages, take: float = 0.0, client: str = "10.0.0.7", key: object = None) -> tuple[int, dict, bytes]:
    """Status, headers and body of a POST. Each message is (delay in seconds, body or None to disconnect, more follows);
    the client takes `take` seconds to accept each message of the response.
    """
    sent: list[dict] = []
    incoming = iter(messages or [(0.0, b"", False)])

    async def receive() -> dict:
        seconds, body, more = next(incoming, (0.0, None, False))
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body,
                                                                 "more_body": more}  # fmt: skip

    async def send(message: dict) -> None:
        await asyncio.sleep(take)
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [],
             "client": (client, 5000), "state": {"api_key": key}}  # fmt: skip
    run_async(app(scope, receive, send), TimeSkippingLoop)
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def test_security_headers_keep_those_of_the_route():
    _, headers, body = post(SecurityHeadersMiddleware(hello_app))
    assert body == b"hello"
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-content-type-options"] == "nosniff"


def test_stalled_request_body_is_408():
    """As problem+json. The timeout is per part: a body that is sent slowly but steadily is read."""
    app, too_long = TimeoutMiddleware(echo_app), timeout.BODY_TIMEOUT_SECONDS + 1
    status, headers, body = post(app, (0.0, b"{", True), (too_long, b"}", False))
    assert (status, json.loads(body)["code"]) == (408, "too_slow")
    assert headers["content-type"] == "application/problem+json"
    assert post(app, *[(too_long - 2, b"x", True)] * 5, (too_long - 2, b"end", False))[2] == b"end"


def test_waiting_for_the_disconnect_has_no_timeout():
    assert post(TimeoutMiddleware(echo_app), (0.0, b"all", False), (86_400.0, None, False))[0] == 200


def test_client_that_does_not_accept_the_response_is_disconnected():
    assert post(TimeoutMiddleware(hello_app), take=timeout.SEND_TIMEOUT_SECONDS - 1)[0] == 200
    with pytest.raises(SlowClient):
        post(TimeoutMiddleware(hello_app), take=timeout.SEND_TIMEOUT_SECONDS + 1)


def test_a_cancelled_request_ends_what_it_waits_for():
    """A cancellation, or an error of the connection, arrives at the place where sending waits, also when it waits
    several times, and clean-up there may wait as well.
    """

    async def end_by(error: Exception | None, happened: list[str]) -> None:
        waiting, going_on = asyncio.Event(), asyncio.Event()

        async def send(_message: dict) -> None:
            await asyncio.sleep(0)
            await going_on.wait()
            going_on.clear()
            happened.append("went on")
            waiting.set()
            try:
                if error is not None:
                    raise error
                await going_on.wait()
            finally:
                await asyncio.sleep(0)
                happened.append("cleaned up")

        request = asyncio.ensure_future(TimeoutMiddleware(hello_app)({"type": "http"}, None, send))
        going_on.set()
        await waiting.wait()
        if error is None:
            request.cancel()
        try:
            await request
        except (asyncio.CancelledError, OSError) as ended:
            happened.append(type(ended).__name__)

    for error, name in ((None, "CancelledError"), (ConnectionError(), "ConnectionError")):
        happened: list[str] = []
        run_async(end_by(error, happened))
        assert happened == ["went on", "cleaned up", name]


def test_rate_limit_is_per_api_key(toy_service, tmp_path):
    """Two keys at one address are counted separately; requests with an invalid key are not counted."""
    keys = ApiKeyStore(tmp_path)
    secrets = [keys.add(name, ("ask",)) for name in ("one", "two")]
    app = create_app(toy_service, Settings(data=tmp_path, rate="2/minute"), is_public=False)
    client = TestClient(app, client=("10.0.0.7", 5000))

    def ask(secret: str) -> int:
        return client.post("/api/v1/ask", json=ASK, headers={"Authorization": f"Bearer {secret}"}).status_code

    assert [ask("nst_wrong") for _ in range(3)] == [401] * 3
    assert [ask(secrets[0]) for _ in range(3)] == [200, 200, 429]
    assert [ask(secrets[1]) for _ in range(3)] == [200, 200, 429]


def test_rejections_are_complete_responses(toy_service, tmp_path):
    """401, 403 and 429 have security headers, CORS headers and the request's id."""
    keys = ApiKeyStore(tmp_path)
    read_key, ask_key = keys.add("reads", ("read",)), keys.add("asks", ("ask",))
    settings = Settings(data=tmp_path, rate="1/minute", origins=ORIGIN["Origin"])
    client = TestClient(create_app(toy_service, settings, is_public=False), client=("10.0.0.7", 5000))

    def send(secret: str | None) -> object:
        authorization = {"Authorization": f"Bearer {secret}"} if secret else {}
        return client.post("/api/v1/ask", json=ASK, headers=ORIGIN | authorization)

    responses = [send(None), send(read_key), send(ask_key), send(ask_key)]
    assert [response.status_code for response in responses] == [401, 403, 200, 429]
    for response in responses:
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert response.headers["x-request-id"]
    assert responses[0].headers["www-authenticate"] == "Bearer"
    assert int(responses[3].headers["retry-after"]) >= 1
    assert all(
        response.json()["request_id"] == response.headers["x-request-id"] for response in responses if response.is_error
    )
