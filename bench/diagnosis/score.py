"""Asks the diagnosis and the rule sets about each run, and counts how often they are right."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from bench.diagnosis.architectures import HELD_OUT
from bench.diagnosis.printers import HEAD_PRINTERS, LOG_PRINTERS, WITH_HEAD, metric_logger
from bench.diagnosis.rule_sets import RULE_SETS, RuleSet
from bench.diagnosis.runs import RecordedRun
from qa_service.model.diagnosis import Diagnosis
from qa_service.model.training_run import TrainingRun

SICK_STATUSES = frozenset({"sick", "not_numerics"})
TRACE_VIEW, SERIES_VIEW = "trace", "series"
"""Views of a run besides its six log formats: the recorder's file, and the series of every step without the layers."""


Visibility = Literal["sudden nan", "no warning but slowness", "visible"]
"""What a log shows of a fault's harm: a sudden nan, only slower learning, or a sign that points to the cause."""
SUDDEN_NAN_CAUSES = frozenset({
    "nonfinite_data", "bad_labels", "log_of_zero", "eps_lost", "gradient_at_zero", "zero_over_zero", "where_backward",
    "empty_attention_row", "forward_overflow", "adam_stale",
})  # fmt: skip
"""Causes of a nan that comes without warning; a log that does not name the operation cannot tell them apart."""


class Share(NamedTuple):
    """A proportion: `right` of `total`."""

    right: int
    total: int

    @property
    def value(self) -> float:
        return self.right / self.total if self.total else math.nan

    def interval(self, z: float = 1.959964) -> tuple[float, float]:
        """Wilson's interval, of 95 per cent by default."""
        if not self.total:
            return math.nan, math.nan
        n, p = self.total, self.value
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{100 * self.value:.0f} % ({100 * low:.0f}–{100 * high:.0f}, n = {self.total})" if self.total else "–"


class DiagnosedRun(NamedTuple):
    """The diagnosis of a run from one view of it: its log in one format, its series, or its trace."""

    run: RecordedRun
    view: str
    """`TRACE_VIEW`, `SERIES_VIEW`, or the id of the printer."""
    status: str
    causes: tuple[str, ...]
    """The named causes, at most two, the most probable first."""
    probability: float
    certainty: str = ""

    @property
    def held_out(self) -> bool:
        return self.run.family in HELD_OUT

    @property
    def accepted(self) -> frozenset[str]:
        """The causes that count as right if the neighbours of the true cause in its chain of causes are accepted
        too.
        """
        accepted = {self.run.cause, *self.run.also}
        if self.view.startswith("hf_trainer") and not all(math.isfinite(loss) for loss in self.run.loss):
            accepted.add("hidden_nan")
        return frozenset(accepted)

    @property
    def named_causes(self) -> tuple[str, ...]:
        """The causes that it names: none if it says that the run is healthy."""
        return self.causes if self.status in SICK_STATUSES or self.status == "undecided" else ()

    def first_is_right(self, *, strict: bool) -> bool:
        """Whether it says that the run is sick and its first cause is right: the true one, or unless `strict` an
        accepted one.
        """
        wanted = {self.run.cause} if strict else self.accepted
        return self.status in SICK_STATUSES and bool(wanted & set(self.causes[:1]))

    def two_are_right(self, *, strict: bool) -> bool:
        """Whether one of the causes that it names is right, even if it cannot tell them apart; `strict` as above."""
        wanted = {self.run.cause} if strict else self.accepted
        return bool(wanted & set(self.named_causes))


class TextAnswer(NamedTuple):
    """The diagnosis of a log of which there is only the text, and no recorded run."""

    status: str
    causes: tuple[str, ...]
    named_causes: tuple[str, ...]
    """The causes, if it says that the run is sick or cannot tell."""


def diagnose_text(text: str) -> TextAnswer:
    """The diagnosis of the log in `text`."""
    from qa_service.diagnosis.engine import diagnose
    from qa_service.diagnosis.reading import read_log_text

    diagnosis = diagnose(read_log_text(text))
    causes = tuple(each.cause for each in diagnosis.hypotheses)
    return TextAnswer(diagnosis.status, causes, causes if diagnosis.status in {*SICK_STATUSES, "undecided"} else ())


def diagnose_view(run: RecordedRun, view: str, seen: TrainingRun) -> DiagnosedRun:
    """The diagnosis of `seen`, which is a run in one view."""
    from qa_service.diagnosis.engine import diagnose

    return _judged(run, view, diagnose(seen))


def diagnose_views(runs: Iterable[RecordedRun], views: Sequence[str]) -> Iterator[DiagnosedRun]:
    """The diagnosis of each run in each view that exists for it."""
    from qa_service.diagnosis.engine import diagnose

    for run in runs:
        for view in views:
            try:
                given = run_in_view(run, view)
                if given is not None:
                    yield _judged(run, view, diagnose(given))
            except Exception as error:  # a crash is a wrong answer, not the end of the benchmark
                yield DiagnosedRun(run, view, f"crash: {type(error).__name__}", (), 0.0)


