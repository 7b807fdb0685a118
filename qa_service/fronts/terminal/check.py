"""`numstab check`: runs every claim at its parameters and at its control, over seeds, and can record the result."""

import datetime as dt
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.knowledge import checked
from qa_service.model import Entry, Lang, RunStatus
from qa_service.presentation.numbers import format_number
from qa_service.tools import check_report
from qa_service.tools.claim_check import (
    ClaimResult,
    ClaimRun,
    ClaimSummary,
    by_experiment,
    check_groups,
    group_by_run,
    plan_claim_runs,
    summarise_over_seeds,
)

_MIN_RECORDED_SEEDS = 3


def add_commands(parsers: Any) -> None:
    """Adds the command `check`."""
    parser: ArgumentParser = parsers.add_parser("check", help="run every claim at its parameters and its control")
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help="only these entries")
    parser.add_argument("--seeds", default="1", help="how many seeds, from 0 on (default 1)")
    parser.add_argument("--report", metavar="FILE", help="also write FILE.html or FILE.json")
    parser.add_argument(
        "--record", action="store_true", help="write to kb/checked.json which entries came out as stated"
    )
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, many_runs=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Runs the claims and prints a table; returns exit status 1 if a verdict differs from what its entry states."""
    entries = [service.knowledge.library[entry_id] for entry_id in arguments.entries] or list(
        service.knowledge.library.values()
    )
    seeds = _parse_seed_count(arguments.seeds)
    if arguments.record and seeds < _MIN_RECORDED_SEEDS:
        raise BadField(
            zh=f"--record 至少要 {_MIN_RECORDED_SEEDS} 个种子",
            en=f"--record needs {_MIN_RECORDED_SEEDS} seeds at least",
            field="--record",
        )
    experiments = service.knowledge.experiments
    planned = [one for entry in entries for one in plan_claim_runs(entry, range(seeds))]
    parts = by_experiment(group_by_run(planned, experiments))
    from qa_service.fronts.terminal.screen import TerminalView

    view = TerminalView(lang, quiet=arguments.json)

    def measure(groups: list[list[ClaimRun]]) -> list[ClaimResult]:
        return check_groups(groups, experiments, service.runner)

    with ThreadPoolExecutor(service.runner.slots) as pool:
        measured = [result for batch in view.track_progress(pool.map(measure, parts), len(parts)) for result in batch]
    place = {entry.id: nth for nth, entry in enumerate(entries)}
    results = sorted(measured, key=lambda result: (place[result.entry], result.seed))
    summaries = summarise_over_seeds(results)
    differ = check_report.count_mismatches(summaries)
    if arguments.record:
        _record(arguments.settings.kb, entries, seeds, results, summaries, service)
    if arguments.report:
        check_report.write_report(arguments.report, results, summaries, lang)
    if arguments.json:
        options.print_json(check_report.report_json(results, summaries).to_dict())
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
        if unfinished := next((each.run.note for each in results if each.run.status is RunStatus.CRASHED), None):
            view.print_line(unfinished[lang])  # that torch is not installed, for example
    return options.EXIT_NOT_ANSWERED if differ else options.EXIT_OK


def _record(
    folder: Path,
    entries: Sequence[Entry],
    seeds: int,
    results: Sequence[ClaimResult],
    summaries: Sequence[ClaimSummary],
    service: Service,
) -> None:
    """Updates kb/checked.json: sets the record of each entry that came out as stated, removes that of any other.

    Records of entries that were not checked now are kept, those of entries that do not exist any more are removed.
    """
    records = checked.read_records(folder)
    differing = {summary.entry for summary in summaries if summary.differs}
    measured = {result.entry for result in results}
    today = dt.datetime.now(dt.UTC).date().isoformat()
    for entry in entries:
        records.pop(entry.id, None)
        if entry.id in measured - differing:
            records[entry.id] = {
                "on": today,
                "seeds": seeds,
                "versions": check_report.library_versions(results),
                "evidence": checked.evidence_hash(entry.evidence, service.knowledge.experiments),
            }
    known = service.knowledge.library
    checked.write_records(folder, {entry_id: record for entry_id, record in records.items() if entry_id in known})


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
