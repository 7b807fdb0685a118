"""The fixture `snippet`: the code of the entry that the name of a test refers to."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import shipped
import torch
from snippets.reader import Snippet

from qa_service.knowledge.library import Library
from qa_service.model import Lang


def blocks(library: Library, entry_id: str, lang: Lang) -> list[str]:
    """The Python code blocks of an entry's text, in order."""
    return re.findall(r"```python\n(.*?)```", library[entry_id].text(lang), re.DOTALL)


@pytest.fixture(scope="session")
def library() -> Library:
    """The shipped entries."""
    return shipped.library()


@pytest.fixture
def snippet(request: pytest.FixtureRequest, library: Library) -> Snippet:
    """The code of the entry `some-entry` for the test `test_some_entry`: all its blocks, one after the other.

    For `test_some_entry__2` it is the second block alone.
    """
    name, _, nth = request.function.__name__.removeprefix("test_").partition("__")
    found = blocks(library, name.replace("_", "-"), "en")
    return Snippet(found[int(nth) - 1] if nth else "\n".join(found))


@pytest.fixture(autouse=True)
def _same_conditions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each snippet runs with the same random seed, one thread, and a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