def run_in_view(run: RecordedRun, view: str) -> TrainingRun | None:
    """The run as it is read from this view of it; None if the view is a trace and the run has none."""
    if view == SERIES_VIEW:
        return run.as_training_run()
    if view == TRACE_VIEW:
        if not run.trace:
            return None
        from qa_service.diagnosis.trace_file import read_trace

        return read_trace(Path(run.trace).read_bytes())
    from qa_service.diagnosis.reading import read_log_text

    name = view.removesuffix(WITH_HEAD)
    head = HEAD_PRINTERS[name](run) if view != name else ""
    return read_log_text(head + LOG_PRINTERS[name](run))


def _judged(run: RecordedRun, view: str, diagnosis: Diagnosis) -> DiagnosedRun:
    hypotheses = diagnosis.hypotheses
    return DiagnosedRun(
        run, view, diagnosis.status, tuple(each.cause for each in hypotheses),
        hypotheses[0].probability if hypotheses else 0.0, hypotheses[0].certainty if hypotheses else "",
    )  # fmt: skip


def poisoned_averages(runs: Iterable[RecordedRun]) -> Iterator[DiagnosedRun]:
    """The diagnoses of healthy runs whose logger prints an average that stays inf or nan after a single bad value."""
    from qa_service.diagnosis.engine import diagnose
    from qa_service.diagnosis.reading import read_log_text

    for run in runs:
        if run.fault == "one_overflow":
            yield _judged(run, "metric_logger", diagnose(read_log_text(metric_logger(run))))


def visibility_of(run: RecordedRun) -> Visibility:
    """How visible the fault of `run` is in a log of its loss."""
    bad = next((step for step, loss in enumerate(run.loss) if not math.isfinite(loss)), None)
    if bad is not None:
        before = run.loss[:bad]
        rose = len(before) > 5 and max(before[-10:]) > 3 * statistics.median(before)
        return "visible" if rose else "sudden nan"
    tenth = max(5, len(run.loss) // 10)
    first, last = statistics.median(run.loss[:tenth]), statistics.median(run.loss[-tenth:])
    held = [loss for _, loss, _ in run.validation]
    worse_held = not all(map(math.isfinite, held)) or held[-1] > 1.5 * min(held)
    stands = last > 0.9 * first or (run.classes > 0 and last > 0.95 * math.log(run.classes))
    skips = sum(run.skipped) > 0.1 * len(run.skipped)
    return "visible" if stands or worse_held or skips else "no warning but slowness"


def names_cause_of_sudden_nan(answer: DiagnosedRun) -> bool:
    """Whether the first cause is one of `SUDDEN_NAN_CAUSES`, for a run whose nan comes without warning."""
    return answer.status in {*SICK_STATUSES, "undecided"} and bool(SUDDEN_NAN_CAUSES & set(answer.causes[:1]))


def faulty_runs(judged: Iterable[DiagnosedRun]) -> list[DiagnosedRun]:
    return [each for each in judged if each.run.group == "faulty"]


def healthy_runs(judged: Iterable[DiagnosedRun]) -> list[DiagnosedRun]:
    return [each for each in judged if each.run.group in {"healthy", "trap"}]


def share_of_runs(judged: Sequence[DiagnosedRun], test: Callable[[DiagnosedRun], bool]) -> Share:
    return Share(sum(map(test, judged)), len(judged))


class RuleSetScore(NamedTuple):
    """How a published rule set scores on the same runs."""

    name: str
    detected: Share
    """Faulty runs with any alarm."""
    first: Share
    """Faulty runs whose first alarm that names a cause names one that is accepted."""
    any_named: Share
    """Faulty runs of which any alarm names an accepted cause."""
    false_alarms: Share
    """Healthy runs and traps with any alarm."""


def score_rule_set(name: str, rules: RuleSet, runs: Sequence[RecordedRun]) -> RuleSetScore:
    """Counts what `rules` says of the faulty and of the healthy among `runs`."""
    sick = [run for run in runs if run.group == "faulty"]
    healthy = [run for run in runs if run.group in {"healthy", "trap"}]
    said = [rules(run) for run in sick]
    accepted = [{run.cause, *run.also} for run in sick]
    firsts = [next((alarm.causes for alarm in alarms if alarm.causes), frozenset[str]()) for alarms in said]
    return RuleSetScore(
        name,
        Share(sum(bool(alarms) for alarms in said), len(sick)),
        Share(sum(bool(first & wanted) for first, wanted in zip(firsts, accepted, strict=True)), len(sick)),
        Share(
            sum(any(alarm.causes & wanted for alarm in alarms) for alarms, wanted in zip(said, accepted, strict=True)),
            len(sick),
        ),
        Share(sum(bool(rules(run)) for run in healthy), len(healthy)),
    )


def score_rule_sets(runs: Sequence[RecordedRun]) -> list[RuleSetScore]:
    return [score_rule_set(name, rules, runs) for name, rules in RULE_SETS.items()]
