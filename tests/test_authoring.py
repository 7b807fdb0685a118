"""Commands for authors: `numstab gaps`, and `numstab kb new`, `lint`, `fmt` and `check` from a draft to an entry."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from checking import each_case

from qa_service.errors import BadField
from qa_service.experiments.spec import load_specs
from qa_service.knowledge import scaffold as drafts
from qa_service.store import Store, StoredQuestion
from qa_service.tools.gaps import group_unanswered

ROOT = Path(__file__).resolve().parent.parent


def unanswered(question: str) -> StoredQuestion:
    return StoredQuestion(question=question, lang="en", status="not_covered", entry=None, helpful=None, reason=None)


@pytest.fixture
def numstab(terminal, cache, tmp_path):
    """The command with a writable copy of the knowledge base and demos, and its own store."""
    shutil.copytree(ROOT / "kb", tmp_path / "kb")
    shutil.copytree(ROOT / "demos", tmp_path / "demos")
    env = {"NUMSTAB_KB": str(tmp_path / "kb"), "NUMSTAB_DEMOS": str(tmp_path / "demos"), "NUMSTAB_CACHE": str(cache),
           "NUMSTAB_DATA": str(tmp_path / "data"), "NUMSTAB_DEADLINE": "240", "LANG": "C.UTF-8"}  # fmt: skip
    return partial(terminal, env=env)


def test_similar_unanswered_questions_are_grouped(service):
    """The largest group comes first; each group has its nearest entries."""
    flash = ["is flash attention exact?", "does flash attention give the same numbers", "flash attention exactness"]
    other = ["which optimiser is best for quantum chemistry"]
    gaps = group_unanswered([unanswered(question) for question in (*other, *flash)], service.knowledge.matcher)
    assert [len(gap.questions) for gap in gaps] == [3, 1]
    assert {stored.question for stored in gaps[0].questions} == set(flash)
    assert gaps[0].most_typical in flash
    assert all(gap.nearest for gap in gaps)
    assert group_unanswered([], service.knowledge.matcher) == []


def test_gaps_lists_groups_and_writes_drafts(numstab, tmp_path):
    """A draft entry has the questions as phrasings; the draft demo is a valid experiment."""
    store = Store(f"sqlite:///{tmp_path / 'data' / 'numstab.sqlite'}", keep_days=30)
    from qa_service.model import Answer, AnswerStatus

    for number, question in enumerate(
        ("is stochastic depth stable?", "is stochastic depth numerically stable", "随机深度稳定吗")
    ):
        store.record(Answer(id=f"01K{number:023d}", status=AnswerStatus.NOT_COVERED, lang="en", question=question,
                            entry=None, confidence=0.1, matches=(), params={}))  # fmt: skip
    store.close()
    listed = json.loads(numstab("gaps", "--json").stdout)
    assert sum(len(gap["questions"]) for gap in listed) == 3
    result = numstab("gaps", "--draft", str(tmp_path / "drafts"), "--lang", "en")
    assert result.returncode == 0, result.stderr
    assert "stochastic depth" in result.stdout
    written = sorted(path.name for path in (tmp_path / "drafts").rglob("*.*"))
    assert "gap-01.toml" in written
    assert "gap_01.py" in written
    assert "stochastic depth" in (tmp_path / "drafts" / "kb" / "gap-01.toml").read_text("utf-8")
    assert set(load_specs(tmp_path / "drafts" / "demos")) >= {"gap_01"}


def test_gaps_without_stored_questions_names_the_setting(numstab):
    result = numstab("gaps", "--lang", "zh")
    assert result.returncode == 0, result.stderr
    assert "NUMSTAB_KEEP_QUESTIONS" in result.stdout


def test_new_entry_is_linted_formatted_and_checked(numstab, tmp_path):
    """`kb new` writes a draft that lint rejects; filled in and formatted, it passes `kb lint` and `check`."""
    new = numstab("kb", "new", "harmonic-sums", "--expands", "float16-precision")
    assert new.returncode == 0, new.stderr
    entry, demo = (Path(line) for line in new.stdout.split())
    assert entry.parent.name == "16-float16-precision"
    assert demo.name == "harmonic_sums.py"
    assert demo.parent.name == "precision"
    assert numstab("kb", "new", "harmonic-sums", "--expands", "float16-precision").returncode == 2
    lint = numstab("kb", "lint", str(entry))
    assert lint.returncode == 1
    assert f"{entry}:" in lint.stdout
    assert "phrasings" in lint.stdout
    text = entry.read_text("utf-8")
    text = text.replace('zh = ""', 'zh = "调和级数会停吗？"').replace(
        'en = ""', 'en = "Does the harmonic series stop?"'
    )
    for lang in ("zh", "en"):
        wordings = ", ".join(f'"{lang} harmonic series {number} "' for number in (*range(12), 3))
        text = text.replace(f"{lang} = [\n]", f"{lang} = [{wordings}]")
    entry.write_text(text, "utf-8")
    assert numstab("kb", "fmt", str(entry)).stdout.strip() == str(entry)
    assert entry.read_text("utf-8").count('"zh harmonic series 3"') == 1
    assert "at which the claim must fail" in entry.read_text("utf-8")
    assert numstab("kb", "fmt").stdout == ""  # neither the new entry nor any of the shipped ones
    lint = numstab("kb", "lint")
    assert (lint.returncode, lint.stdout) == (0, "")
    checked = numstab("check", "harmonic-sums", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["differ"] == 0


_FORMATTED = r"""item = 1  # of the lecture

