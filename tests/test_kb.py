"""The shipped entries are complete, in both languages, and found by their own questions; tests/snippets runs their
code.
"""

import re
from pathlib import Path

import pytest
from checking import check_each

from qa_service.model import LANGS, PARTS, PLACEHOLDER, AnswerStatus, Request, Text
from qa_service.settings import Settings

ENTRIES = sorted(path.stem for path in Settings().kb.glob("[0-9]*/*.toml"))
LECTURE_ENTRIES = sorted(
    path.stem for path in Settings().kb.glob("[0-9]*/*.toml") if "[lecture" in path.read_text("utf-8")
)


def test_every_lecture_item_has_an_entry(service):
    """The items are 1 to 15 and the closing remark."""
    assert [entry.item for entry in service.knowledge.library.values() if entry.expands is None] == list(range(1, 17))


def test_every_entry_is_complete(service):
    """An entry has an answer, phrasings, claims and related entries; one of a lecture item also its text, references,
    more claims.
    """
    library = service.knowledge.library

    def check(entry_id: str) -> None:
        entry = library[entry_id]
        is_lecture_item = entry.expands is None
        assert bool(entry.lecture) is is_lecture_item
        assert entry.references or not is_lecture_item
        assert entry.related
        assert entry.id not in entry.related
        assert is_lecture_item or library[entry.expands].item == entry.item
        assert all(block.claims for block in entry.evidence)
        assert sum(len(block.claims) for block in entry.evidence) >= (2 if is_lecture_item else 1)
        ids = [claim.id for block in entry.evidence for claim in block.claims]
        assert len(ids) == len(set(ids))
        for lang in LANGS:
            assert len(entry.phrasings[lang]) >= (15 if is_lecture_item else 10)
            assert "[[" in entry.text(lang), "the text has live numbers"

    check_each(check, ENTRIES)


def test_texts_are_in_their_own_language(service):
    """English texts have no Chinese characters, every Chinese one has some; both contain the same live numbers."""

    def check(entry_id: str) -> None:
        entry = service.knowledge.library[entry_id]
        parts = [Text(entry.part(part, "zh"), entry.part(part, "en")) for part in PARTS if entry.part(part, "en")]
        aspects = [text for one in entry.aspects for text in (one.question, one.short)]
        texts = [entry.question, *parts, *aspects, *(claim.says for block in entry.evidence for claim in block.claims)]
        for text in texts:
            assert not re.search(r"[\u3400-\u9fff]", text.en), text.en
            assert re.search(r"[\u3400-\u9fff]", text.zh)
        for part in PARTS:
            texts_of_part = {lang: entry.part(part, lang) for lang in LANGS}
            shown = {lang: {name[:2] for name in PLACEHOLDER.findall(text)} for lang, text in texts_of_part.items()}
            assert shown["zh"] == shown["en"], part
        for one in entry.aspects:
            shown = {lang: {name[:2] for name in PLACEHOLDER.findall(one.short[lang])} for lang in LANGS}
            assert shown["zh"] == shown["en"], one.id

    check_each(check, ENTRIES)


@pytest.mark.parametrize("entry_id", LECTURE_ENTRIES)
def test_quotations_of_the_lecture_are_verbatim(service, entry_id):
    """Each statement that an entry judges stands in the lecture word for word, or is marked as commonly said."""
    entry = service.knowledge.library[entry_id]
    for lang in LANGS:
        sources = (entry.lecture.question, entry.lecture.answer, entry.lecture.netizens)
        said = _one_line(" ".join(text[lang] for text in sources if text))
        for line in entry.part("lecture", lang).strip().split("\n"):
            judged, verdict, _ = line.partition("**")
            assert verdict, line
            if re.search("常有人说|commonly said", judged, re.IGNORECASE):
                continue
            quotations = re.findall(r"[“「]([^”」]+)[”」]", judged)
            assert quotations, line
            for quotation in quotations:
                assert _one_line(quotation).rstrip("。.，,；;") in said, line


def _one_line(text: str) -> str:
    return " ".join(text.split()).lower()


def test_phrasings_are_unique(service):
    """No two entries share a phrasing, ignoring case."""
    seen: dict[str, str] = {}
    for entry in service.knowledge.library.values():
        for lang in LANGS:
            for phrasing in entry.phrasings[lang]:
                assert seen.setdefault(phrasing.lower(), entry.id) == entry.id, phrasing


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("entry_id", LECTURE_ENTRIES)
def test_lecture_questions_find_their_entry(service, entry_id, lang):
    """The entry is found by its own question, and by the words of the lecture."""
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
def test_questions_outside_the_subject_are_not_covered(service, question):
    """The answer has the nearest entries only."""
    answer = service.answer(Request(question=question))
    assert answer.status is AnswerStatus.NOT_COVERED
    assert len(answer.matches) >= 3


def test_number_of_entries_and_demos():
    """Without entries and demos, the tests above would check nothing."""
    assert len(list(Path(Settings().demos).rglob("*.py"))) >= 100
    assert len(ENTRIES) >= 160


@pytest.mark.parametrize(
    ("first", "one_in"), [(0, 8), *(pytest.param(first, 4, marks=pytest.mark.exhaustive) for first in range(4))]
)
def test_the_questions_of_aspects_find_them(service, first, one_in):
    """A sample of entries is tested, in both languages; a few aspects may be nearer to another entry."""
    asked = [
        (entry, one, lang)
        for entry in list(service.knowledge.library.values())[first::one_in]
        for one in entry.aspects
        for lang in LANGS
    ]
    answers = [(service.ask(Request(question=one.question[lang], run=False)), entry, one) for entry, one, lang in asked]
    missed = [
        f"{entry.id}: {one.id}"
        for answer, entry, one in answers
        if answer.entry is None or (answer.entry.id, answer.entry.aspect) != (entry.id, one.id)
    ]
    assert asked
    assert len(missed) <= 0.03 * len(asked), missed
