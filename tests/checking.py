"""One test for many cases that take a millisecond each: as tests of their own they would cost ten times as much."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

Case = TypeVar("Case")


def check_each(check: Callable[[Case], object], cases: Iterable[Case]) -> None:
    """Calls `check` with every case, and fails with all that failed, each with its assertion."""
    failed, count = [], 0
    for case in cases:
        count += 1
        try:
            check(case)
        except Exception as error:  # whatever a case raises, the others are looked at
            failed.append(f"{case}: {type(error).__name__}: {error}")
    assert count, "no case"
    if failed:
        pytest.fail(f"{len(failed)} of {count} failed:\n" + "\n".join(failed), pytrace=False)
