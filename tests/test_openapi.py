"""The API against its own description, with requests nobody thought of."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from qa_service.app import create_app
from qa_service.lab import Lab
from qa_service.library import Library
from qa_service.matching import Matcher
from qa_service.service import Service
from qa_service.settings import Settings

MOST = int(os.environ.get("NUMSTAB_REQUESTS", "40"))
"""Requests to each route; a thousand find what forty do not."""
TOYS = Path(__file__).resolve().parent / "toys"


@pytest.fixture(scope="module")
def api(lab: Lab, word_hash: type, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    folder = tmp_path_factory.mktemp("openapi")
    library = Library.read(TOYS / "kb", lab.experiments)
    service = Service(library, Matcher(library, word_hash(), name="word-hash", cache=folder), lab, threshold=0.5)
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
            max_examples=MOST, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )  # fmt: skip
        def asked(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=checks)

        asked()
