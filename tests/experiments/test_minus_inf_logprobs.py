"""Tests the experiment minus_inf_logprobs: what IEEE 754 says of each case, and the KL of the allowed tokens in
float64.
"""

import pytest
import torch
from oracles import INF, NAN, demo, measured, same


@pytest.mark.parametrize(("case", "naive"), [("both", NAN), ("policy", NAN), ("reference", INF), ("empty", NAN)])
def test_cases(case, naive):
    metrics = measured("minus_inf_logprobs", case=case, bad=3)
    assert same(metrics["naive"], naive)
    assert metrics["bad_before"] == 0
    assert metrics["before"] >= 0
    assert (metrics["bad_naive"] > 0.9) == (case != "reference")


def test_where_afterwards_is_finite_with_bad_gradients():
    metrics = measured("minus_inf_logprobs", bad=1)
    assert metrics["after"] == pytest.approx(metrics["clean"], rel=0.2)
    assert metrics["bad_after"] > 0.9
    none = measured("minus_inf_logprobs", bad=0)
    assert none["naive"] == none["after"] == none["before"] == none["clean"]
    assert none["bad_naive"] == 0


def test_the_kl_of_allowed_tokens():
    """It is the mean of exp(d) − d − 1 over the allowed tokens, in float64."""
    torch.manual_seed(0)
    features, weight, other = torch.randn(6, 8), torch.randn(8, 50), torch.randn(6, 50)
    chosen = torch.tensor([3, 1, 4, 1, 5, 9])
    kl, gradient = demo("minus_inf_logprobs").kl_and_gradient("before", "both", features, weight, other, chosen, 2)
    policy, reference = ((v.double().log_softmax(-1))[range(6), chosen] for v in (features @ weight, other))
    d = (reference - policy)[2:]
    assert kl == pytest.approx((d.exp() - d - 1).mean().item(), rel=1e-4)
    assert gradient.isfinite().all()
