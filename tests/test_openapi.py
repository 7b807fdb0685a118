"""The API against its OpenAPI description, with generated requests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.app import create_app
from qa_service.lab.runner import ProcessRunner
from qa_service.settings import Settings

MAX_EXAMPLES = os.environ.get("NUMSTAB_REQUESTS")
"""Requests per route instead of the profile's number of examples; a thousand find what forty do not."""
TOYS = Path(__file__).resolve().parent / "toys"


@pytest.fixture(scope="module")
def api(lab: ProcessRunner, word_hash: type, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    import schemathesis

    folder = tmp_path_factory.mktemp("openapi")
    toys = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=folder)
    service = Service(Knowledge.read(toys, word_hash()), lab, threshold=0.5)
    settings = Settings(data=folder / "data", cache=folder, rate="")
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service, settings))


def test_generated_requests_get_described_responses(api):
    """Every status and media type is in the description; none is a server error."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

    checks = [not_a_server_error, status_code_conformance, content_type_conformance]
    operations = [operation.ok() for operation in api.include(path_regex="^/api/v1/").get_all_operations()]
    assert len(operations) == 12
    for operation in operations:

        @given(case=operation.as_strategy())
        @hypothesis_settings(
            max_examples=int(MAX_EXAMPLES or hypothesis_settings().max_examples // 2),  # of each of 12 operations
            suppress_health_check=list(HealthCheck),
        )
        def call_operation(case) -> None:
            case.call_and_validate(checks=checks)

        call_operation()


def test_operations_have_short_names_and_say_what_they_do(lab, word_hash, tmp_path):
    """Programs that read the OpenAPI description offer each operation to a language model as a tool of that name."""
    toys = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path)
    service = Service(Knowledge.read(toys, word_hash()), lab, threshold=0.5)
    app = create_app(service, Settings(data=tmp_path / "data", cache=tmp_path, url="https://numstab.example/"))
    described = TestClient(app).get("/openapi.json").json()
    operations = {
        operation["operationId"]: operation
        for path, methods in described["paths"].items()
        for operation in methods.values()
        if path.startswith("/api/v1/")
    }
    assert {"ask", "run_experiment", "get_experiment", "list_experiments", "evaluate_formula"} <= set(operations)
    assert all(len(name) <= 25 and operation["description"] for name, operation in operations.items())
    assert not [path for path in described["paths"] if path.startswith("/v1/")]
    assert described["servers"] == [{"url": "https://numstab.example"}]


@pytest.mark.parametrize(
    ("path", "local", "status"), [("/metrics", True, 200), ("/metrics", False, 401), ("/readyz", True, 503)]
)
def test_operator_routes_respond_as_described(lab, word_hash, tmp_path, path, local, status):
    """Clients that may not read the metrics get a described 401."""
    toys = Settings(kb=TOYS / "kb", demos=TOYS / "demos", cache=tmp_path)
    service = Service(Knowledge.read(toys, word_hash()), lab, threshold=0.5)
    app = create_app(service, Settings(data=tmp_path / "data", cache=tmp_path))
    client = TestClient(app, client=("127.0.0.1" if local else "192.0.2.1", 1), base_url="http://localhost")
    response = client.get(path)
    if path == "/readyz" and response.status_code == 200:  # it may have become ready already
        status = 200
    responses = client.get("/openapi.json").json()["paths"][path]["get"]["responses"]
    assert response.status_code == status
    assert response.headers["content-type"].partition(";")[0] in responses[str(status)]["content"]
