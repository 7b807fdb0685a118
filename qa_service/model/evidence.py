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
    """A run with the parameters it had, the claims made about it and the verdicts on them.

    Of a comparison, `compared` are the parameters in which this run differs from the others, `variant` its place.
    `own` are the entry's own parameters, at which it makes its claims; `spreads` has one element per claim where the
    run was repeated with other seeds.
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

    @property
    def id(self) -> str:
        """The block's id; the second run of a comparison is "block~2"."""
        return run_id(self.block, self.variant)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict per claim; unknown wherever the run did not finish."""
        if self.run.status is not RunStatus.RAN:
            return (Verdict.UNKNOWN,) * len(self.claims)
        return tuple(claim.judge(self.run.measured) for claim in self.claims)

    @property
    def not_testable_here(self) -> tuple[Claim, ...]:
        """The claims that the numbers contradict only because the reader chose other parameters than `own`."""
        if all(repr(self.params[name]) == repr(value) for name, value in self.entry_params.items()):
            return ()
        pairs = zip(self.claims, self.verdicts, strict=True)
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
