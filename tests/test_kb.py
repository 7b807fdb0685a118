"""The entries as they ship: what each must have, in both languages, and that its own questions find it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qa_service.model import LANGS, AnswerStatus, Request
from qa_service.settings import Settings

# What the reader of a snippet has at hand: a model that trains, a batch, a loader, a loss that was just computed.
_READERS_OWN = """
import torch
from torch import nn

torch.set_num_threads(1)

def theirs():
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    x, y = torch.randn(64, 8), torch.randint(2, (64,))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return dict(
        torch=torch, nn=nn, model=model, x=x, y=y, X=x, Y=y, x_val=x, y_val=y, criterion=criterion, loss_fn=criterion,
                optimizer=optimizer, loss=criterion(model(x), y), layer=model[0], new_loader=[(x, y)] * 3)

def put_to_use(block):
    try:
        exec(block, theirs())
    except (AssertionError, RuntimeError) as found:  # a snippet that looks for inf and nan may say that it found one
        assert "inf" in str(found) or "nan" in str(found), found
"""
ENTRIES = sorted(path.stem for path in Settings().kb.glob("[0-9]*/*.toml"))
SOURCES = sorted(path.stem for path in Settings().kb.glob("[0-9]*/*.toml") if "[lecture" in path.read_text("utf-8"))
OPEN = {"bn-gradient-predictiveness"}
"""Questions without a verdict: their numbers are shown, nothing is claimed."""


def test_every_item_of_the_lecture_has_its_entry(service):
    """Fifteen questions and the closing remark."""
    assert [entry.item for entry in service.knowledge.library.values() if entry.expands is None] == list(range(1, 17))


@pytest.mark.parametrize("entry_id", ENTRIES)
def test_an_entry_is_whole(service, entry_id):
    """Our answer, phrasings, evidence, relations; of an item of the lecture also its words, more claims and sources."""
    entry = service.knowledge.library[entry_id]
    source = entry.expands is None
    assert bool(entry.lecture) is source
    assert entry.references or not source
    assert entry.related
    assert entry.id not in entry.related
    assert source or service.knowledge.library[entry.expands].item == entry.item
    claims = sum(len(block.claims) for block in entry.evidence)
    assert claims >= (2 if source else 0 if entry.id in OPEN else 1)
    ids = [claim.id for block in entry.evidence for claim in block.claims]
    assert len(ids) == len(set(ids))
    for lang in LANGS:
        assert len(entry.phrasings[lang]) >= (15 if source else 10)
        answer = entry.answer[lang]
        assert re.match(r"\*\*.+?\*\*", answer, re.DOTALL), "the short answer comes first, in bold"
        assert "[[" in answer.split("\n\n")[0] or "[[" in answer, "live numbers stand in the text"


@pytest.mark.parametrize("entry_id", ENTRIES)
def test_each_language_is_written_in_itself(service, entry_id):
    """No Chinese in English, and Chinese in every Chinese text; the numbers shown are the same in both."""
    entry = service.knowledge.library[entry_id]
    texts = [entry.question, entry.answer, *(claim.says for block in entry.evidence for claim in block.claims)]
    for text in texts:
        assert not re.search(r"[\u3400-\u9fff]", text.en), text.en
        assert re.search(r"[\u3400-\u9fff]", text.zh)
    shown = {lang: set(re.findall(r"\[\[.+?\]\]", entry.answer[lang])) for lang in LANGS}
    assert shown["zh"] == shown["en"]


def test_no_phrasing_stands_in_two_entries(service):
    """A wording that two entries claim can only be answered wrongly by one of them."""
    seen: dict[str, str] = {}
    for entry in service.knowledge.library.values():
        for lang in LANGS:
            for phrasing in entry.phrasings[lang]:
                assert seen.setdefault(phrasing.lower(), entry.id) == entry.id, phrasing


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("entry_id", SOURCES)
def test_the_lectures_own_questions_find_their_entry(service, entry_id, lang):
    """The question as we put it, and the lecture's own words, in both languages."""
    entry = service.knowledge.library[entry_id]
    assert entry.lecture is not None
    lecture = entry.lecture.question or entry.lecture.answer
    for question in (entry.question[lang], lecture[lang]):
        answer = service.ask(Request(question=question))
        assert answer.status is AnswerStatus.ANSWERED
        assert answer.entry is entry


@pytest.mark.parametrize(
    "question", ["今晚吃什么", "what is the weather like tomorrow", "how do I renew my passport", "小程序白屏怎么办"]
)
def test_what_is_not_covered_is_declined(service, question):
    """Far from the subject: no entry, three nearest."""
    answer = service.answer(Request(question=question))
    assert answer.status is AnswerStatus.NOT_COVERED
    assert len(answer.matches) >= 3


def test_code_in_answers_runs(service):
    """Every python block of an answer runs as it stands where a reader has a model, data and a loss."""
    blocks = {
        block
        for entry in service.knowledge.library.values()
        for lang in LANGS
        for block in re.findall(r"```python\n(.*?)```", entry.answer[lang], re.DOTALL)
    }
    assert blocks
    code = f"{_READERS_OWN}\nfor block in {sorted(blocks)!r}:\n    put_to_use(block)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_sources_are_files_of_their_own():
    """One entry, one file; one experiment, one file."""
    assert len(list(Path(Settings().demos).rglob("*.py"))) >= 100
    assert len(ENTRIES) >= 160
