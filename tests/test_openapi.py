"""The API against its own description, with requests nobody thought of."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from qa_service.runner.runner import ProcessRunner
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.settings import Settings

MOST = os.environ.get("NUMSTAB_REQUESTS")
"""Requests to each route, in place of the profile's number of examples; a thousand find what forty do not."""
TOYS = Path(__file__).resolve().parent / "toys"


@pytest.fixture(scope="module")
def api(lab: ProcessRunner, word_hash: type, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    folder = tmp_path_factory.mktemp("openapi")
    toys = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=folder)
    service = Service(Knowledge.read(toys, word_hash()), lab, threshold=0.5)
    settings = Settings(data=folder / "data", cache=folder, rate="")
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service, settings))


def test_no_request_breaks_what_is_described(api):
    """Every status and content type is one that the description names; none is ours to blame."""
    checks = [not_a_server_error, status_code_conformance, content_type_conformance]
    operations = [found.ok() for found in api.include(path_regex="^/api/v1/").get_all_operations()]
    assert len(operations) == 10
    for operation in operations:

        @given(case=operation.as_strategy())
        @hypothesis_settings(
            max_examples=int(MOST or hypothesis_settings().max_examples), suppress_health_check=list(HealthCheck)
        )  # fmt: skip
        def asked(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=checks)

        asked()


@pytest.mark.parametrize(
    ("path", "near", "status"), [("/metrics", True, 200), ("/metrics", False, 401), ("/readyz", True, 503)]
)
def test_what_operators_ask_is_described(lab, word_hash, tmp_path, path, near, status):
    """Who may not read the counts hears so with a status and a media type that the description names."""
    toys = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path)
    service = Service(Knowledge.read(toys, word_hash()), lab, threshold=0.5)
    app = create_app(service, Settings(data=tmp_path / "data", cache=tmp_path))
    client = TestClient(app, client=("127.0.0.1" if near else "192.0.2.1", 1))
    reply = client.get(path)
    if path == "/readyz" and reply.status_code == 200:  # it has become ready already
        status = 200
    described = client.get("/openapi.json").json()["paths"][path]["get"]["responses"]
    assert reply.status_code == status
    assert reply.headers["content-type"].partition(";")[0] in described[str(status)]["content"]
