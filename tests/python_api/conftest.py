"""Clients of the Python API."""

from collections.abc import Callable
from typing import Any

import pytest

from numstab.client import Client
from numstab.local import LocalEngine
from qa_service.answering.service import Service


@pytest.fixture
def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client of the Python API that runs in this process, in English unless a question is Chinese; identical runs run
    once.
    """
    build: Callable[..., Any] = lambda *_, **__: service  # noqa: E731
    monkeypatch.setattr("qa_service.answering.composition.build", build)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    return Client(LocalEngine())
