"""Tests the experiment box_losses against the three losses written for one pair of boxes in plain Python."""

import math

import numpy as np
import pytest
import torch
from oracles import measured
from torch import Tensor


def first_pair(seed: int, width: float, height: float) -> tuple[list[float], list[float], list[float]]:
    """Offsets, predicted box and true box of the first anchor, from the same random numbers."""
    torch.manual_seed(seed)
    anchors = 600 * torch.rand(32, 2) + 20
    torch.randn(32, 2)
    middles = anchors + 4 * torch.randn(32, 2)
    features = torch.randn(32, 8)
    weight = 0.02 * torch.randn(8, 4)
    ax, ay = anchors[0].double().tolist()
    mx, my = middles[0].double().tolist()
    dx, dy, dw, dh = (features.double() @ weight.double())[0].tolist()
    w, h = 32 * math.exp(dw), 32 * math.exp(dh)
    own = [ax + 32 * dx - w / 2, ay + 32 * dy - h / 2, ax + 32 * dx + w / 2, ay + 32 * dy + h / 2]
    true = [mx - width / 2, my - height / 2, mx + width / 2, my + height / 2]
    target = [(mx - ax) / 32, (my - ay) / 32]
    return [dx - target[0], dy - target[1], dw, dh], own, true


@pytest.mark.parametrize(("width", "height"), [(20.0, 25.0), (40.0, 10.0), (-40.0, 30.0)])
def test_losses_of_one_box(width, height):
    offsets, (x1, y1, x2, y2), (u1, v1, u2, v2) = first_pair(0, width, height)
    metrics = measured("box_losses", width=width, height=height)
    if width > 0:
        ends = [*offsets[:2], offsets[2] - math.log(width / 32), offsets[3] - math.log(height / 32)]
        smooth = sum(e * e / 2 if abs(e) < 1 else abs(e) - 0.5 for e in ends)
        assert metrics["one_l1"] == pytest.approx(smooth, rel=1e-3)
    else:
        assert math.isnan(metrics["one_l1"])
    inside = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inside
    ew, eh = max(x2, u2) - min(x1, u1), max(y2, v2) - min(y1, v1)
    iou = inside / union
    assert metrics["one_giou"] == pytest.approx(1 - iou + (ew * eh - union) / (ew * eh), rel=1e-3)
    v = 4 / math.pi**2 * (math.atan((u2 - u1) / (v2 - v1)) - math.atan((x2 - x1) / (y2 - y1))) ** 2
    away = ((x1 + x2 - u1 - u2) ** 2 + (y1 + y2 - v1 - v2) ** 2) / 4 / (ew**2 + eh**2)
    assert metrics["one_ciou"] == pytest.approx(1 - iou + away + v * v / (1 - iou + v), rel=1e-3)


def test_which_box_breaks_which_loss():
    point = measured("box_losses")
    assert (point["one_l1"], point["dropped"]) == (math.inf, 1)
    assert math.isnan(point["ciou"]) and point["ciou_bad"] == 1
    assert point["one_giou"] == pytest.approx(1, abs=1e-4)
    swapped = measured("box_losses", width=-20.0, height=20.0)
    assert math.isnan(swapped["l1"]) and swapped["l1_bad"] == 0.25  # the column of dw
    assert math.isfinite(swapped["ciou"])
    both = measured("box_losses", width=-20.0, height=-20.0)
    assert both["l1_bad"] == 0.5
    for metrics in (point, swapped, both):
        assert metrics["filtered_bad"] == 0 and np.isfinite([metrics["filtered_l1"], metrics["filtered_ciou"]]).all()


def test_an_ordinary_box_is_not_dropped():
    metrics = measured("box_losses", width=20.0, height=20.0)
    assert metrics["dropped"] == 0
    assert metrics["filtered_l1"] == metrics["l1"]


@pytest.mark.parametrize("dw", [1.0, 80.0, 100.0])
def test_decoding(dw):
    metrics = measured("box_losses", dw=dw)
    widest: Tensor = 32 * torch.tensor(dw).exp()
    assert metrics["decoded"] == pytest.approx(widest.item(), rel=1e-6)
    assert metrics["limited"] == pytest.approx(min(32 * math.exp(min(dw, 700)), 2000), rel=1e-5)
