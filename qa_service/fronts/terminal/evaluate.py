"""`numstab eval`: retrieval metrics on labelled questions, and leave-one-out accuracy on the entries' phrasings."""

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.fronts.terminal import options
from qa_service.model import Lang, Request
from qa_service.tools.evaluation import (
    EvaluatedQuestion,
    LabelledQuestion,
    aspect_report,
    evaluation_report,
    left_out_report,
    parse_labelled_question,
)

if TYPE_CHECKING:
    from qa_service.fronts.terminal.screen import TerminalView

_METRICS_WITH_INTERVAL = (
    "hit1", "hit3", "entry1", "entry3", "source_share", "auroc_near", "auroc_out", "answered_right", "answered_wrong",
    "false_answers", "params_right",
)  # fmt: skip
_LISTED_ENTRIES = 20  # the least accurate ones


def add_commands(parsers: Any) -> None:
    """Adds the command `eval`."""
    parser: ArgumentParser = parsers.add_parser("eval", help="measure retrieval on labelled questions")
    parser.add_argument("files", nargs="*", metavar="FILE", help="a JSON line per question: q or turns, kind, items")
    parser.add_argument(
        "--left-out", action="store_true", help="also measure leave-one-out accuracy on the entries' phrasings"
    )
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, no_run=True, parser=parser)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Prints the metrics of labelled questions, asked without running experiments, and of left-out phrasings.

    Returns exit status 0. Raises `BadField` without files and without `--left-out`.
    """
    if not arguments.files and not arguments.left_out:
        arguments.parser.error("FILE or --left-out is required")
    from qa_service.fronts.terminal.screen import TerminalView

    view = TerminalView(lang, quiet=arguments.json)
    report: dict[str, Any] = {}
    if arguments.files:
        report = evaluation_report(_ask_all(arguments.files, service, view))
    if arguments.left_out:
        report["left_out"] = left_out_report(service.knowledge.library, service.knowledge.matcher.leave_one_out())
        report["left_out"]["aspects"] = aspect_report(service.knowledge.matcher.left_out_aspects())
    if arguments.json:
        options.print_json(report)
        return options.EXIT_OK
    if arguments.files:
        _print_report(report, view, lang)
    if arguments.left_out:
        _print_left_out(report["left_out"], view, lang)
    return options.EXIT_OK


def _ask_all(paths: list[str], service: Service, view: "TerminalView") -> list[EvaluatedQuestion]:
    questions = [question for path in paths for question in _read_questions(path)]
    service.knowledge.matcher.match("nan")  # loads the model, so that no question is charged for it
    return list(view.track_progress((_evaluate(question, service) for question in questions), len(questions)))


def _print_report(report: dict[str, Any], view: "TerminalView", lang: Lang) -> None:
    columns = {"zh": "全部", "en": "all"}[lang], *(Path(path).stem for path in report["by_file"])
    tables = [report, *report["by_file"].values()]
    rows = [("n", *(str(table["n"]) for table in tables))]
    rows += [(name, *(_format_metric(table, name) for table in tables)) for name in _METRICS_WITH_INTERVAL]
    rows += [("ms_per_question", *(f"{table['ms_per_question']:.1f}" for table in tables))]
    view.print_table(({"zh": "指标", "en": "metric"}[lang], *columns), rows)
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
                " ".join(map(str, one["entries"] or one["items"])),
                one["entry"] if one["entries"] else str(one["found"]),
                f"{one['confidence']:.2f}",
            )
            for one in report["worst"]
        ],
    )


def _print_left_out(report: dict[str, Any], view: "TerminalView", lang: Lang) -> None:
    names = {"source": {"zh": "讲义问题", "en": "source entries"}, "expansion": {"zh": "展开", "en": "expansions"}}
    groups = [(names[name][lang], report[name]) for name in names]
    groups += list(report["by_entry"].items())[:_LISTED_ENTRIES]
    kinds = {"own": {"zh": "词条自己的问题", "en": "own question"}, "aspect": {"zh": "另外的问题", "en": "aspects"}}
    view.print_table(
        {"zh": ("留一法：问的是哪个", "第一", "n"), "en": ("left out: which question", "first", "n")}[lang],
        [
            (kinds[name][lang], _format_metric(each, "first"), str(each["n"]))
            for name, each in report["aspects"].items()
        ],
    )
    head = {"zh": ("留一法", "第一", "前三", "n"), "en": ("left out", "first", "first3", "n")}[lang]
    view.print_table(
        head,
        [
            (name, _format_metric(each, "first"), _format_metric(each, "first3"), str(each["n"]))
            for name, each in groups
        ],
    )


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
