"""The helper `each_case`: the test reports each failing case, and fails without any case."""

import inspect

import pytest
from checking import each_case


def test_all_cases_that_fail_are_named():
    @each_case(("number", "word"), [(1, "one"), (2, "two"), (3, "three")])
    def check(number: int, word: str) -> None:
        """Fails for odd numbers."""
        assert number % 2 == 0, word

    assert (check.__name__, inspect.signature(check).parameters) == ("check", {})
    with pytest.raises(pytest.fail.Exception) as failed:
        check()
    said = str(failed.value)
    assert said.startswith("2 of 3 failed:\n")
    assert ["(1, 'one')" in said, "(2, 'two')" in said, "(3, 'three')" in said] == [True, False, True]


def test_a_single_parameter_takes_each_case_as_it_is():
    seen = []

    @each_case("pair", [(1, 2), (3, 4)])
    def check(pair: tuple[int, int]) -> None:
        seen.append(pair)

    check()
    assert seen == [(1, 2), (3, 4)]


def test_no_case_is_a_failure():
    @each_case("case", [])
    def check(case: object) -> None:
        """Is never called."""

    with pytest.raises(AssertionError, match="no case"):
        check()
