"""Alternatives offered beside an answer: entries whose scores are close to that of the answering entry."""

import io
from dataclasses import replace
from itertools import pairwise

import pytest

from qa_service.fronts.mcp.conversion import ask_result
from qa_service.fronts.openai_api.text import AnswerWriter, follow_ups
from qa_service.fronts.terminal.screen import TerminalView
from qa_service.fronts.web import render
from qa_service.model import Context, Match, Request
from qa_service.model.events import AnswerReady, Done
from qa_service.presentation.prose import answer_text
from qa_service.retrieval.matcher import MatchResult
from qa_service.schemas.answers import answer_json


@pytest.fixture
def ask(toy_service, monkeypatch):
    """A function that asks a question whose matches are given these scores; by default nothing runs."""

    def asked(scores, related=(), names=("counting", "raising", "hanging"), **fields):
        entries = [toy_service.knowledge.library[name] for name in names]
        matches = tuple(
            Match(entry=replace(entry, related=related), score=score, phrasing="数数甲")
            for entry, score in zip(entries, scores, strict=True)
        )
        monkeypatch.setattr(
            toy_service.knowledge.matcher, "match", lambda *_: MatchResult(matches=matches, subject=None)
        )
        request = Request(**{"question": "我的循环为什么停不下来", "run": False} | fields)
        return toy_service.answer(request) if request.run else toy_service.ask(request)

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
    """An entry that the request names, or that a follow-up continues, has none."""
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
    """An alternative is shown as the other entry's question, which can be asked where the front supports it."""
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
    TerminalView("zh", file=screen).print_rest(answer, (), full=False)
    assert asked in screen.getvalue()
    assert [each.entry for each in ask_result(answer).candidates] == ["raising"]
    assert follow_ups(answer)[0] == asked


def test_the_short_answer_of_an_alternative_is_measured_too(ask, toy_service):
    """Every front shows its numbers and the runs that measured them."""
    answer = ask((0.6, 0.5, 0.01), names=("raising", "counting", "hanging"), run=True)
    (offered,) = answer_json(answer).alternatives
    assert offered.short == "数到 5。"
    assert [(one.experiment, one.params["steps"]) for one in offered.evidence] == [("counts", 5)]
    assert not [one for one in answer.evidence if one.entry == "counting"]
    asked = offered.question
    _, event = render.page_event(Done(answer), "zh", toy_service.knowledge.experiments, answer.entry)
    html = event.model_dump()["parts_html"]["alternatives"]
    assert f'data-entry="counting" data-question="{asked}" data-keep>{asked}</button>' in html
    screen = io.StringIO()
    TerminalView("zh", file=screen).print_finished(answer)
    texts = [
        html,
        screen.getvalue(),
        answer_text(answer),
        ask_result(answer).answer,
        "".join(passage.text for passage in AnswerWriter(answer, "http://localhost/", runs=True).whole(answer)),
    ]
    assert all("数到 5。" in text for text in texts)


def test_an_alternative_is_measured_with_the_readers_numbers(service, monkeypatch):
    entries = [service.knowledge.library[name] for name in ("order-of-addition", "multiply-vs-add")]
    matches = tuple(
        Match(entry=entry, score=score, phrasing="连乘") for entry, score in zip(entries, (0.7, 0.6), strict=True)
    )
    monkeypatch.setattr(service.knowledge.matcher, "match", lambda *_: MatchResult(matches=matches, subject=None))
    answer = service.answer(Request(question="70 个 1.25 连乘的结果不对", brief=True))
    assert [other.id for other in answer.alternatives] == ["multiply-vs-add"]
    assert {(one.params["n"], one.params["x"]) for one in answer.alternative_evidence} == {(70, 1.25)}


def test_an_alternative_whose_run_fails_is_offered_without_its_short_answer(ask):
    answer = ask((0.6, 0.5, 0.01), run=True)
    (offered,) = answer_json(answer).alternatives
    assert [one.status for one in offered.evidence] == ["raised"]
    assert offered.short is None
    assert "若是在问" not in answer_text(answer)


def test_the_runs_of_alternatives_count_against_the_rate(ask, toy_service, monkeypatch):
    charged = []
    monkeypatch.setattr("qa_service.answering.service.charge_runs", charged.append)
    ask((0.9, 0.1, 0.01), names=("counting", "raising", "hanging"), run=True)
    ask((0.6, 0.5, 0.01), names=("counting", "raising", "hanging"), run=True)
    assert charged == [1, 2]


def test_a_request_that_may_just_run_is_not_refused_for_its_alternatives(ask, monkeypatch):
    """Without permission to queue more runs, the runs of alternatives are left out instead of refusing the request."""
    monkeypatch.setattr("qa_service.answering.service.MAX_RUNS", 1)
    answer = ask((0.6, 0.5, 0.01), names=("raising", "counting", "hanging"), run=True)
    assert len(answer.evidence) == 1
    assert answer.alternatives
    assert not answer.alternative_evidence


def test_an_alternative_is_the_question_that_was_met(service):
    """A text that asks two questions of shipped entries offers the second one, also where it is an aspect of its
    entry.
    """
    aspects = [(entry, one) for entry in service.knowledge.library.values() for one in entry.aspects][::12]
    met = []
    for (first, asked), (second, also) in pairwise(aspects):
        text = f"{asked.question['en']} {also.question['en']}"
        offered = service.ask(Request(question=text, run=False)).alternatives
        met += [each.aspect for each in offered if each.id in (first.id, second.id)]
    assert any(met)
