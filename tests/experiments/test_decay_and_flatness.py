"""Tests the experiment decay_and_flatness: a net before batch norm may be scaled freely; curvature against autograd's
Hessian.
"""

import pytest
import torch
from oracles import demo, measured


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_scaling(factor):
    """Scaling the weights leaves the loss and the filter-normalised curvature, and multiplies the raw curvature by
    1/factor².
    """
    metrics = measured("decay_and_flatness", n=40, factor=factor)
    assert metrics["loss_change"] < 1e-12
    assert metrics["shrunk_raw"] == pytest.approx(metrics["theory_raw"], rel=0.02)
    assert metrics["shrunk_filter"] == pytest.approx(1, abs=1e-6)


def test_decay_shortens():
    metrics = measured("decay_and_flatness", decay=0.01, n=100)
    assert metrics["norm_ratio"] == pytest.approx((metrics["norm_plain"] / metrics["norm_decay"]) ** 2)
    assert metrics["norm_decay"] < 0.8 * metrics["norm_plain"]
    none = measured("decay_and_flatness", decay=0.0, n=20)
    assert none["norm_ratio"] == none["raw_ratio"] == none["filter_ratio"] == 1


def test_curvature_is_the_hessians():
    module = demo("decay_and_flatness")
    torch.manual_seed(1)
    x = torch.randn(256, 2, dtype=torch.float64)
    y = (x[:, :1] > 0).double()
    net = [torch.randn(2, 32, dtype=torch.float64), torch.randn(32, 32, dtype=torch.float64)]
    net.append(torch.randn(32, 1, dtype=torch.float64) / 6)
    draw = [torch.randn_like(w) for w in net[:2]]
    towards = module.direction(draw, net, "raw")

    def along(t: torch.Tensor) -> torch.Tensor:
        return module.loss_of([net[0] + t * towards[0], net[1] + t * towards[1], net[2]], x, y)

    second = torch.autograd.functional.hessian(along, torch.zeros((), dtype=torch.float64))
    assert module.curvature(net, [draw], "raw", x, y) == pytest.approx(second.item(), rel=0.05, abs=1e-3)
