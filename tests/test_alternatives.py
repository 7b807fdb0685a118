"""What may have been asked instead: entries whose scores are close to that of the one that answers."""

import io
from dataclasses import replace
from itertools import pairwise

import pytest

from qa_service.fronts.mcp.conversion import ask_result
from qa_service.fronts.openai_api.text import follow_ups
from qa_service.fronts.terminal.screen import TerminalView
from qa_service.fronts.web import render
from qa_service.model import Context, Match, Request
from qa_service.model.events import AnswerReady
from qa_service.retrieval.matcher import MatchResult
from qa_service.schemas.answers import answer_json


@pytest.fixture
def ask(toy_service, monkeypatch):
    """A function that asks a question whose matches have these scores, and returns the answer without runs."""
    entries = [toy_service.knowledge.library[name] for name in ("counting", "raising", "hanging")]

    def asked(scores, related=(), **fields):
        matches = tuple(
            Match(entry=replace(entry, related=related), score=score, phrasing="数数甲")
            for entry, score in zip(entries, scores, strict=True)
        )
        monkeypatch.setattr(
            toy_service.knowledge.matcher, "match", lambda *_: MatchResult(matches=matches, subject=None)
        )
        return toy_service.ask(Request(**{"question": "我的循环为什么停不下来", "run": False} | fields))

    return asked


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.9, 0.1, 0.05), []),
        ((0.9, 0.5, 0.05), ["raising"]),
        ((0.6, 0.5, 0.4), ["raising", "hanging"]),
        ((0.4, 0.39, 0.38), []),  # not covered: they are offered as the nearest
    ],
)
def test_close_entries_are_offered_beside_the_answer(ask, scores, expected):
    answer = ask(scores)
    assert [each.id for each in answer.alternatives] == expected
    assert [each.entry for each in answer_json(answer).alternatives] == expected


def test_only_an_entry_found_by_the_words_has_alternatives(ask):
    """Neither an entry that the request names nor that of a follow-up."""
    close = (0.9, 0.8, 0.7)
    assert ask(close).alternatives
    assert not ask(close, entry="counting").alternatives
    context = Context(entry="counting", params={}, lang="zh")
    assert not ask((0.6, 0.5, 0.4), question="那 7 步呢", context=context).alternatives


def test_an_entry_that_is_offered_is_not_named_again_as_related(ask):
    answer = ask((0.9, 0.5, 0.05), related=("raising", "hanging"))
    assert [each.id for each in answer.alternatives] == ["raising"]
    assert [each.id for each in answer.related] == ["hanging"]


def test_every_front_offers_them(ask, toy_service):
    """As the question of the other entry, which can be asked there where the front can ask again."""
    answer = ask((0.9, 0.5, 0.1))
    (other,) = answer.alternatives
    asked = other.question["zh"]
    _, event = render.page_event(AnswerReady(answer), "zh", toy_service.knowledge.experiments, answer.entry)
    html = event.model_dump()["html"]
    assert f'data-entry="raising" data-question="{asked}" data-keep>{asked}</button>' in html
    assert 'data-part="alternatives"' not in render.page_event(
        AnswerReady(replace(answer, alternatives=())), "zh", toy_service.knowledge.experiments, answer.entry
    )[1].model_dump()["html"]  # fmt: skip
    screen = io.StringIO()
    TerminalView("zh", file=screen).print_short(answer)
    assert asked in screen.getvalue()
    assert [each.entry for each in ask_result(answer).candidates] == ["raising"]
    assert follow_ups(answer)[0] == asked


def test_an_alternative_is_the_question_that_was_met(service):
    """Of real entries: a text that asks two things offers the second, where it is an aspect as that."""
    aspects = [(entry, one) for entry in service.knowledge.library.values() for one in entry.aspects][::12]
    met = []
    for (first, asked), (second, also) in pairwise(aspects):
        text = f"{asked.question['en']} {also.question['en']}"
        offered = service.ask(Request(question=text, run=False)).alternatives
        met += [each.aspect for each in offered if each.id in (first.id, second.id)]
    assert any(met)
