"""Tests the experiment norm_at_zero against the projection over the norm in float64, and the limits of the formats."""

import pytest
import torch
from oracles import demo, measure, measured


@pytest.mark.parametrize("way", ["plain", "root", "library", "smooth"])
@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_gradient_is_the_perpendicular_part_over_the_norm(way, size):
    """Tested with all forms, for a vector much longer than eps."""
    torch.manual_seed(0)
    v, incoming = size * torch.randn(64), torch.randn(64)
    incoming = incoming / incoming.norm()
    unit = v.double() / v.double().norm()
    expected = (incoming.double() - (incoming.double() @ unit) * unit).norm() / v.double().norm()
    length, gradient = demo("norm_at_zero").measured(v, incoming, way, torch.float32, 1e-12)
    assert length == pytest.approx(1, rel=1e-5)
    assert gradient == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("eps", [1e-12, 1e-3])
def test_at_zero(eps):
    """The gradient is nan without eps and with a hand-written root; it is 1/eps with torch's function and the smooth
    form.
    """
    metrics = measured("norm_at_zero", x=0.0, eps=eps)
    assert (metrics["plain_bad"], metrics["root_bad"], metrics["library_bad"], metrics["smooth_bad"]) == (1, 1, 0, 0)
    assert metrics["library_gradient"] == pytest.approx(1 / eps, rel=1e-5)
    assert metrics["smooth_gradient"] == pytest.approx(1 / eps, rel=1e-5)
    assert metrics["library_length"] == 0


def test_eps_is_zero_in_float16():
    """1e-12 lies below 2⁻²⁵ and is stored as 0; bfloat16 can store it."""
    assert measured("norm_at_zero", x=0.0, form="float16")["library_bad"] == 1
    assert measured("norm_at_zero", x=0.0, form="bfloat16")["library_bad"] == 0
    assert measured("norm_at_zero", x=0.0, form="float16", eps=1e-3)["library_bad"] == 0


def test_slope_grows_like_the_inverse_norm():
    rows, _ = measure("norm_at_zero", eps=1e-12)
    assert rows[3]["plain"] / rows[0]["plain"] == pytest.approx(1e3, rel=1e-3)
