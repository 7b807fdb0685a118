"""`numstab replay`: repeats the runs in the output of `ask --json` or `run --json`."""

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model import Lang, RunStatus
from qa_service.presentation.numbers import format_number
from qa_service.tools.replay import RELATIVE_TOLERANCE, ReplayOutcome, ReplayResult, read_receipts, replay_run

if TYPE_CHECKING:
    from qa_service.schemas.reports import ReplayResultJson

_OUTCOME_TEXTS = {
    "zh": {
        ReplayOutcome.IDENTICAL: "完全相同",
        ReplayOutcome.EQUAL: f"在容差内相等（相对 {RELATIVE_TOLERANCE:g}）",
        ReplayOutcome.DIFFERENT: "不同",
    },
    "en": {
        ReplayOutcome.IDENTICAL: "identical",
        ReplayOutcome.EQUAL: f"equal within the tolerance (relative {RELATIVE_TOLERANCE:g})",
        ReplayOutcome.DIFFERENT: "different",
    },
}


def add_commands(parsers: Any) -> None:
    """Adds the command `replay`."""
    parser: ArgumentParser = parsers.add_parser("replay", help="repeat runs and compare their results")
    parser.add_argument("file", metavar="FILE", help="the output of ask --json or run --json; - reads standard input")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, many_runs=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Repeats every run of the file; returns exit status 0 if all are identical or equal, 1 if any differs."""
    experiments = service.knowledge.experiments
    results = [
        replay_run(receipt, experiments, service.runner) for receipt in read_receipts(_read_json(arguments.file))
    ]
    if arguments.json:
        options.print_json([_result_json(result).to_dict() for result in results])
    else:
        from qa_service.fronts.terminal.screen import TerminalView

        view = TerminalView(lang)
        for result in results:
            for line in _result_lines(result, lang):
                view.print_line(line)
    return (
        options.EXIT_NOT_ANSWERED
        if any(result.outcome is ReplayOutcome.DIFFERENT for result in results)
        else options.EXIT_OK
    )


def _read_json(path: str) -> Any:
    try:
        if path == "-":
            return json.load(sys.stdin)
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise options.unreadable_file(path, error) from error
    except (ValueError, RecursionError) as error:
        raise BadField(zh=f"{path!r} 不是 JSON", en=f"{path!r} is no JSON", field="file") from error


def _result_lines(result: ReplayResult, lang: Lang) -> list[str]:
    heading = f"{result.receipt.experiment} seed={result.receipt.seed}"
    lines = [f"{heading}: {_OUTCOME_TEXTS[lang][result.outcome]}"]
    if result.run.status is not RunStatus.RAN:
        lines.append(f"  {result.run.status.value}: {result.run.note[lang]}")
    lines += [
        f"  {name}: {format_number(then, lang, 17)} → {format_number(now, lang, 17)}"
        for name, (then, now) in result.changed.items()
    ]
    lines += [f"  {name}: {then[:40]} → {now[:40]}" for name, (then, now) in result.changed_versions.items()]
    return lines


def _result_json(result: ReplayResult) -> "ReplayResultJson":
    from qa_service.schemas.reports import ChangedMetricJson, MovedVersionJson, ReplayResultJson

    return ReplayResultJson(
        experiment=result.receipt.experiment,
        params=dict(result.receipt.params),
        seed=result.receipt.seed,
        status=result.run.status.value,
        sameness=result.outcome.value,
        changed={name: ChangedMetricJson(then=then, now=now) for name, (then, now) in result.changed.items()},
        moved={name: MovedVersionJson(then=then, now=now) for name, (then, now) in result.changed_versions.items()},
    )
