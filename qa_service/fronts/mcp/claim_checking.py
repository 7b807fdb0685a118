"""Checks the claims of one entry over seeds, at their parameters and at their controls, as `numstab check` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service, charge_runs
from qa_service.errors import BadField
from qa_service.fronts.mcp.calls import ToolCall
from qa_service.model import Entry, Run, Text, Verdict, judge_claims
from qa_service.model.events import EvidenceReady
from qa_service.tools.claim_check import ClaimResult, ClaimRun, ClaimSummary, plan_claim_runs, summarise_over_seeds

_FEWER_RUNS = Text("请少取几个种子，或只检验一个断言。", "Use fewer seeds, or check one claim.")


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim under one condition over the seeds, with the parameters of its runs and the expected verdict."""

    summary: ClaimSummary
    params: Mapping[str, Any]
    expected: Verdict


def check_entry(
    service: Service, knowledge: Knowledge, entry: Entry, claim: str | None, seeds: int, call: ToolCall
) -> list[CheckedClaim]:
    """Every claim of an entry of `knowledge`, or the one with the id `claim`, at its parameters and its control.

    A run that draws no random number is executed for one seed only. Raises `BadField` for an unknown claim, and
    `RateLimited` if the client may not start that many runs.
    """
    known = [each.id for block in entry.evidence for each in block.claims]
    if claim is not None and claim not in known:
        raise BadField(
            zh=f"词条 {entry.id} 没有断言 {claim!r}。它的断言：{'、'.join(known)}",
            en=f"the entry {entry.id} makes no claim {claim!r}. Its claims: {', '.join(known)}",
            field="claim",
        )
    planned = [
        one
        for one in plan_claim_runs(entry, range(seeds))
        if claim is None or any(each.id == claim for each in one.claims)
    ]
    charge_runs(len(planned), _FEWER_RUNS)
    results: list[ClaimResult] = []
    params: dict[tuple[str, str], Mapping[str, Any]] = {}
    without_rng: dict[str, Run] = {}
    for one in planned:
        key = f"{one.block.experiment} {sorted(one.params.items())!r}"
        run = without_rng.get(key) or _measure(service, knowledge, one, call)
        if not run.used_rng:
            without_rng[key] = run
        for each, verdict in zip(one.claims, judge_claims(one.claims, run), strict=True):
            if claim in (None, each.id):
                params[each.id, one.condition] = one.params
                results.append(
                    ClaimResult(
                        entry=entry.id, claim=each, condition=one.condition, seed=one.seed, run=run, verdict=verdict
                    )
                )
    expected = {(each.claim.id, each.condition): each.expected_verdict for each in results}
    return [
        CheckedClaim(one, params[one.claim.id, one.condition], expected[one.claim.id, one.condition])
        for one in summarise_over_seeds(results)
    ]


def _measure(service: Service, knowledge: Knowledge, planned: ClaimRun, call: ToolCall) -> Run:
    slug = planned.block.experiment
    last = call.wait_for_last(service.run(slug, planned.params, planned.seed, call.is_cancelled, knowledge))
    assert isinstance(last, EvidenceReady)
    return last.evidence.run
