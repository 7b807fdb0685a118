"""`numstab eval`: retrieval metrics of labelled questions."""

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from qa_service.answering.service import Service
from qa_service.fronts.terminal import options
from qa_service.model import Lang, Request
from qa_service.tools.evaluation import EvaluatedQuestion, LabelledQuestion, evaluation_report, parse_labelled_question

_METRICS_WITH_INTERVAL = (
    "hit1", "hit3", "auroc_near", "auroc_out", "answered_right", "answered_wrong", "false_answers", "params_right",
)  # fmt: skip


def add_commands(parsers: Any) -> None:
    """Adds the command `eval`."""
    parser: ArgumentParser = parsers.add_parser("eval", help="how well labelled questions are understood")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a JSON line per question: q or turns, kind, items")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, no_run=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Asks every labelled question without running experiments and prints the metrics; returns exit status 0."""
    questions = [question for path in arguments.files for question in _read_questions(path)]
    service.knowledge.matcher.match("nan")  # loads the model, so that its loading time counts for no question
    from qa_service.fronts.terminal.screen import TerminalView

    view = TerminalView(lang, quiet=arguments.json)
    outcomes = list(view.track_progress((_evaluate(question, service) for question in questions), len(questions)))
    report = evaluation_report(outcomes)
    if arguments.json:
        options.print_json(report)
        return options.EXIT_OK
    columns = {"zh": "全部", "en": "all"}[lang], *(Path(path).stem for path in report["by_file"])
    head = ({"zh": "指标", "en": "figure"}[lang], *columns)
    tables = [report, *report["by_file"].values()]
    rows = [("n", *(str(table["n"]) for table in tables))]
    rows += [(name, *(_format_metric(table, name) for table in tables)) for name in _METRICS_WITH_INTERVAL]
    rows += [("ms_per_question", *(f"{table['ms_per_question']:.1f}" for table in tables))]
    view.print_table(head, rows)
    for part in ("by_lang", "by_item"):
        rows = [
            (key, *(f"{each[name]:.2f}" for name in ("hit1", "hit3")), str(each["n"]))
            for key, each in report[part].items()
        ]
        view.print_table((part, "hit1", "hit3", "n"), rows)
    heads = {
        "zh": ("应为", "找到", "次数", "最差的问题", "把握"),
        "en": ("item", "found", "times", "worst", "confidence"),
    }[lang]
    view.print_table(heads[:3], [tuple(map(str, row)) for row in report["confusions"]])
    view.print_table(
        (heads[3], "kind", heads[0], heads[1], heads[4]),
        [
            (
                one["q"][:60],
                one["kind"],
                " ".join(map(str, one["items"])),
                str(one["found"]),
                f"{one['confidence']:.2f}",
            )
            for one in report["worst"]
        ],
    )
    return options.EXIT_OK


def _read_questions(path: str) -> list[LabelledQuestion]:
    try:
        with open(path, "rb") as file:
            lines = list(file)
    except OSError as error:
        raise options.unreadable_file(path, error) from error
    return [parse_labelled_question(line, f"{path}:{at}", path) for at, line in enumerate(lines, 1) if line.strip()]


def _evaluate(question: LabelledQuestion, service: Service) -> EvaluatedQuestion:
    started = time.perf_counter()
    answer = service.ask(service.fold_turns(Request(question=question.turns[0], run=False), question.turns[1:]))
    return EvaluatedQuestion(question=question, answer=answer, seconds=time.perf_counter() - started)


def _format_metric(table: dict[str, Any], name: str) -> str:
    if table[name] is None:
        return "–"
    low, high = table["intervals"][name]
    return f"{table[name]:.3f} ({low:.2f}–{high:.2f})"
