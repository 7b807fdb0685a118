"""Claims checked over several seeds: deterministic runs are shared; `min_share` of the seeds suffice."""

from dataclasses import replace

import pytest

from qa_service.experiments.parameters import fill_defaults
from qa_service.model import Claim, EvidenceBlock, Text, Verdict
from qa_service.tools.claim_check import (
    ClaimSummary,
    by_experiment,
    check_groups,
    group_by_run,
    plan_claim_runs,
    summarise_over_seeds,
)

HEADS = Claim(
    id="heads", says=Text("正面", "Heads"), metric="heads", op="==", bound=1, control={"always": True}, min_share=0.5
)


class CountingRunner:
    """A runner that counts its runs."""

    def __init__(self, runner):
        self.runner, self.count = runner, 0

    def run_settings(self, *args):
        for runs in self.runner.run_settings(*args):
            self.count += len(runs)
            yield runs


@pytest.fixture
def check_coin_claim(lab, toy_experiments, toy_service):
    """A function that checks a claim about the coin with 20 seeds; returns the two summaries and the number of runs."""
    entry = next(iter(toy_service.knowledge.library.values()))

    def check(claim: Claim) -> tuple[ClaimSummary, ClaimSummary, int]:
        block = EvidenceBlock(id="coin", experiment="coins", params={}, fixed=frozenset(), claims=(claim,))
        counting_runner = CountingRunner(lab)
        groups = group_by_run(plan_claim_runs(replace(entry, evidence=(block,)), range(20)), toy_experiments)
        checked = [row for group in groups for row in check_groups([group], toy_experiments, counting_runner)]
        params, control = summarise_over_seeds(checked)
        return params, control, counting_runner.count

    return check


def test_deterministic_runs_are_executed_once(check_coin_claim):
    """20 random runs, and a single one for the control, which is always heads."""
    params, control, runs = check_coin_claim(HEADS)
    assert (params.spread.seeds, control.spread.seeds) == (20, 20)
    assert runs == 21
    assert 0 < params.spread.held < 20
    assert control.spread.held == 20


@pytest.mark.parametrize(("share", "differs"), [(0.1, False), (0.6, False), (0.99, True), (1.0, True)])
def test_claim_may_hold_in_a_share_of_the_seeds(check_coin_claim, share, differs):
    """Heads in about half of 20 seeds: compatible with a share of 0.1 or 0.6, not with 0.99 or 1."""
    assert check_coin_claim(replace(HEADS, min_share=share))[0].differs is differs


def test_results_keep_metrics_and_no_rows(lab, toy_experiments, toy_service):
    """The rows of a whole library would fill half a gigabyte."""
    entry = next(iter(toy_service.knowledge.library.values()))
    (group, *_) = group_by_run(plan_claim_runs(entry, range(2)), toy_experiments)
    experiment = toy_experiments[group[0].block.experiment]
    assert lab.run(experiment, fill_defaults(experiment, group[0].params)).rows
    results = check_groups([group], toy_experiments, lab)
    assert all(result.run.measured and not result.run.rows for result in results)


def test_groups_of_an_experiment_are_measured_together(lab, toy_experiments, toy_service):
    """Verdicts and values are the same as if each group were measured alone."""
    entries = toy_service.knowledge.library.values()
    groups = group_by_run([run for entry in entries for run in plan_claim_runs(entry, range(2))], toy_experiments)
    parts = by_experiment(groups)
    assert sorted(map(id, (group for part in parts for group in part))) == sorted(map(id, groups))
    assert all(len({group[0].block.experiment for group in part}) == 1 for part in parts)
    assert len(parts) < len(groups)
    for part in parts:
        together = check_groups(part, toy_experiments, lab)
        alone = [result for group in part for result in check_groups([group], toy_experiments, lab)]
        assert [(each.claim, each.seed, each.verdict, each.value) for each in together] == [
            (each.claim, each.seed, each.verdict, each.value) for each in alone
        ]


def test_control_where_the_claim_holds_differs(check_coin_claim):
    assert check_coin_claim(HEADS)[1].differs


def test_claim_with_expected_verdict_fails(check_coin_claim):
    """A claim that holds at its control, too, fails the check."""
    params, control, _ = check_coin_claim(replace(HEADS, expected_verdict=Verdict.FAILS, min_share=0.1))
    assert not params.differs
    assert not control.differs
