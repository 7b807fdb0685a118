"""Checks many cases of a millisecond each in one test: as separate pytest cases they would cost ten times as much."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

Case = TypeVar("Case")
_MAX_SHOWN = 300  # characters of a case in a report


def check_each(check: Callable[[Case], object], cases: Iterable[Case]) -> None:
    """Calls `check` with every case, then fails with a list of all cases that failed, each with its assertion."""
    failed, count = [], 0
    for case in cases:
        count += 1
        try:
            check(case)
        except Exception as error:  # whatever a case raises, the others are looked at
            failed.append(f"{str(case)[:_MAX_SHOWN]}: {type(error).__name__}: {error}")
    assert count, "no case"
    if failed:
        pytest.fail(f"{len(failed)} of {count} failed:\n" + "\n".join(failed), pytrace=False)


def each_case(
    names: str | tuple[str, ...], cases: Iterable[Any]
) -> Callable[[Callable[..., object]], Callable[[], None]]:
    """Decorator like `pytest.mark.parametrize` for a test without fixtures: one test checks all the cases.

    `names` is the parameter's name, or a tuple of names where each case is a sequence of values.
    """
    kept = tuple(cases)

    def decorate(check: Callable[..., object]) -> Callable[[], None]:
        def test() -> None:
            if isinstance(names, str):
                check_each(lambda case: check(**{names: case}), kept)
            else:
                check_each(lambda case: check(**dict(zip(names, case, strict=True))), kept)

        functools.update_wrapper(test, check)
        del test.__wrapped__  # type: ignore[attr-defined]  # else pytest would take its parameters for fixtures
        return test

    return decorate
