"""Checks claims: at the entry's parameters a claim must have its stated verdict, at its control the opposite one."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.runner import Runner
from qa_service.model import Claim, Entry, EvidenceBlock, Experiment, Params, Run, Spread, Verdict, judge_claims

Condition = Literal["params", "control"]
_GROUPS_TOGETHER = 8  # so that no slot is left with one long experiment at the end
_SIGNIFICANCE = 0.025  # level of a one-sided test: a correct claim is reported in at most 1 of 40 cases


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRun:
    """A planned run, at the entry's parameters or at a control, and the claims that it decides."""

    entry: str
    block: EvidenceBlock
    condition: Condition
    params: Params
    seed: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """The verdict on a claim under one condition, with one seed."""

    entry: str
    claim: Claim
    condition: Condition
    seed: int
    run: Run
    verdict: Verdict

    @property
    def value(self) -> float | int | None:
        """The measured value of the claim's metric; None if there is none."""
        return self.run.measured.get(self.claim.metric)

    @property
    def expected_verdict(self) -> Verdict:
        """The verdict that the entry states; at the control, its opposite."""
        if self.condition == "params":
            return self.claim.expected_verdict
        return Verdict.FAILS if self.claim.expected_verdict is Verdict.HOLDS else Verdict.HOLDS

    @property
    def differs(self) -> bool:
        """Whether the measured verdict contradicts the entry."""
        return self.verdict is not self.expected_verdict


def plan_claim_runs(entry: Entry, seeds: Iterable[int]) -> Iterator[ClaimRun]:
    """Every run that the entry's claims need: for each seed, one per block and one per distinct control of a block."""
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
                )


def group_by_run(planned: Iterable[ClaimRun], experiments: Mapping[str, Experiment]) -> list[list[ClaimRun]]:
    """Groups the runs by experiment and parameters, whatever their seed and entry."""
    groups: dict[tuple[str, str], list[ClaimRun]] = {}
    for one in planned:
        groups.setdefault(_run_key(one, experiments), []).append(one)
    return list(groups.values())


def _run_key(planned: ClaimRun, experiments: Mapping[str, Experiment]) -> tuple[str, str]:
    """The experiment and all its parameters, with defaults, as a key."""
    experiment = experiments[planned.block.experiment]
    return experiment.slug, repr(sorted(fill_defaults(experiment, planned.params).items()))


def by_experiment(groups: Iterable[list[ClaimRun]]) -> list[list[list[ClaimRun]]]:
    """Groups (`group_by_run`) of one experiment and the same seeds together, `_GROUPS_TOGETHER` at most."""
    together: dict[tuple[str, tuple[int, ...]], list[list[ClaimRun]]] = {}
    for group in groups:
        key = group[0].block.experiment, tuple(sorted({one.seed for one in group}))
        together.setdefault(key, []).append(group)
    return [
        part[start : start + _GROUPS_TOGETHER]
        for part in together.values()
        for start in range(0, len(part), _GROUPS_TOGETHER)
    ]


def check_groups(
    groups: Sequence[list[ClaimRun]], experiments: Mapping[str, Experiment], runner: Runner
) -> list[ClaimResult]:
    """Executes the run of each group (`by_experiment`) once per seed, in few processes; judges what it decides.

    The runs of the results have no rows: claims read metrics, and the rows of a whole library fill half a gigabyte.
    """
    seeds = sorted({one.seed for one in groups[0]})
    experiment = experiments[groups[0][0].block.experiment]
    settings = [fill_defaults(experiment, group[0].params) for group in groups]
    results: list[ClaimResult] = []
    with closing(runner.run_settings(experiment, settings, seeds)) as measured:
        for group, of_group in zip(groups, measured, strict=True):
            runs = [replace(run, rows=()) for run in of_group]  # one per seed, or one for all if it is not random
            by_seed = dict(zip(seeds, runs, strict=False))
            results += [result for one in group for result in _judge(one, by_seed.get(one.seed, runs[0]))]
    return results


def _judge(planned: ClaimRun, run: Run) -> list[ClaimResult]:
    """The verdicts on the claims that a run decides; unknown if it did not finish."""
    return [
        ClaimResult(
            entry=planned.entry,
            claim=claim,
            condition=planned.condition,
            seed=planned.seed,
            run=run,
            verdict=verdict,
        )
        for claim, verdict in zip(planned.claims, judge_claims(planned.claims, run), strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimSummary:
    """A claim under one condition over all seeds; `as_expected` is the number of seeds with the expected verdict."""

    entry: str
    claim: Claim
    condition: Condition
    as_expected: int
    spread: Spread
    seconds: float

    @property
    def differs(self) -> bool:
        """Whether too few seeds agree with the entry.

        With `min_share` 1 every seed must agree; else a one-sided binomial test decides at level 0.025.
        """
        seeds, share = self.spread.seeds, self.claim.min_share
        if share == 1:
            return self.as_expected < seeds
        probabilities = (
            math.comb(seeds, k) * share**k * (1 - share) ** (seeds - k) for k in range(self.as_expected + 1)
        )
        return sum(probabilities) < _SIGNIFICANCE


def summarise_over_seeds(results: Iterable[ClaimResult]) -> list[ClaimSummary]:
    """One summary for each claim and condition, in the order of the entries."""
    groups: dict[tuple[str, str, Condition], list[ClaimResult]] = {}
    for result in results:
        groups.setdefault((result.entry, result.claim.id, result.condition), []).append(result)
    return [_summarise_group(group) for group in groups.values()]


def _summarise_group(results: Sequence[ClaimResult]) -> ClaimSummary:
    first = results[0]
    return ClaimSummary(
        entry=first.entry,
        claim=first.claim,
        condition=first.condition,
        as_expected=sum(not result.differs for result in results),
        spread=Spread.of(first.claim, [result.run for result in results]),
        seconds=sum(result.run.seconds for result in results),
    )
