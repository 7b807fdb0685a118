"""numstab eval: retrieval figures of labelled questions."""

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
    """Adds `eval`."""
    parser: ArgumentParser = parsers.add_parser("eval", help="how well labelled questions are understood")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a JSON line per question: q or turns, kind, items")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, no_run=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Asks every line without running an experiment, and counts."""
    lines = [line for path in arguments.files for line in _read_questions(path)]
    service.matcher.match("nan")  # what is loaded once belongs to no question
    from qa_service.fronts.terminal.screen import TerminalView

    screen = TerminalView(lang, quiet=arguments.json)
    outcomes = list(screen.track_progress((_evaluate(line, service) for line in lines), len(lines)))
    found = evaluation_report(outcomes)
    if arguments.json:
        options.print_json(found)
        return options.EXIT_OK
    columns = {"zh": "全部", "en": "all"}[lang], *(Path(path).stem for path in found["by_file"])
    head = ({"zh": "指标", "en": "figure"}[lang], *columns)
    tables = [found, *found["by_file"].values()]
    rows = [("n", *(str(table["n"]) for table in tables))]
    rows += [(name, *(_format_metric(table, name) for table in tables)) for name in _METRICS_WITH_INTERVAL]
    rows += [("ms_per_question", *(f"{table['ms_per_question']:.1f}" for table in tables))]
    screen.print_table(head, rows)
    for part in ("by_lang", "by_item"):
        rows = [
            (key, *(f"{each[name]:.2f}" for name in ("hit1", "hit3")), str(each["n"]))
            for key, each in found[part].items()
        ]
        screen.print_table((part, "hit1", "hit3", "n"), rows)
    words = {
        "zh": ("应为", "找到", "次数", "最差的问题", "把握"),
        "en": ("item", "found", "times", "worst", "confidence"),
    }[lang]
    screen.print_table(words[:3], [tuple(map(str, row)) for row in found["confusions"]])
    screen.print_table(
        (words[3], "kind", words[0], words[1], words[4]),
        [
            (
                one["q"][:60],
                one["kind"],
                " ".join(map(str, one["items"])),
                str(one["found"]),
                f"{one['confidence']:.2f}",
            )
            for one in found["worst"]
        ],
    )
    return options.EXIT_OK


def _read_questions(path: str) -> list[LabelledQuestion]:
    try:
        with open(path, "rb") as file:
            texts = list(file)
    except OSError as error:
        raise options.unreadable_file(path, error) from error
    return [parse_labelled_question(text, f"{path}:{at}", path) for at, text in enumerate(texts, 1) if text.strip()]


def _evaluate(line: LabelledQuestion, service: Service) -> EvaluatedQuestion:
    started = time.perf_counter()
    answer = service.ask(service.fold_turns(Request(question=line.turns[0], run=False), line.turns[1:]))
    return EvaluatedQuestion(question=line, answer=answer, seconds=time.perf_counter() - started)


def _format_metric(table: dict[str, Any], name: str) -> str:
    if table[name] is None:
        return "–"
    low, high = table["intervals"][name]
    return f"{table[name]:.3f} ({low:.2f}–{high:.2f})"