[phrasings]
zh = [
  "怎么数",
]
en = [
  "how to count",
  "say \"one\"",
]

[[aspect]]
id = "why"
[aspect.phrasings]
en = [
  "why one?",
]
"""


@each_case(
    ("written", "formatted"),
    [
        ("", ""),
        ('zh = [\n  "怎么数",\n]', 'zh = ["怎么数"]'),
        ('zh = [\n  "怎么数",\n]', 'zh = [\n  "怎么数"\n]'),
        ('  "how to count",\n', '  "how to count ",\n'),
        ('  "how to count",\n', '  "how to count",\n  "how to count",\n'),
        ('  "how to count",\n', "  'how to count',\n"),
        ('  "how to count",\n', '  "how to count",  # or to add\n'),
        ('  "why one?",\n', '    "why one?",\n'),
        ("]\n\n[[aspect]]", "]  \n\n[[aspect]]"),
    ],
)
def test_each_phrasing_gets_a_line_and_nothing_else_changes(written, formatted):
    """Formatting a formatted text changes nothing, comments included; blank lines at the end are removed."""
    unformatted = _FORMATTED.replace(written, formatted)
    assert (unformatted == _FORMATTED) == (not written)
    result = drafts.format_entry(unformatted + "\n")
    assert result.replace("]  \n", "]\n") == _FORMATTED
    assert drafts.format_entry(_FORMATTED) == _FORMATTED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kb", "new", "../evil", "--expands", "nan-and-inf"), "lower-case"),
        (("kb", "new", "x", "--expands", "nope"), "nope"),
        (("kb", "new", "x", "--expands", "nan-and-inf", "--experiment", "nope"), "pow_vs_sum"),
        (("kb", "fmt", "/nowhere.toml"), "/nowhere.toml"),
        (("gaps", "--least", "0"), "--least"),
    ],
)
def test_invalid_arguments_are_reported(numstab, arguments, message):
    result = numstab(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_utf8_is_reported(numstab, tmp_path):
    file = tmp_path / "latin.toml"
    file.write_bytes("# Gödel".encode("latin-1"))
    result = numstab("kb", "fmt", str(file))
    assert result.returncode == 2
    assert "latin.toml is no TOML" in result.stderr


def test_drafts_never_overwrite_a_file(tmp_path):
    drafts.write_new_file(tmp_path / "a" / "x.toml", "1")
    with pytest.raises(BadField):
        drafts.write_new_file(tmp_path / "a" / "x.toml", "2")
    assert (tmp_path / "a" / "x.toml").read_text() == "1"
