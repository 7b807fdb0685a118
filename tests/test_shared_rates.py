"""Rate limits count the requests of all services in a Valkey or Redis; without that server each service counts by
itself.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient
from processes import until

from bench.valkey import ValkeyServer, run_valkey, valkey_program
from qa_service.app import create_app
from qa_service.settings import Settings
from qa_service.shared_state import SharedState, SharedStateUnavailable

ASK = {"question": "counting numbers one", "run": False}
pytestmark = pytest.mark.skipif(valkey_program() is None, reason="no Valkey or Redis; on Debian: redis-server")


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with run_valkey() as server:
        yield server


@pytest.fixture
def serve(new_toy_service, tmp_path, valkey) -> Iterator[Callable[..., TestClient]]:
    """Starts a service that shares its rates with the others; returns a client of it."""
    with ExitStack() as stack:

        def start(rate: str, address: str = "10.0.0.7") -> TestClient:
            settings = Settings(data=tmp_path, rate=rate, shared=valkey.url)
            app = create_app(new_toy_service(), settings)
            return stack.enter_context(TestClient(app, client=(address, 5000), base_url="http://localhost"))

        yield start


def _ask(client: TestClient, **more: object):
    return client.post("/api/v1/ask", json=ASK | more)


def test_services_count_a_clients_requests_together(serve):
    """Beyond the rate every service replies 429 with Retry-After; another client has its own rate."""
    one, two, other = serve("3/minute"), serve("3/minute"), serve("3/minute", "10.0.0.8")
    replies = [_ask(client) for client in (one, two, one)]
    assert [(reply.status_code, reply.headers["ratelimit-remaining"]) for reply in replies] == [
        (200, "2"), (200, "1"), (200, "0"),
    ]  # fmt: skip
    for client in (one, two):
        refused = _ask(client)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert _ask(other).status_code == 200


def test_the_runs_of_a_request_are_charged_everywhere(serve):
    """20 runs count as two requests on every service, whichever thread charges them."""
    one, two = serve("3/minute"), serve("3/minute")
    body = {"question": "", "entry": "counting", "seeds": 20, "run": True}
    assert _ask(one, **body).headers["ratelimit-remaining"] == "1"
    assert _ask(two, **body).status_code == 429


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_without_the_server_each_service_counts_by_itself(serve, valkey, fault):
    """No request is refused because of the failure, which a metric counts. When the server is back, they count
    together.
    """
    one, two = serve("2/minute"), serve("2/minute")
    assert [_ask(client).status_code for client in (one, two, one)] == [200, 200, 429]
    getattr(valkey, fault)()
    for client in (one, two):
        assert [_ask(client).status_code for _ in range(3)] == [200, 200, 429]
    metrics = TestClient(one.app, client=("127.0.0.1", 5000), base_url="http://localhost").get("/metrics").text
    assert float(re.search(r'^numstab_sharing_failures_total\{use="rates"\} (.*)$', metrics, re.MULTILINE)[1]) >= 1
    valkey.start() if fault == "kill" else valkey.resume()
    until(lambda: all(client.app.state.shared_rates.available for client in (one, two)))
    counted = [_ask(client).status_code for client in (one, two, one)]
    assert counted == ([200, 200, 429] if fault == "kill" else [429] * 3)


def test_a_closed_connection_can_be_used_again_after_a_failure(valkey):
    """Closing ends the pings and closes the breaker; a later failure opens it and starts pings, as the first did."""
    shared = SharedState(valkey.url)

    def ping() -> bool:
        with shared.guarded() as client:
            return bool(client.ping())

    assert ping()
    for _ in range(2):
        valkey.kill()
        with pytest.raises(SharedStateUnavailable):
            ping()
        shared.close()
        valkey.start()
        assert ping()
    valkey.kill()
    with pytest.raises(SharedStateUnavailable):
        ping()
    valkey.start()
    until(lambda: shared.available)
    shared.close()
