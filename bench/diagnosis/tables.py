"""The command: trains or reads the suite, asks about every run, and prints the figures as Markdown tables."""

import argparse
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.diagnosis.architectures import FAMILIES, HELD_OUT
from bench.diagnosis.cures import main as print_cures
from bench.diagnosis.lines import main as print_lines
from bench.diagnosis.more_families import ADDED_FAMILIES
from bench.diagnosis.printers import LOG_PRINTERS, WITH_HEAD
from bench.diagnosis.runs import RecordedRun
from bench.diagnosis.score import (
    SERIES_VIEW,
    SICK_STATUSES,
    TRACE_VIEW,
    DiagnosedRun,
    Share,
    diagnose_views,
    faulty_runs,
    healthy_runs,
    names_cause_of_sudden_nan,
    poisoned_averages,
    run_in_view,
    score_rule_sets,
    share_of_runs,
    visibility_of,
)
from bench.diagnosis.suite import WatchFactory, load_suite, recorder_factory

WHOLE_LOGS = tuple(f"{name}{WITH_HEAD}" for name in LOG_PRINTERS)
"""The views of logs that begin with arguments or a configuration."""
QUICK_FAMILIES = ("mlp4", "cnn", "vae")


def main(options: Sequence[str]) -> None:
    """Prints the tables for the families and seeds that `options` name."""
    parser = argparse.ArgumentParser(prog="python -m bench diagnosis")
    parser.add_argument("--families", nargs="+", choices=sorted(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, default=1, help="runs of each fault in each family")
    parser.add_argument("--quick", action="store_true", help=f"one seed of {', '.join(QUICK_FAMILIES)}")
    parser.add_argument("--recorder", metavar="FOLDER", help="folder of the package numstab_watch; runs get a trace")
    parser.add_argument("--list-errors", action="store_true", help="each wrong answer, one a line")
    parser.add_argument("--fit", action="store_true", help="estimate the corrections to the weights, and write them")
    parser.add_argument("--cures", action="store_true", help="train a run of each fault again with its cure")
    parser.add_argument("--lines", action="store_true", help="only the lines of snippets of unseen logs")
    chosen = parser.parse_args(list(options))
    if chosen.lines:
        print_lines(*sorted(map(str, Path(__file__).parent.glob("snippets_*.txt"))))
        return
    if chosen.fit:
        _fit(chosen.seeds, recorder_factory(chosen.recorder) if chosen.recorder else None)
        return
    families, seeds = (list(QUICK_FAMILIES), 1) if chosen.quick else (chosen.families, chosen.seeds)
    runs = load_suite(families, seeds, recorder_factory(chosen.recorder) if chosen.recorder else None)
    if chosen.cures:
        print_cures(runs)
        return
    print(_counts(runs))
    print(_rule_set_table(runs))
    judged = [*diagnose_views(runs, [TRACE_VIEW, SERIES_VIEW, *LOG_PRINTERS, *WHOLE_LOGS]), *poisoned_averages(runs)]
    for table in (_view_table, _visibility_table, _alarm_table, _family_table, _fault_table, _calibration_table):
        print(table(judged))
    print(_thread_table())
    if chosen.list_errors:
        print(_errors(judged))


def _fit(seeds: int, watch: WatchFactory | None) -> None:
    """Estimates the corrections from all families that are not held out, writes them, and first prints how each family
    is diagnosed with corrections estimated without it.
    """
    from bench.diagnosis import fit

    families = [name for name in (*FAMILIES, *ADDED_FAMILIES) if name not in HELD_OUT]
    runs = load_suite(families, seeds, watch)
    examples = [
        fit.Example(run, view, seen)
        for run in runs
        for view in (SERIES_VIEW, *LOG_PRINTERS, *WHOLE_LOGS)
        if run.family not in HELD_OUT and (seen := run_in_view(run, view)) is not None
    ]
    judged = list(fit.leave_one_family_out(examples))
    print("By families that were left out when the corrections were estimated:\n")
    print(_view_table(judged))
    print(_calibration_table(judged))
    fit.write_corrections(fit.fit_corrections(fit.tabulate(examples)), examples)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _counts(runs: Sequence[RecordedRun]) -> str:
    groups = Counter(run.group for run in runs)
    return "Runs: " + ", ".join(f"{count} {group}" for group, count in sorted(groups.items())) + "\n"


def _rule_set_table(runs: Sequence[RecordedRun]) -> str:
    header = ("rule set", "faulty: any alarm", "first named cause right", "any named cause right", "healthy: any alarm")
    return _table(header, score_rule_sets(runs))


def _views(judged: Sequence[DiagnosedRun]) -> list[tuple[str, list[DiagnosedRun]]]:
    """Each view with its answers, and all the log formats together."""
    views = [
        (view, [each for each in judged if each.view == view]) for view in (TRACE_VIEW, SERIES_VIEW, *LOG_PRINTERS)
    ]
    logs = [each for each in judged if each.view in LOG_PRINTERS]
    whole = [each for each in judged if each.view in WHOLE_LOGS]
    groups = [*views, ("all logs", logs), ("all logs, with their heads", whole)]
    return [(view, answers) for view, answers in groups if answers]


def _view_table(judged: Sequence[DiagnosedRun]) -> str:
    rows: list[Sequence[object]] = []
    for view, answers in _views(judged):
        for name, part in (("fitted", False), ("held out", True)):
            of_part = faulty_runs(each for each in answers if each.held_out == part)
            rows.append((
                view, name,
                share_of_runs(of_part, lambda each: each.first_is_right(strict=True)),
                share_of_runs(of_part, lambda each: each.first_is_right(strict=False)),
                share_of_runs(of_part, lambda each: each.two_are_right(strict=False)),
                share_of_runs(of_part, lambda each: each.status == "undecided"),
                share_of_runs(of_part, lambda each: each.status == "healthy"),
            ))  # fmt: skip
    header = ("view", "families", "cause first", "or a link of its chain", "among two", "undecided", "called healthy")
    return _table(header, rows)


def _visibility_table(judged: Sequence[DiagnosedRun]) -> str:
    rows: list[Sequence[object]] = []
    for view, answers in _views(judged):
        for seen, of_seen in _split(faulty_runs(answers), lambda each: visibility_of(each.run)).items():
            rows.append((
                view, seen, _right(of_seen),
                share_of_runs(of_seen, names_cause_of_sudden_nan) if seen == "sudden nan" else "",
                share_of_runs(of_seen, lambda each: each.status == "undecided"),
                share_of_runs(of_seen, lambda each: each.status == "healthy"),
            ))  # fmt: skip
    return _table(("view", "what a log shows", "cause first", "group right", "undecided", "called healthy"), rows)


def _alarm_table(judged: Sequence[DiagnosedRun]) -> str:
    rows: list[Sequence[object]] = []
    poisoned = [each for each in judged if each.view == "metric_logger"]
    for view, answers in [*_views(judged), ("poisoned average", poisoned)]:
        groups: tuple[tuple[str, Callable[[DiagnosedRun], bool]], ...] = (
            ("healthy, fitted", lambda each: each.run.group == "healthy" and not each.held_out),
            ("healthy, held out", lambda each: each.run.group == "healthy" and each.held_out),
            ("traps", lambda each: each.run.group == "trap"),
            ("harmless faults", lambda each: each.run.group == "harmless"),
        )
        for name, belongs in groups:
            of_group = [each for each in answers if belongs(each)]
            if of_group:
                rows.append((
                    view, name, share_of_runs(of_group, lambda each: each.status in SICK_STATUSES),
                    share_of_runs(of_group, lambda each: each.status != "healthy"),
                ))  # fmt: skip
    return _table(("view", "runs without harm", "called sick", "any warning"), rows)


def _split(judged: Sequence[DiagnosedRun], key: Callable[[DiagnosedRun], str]) -> dict[str, list[DiagnosedRun]]:
    groups: dict[str, list[DiagnosedRun]] = {}
    for each in judged:
        groups.setdefault(key(each), []).append(each)
    return groups


def _right(answers: Sequence[DiagnosedRun]) -> Share:
    return share_of_runs(answers, lambda each: each.first_is_right(strict=False))


def _by_view(answers: Sequence[DiagnosedRun]) -> tuple[Share, Share, Share]:
    return (
        _right([each for each in answers if each.view == TRACE_VIEW]),
        _right([each for each in answers if each.view == SERIES_VIEW]),
        _right([each for each in answers if each.view in LOG_PRINTERS]),
    )


def _family_table(judged: Sequence[DiagnosedRun]) -> str:
    rows = []
    for family, answers in _split(faulty_runs(judged), lambda each: each.run.family).items():
        healthy = [each for each in healthy_runs(judged) if each.run.family == family and each.run.group == "healthy"]
        name = family + (" (held out)" if family in HELD_OUT else "")
        rows.append((name, *_by_view(answers), share_of_runs(healthy, lambda each: each.status != "healthy")))
    return _table(("family", "trace", "series", "logs", "healthy: any warning, all views"), rows)


def _fault_table(judged: Sequence[DiagnosedRun]) -> str:
    rows = []
    for fault, answers in _split(faulty_runs(judged), lambda each: each.run.fault).items():
        wrong = Counter(
            (each.causes[0] if each.status in SICK_STATUSES and each.causes else each.status)
            for each in answers
            if not each.first_is_right(strict=False)
        )
        said = ", ".join(f"{cause} {count}" for cause, count in wrong.most_common(3))
        rows.append((fault, answers[0].run.cause, *_by_view(answers), said))
    rows.sort(key=operator.itemgetter(1))
    return _table(("fault", "cause", "trace", "series", "logs", "said instead"), rows)


def _calibration_table(judged: Sequence[DiagnosedRun]) -> str:
    rows = []
    for certainty, answers in sorted(_split(faulty_runs(judged), lambda each: each.certainty).items()):
        if certainty:
            rows.append((certainty, _right(answers)))
    return _table(("certainty", "cause first is right"), rows)


def _thread_table() -> str:
    from bench.diagnosis.threads import THREAD_FILES, score_threads

    rows = [(f"{half} ({name})", *scores) for name in THREAD_FILES for half, scores in score_threads(name).items()]
    return _table(("public threads", "sick: cause first", "sick: among two", "healthy: any warning"), rows)


def _errors(judged: Sequence[DiagnosedRun]) -> str:
    lines = []
    for each in judged:
        wrong = (
            not each.first_is_right(strict=False) if each.run.group == "faulty" else each.status != "healthy"
        )  # fmt: skip
        if wrong:
            said = f"{each.status} {'/'.join(each.causes)} {each.probability:.2f}"
            lines.append(f"{each.run.group} {each.run.id} [{each.view}] is {each.run.cause or 'healthy'}: {said}")
    return "\n".join(lines)
