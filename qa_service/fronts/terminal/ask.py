"""numstab ask: one question, or a file of them."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.errors import BadField, NumstabError
from qa_service.fronts.terminal import options
from qa_service.model import Answer, AnswerStatus, Evidence, Lang, Request, RunStatus
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady

if TYPE_CHECKING:
    from qa_service.fronts.terminal.screen import TerminalView


def add_commands(parsers: Any) -> None:
    """Adds `ask`."""
    parser: ArgumentParser = parsers.add_parser("ask", help="answer a question with live evidence")
    parser.add_argument("question", nargs="?", help="the question, in Chinese or English")
    options.add_lang(parser)
    options.add_params(parser)
    options.add_json(parser)
    parser.add_argument(
        "--compare", action="append", default=[], metavar="NAME=A,B", help="run once for each value; repeatable"
    )
    parser.add_argument("--seeds", default="1", help="repeat each run with this many seeds: how often a claim holds")
    parser.add_argument("--entry", metavar="ID", help="ask this entry instead of looking for one")
    parser.add_argument("--no-run", action="store_true", help="text only: run no experiment")
    parser.add_argument("--explain", action="store_true", help="also say which phrasing was met and what spoke for it")
    parser.add_argument("--batch", metavar="FILE", help="a JSON line per question; - reads standard input")
    parser.set_defaults(carry_out=carry_out)


def carry_out(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Exit status 0 answered, 1 not covered or unclear, 3 an experiment failed."""
    request = Request(
        question=arguments.question or "",
        lang=arguments.lang,
        params=options.params(arguments.param),
        compare=options.compared(arguments.compare),
        seed=options.seed(arguments.seed),
        seeds=options.seeds(arguments.seeds),
        entry=options.entry(arguments.entry),
        run=not arguments.no_run,
    )
    if arguments.batch:
        return _batch(arguments.batch, request, service)
    if arguments.question is None and arguments.entry is None:
        raise BadField(
            zh='缺少问题。例如：numstab ask "loss 变成 nan 怎么办"',
            en='there is no question. For example: numstab ask "why is my loss nan?"',
            field="question",
        )
    if request.entry and not request.lang and not request.question:
        request = replace(request, lang=lang)
    if arguments.json:
        from qa_service.schemas.answers import answer_json

        answer = service.answer(request)
        options.print_json(answer_json(answer).to_dict())
        return exit_status(answer)
    return exit_status(show(request, service, explain=arguments.explain))


def exit_status(answer: Answer) -> int:
    """What the shell is told."""
    if answer.status is not AnswerStatus.ANSWERED:
        return options.EXIT_NOT_ANSWERED
    return options.DONE if all(one.run.status is RunStatus.RAN for one in answer.evidence) else options.FAILED


def show(request: Request, service: Service, *, explain: bool = False) -> Answer:
    """Prints the answer's text at once and its evidence as it is measured. Raises `BadRequest` before anything else.

    An interrupt ends the run under way and is passed on.
    """
    before = request.context.entry if request.context else None
    with closing(service.stream(request)) as events:
        return _printed(events, before=before, explain=explain and bool(request.question))


def _printed(events: Iterator[Event], *, before: str | None, explain: bool) -> Answer:
    """The text of an entry that was read just `before` is left out: its short answer follows with the numbers."""
    opening = next(events)
    assert isinstance(opening, AnswerReady)
    from qa_service.fronts.terminal.screen import TerminalView

    screen = TerminalView(opening.answer.lang)
    entry = opening.answer.entry
    screen.answer(opening.answer, known=entry is not None and entry.id == before)
    if explain:
        _explain(opening.answer, screen)
    sys.stdout.flush()  # the text is there before torch is
    finished: list[Evidence] = []
    with screen.progress() as progress:
        for event in events:
            progress.take(event)
            if isinstance(event, EvidenceReady):
                finished.append(event.evidence)
                screen.evidence(event.evidence)
            if isinstance(event, Done):
                screen.closing(event.answer)
    return replace(opening.answer, evidence=tuple(finished))


def _explain(answer: Answer, screen: "TerminalView") -> None:
    head = {
        "zh": ("条", "词条", "把握", "遇到的问法", "依据"),
        "en": ("item", "entry", "score", "phrasing met", "because of"),
    }[answer.lang]
    meaning = {"zh": "整句的意思", "en": "its meaning"}[answer.lang]
    rows = []
    for match in answer.matches:
        because = (f"{term.removeprefix('w:').strip() or meaning} {weight:+.2f}" for term, weight in match.reasons)
        rows.append((str(match.entry.item), match.entry.id, f"{match.score:.2f}", match.phrasing, ", ".join(because)))
    screen.table(head, rows)


def _batch(path: str, fixed: Request, service: Service) -> int:
    """A line of JSON out for each line in, in order; a line that is no question gives an error, and the rest go on."""
    worst = options.DONE
    with ThreadPoolExecutor(service.lab.slots) as pool:
        for printed, status in pool.map(lambda line: _line(line, fixed, service), list(_lines(path))):
            options.print_json(printed)
            worst = max(worst, status)
    return worst


def _lines(path: str) -> Iterator[bytes]:
    try:
        if path == "-":
            yield from (line for line in sys.stdin.buffer if line.strip())
        else:
            with open(path, "rb") as file:
                yield from (line for line in file if line.strip())
    except OSError as error:
        raise options.unreadable(path, error, "--batch") from error


def _line(line: bytes, fixed: Request, service: Service) -> tuple[dict[str, Any], int]:
    from qa_service.schemas.answers import answer_json

    try:
        answer = _converse(line, fixed, service)
    except NumstabError as error:
        lang: Lang = "zh" if fixed.lang == "zh" else "en"
        return {"error": {"code": error.code, "detail": error[lang], "field": error.field}}, options.USAGE
    return answer_json(answer).to_dict(), exit_status(answer)


def _converse(line: bytes, fixed: Request, service: Service) -> Answer:
    """The answer to a line: of its last turn, each turn in the context of the one before. What the line does not say is
    as on the command line.
    """
    from qa_service.schemas.requests import read_request

    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise BadField(zh="每一行应当是一个 JSON 对象", en="each line should be a JSON object", field="line")
    turns = asked.get("turns", [asked.get("q", asked.get("question"))])
    if not isinstance(turns, list) or not turns or len(turns) > 50:
        raise BadField(zh="turns 应当是问题的列表", en="turns should be a list of questions", field="turns")
    names = ("params", "compare", "seed", "seeds", "entry", "run", "context")
    given = {name: asked[name] for name in names if name in asked}
    first, *later = [read_request({**given, "question": turn}) for turn in turns]
    request = replace(fixed, question=first.question, **{name: getattr(first, name) for name in given})
    return service.answer(service.fold_turns(request, [turn.question for turn in later]))
