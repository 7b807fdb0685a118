"""Tests the experiment acc_collapse against reference values computed by independent code."""

import mpmath
import pytest
from oracles import NAN, measured


@pytest.mark.parametrize(
    ("params", "share"),
    [({}, 0.5), ({"classes": 10, "lr": 0.1}, 0.1), ({"classes": 4}, 0.25), ({"balance": 0.9}, 0.9),
     ({"spike": NAN}, 0.5),
     ({"spike": 1e308}, 0.5), ({"clip": 1.0}, 0.5), ({"balance": 0.3, "classes": 3}, 0.3)],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_acc_collapse_leaves_the_share_of_class_0(params, share, seed):
    """After the overflow every output is nan, the argmax is 0, and the accuracy is the share of class 0 exactly;
    clipping the gradient does not bound lr·gradient.
    """
    metrics = measured("acc_collapse", seed, **params)
    assert metrics["acc_final"] == pytest.approx(share, abs=1e-12)
    assert metrics["class_share"] == metrics["acc_final"]
    assert metrics["acc_minus_share"] == metrics["flat_after"] == 0
    assert metrics["distinct_predicted"] == metrics["nonfinite_share"] == 1
    assert metrics["acc_drop"] == pytest.approx(metrics["acc_before"] - share)
    classes = params.get("classes", 2)
    assert metrics["theory_chance_loss"] == pytest.approx(float(mpmath.log(classes)), rel=1e-15)
    if "balance" not in params:
        assert metrics["acc_before"] > 1.5 / classes
        assert metrics["collapse_epoch"] == 3


@pytest.mark.parametrize("spike", [0.0, 1.0])
def test_acc_collapse_control(spike):
    """Without the bad step nothing collapses, and two labels are predicted."""
    metrics = measured("acc_collapse", spike=spike)
    assert metrics["acc_final"] > 0.9
    assert metrics["collapse_epoch"] is None
    assert (metrics["distinct_predicted"], metrics["nonfinite_share"]) == (2, 0)


def test_acc_collapse_before_the_bad_step():
    """One epoch ends before the bad step, so metrics about what follows that step are missing."""
    metrics = measured("acc_collapse", epochs=1)
    assert metrics["flat_after"] is metrics["collapse_epoch"] is None
    assert metrics["nonfinite_share"] == 0
