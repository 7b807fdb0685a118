"""`numstab ask`: one question, or a file of questions."""

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
from qa_service.fronts.terminal.diagnosis_report import print_brief
from qa_service.model import (
    FIRST_PARTS,
    PLACEHOLDER,
    Answer,
    AnswerStatus,
    Entry,
    Evidence,
    Lang,
    Request,
    RunStatus,
)
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady
from qa_service.settings import Settings

if TYPE_CHECKING:
    from qa_service.answering.writer import ModelWriter
    from qa_service.fronts.terminal.screen import TerminalView


def add_commands(parsers: Any) -> None:
    """Adds the command `ask`."""
    parser: ArgumentParser = parsers.add_parser("ask", help="answer a question with live evidence")
    parser.add_argument("question", nargs="?", help="the question, in Chinese or English")
    options.add_lang(parser)
    options.add_params(parser)
    options.add_json(parser)
    parser.add_argument(
        "--compare", action="append", default=[], metavar="NAME=A,B", help="run once for each value; repeatable"
    )
    parser.add_argument("--seeds", default="1", help="repeat each run with N seeds: how often claims hold", metavar="N")
    parser.add_argument("--entry", metavar="ID", help="answer with this entry instead of searching for one")
    parser.add_argument(
        "--aspect", metavar="ID", help="the further question of this entry to answer (--full lists them)"
    )
    parser.add_argument("--full", action="store_true", help="also print why, scope, all evidence and the lecture")
    parser.add_argument("--no-run", action="store_true", help="text only: run no experiment")
    parser.add_argument(
        "--explain", action="store_true", help="also print the nearest phrasings and the terms that contributed"
    )
    parser.add_argument(
        "--reword", action="store_true", help="also print the answer reworded by the language model of NUMSTAB_WRITER"
    )
    parser.add_argument("--batch", metavar="FILE", help="a file with a JSON object per line; - reads standard input")
    parser.set_defaults(run_with_service=run_with_service)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Prints the answer; returns exit status 0 (answered), 1 (not covered or unclear) or 3 (an experiment failed).

    With `--batch`, the greatest of the exit statuses of its lines.
    """
    request = Request(
        question=arguments.question or "",
        lang=arguments.lang,
        params=options.parse_params(arguments.param),
        compare=options.parse_compare(arguments.compare),
        seed=options.parse_seed(arguments.seed),
        seeds=options.parse_seeds(arguments.seeds),
        entry=options.parse_entry(arguments.entry),
        aspect=arguments.aspect or "",
        run=not arguments.no_run,
        brief=not (arguments.full or arguments.json or arguments.batch),
    )
    if arguments.batch:
        return _answer_batch(arguments.batch, request, service)
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
    writer = _writer(arguments.settings) if arguments.reword else None
    answer = print_answer(request, service, full=arguments.full, explain=arguments.explain)
    if writer is not None and answer.entry is not None:
        _print_rewording(answer, answer.entry, writer)
    return exit_status(answer)


def _writer(settings: Settings) -> "ModelWriter":
    """The language model of the settings; raises `BadField` if none is set."""
    from qa_service.answering.writer import ModelWriter

    if not settings.writer or not settings.writer_model:
        raise BadField(
            zh="--reword 要用的语言模型没有设置：NUMSTAB_WRITER（地址）和 NUMSTAB_WRITER_MODEL（名字）",
            en="no language model is set for --reword: NUMSTAB_WRITER (address) and NUMSTAB_WRITER_MODEL (name)",
            field="reword",
        )
    return ModelWriter(settings.writer, settings.writer_model, settings.writer_key)


def _print_rewording(answer: Answer, entry: Entry, writer: "ModelWriter") -> None:
    """Prints the answer as reworded by a language model, marked as such, or that the rewording was rejected."""
    from qa_service.answering.rewording import reword
    from qa_service.fronts.terminal.screen import TerminalView

    said = reword(answer.question, entry, answer.evidence, answer.lang, writer)
    zh = answer.lang == "zh"
    view = TerminalView(answer.lang)
    if not said.text:
        view.print_line(
            f"\n{said.model} 的改写没有通过检查（{len(said.refused)}/{said.sentences} 句），不显示。"
            if zh
            else f"\nThe rewording by {said.model} did not pass the checks ({len(said.refused)} of {said.sentences} "
            "sentences); it is not shown."
        )
        return
    view.print_line(
        f"\n换一种说法（{said.model} 改写了 {said.kept}/{said.sentences} 句；数字和判定是 numstab 的，以上文为准）"
        if zh
        else f"\nIn other words ({said.kept} of {said.sentences} sentences by {said.model}; numbers and verdicts are "
        "numstab's; where they differ, the text above counts)"
    )
    view.print_markdown(said.text)


def exit_status(answer: Answer) -> int:
    """The exit status for an answer: 0, 1 if it is unclear or not covered, 3 if an experiment failed."""
    if answer.status is AnswerStatus.ACKNOWLEDGED:
        return options.EXIT_OK
    if answer.status is not AnswerStatus.ANSWERED:
        return options.EXIT_NOT_ANSWERED
    return (
        options.EXIT_OK
        if all(one.run.status is RunStatus.RAN for one in answer.evidence)
        else options.EXIT_EXPERIMENT_FAILED
    )


def print_answer(request: Request, service: Service, *, full: bool = False, explain: bool = False) -> Answer:
    """Prints the short answer, its evidence, what to do and how to tell, with `full` also the rest; returns the answer.

    Raises `BadRequest` before anything is printed. `KeyboardInterrupt` cancels the running experiment and propagates.
    """
    previous_entry = request.context.entry if request.context else None
    with closing(service.stream(request)) as events:
        opening = next(events)
        assert isinstance(opening, AnswerReady)
        answer = opening.answer
        from qa_service.fronts.terminal.screen import TerminalView

        view = TerminalView(answer.lang)
        view.print_opening(answer)
        if answer.diagnosis is not None:
            print_brief(answer.diagnosis, view, answer.lang)
        if explain and request.question:
            _print_explanation(answer, view)
        if answer.calculation is not None:
            return _print_calculation(answer, view, events)
        if answer.entry is None:
            return answer
        is_new = answer.entry.id != previous_entry
        answer = _print_short_answer(answer, answer.entry, view, events, full=full)
        view.print_rest(answer, FIRST_PARTS[1:] if is_new else (), full=full)
    return answer


def _print_calculation(answer: Answer, view: "TerminalView", events: Iterator[Event]) -> Answer:
    """Waits for the runs, then prints the reply and the values of the formulas in every format."""
    with view.run_progress() as progress:
        for event in events:
            progress.on_event(event)
            if isinstance(event, Done):
                answer = event.answer
    view.print_calculation(answer)
    return answer


def _print_short_answer(
    answer: Answer, entry: Entry, view: "TerminalView", events: Iterator[Event], *, full: bool
) -> Answer:
    """Prints the short answer as soon as its numbers are measured, and the evidence for it; returns the whole answer.

    A short answer without measured numbers is printed at once.
    """
    waits_for = {name for name, *_ in PLACEHOLDER.findall(entry.part(answer.part or "short", answer.lang))}
    is_proof = set() if answer.part else {entry.evidence[0].id} if full else {block.id for block in entry.evidence}
    evidence: list[Evidence] = []
    pending: list[Evidence] = []
    is_shown = not waits_for
    if is_shown:
        view.print_short(answer)
        sys.stdout.flush()  # so that the text is shown before torch is imported
    with view.run_progress() as progress:
        for event in events:
            progress.on_event(event)
            if isinstance(event, EvidenceReady):
                evidence.append(event.evidence)
                pending.append(event.evidence)
            if isinstance(event, Done):
                answer = event.answer
            if not is_shown and (isinstance(event, Done) or waits_for <= {one.block for one in evidence}):
                view.print_short(replace(answer, evidence=tuple(evidence)))
                is_shown = True
            while is_shown and pending:
                if (one := pending.pop(0)).block in is_proof or one.compared:
                    view.print_proof(one)
    return answer


def _print_explanation(answer: Answer, view: "TerminalView") -> None:
    head = {
        "zh": ("题", "词条", "把握", "最近的问法", "依据"),
        "en": ("item", "entry", "score", "nearest phrasing", "because of"),
    }[answer.lang]
    meaning = {"zh": "整句的意思", "en": "its meaning"}[answer.lang]
    rows = []
    for match in answer.matches:
        reasons = (f"{term.removeprefix('w:').strip() or meaning} {weight:+.2f}" for term, weight in match.reasons)
        rows.append((str(match.entry.item), match.entry.id, f"{match.score:.2f}", match.phrasing, ", ".join(reasons)))
    view.print_table(head, rows)


def _answer_batch(path: str, defaults: Request, service: Service) -> int:
    """Prints a line of JSON for each line of the file, in order: an answer, or an error object.

    Returns the greatest exit status.
    """
    highest_status = options.EXIT_OK
    with ThreadPoolExecutor(service.runner.slots) as pool:
        for result, status in pool.map(lambda line: _answer_line(line, defaults, service), list(_read_batch(path))):
            options.print_json(result)
            highest_status = max(highest_status, status)
    return highest_status


def _read_batch(path: str) -> Iterator[bytes]:
    try:
        if path == "-":
            yield from (line for line in sys.stdin.buffer if line.strip())
        else:
            with open(path, "rb") as file:
                yield from (line for line in file if line.strip())
    except OSError as error:
        raise options.unreadable_file(path, error, "--batch") from error


def _answer_line(line: bytes, defaults: Request, service: Service) -> tuple[dict[str, Any], int]:
    from qa_service.schemas.answers import answer_json

    try:
        answer = _answer_turns(line, defaults, service)
    except NumstabError as error:
        lang: Lang = "zh" if defaults.lang == "zh" else "en"
        return {"error": {"code": error.code, "detail": error[lang], "field": error.field}}, options.EXIT_USAGE
    return answer_json(answer).to_dict(), exit_status(answer)


def _answer_turns(line: bytes, defaults: Request, service: Service) -> Answer:
    """The answer to the last turn of a line; each turn is asked in the context of the turn before.

    Fields that the line does not have are those of the command line. Raises `BadField` for a malformed line.
    """
    from qa_service.schemas.lines import read_batch_line

    (first, *later), given = read_batch_line(line)
    request = replace(defaults, question=first.question, **{name: getattr(first, name) for name in given})
    knowledge = service.knowledge
    return service.answer(service.fold_turns(request, [turn.question for turn in later], knowledge), knowledge)
