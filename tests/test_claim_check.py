"""Claims over seeds: what has no randomness runs once, and a claim may say in what share of the seeds it holds."""

from dataclasses import replace

import pytest

from qa_service.model import Claim, EvidenceBlock, Text, Verdict
from qa_service.tools.claim_check import ClaimSummary, MemoRunner, check, plan, summarise

HEADS = Claim(
    id="heads", says=Text("正面", "Heads"), metric="heads", op="==", bound=1, control={"always": True}, min_share=0.5
)


class Counting:
    """A lab that counts its runs."""

    def __init__(self, lab):
        self.lab, self.ran = lab, 0

    def experiment(self, slug):
        return self.lab.experiment(slug)

    def run(self, *what):
        self.ran += 1
        return self.lab.run(*what)


@pytest.fixture
def tested(lab, toy_service):
    """A claim about the coin with 20 seeds: at its parameters, at its control, and the runs that this took."""
    entry = next(iter(toy_service.library.values()))

    def over(claim: Claim) -> tuple[ClaimSummary, ClaimSummary, int]:
        block = EvidenceBlock(id="coin", experiment="coins", params={}, fixed=frozenset(), claims=(claim,))
        counting = Counting(lab)
        runs = MemoRunner(counting)
        checked = [row for one in plan(replace(entry, evidence=(block,)), range(20)) for row in check(one, runs)]
        params, control = summarise(checked)
        return params, control, counting.ran

    return over


def test_what_has_no_randomness_runs_once(tested):
    """20 tosses and one that is always heads."""
    params, control, ran = tested(HEADS)
    assert (params.spread.seeds, control.spread.seeds) == (20, 20)
    assert ran == 21
    assert 0 < params.spread.held < 20
    assert control.spread.held == 20


@pytest.mark.parametrize(("share", "differs"), [(0.1, False), (0.6, False), (0.99, True), (1.0, True)])
def test_a_claim_may_state_its_share(tested, share, differs):
    """Half of the seeds are enough for a claim that says so, and not for one that says nothing."""
    assert tested(replace(HEADS, min_share=share))[0].differs is differs


def test_a_control_that_does_not_fail_differs(tested):
    """It holds at its control as well: the claim cannot fail there."""
    assert tested(HEADS)[1].differs


def test_a_claim_may_be_stated_to_fail(tested):
    """Then its control is where it holds."""
    params, control, _ = tested(replace(HEADS, expected_verdict=Verdict.FAILS, min_share=0.1))
    assert not params.differs
    assert not control.differs
