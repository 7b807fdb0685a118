"""`numstab check`: runs every claim at its parameters and at its control, over seeds."""

from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.model import Lang
from qa_service.presentation.numbers import format_number
from qa_service.tools import check_report
from qa_service.tools.claim_check import (
    ClaimResult,
    ClaimRun,
    ClaimSummary,
    MemoRunner,
    check_claims,
    plan_claim_runs,
    summarise_over_seeds,
)


def add_commands(parsers: Any) -> None:
    """Adds the command `check`."""
    parser: ArgumentParser = parsers.add_parser("check", help="run every claim at its parameters and its control")
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help="only these entries")
    parser.add_argument("--seeds", default="1", help="how many seeds, from 0 on (default 1)")
    parser.add_argument("--report", metavar="FILE", help="also write FILE.html or FILE.json")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, many_runs=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Runs the claims and prints a table; returns exit status 1 if a verdict differs from what its entry states."""
    entries = [service.knowledge.library[entry_id] for entry_id in arguments.entries] or list(
        service.knowledge.library.values()
    )
    planned = [one for entry in entries for one in plan_claim_runs(entry, range(_parse_seed_count(arguments.seeds)))]
    planned.sort(key=lambda one: one.seed)  # the first seed shows which runs draw no random numbers; those run once
    from qa_service.fronts.terminal.screen import TerminalView

    view = TerminalView(lang, quiet=arguments.json)
    runs = MemoRunner(service.knowledge.experiments, service.runner)

    def measure(one: ClaimRun) -> list[ClaimResult]:
        return check_claims(one, runs)

    with ThreadPoolExecutor(service.runner.slots) as pool:
        results = [
            result for batch in view.track_progress(pool.map(measure, planned), len(planned)) for result in batch
        ]
    summaries = summarise_over_seeds(results)
    differ = check_report.count_mismatches(summaries)
    if arguments.report:
        check_report.write_report(arguments.report, results, summaries, lang)
    if arguments.json:
        options.print_json(check_report.report_json(results, summaries))
    else:
        head = {
            "zh": ("词条", "断言", "处于", "测得", "界", "符合"),
            "en": ("entry", "claim", "at", "measured", "bound", "as stated"),
        }
        differing = [summary for summary in summaries if summary.differs]
        view.print_table(head[lang], [_table_row(summary, lang) for summary in (differing or summaries)])
        versions = ", ".join(f"{name} {version}" for name, version in check_report.library_versions(results).items())
        view.print_line(
            f"{len(results)} 个判定，{differ} 个与词条所述不符。{versions}"
            if lang == "zh"
            else f"{len(results)} verdicts, {differ} differ from what the entries state. {versions}"
        )
    return options.EXIT_NOT_ANSWERED if differ else options.EXIT_OK


def _parse_seed_count(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 1000:
        return int(text)
    raise BadField(
        zh="--seeds 应当是 1 到 1000 的整数", en="--seeds should be an integer from 1 to 1000", field="--seeds"
    )


def _table_row(summary: ClaimSummary, lang: Lang) -> tuple[str, ...]:
    measured = f"{summary.claim.metric} = {check_report.format_measured(summary, lang)}"
    bound = f"{summary.claim.op} {format_number(summary.claim.bound, lang)}"
    return (
        summary.entry,
        summary.claim.id,
        summary.condition,
        measured,
        bound,
        f"{summary.as_expected}/{summary.spread.seeds}",
    )
