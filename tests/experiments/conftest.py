"""In `make test` a test of an experiment that runs with several seeds runs with the first."""

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as exhaustive what another seed repeats: the same test with the same other parameters."""
    seen = set()
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or "seed" not in callspec.params or item.path.parent != Path(__file__).parent:
            continue
        others = tuple(sorted((name, repr(value)) for name, value in callspec.params.items() if name != "seed"))
        test = (item.path, item.function.__name__, others)
        if test in seen:
            item.add_marker("exhaustive")
        seen.add(test)
