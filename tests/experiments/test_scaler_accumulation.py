"""Tests the experiment scaler_accumulation against gradients by hand, divided by the scale as often as each way
does.
"""

import pytest
import torch
from oracles import measure, measured


def micro_gradients(seed: int, pieces: int) -> list[torch.Tensor]:
    """The gradient of each piece at weights 0, over the number of pieces, in float64."""
    torch.manual_seed(seed)
    x, target = torch.randn(256, 8), torch.randn(8, 1)
    y = x @ target + 0.1 * torch.randn(256, 1)
    chunks = zip(x.double().chunk(pieces), y.double().chunk(pieces), strict=True)
    return [-2 * a.T @ b / len(a) / pieces for a, b in chunks]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("pieces", [2, 8])
def test_the_first_gradient_by_hand(seed, pieces):
    """Dividing twice leaves 1/scale of all pieces before the last; stepping after each piece uses the first piece
    alone.
    """
    parts = micro_gradients(seed, pieces)
    whole = sum(parts)
    each = sum(part / 1024.0 ** (pieces - 1 - index) for index, part in enumerate(parts))
    for way, used in (("right", whole), ("unscale_each", each), ("step_each", parts[0])):
        metrics = measured("scaler_accumulation", seed, way=way, pieces=pieces, scale=1024.0)
        assert metrics["ratio"] == pytest.approx(float(used.norm() / whole.norm()), rel=1e-4)
        assert metrics["err"] == pytest.approx(float((used - whole).norm() / whole.norm()), rel=1e-4, abs=1e-6)
        assert metrics["steps"] == (60 * pieces if way == "step_each" else 60)


def test_clipping_a_scaled_gradient():
    """The step has norm 10 over the scale, to rounding; nothing is learned."""
    rows, metrics = measure("scaler_accumulation", way="clip_scaled", scale=65536.0)
    whole = sum(micro_gradients(0, 8))
    assert metrics["ratio"] == pytest.approx(10 / 65536 / float(whole.norm()), rel=1e-3)
    assert rows[-1]["loss"] > 0.99 * rows[0]["loss"]


def test_without_a_scale_or_pieces_nothing_is_wrong():
    assert measured("scaler_accumulation", way="unscale_each", scale=1.0)["err"] < 1e-5
    assert measured("scaler_accumulation", way="unscale_each", pieces=1)["err"] < 1e-5
