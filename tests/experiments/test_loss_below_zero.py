"""Tests the experiment loss_below_zero against counted alignments, closed forms and gradient descent in numpy."""

import math
from functools import cache

import numpy as np
import pytest
from oracles import measured


def alignments(frames: int, target: list[int]) -> int:
    """The number of sequences of `frames` symbols (0 is the blank) that collapse to the target, counted recursively."""
    path = [0] + [symbol for label in target for symbol in (label, 0)]

    @cache
    def ends(frame: int, place: int) -> int:
        if place < 0:
            return 0
        if frame == 0:
            return int(place < 2)
        before = ends(frame - 1, place) + ends(frame - 1, place - 1)
        skips = path[place] != 0 and place >= 2 and path[place] != path[place - 2]
        return before + (ends(frame - 1, place - 2) if skips else 0)

    return ends(frames - 1, len(path) - 1) + ends(frames - 1, len(path) - 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_of_zero_count_every_alignment_as_one(seed):
    import torch

    torch.manual_seed(seed)
    torch.randn(12, 4, 4)
    targets = torch.randint(1, 4, (4, 3)).tolist()
    right = np.mean([-math.log(alignments(12, target)) / 3 for target in targets])
    metrics = measured("loss_below_zero", seed, case="ctc", n=1)
    assert metrics["start"] == pytest.approx(right, rel=1e-5)
    every = 12 * math.log(4)  # log-softmax of equal scores: each frame of each alignment has probability 1/4
    right = np.mean([(every - math.log(alignments(12, target))) / 3 for target in targets])
    assert metrics["beside_end"] == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("sd", [0.05, 0.2, 3.0])
def test_a_density(sd):
    metrics = measured("loss_below_zero", case="density", sd=sd, lr=0.5, n=500)
    floor = 0.5 * math.log(2 * math.pi * math.e * sd * sd)
    assert metrics["theory_floor"] == pytest.approx(floor, rel=1e-12)
    assert metrics["end"] == pytest.approx(floor, abs=1e-4)
    assert metrics["beside_end"] - metrics["end"] == pytest.approx(math.log(100), rel=1e-4)
    assert metrics["start"] == pytest.approx(0.5 * (math.log(2 * math.pi) + sd * sd), rel=1e-5)


def test_a_log_forgotten():
    """With equal probabilities of three classes the loss without the logarithm is −1/3 instead of ln 3; it is never
    below −1.
    """
    metrics = measured("loss_below_zero", case="softmax", n=1000, lr=5.0)
    assert measured("loss_below_zero", case="softmax", n=1)["start"] == pytest.approx(-1 / 3, rel=1e-6)
    assert -1 <= metrics["end"] < -0.9
    assert metrics["theory_floor"] == -1
    assert metrics["negative_share"] == 1


@pytest.mark.parametrize(("case", "seed"), [("scores", 0), ("scores", 1), ("target", 0)])
def test_gradient_descent(case, seed):
    import torch

    torch.manual_seed(seed)
    x = torch.randn(256, 4)
    y = (x @ torch.randn(4, 3 if case == "scores" else 2)).argmax(1).numpy()
    x = x.double().numpy()
    metrics = measured("loss_below_zero", seed, case=case, lr=0.1, n=50)
    if case == "scores":  # linear in the weights: the gradient is the same in every step
        slope = -np.stack([x[y == kind].sum(0) / 256 for kind in range(3)], 1)
        assert metrics["end"] == pytest.approx(-0.1 * 49 * (slope**2).sum(), rel=1e-4)
    else:
        w = np.zeros(4)
        for _ in range(49):
            z = x @ w
            w -= 0.1 * x.T @ (0.5 + 0.5 * np.tanh(z / 2) - 255 * y) / 256
        z = x @ w
        assert metrics["end"] == pytest.approx((np.logaddexp(0, z) - 255 * y * z).mean(), rel=1e-4)
        assert metrics["start"] == pytest.approx(math.log(2), rel=1e-6)
