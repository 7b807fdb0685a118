"""numstab replay: evidence run again from what `--json` printed."""

import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model import Lang, RunStatus
from qa_service.model.json_numbers import json_safe
from qa_service.presentation.numbers import format_number
from qa_service.tools.replay import RELATIVE_TOLERANCE, ReplayOutcome, ReplayResult, read_receipts, replay_run

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
    """Adds `replay`."""
    parser: ArgumentParser = parsers.add_parser("replay", help="run evidence again and say whether it is the same")
    parser.add_argument("file", metavar="FILE", help="what ask --json or run --json printed; - reads standard input")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, many_runs=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Exit status 0 when everything is identical or equal, 1 when something differs."""
    replayed = [replay_run(receipt, service.lab) for receipt in read_receipts(_read_json(arguments.file))]
    if arguments.json:
        options.print_json([_result_json(one) for one in replayed])
    else:
        from qa_service.fronts.terminal.screen import TerminalView

        screen = TerminalView(lang)
        for one in replayed:
            for line in _result_lines(one, lang):
                screen.print_line(line)
    return (
        options.EXIT_NOT_ANSWERED
        if any(one.outcome is ReplayOutcome.DIFFERENT for one in replayed)
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


def _result_lines(one: ReplayResult, lang: Lang) -> list[str]:
    called = f"{one.receipt.experiment} seed={one.receipt.seed}"
    lines = [f"{called}: {_OUTCOME_TEXTS[lang][one.outcome]}"]
    if one.run.status is not RunStatus.RAN:
        lines.append(f"  {one.run.status.value}: {one.run.note[lang]}")
    lines += [
        f"  {name}: {format_number(then, lang, 17)} → {format_number(now, lang, 17)}"
        for name, (then, now) in one.changed.items()
    ]
    lines += [f"  {name}: {then[:40]} → {now[:40]}" for name, (then, now) in one.changed_versions.items()]
    return lines


def _result_json(one: ReplayResult) -> dict[str, Any]:
    return {
        "experiment": one.receipt.experiment,
        "params": json_safe(dict(one.receipt.params)),
        "seed": one.receipt.seed,
        "status": one.run.status.value,
        "sameness": one.outcome.value,
        "changed": {name: {"then": json_safe(then), "now": json_safe(now)}
                    for name, (then, now) in one.changed.items()},
        "moved": {name: {"then": then, "now": now} for name, (then, now) in one.changed_versions.items()},
    }  # fmt: skip
