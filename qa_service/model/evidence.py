"""Evidence: a run with the verdicts on its claims, and the spread of a claim over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from qa_service.model.experiment import Experiment, Run, RunStatus
from qa_service.model.knowledge import Claim, Part, Verdict
from qa_service.model.values import Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A claim over seeds: in how many of `seeds` runs it held, and the range of its metric.

    Runs that did not finish, or whose metric is None ("it never happened"), have no value; nan sorts above inf.
    """

    claim: str
    held: int
    seeds: int
    lowest: float | None
    median: float | None
    highest: float | None

    @property
    def share(self) -> float:
        """The share of runs in which the claim held, 0 to 1."""
        return self.held / self.seeds

    @classmethod
    def of(cls, claim: Claim, runs: Sequence[Run]) -> "Spread":
        """The spread of a claim over runs that differ only in their seed. In unfinished runs it did not hold."""
        ran = [run for run in runs if run.status is RunStatus.RAN]
        measured = (run.measured.get(claim.metric) for run in ran)
        values = sorted((value for value in measured if value is not None), key=_nan_last)
        held = sum(claim.judge(run.measured) is Verdict.HOLDS for run in ran)
        lowest, highest = (values[0], values[-1]) if values else (None, None)
        return cls(claim=claim.id, held=held, seeds=len(runs), lowest=lowest, median=_median(values), highest=highest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run with its parameters, the claims made about it and the verdicts on them."""

    block: str
    """Id of the evidence block, or the slug of an experiment that was run by itself."""
    experiment: Experiment
    params: Params
    seed: int
    run: Run
    claims: tuple[Claim, ...] = ()
    entry: str | None = None
    entry_hash: str | None = None
    entry_params: Params = field(default_factory=dict)
    """The parameters at which the entry makes its claims."""
    proves: Part = "short"
    """The part of the entry's answer that the block supports."""
    series: tuple[str, ...] = ()
    """The series that the chart shows; empty means all."""
    mark: str | None = None
    """The metric whose value is marked on the x axis of the chart."""
    compared: Params = field(default_factory=dict)
    """The parameters in which this run differs from the others of a comparison; empty outside one."""
    variant: int = 0
    """The index of this run in the comparison."""
    spreads: tuple[Spread, ...] = ()
    """One spread per claim if the run was repeated with other seeds, else empty."""
    verdicts: tuple[Verdict, ...] = ()
    """One verdict per claim; UNKNOWN if the run did not finish."""
    not_testable_here: tuple[Claim, ...] = ()
    """The claims whose verdict is not the expected one, if the run had other parameters than the entry's."""

    @property
    def id(self) -> str:
        """The block's id; of the second run of a comparison "block~2"."""
        return run_id(self.block, self.variant)


def judge_claims(claims: Sequence[Claim], run: Run) -> tuple[Verdict, ...]:
    """One verdict per claim; unknown wherever the run did not finish."""
    if run.status is not RunStatus.RAN:
        return (Verdict.UNKNOWN,) * len(claims)
    return tuple(claim.judge(run.measured) for claim in claims)


def claims_not_testable(
    claims: Sequence[Claim], verdicts: Sequence[Verdict], *, params: Params, entry_params: Params
) -> tuple[Claim, ...]:
    """The claims without the expected verdict, if any of the entry's parameters has another value in this run; else ().

    A claim is made at the entry's parameters, so its failure elsewhere does not refute it.
    """
    if all(repr(params[name]) == repr(value) for name, value in entry_params.items()):
        return ()
    pairs = zip(claims, verdicts, strict=True)
    return tuple(claim for claim, verdict in pairs if verdict not in (Verdict.UNKNOWN, claim.expected_verdict))


def run_id(block: str, variant: int) -> str:
    """The id of a run in the events of an answer: the block's id, with "~2" and so on from the second variant."""
    return f"{block}~{variant + 1}" if variant else block


def _median(values: Sequence[float]) -> float | None:
    """The median of sorted values, None if there are none; the upper middle one where their mean is not finite."""
    if not values:
        return None
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return statistics.fmean((low, high)) if math.isfinite(low) and math.isfinite(high) else high


def _nan_last(value: float) -> tuple[bool, float]:
    return (math.isnan(value), 0.0 if math.isnan(value) else value)
