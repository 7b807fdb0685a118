"""Every entry with code has a test that runs it, and both languages show the same code."""

import ast
import re
from pathlib import Path

import pytest
import torch
from checking import check_each
from snippets.conftest import blocks
from snippets.reader import Snippet, batch, healthy_model, plain_model

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
    """Every entry with code has a test of its name, and every such test belongs to an entry with code."""
    assert sorted(set(WITH_CODE) - CASES - READ_ONLY.keys()) == []
    assert sorted((CASES | READ_ONLY.keys()) - set(WITH_CODE)) == []


def test_both_languages_show_the_same_code(library):
    """Only comments and printed words may differ."""

    def check(entry_id: str) -> None:
        english, chinese = (blocks(library, entry_id, lang) for lang in ("en", "zh"))
        assert [_without_words(code) for code in chinese] == [_without_words(code) for code in english]

    check_each(check, WITH_CODE)


def test_code_that_needs_a_gpu_says_so(library):
    """Code that runs only on a GPU is marked by a comment; the tests run its other branch."""

    def check(entry_id: str) -> None:
        for lang in ("en", "zh"):
            for code in blocks(library, entry_id, lang):
                assert "GPU" in code or not re.search(r"is_cuda|\"cuda\"|tf32", code), code

    check_each(check, WITH_CODE)


WANTS_EVAL = {"batch-of-one-differs", "bf16-greedy-diverges", "garbage-at-inference", "only-on-this-device"}
"""Entries whose code asks for `model.eval()` first."""
COUNTS_LABELS = {"batches-sorted-by-class-bn", "internal-covariate-shift"}
"""Entries whose code counts the labels of a loader that ignores none."""


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_every_snippet_runs_on_common_models(library):
    """The models have all layers but the last frozen, or no biases, or labels some of which are ignored."""

    def check(entry_id: str) -> None:
        code = Snippet("\n".join(blocks(library, entry_id, "en")))
        x, y = batch()
        frozen = plain_model()
        for p in list(frozen.parameters())[:-2]:
            p.requires_grad_(False)
        no_bias = torch.nn.Sequential(torch.nn.Linear(8, 16, bias=False), torch.nn.Linear(16, 2, bias=False))
        loss = torch.nn.functional.cross_entropy
        for model in (frozen, no_bias):
            code.run(model, loss=loss(model(x), y))
        if entry_id not in COUNTS_LABELS:
            model, some = healthy_model(), torch.where(torch.arange(len(y)) < 30, -100, y)
            code.run(model, y=some, loss=loss(model(x), some))

    check_each(check, sorted(set(WITH_CODE) - WANTS_EVAL))


def _without_words(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        elif isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    return ast.dump(tree)
