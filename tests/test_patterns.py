"""Regular expressions that are compiled at their first use behave like compiled ones."""

import re
import subprocess
import sys

import pytest

from qa_service.patterns import lazy_pattern


def test_a_lazy_pattern_finds_what_a_compiled_one_finds():
    text = "Loss=nan at step 3, loss=0.5 at step 4"
    for flags in (0, re.IGNORECASE):
        lazy, compiled = lazy_pattern(r"loss=(?P<value>\S+)", flags), re.compile(r"loss=(?P<value>\S+)", flags)
        assert [found["value"] for found in lazy.finditer(text)] == [
            found["value"] for found in compiled.finditer(text)
        ]
        assert lazy.findall(text, 5) == compiled.findall(text, 5)
        assert lazy.sub("", text) == compiled.sub("", text)
        assert lazy.split(text) == compiled.split(text)
        assert (lazy.pattern, lazy.flags, lazy.groupindex) == (compiled.pattern, compiled.flags, compiled.groupindex)


def test_a_lazy_pattern_is_compiled_once_and_not_before_its_use(monkeypatch):
    compiled, compile_pattern = [], re.compile
    monkeypatch.setattr(re, "compile", lambda *given: compiled.append(given) or compile_pattern(*given))
    lazy = lazy_pattern("nan|inf")
    assert lazy.pattern == "nan|inf"
    assert not compiled
    assert lazy.search("a nan") and lazy.search("an inf") and not lazy.fullmatch("a nan")
    assert len(compiled) == 1


def test_a_broken_pattern_is_an_error_at_its_use():
    lazy = lazy_pattern("(")
    with pytest.raises(re.error, match="unterminated subpattern"):
        lazy.search("")


def test_reading_a_question_compiles_few_patterns(tmp_path):
    """Of the 600 patterns of the modules that a command imports, a short question needs some fifty."""
    code = (
        "import re\n"
        "compiled, compile = [], re.compile\n"
        "re.compile = lambda *given: compiled.append(given) or compile(*given)\n"
        "from pathlib import Path\n"
        "from qa_service.parse_cache import ParseCache\n"
        "from qa_service.parsing import parse_question, recall_patterns\n"
        "assert len(compiled) < 60, f'{len(compiled)} patterns are compiled by an import'\n"
        "compiled.clear()\n"
        f"parsed = ParseCache(Path({str(tmp_path)!r}))\n"
        "recall_patterns(parsed)\n"
        "parse_question('100 个 1.5 连乘会怎样？')\n"
        "assert len(compiled) < 100, f'{len(compiled)} patterns are compiled for a question'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
