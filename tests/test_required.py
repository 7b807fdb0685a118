"""Substrings that every match of a pattern contains: where they are absent, the search for the pattern is skipped."""

import re

import pytest

from bench.load import distinct_questions
from qa_service.parse_cache import ParseCache
from qa_service.parsing import signs
from qa_service.parsing.observations import fold_case_and_width
from qa_service.parsing.required import grams, required_grams
from qa_service.parsing.tables import Table


@pytest.mark.parametrize(
    ("pattern", "required"),
    [
        (r"loss(?:es)?|损失", {"los", "损失"}),
        (r"(?<![a-z])nans?(?![a-z])", {"nan"}),
        (r"\d+ ?layers?", {" la", "lay"}),
        (r"(?:lower|cut)\w*\s+(?:the )?lr", {"low", "cut"}),
        (r"[fb]16|half", {"f16", "b16", "hal"}),
        (r"(?:a|b)?c", {"c", "ac", "bc"}),
        (r"(?:ab)+", {"ab"}),
    ],
)
def test_each_match_contains_what_its_pattern_requires(pattern, required):
    """The required substrings derived from each pattern are as expected."""
    assert required_grams(pattern) == required


@pytest.mark.parametrize("pattern", [r"\d+", r"(?:nan)*", r"a|\w", r"(?<=loss) ?", r".{3}", "(?i:nan)"])
def test_a_pattern_that_requires_no_substring_gives_none(pattern):
    assert required_grams(pattern) is None


def test_case_is_not_disregarded():
    assert required_grams("nan", re.IGNORECASE) is None


def test_every_sign_is_found_that_a_search_for_each_pattern_finds():
    tables = [table.items() for table in (signs.PLACES, signs.TIMES, signs.SETTINGS, signs.ACTIONS)]
    tables.append((symptom, symptom.pattern) for symptom in signs.SYMPTOMS)
    compiled = [Table(table) for table in tables]
    known = [each for table in compiled for each in table]
    assert sum(each.needs is not None for each in known) > 0.9 * len(known), "the searches that are left out are few"
    for text in map(fold_case_and_width, distinct_questions()[::40]):
        for each in known:
            found = [match.span() for match in each.pattern.finditer(text)]
            assert [match.span() for _, match in signs.matches([each], text)] == found, (text, each.value)


def test_grams_are_the_substrings_of_up_to_three_characters():
    assert grams("nan损") == {"n", "a", "损", "na", "an", "n损", "nan", "an损"}
    assert grams("") == frozenset()


def test_what_patterns_require_is_recalled_from_the_file_of_an_earlier_process(tmp_path):
    """Substrings are taken from the cache file without deriving them again, as the test shows by changing the file."""
    patterns = {"kept": r"kept(?:es)?|损失", "any number": r"\d+", "case": "(?i:kept)"}
    first = ParseCache(tmp_path)
    Table(patterns.items()).recall(first)
    first.save()
    derived = {each.value: each.needs for each in Table(patterns.items())}
    assert derived == {"kept": {"kep", "损失"}, "any number": None, "case": None}
    (file,) = tmp_path.glob("parsed-*.json")
    file.write_text(file.read_text().replace('"kep"', '"of the file"'))
    later = Table(patterns.items())
    later.recall(ParseCache(tmp_path))
    assert {each.value: each.needs for each in later} == derived | {"kept": {"of the file", "损失"}}
