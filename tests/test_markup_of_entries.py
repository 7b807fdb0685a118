"""Markdown in entries that would be rendered otherwise than it was meant is reported."""

from dataclasses import replace

import pytest
import shipped
from checking import each_case

from qa_service.fronts.web.markup import markdown_to_html
from qa_service.knowledge.markup import list_lines_in_paragraphs, markup_problems

CODE = "```python\nprint(x)\n- 1. x\n```\n"


@pytest.fixture(scope="module")
def library():
    return shipped.library()


def test_shipped_entries_have_none(library):
    assert [problem for entry in library.values() for problem in markup_problems(entry)] == []


@each_case(
    ("text", "found"),
    [
        (f"1. Measure:\n\n{CODE}\nA remark.\n2. Mend.\n3. Look.", ["2. Mend."]),
        (f"1. Measure:\n\n{CODE}\nA remark\nof two lines.\n2. Mend.", ["2. Mend."]),
        (f"1. Measure:\n\n{CODE}A remark.\n2. Mend.", ["2. Mend."]),
        (f"1. Measure:\n\n{CODE}\nA remark.\n\n2. Mend.\n3. Look.", []),
        (f"1. Measure:\n\n{CODE}\n2. Mend,\nand mend again.\n3. Look.", []),
        (f"1. Measure:\n\n{CODE}2. Mend.", []),
    ],
)
def test_steps_that_run_into_a_paragraph_are_found(text, found):
    """A numbered step is reported exactly if the page does not render it as an item of a list."""
    assert list(list_lines_in_paragraphs(text)) == found
    steps = text.count("\n2. ") + text.count("\n3. ") + 1
    assert (markdown_to_html(text).count("<li>") == steps) is not bool(found)


@pytest.mark.parametrize("code", ["`f(…)`", "```python\nf(…)\n```"])
def test_an_ellipsis_in_code_is_found(library, code):
    entry = library["tf32-precision"]
    problems = list(markup_problems(replace(entry, scope={"zh": "没有……", "en": f"Not … here: {code}"})))
    assert len(problems) == 1 and problems[0].startswith("scope.en:") and "f(…)" in problems[0]
