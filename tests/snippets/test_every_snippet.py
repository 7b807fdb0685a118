"""Every entry with code has a case that runs it, and both languages show the same code."""

import ast
import re
from pathlib import Path

from checking import check_each
from snippets.conftest import blocks

from qa_service.settings import Settings

READ_ONLY: dict[str, str] = {}
"""Entries whose code is read and not run, each with the reason, such as a GPU that it needs."""
WITH_CODE = sorted(path.stem for path in Settings().kb.glob("[0-9]*/*.toml") if "```python" in path.read_text("utf-8"))
CASES = {
    name.replace("_", "-").partition("--")[0]
    for path in Path(__file__).parent.glob("test_item_*.py")
    for name in re.findall(r"^def test_(\w+)\(snippet", path.read_text("utf-8"), re.MULTILINE)
}


def test_every_snippet_has_a_case():
    """No entry with code is without one, none of the cases is of an entry without code."""
    assert sorted(set(WITH_CODE) - CASES - READ_ONLY.keys()) == []
    assert sorted((CASES | READ_ONLY.keys()) - set(WITH_CODE)) == []


def test_both_languages_show_the_same_code(library):
    """Comments and printed words apart."""

    def check(entry_id: str) -> None:
        english, chinese = (blocks(library, entry_id, lang) for lang in ("en", "zh"))
        assert [_without_words(code) for code in chinese] == [_without_words(code) for code in english]

    check_each(check, WITH_CODE)


def test_code_that_needs_a_gpu_says_so(library):
    """What happens on a GPU alone is marked by a comment; the cases run the other branch, the GPU's was only read."""

    def check(entry_id: str) -> None:
        for lang in ("en", "zh"):
            for code in blocks(library, entry_id, lang):
                assert "GPU" in code or not re.search(r"is_cuda|\"cuda\"|tf32", code), code

    check_each(check, WITH_CODE)


def _without_words(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        elif isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    return ast.dump(tree)
