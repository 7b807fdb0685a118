"""A run judged: evidence, and what many seeds say about a claim."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from qa_service.model.experiment import Experiment, Run, RunStatus
from qa_service.model.knowledge import Claim, Verdict
from qa_service.model.values import Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A claim over seeds: it held in `held` of `seeds` runs; lowest, median and highest value of its metric.

    None ("it never happened") and runs that did not finish have no value; nan sorts above inf.
    """

    claim: str
    held: int
    seeds: int
    lowest: float | None
    median: float | None
    highest: float | None

    @property
    def share(self) -> float:
        """How often it held, 0 to 1."""
        return self.held / self.seeds

    @classmethod
    def of(cls, claim: Claim, runs: Sequence[Run]) -> "Spread":
        """What runs that are alike but for the seed say about a claim."""
        ran = [run for run in runs if run.status is RunStatus.RAN]
        found = (run.measured.get(claim.metric) for run in ran)
        values = sorted((value for value in found if value is not None), key=_order)
        held = sum(claim.judge(run.measured) is Verdict.HOLDS for run in ran)
        lowest, highest = (values[0], values[-1]) if values else (None, None)
        return cls(
            claim=claim.id, held=held, seeds=len(runs), lowest=lowest, median=_median(values), highest=highest
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run, the parameters it had, the claims made about it and the verdicts on them.

    In a comparison, `compared` holds the parameters in which this run differs from the others, and `variant` is its
    place among them. `entry_params` are the entry's own parameters, at which it makes its claims; `verdicts` has one
    element per claim, and so has `spreads` where the run was repeated with other seeds. `not_testable_here` are the
    claims that fail only because the parameters are not the entry's.
    """

    block: str
    experiment: Experiment
    params: Params
    seed: int
    run: Run
    claims: tuple[Claim, ...] = ()
    entry: str | None = None
    entry_hash: str | None = None
    entry_params: Params = field(default_factory=dict)
    compared: Params = field(default_factory=dict)
    variant: int = 0
    spreads: tuple[Spread, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    not_testable_here: tuple[Claim, ...] = ()

    @property
    def id(self) -> str:
        """The block's id; the second run of a comparison is "block~2"."""
        return run_id(self.block, self.variant)


def judge_claims(claims: Sequence[Claim], run: Run) -> tuple[Verdict, ...]:
    """One verdict per claim; unknown wherever the run did not finish."""
    if run.status is not RunStatus.RAN:
        return (Verdict.UNKNOWN,) * len(claims)
    return tuple(claim.judge(run.measured) for claim in claims)


def claims_not_testable(
    claims: Sequence[Claim], verdicts: Sequence[Verdict], *, params: Params, entry_params: Params
) -> tuple[Claim, ...]:
    """The claims that the numbers contradict only because a client chose other parameters than the entry's."""
    if all(repr(params[name]) == repr(value) for name, value in entry_params.items()):
        return ()
    pairs = zip(claims, verdicts, strict=True)
    return tuple(claim for claim, verdict in pairs if verdict not in (Verdict.UNKNOWN, claim.expected_verdict))


def run_id(block: str, variant: int) -> str:
    """How the run of a block is called in the events of an answer."""
    return f"{block}~{variant + 1}" if variant else block


def _median(values: Sequence[float]) -> float | None:
    """The middle value; of an even number the mean of the middle two, where both are finite."""
    if not values:
        return None
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return statistics.fmean((low, high)) if math.isfinite(low) and math.isfinite(high) else high


def _order(value: float) -> tuple[bool, float]:
    return (math.isnan(value), 0.0 if math.isnan(value) else value)
