"""Claims put to the test: at the entry's parameters each must come out as stated, at its control the other way."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.runner import Runner
from qa_service.model import Claim, Entry, EvidenceBlock, Params, Run, RunStatus, Spread, Verdict

Condition = Literal["params", "control"]
_SIGNIFICANCE = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRun:
    """One run that decides some claims."""

    entry: str
    block: EvidenceBlock
    condition: Condition
    params: Params
    seed: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """A claim's verdict at its parameters or its control, with one seed."""

    entry: str
    claim: Claim
    condition: Condition
    seed: int
    run: Run
    verdict: Verdict

    @property
    def value(self) -> float | int | None:
        """What was measured, if anything was."""
        return self.run.measured.get(self.claim.metric)

    @property
    def expected_verdict(self) -> Verdict:
        """What the entry states; its opposite at the control."""
        if self.condition == "params":
            return self.claim.expected_verdict
        return Verdict.FAILS if self.claim.expected_verdict is Verdict.HOLDS else Verdict.HOLDS

    @property
    def differs(self) -> bool:
        """Whether the numbers contradict the entry."""
        return self.verdict is not self.expected_verdict


def plan_claim_runs(entry: Entry, seeds: Iterable[int]) -> Iterator[ClaimRun]:
    """Every run that the entry's claims need: one per block and seed, and one per different control and seed."""
    for seed in seeds:
        for block in entry.evidence:
            if not block.claims:
                continue
            yield ClaimRun(
                entry=entry.id, block=block, condition="params", params=block.params, seed=seed, claims=block.claims
            )
            controls: dict[str, list[Claim]] = {}
            for claim in block.claims:
                controls.setdefault(repr(sorted(claim.control.items())), []).append(claim)
            for claims in controls.values():
                params = {**block.params, **claims[0].control}
                yield ClaimRun(
                    entry=entry.id, block=block, condition="control", params=params, seed=seed, claims=tuple(claims)
                )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemoRunner:
    """Runs what has not been run: entries share experiments, and without randomness every seed gives the same."""

    runner: Runner
    _cache: dict[tuple[str, str, int | None], Run] = field(default_factory=dict)

    def run(self, planned: ClaimRun) -> Run:
        """The run that a plan asks for. May be called from several threads, which may then run the same twice."""
        experiment = self.runner.experiment(planned.block.experiment)
        params = fill_defaults(experiment, planned.params)
        asked = (experiment.slug, repr(sorted(params.items())))
        run = self._cache.get((*asked, None)) or self._cache.get((*asked, planned.seed))
        if run is None:
            run = self.runner.run(experiment, params, planned.seed)
            self._cache[(*asked, planned.seed if run.used_rng else None)] = run
        return run


def check_claims(planned: ClaimRun, runs: MemoRunner) -> list[ClaimResult]:
    """Judges one run; a run that did not finish leaves its claims unknown."""
    run = runs.run(planned)
    ran = run.status is RunStatus.RAN
    return [
        ClaimResult(
            entry=planned.entry,
            claim=claim,
            condition=planned.condition,
            seed=planned.seed,
            run=run,
            verdict=claim.judge(run.measured) if ran else Verdict.UNKNOWN,
        )
        for claim in planned.claims
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimSummary:
    """A claim at its parameters or its control, over all its seeds: in `expected` of them it came out as stated."""

    entry: str
    claim: Claim
    condition: Condition
    as_expected: int
    spread: Spread
    seconds: float

    @property
    def differs(self) -> bool:
        """Whether more seeds contradict the entry than its share can explain: as few as these by chance in 1 of 40."""
        seeds, share = self.spread.seeds, self.claim.min_share
        if share == 1:
            return self.as_expected < seeds
        chances = (math.comb(seeds, k) * share**k * (1 - share) ** (seeds - k) for k in range(self.as_expected + 1))
        return sum(chances) < _SIGNIFICANCE


def summarise_over_seeds(checked: Iterable[ClaimResult]) -> list[ClaimSummary]:
    """One line for each claim at its parameters, and one at its control, in the order of the entries."""
    groups: dict[tuple[str, str, Condition], list[ClaimResult]] = {}
    for one in checked:
        groups.setdefault((one.entry, one.claim.id, one.condition), []).append(one)
    return [_summarise_group(rows) for rows in groups.values()]


def _summarise_group(rows: Sequence[ClaimResult]) -> ClaimSummary:
    first = rows[0]
    return ClaimSummary(
        entry=first.entry,
        claim=first.claim,
        condition=first.condition,
        as_expected=sum(not row.differs for row in rows),
        spread=Spread.of(first.claim, [row.run for row in rows]),
        seconds=sum(row.run.seconds for row in rows),
    )
