"""Tests the experiment view_agreement against numpy: spread, effective dimensions and neighbours; collapsed and healthy
training.
"""

import math
from importlib import util

import numpy as np
import pytest
import torch
from oracles import DEMOS, measured


@pytest.fixture(scope="module")
def demo():
    spec = util.spec_from_file_location("view_agreement", DEMOS / "statistics" / "view_agreement.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measures_on_known_outputs(demo):
    torch.manual_seed(0)
    even = torch.nn.functional.normalize(torch.randn(20000, 16, dtype=torch.float64))
    assert demo.spread(even) == pytest.approx(1, abs=0.01)
    assert demo.effective_dimensions(even) == pytest.approx(16, rel=0.01)
    point = torch.nn.functional.normalize(torch.ones(100, 16, dtype=torch.float64))
    assert demo.spread(point) == pytest.approx(0, abs=1e-9)
    flat = torch.zeros(20000, 16, dtype=torch.float64)
    flat[:, :3] = torch.nn.functional.normalize(torch.randn(20000, 3, dtype=torch.float64))
    assert demo.effective_dimensions(flat) == pytest.approx(3, rel=0.01)
    values = np.linalg.eigvalsh(np.cov(even[:50].numpy().T))
    share = values / values.sum()
    assert demo.effective_dimensions(even[:50]) == pytest.approx(math.exp(-(share * np.log(share)).sum()))
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1.0], [0.1, 0.9]], dtype=torch.float64)
    assert demo.nearest(apart, labels) == 1
    assert demo.nearest(apart, torch.tensor([0, 1, 0, 1])) == 0


def test_collapse_without_a_stopped_gradient():
    collapsed, healthy = (measured("view_agreement", stop=stop) for stop in (False, True))
    assert collapsed["loss_end"] < -0.99
    assert collapsed["spread_end"] < 0.1 < 0.3 < healthy["spread_end"]


def test_batch_norm_hides_a_collapse_of_dimensions():
    stopped, free = (measured("view_agreement", batch_norm=True, stop=stop) for stop in (True, False))
    assert min(stopped["spread_end"], free["spread_end"]) > 0.9
    assert free["kept"] < stopped["kept"] / 1.8


def test_a_healthy_net_comes_near_minus_one_too():
    metrics = measured("view_agreement", batch_norm=True, stop=True, noise=0.0)
    assert metrics["loss_end"] < -0.95 and metrics["spread_end"] > 0.9 and metrics["nearest_end"] > 0.95
