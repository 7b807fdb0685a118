"""The table of causes: ids, texts in two languages, entries that exist, patches that are Python."""

import ast
import re

from checking import each_case

from qa_service.diagnosis.causes import CAUSES
from qa_service.paths import bundled


@each_case("cause", CAUSES.values())
def test_a_cause_is_complete(cause):
    """Each cause has a name and a cure in both languages, an existing entry, and consequences that are causes too."""
    assert list(bundled("kb").glob(f"*/{cause.entry}.toml")), cause.entry
    assert cause.consequences <= set(CAUSES) - {cause.id}
    assert cause.cure is not None
    for text in (cause.name, cause.cure):
        assert re.search(r"[\u4e00-\u9fff]", text.zh) and not re.search(r"[\u4e00-\u9fff]", text.en)
    assert not cause.name.en.endswith(".") and cause.cure.en.endswith(".") and cause.cure.zh.endswith("。")


@each_case("cause", CAUSES.values())
def test_a_patch_is_a_few_lines_of_python(cause):
    lines = cause.patch.splitlines()
    assert 1 <= len(lines) <= 6
    ast.parse(cause.patch)
