"""The author's path: from questions that found no answer to a draft, from a draft to a checked entry."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from qa_service.errors import BadField
from qa_service.experiments.spec import load_specs
from qa_service.knowledge import scaffold as drafts
from qa_service.settings import Settings
from qa_service.store import KeptQuestion, Store
from qa_service.tools.gaps import group_unanswered

ROOT = Path(__file__).resolve().parent.parent


def asked(question: str) -> KeptQuestion:
    return KeptQuestion(question=question, lang="en", status="not_covered", entry=None, helpful=None, reason=None)


@pytest.fixture
def numstab(terminal, cache, tmp_path):
    """The command with a copy of the knowledge base to write into, and a store of its own."""
    shutil.copytree(ROOT / "kb", tmp_path / "kb")
    shutil.copytree(ROOT / "demos", tmp_path / "demos")
    env = {"NUMSTAB_KB": str(tmp_path / "kb"), "NUMSTAB_DEMOS": str(tmp_path / "demos"), "NUMSTAB_CACHE": str(cache),
           "NUMSTAB_DATA": str(tmp_path / "data"), "NUMSTAB_DEADLINE": "60", "LANG": "C.UTF-8"}  # fmt: skip
    return partial(terminal, env=env)


def test_questions_of_one_meaning_are_one_gap(service):
    """Largest group first, each with the entries nearest to it."""
    flash = ["is flash attention exact?", "does flash attention give the same numbers", "flash attention exactness"]
    other = ["which optimiser is best for quantum chemistry"]
    found = group_unanswered([asked(question) for question in (*other, *flash)], service.knowledge.matcher)
    assert [len(gap.questions) for gap in found] == [3, 1]
    assert {one.question for one in found[0].questions} == set(flash)
    assert found[0].most_typical in flash
    assert all(gap.nearest for gap in found)
    assert group_unanswered([], service.knowledge.matcher) == []


def test_gaps_are_listed_and_drafted(numstab, tmp_path):
    """A draft holds the questions as phrasings, a claim, and an experiment that is one."""
    store = Store(f"sqlite:///{tmp_path / 'data' / 'numstab.sqlite'}", keep_days=30)
    from qa_service.model import Answer, AnswerStatus

    for at, question in enumerate(
        ("is stochastic depth stable?", "is stochastic depth numerically stable", "随机深度稳定吗")
    ):
        store.record(Answer(id=f"01K{at:023d}", status=AnswerStatus.NOT_COVERED, lang="en", question=question,
                            entry=None, confidence=0.1, matches=(), params={}))  # fmt: skip
    store.close()
    listed = json.loads(numstab("gaps", "--json").stdout)
    assert sum(len(gap["questions"]) for gap in listed) == 3
    done = numstab("gaps", "--draft", str(tmp_path / "drafts"), "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "stochastic depth" in done.stdout
    written = sorted(path.name for path in (tmp_path / "drafts").rglob("*.*"))
    assert "gap-01.toml" in written
    assert "gap_01.py" in written
    assert "stochastic depth" in (tmp_path / "drafts" / "kb" / "gap-01.toml").read_text("utf-8")
    assert set(load_specs(tmp_path / "drafts" / "demos")) >= {"gap_01"}


def test_nothing_kept_is_said(numstab):
    done = numstab("gaps", "--lang", "zh")
    assert done.returncode == 0, done.stderr
    assert "NUMSTAB_KEEP_QUESTIONS" in done.stdout


def test_from_a_draft_to_a_checked_entry(numstab, tmp_path):
    """New, what lint says of it, the blanks filled in, neat, checked."""
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
        wordings = ", ".join(f'"{lang} harmonic series {at} "' for at in (*range(12), 3))
        text = text.replace(f"{lang} = [\n]", f"{lang} = [{wordings}]")
    entry.write_text(text, "utf-8")
    assert numstab("kb", "fmt", str(entry)).stdout.strip() == str(entry)
    assert entry.read_text("utf-8").count('"zh harmonic series 3"') == 1
    assert "# parameters at which the claim must fail" in entry.read_text("utf-8")
    assert numstab("kb", "fmt").stdout == ""
    lint = numstab("kb", "lint")
    assert (lint.returncode, lint.stdout) == (0, "")
    checked = numstab("check", "harmonic-sums", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["differ"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kb", "new", "../evil", "--expands", "nan-and-inf"), "lower-case"),
        (("kb", "new", "x", "--expands", "nope"), "nope"),
        (("kb", "new", "x", "--expands", "nan-and-inf", "--experiment", "nope"), "pow_vs_sum"),
        (("kb", "fmt", "/nowhere.toml"), "/nowhere.toml"),
        (("gaps", "--least", "0"), "--least"),
    ],
)
def test_what_is_wrong_is_named(numstab, words, said):
    done = numstab(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_no_draft_overwrites(tmp_path):
    drafts.write_new_file(tmp_path / "a" / "x.toml", "1")
    with pytest.raises(BadField):
        drafts.write_new_file(tmp_path / "a" / "x.toml", "2")
    assert (tmp_path / "a" / "x.toml").read_text() == "1"


def test_the_shipped_entries_are_neat():
    """`numstab kb fmt` changes none of them."""
    for path in sorted(Settings().kb.rglob("*.toml")):
        source = path.read_text("utf-8")
        assert drafts.format_entry(source) == source, path
