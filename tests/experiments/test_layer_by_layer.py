"""Tests the experiment layer_by_layer against matrix products in float64, and against the Lyapunov growth of
rounding.
"""

import math

import pytest
import torch
from oracles import NAN, demo, measure, measured, same


def test_devices_without_a_fault_agree_with_float64():
    """Each computes tanh(h·Wᵀ) in some order of summation; the strided one reads Wᵀ."""
    torch.manual_seed(2)
    h, weight = torch.randn(32, 64), torch.randn(64, 64) / 8
    module = demo("layer_by_layer")
    exact = torch.tanh(h.double() @ weight.double().T)
    for found in (module.device_a(h, weight), module.device_b(h, weight, "rounding")):
        assert torch.allclose(found.double(), exact, atol=1e-5)
    wrong = torch.tanh(h.double() @ weight.double())
    assert torch.allclose(module.device_b(h, weight, "strided").double(), wrong, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", ["zeros", "strided", "nan"])
@pytest.mark.parametrize("place", [1, 7, 19])
def test_only_the_same_input_names_the_layer(seed, case, place):
    rows, metrics = measure("layer_by_layer", seed, case=case, layers=20, place=place)
    assert (metrics["forced_layers"], metrics["forced_layer"]) == (1, place)
    assert metrics["free_layers"] == 21 - place
    assert metrics["forced_least"] < 1e-6
    assert all(row["free"] < 1e-3 for row in rows[: place - 1])


@pytest.mark.parametrize("seed", [0, 1])
def test_rounding_grows_by_itself_where_the_net_is_chaotic(seed):
    """Below the gain at which tanh nets are chaotic the difference stays; above, it grows exponentially with no layer
    at fault.
    """
    calm = measured("layer_by_layer", seed, case="rounding", layers=100, gain=1.0)
    assert calm["free_layers"] == 0
    assert calm["free_end"] < 1e-5
    chaotic = measured("layer_by_layer", seed, case="rounding", layers=100, gain=3.0)
    assert chaotic["free_end"] > 0.1
    assert (chaotic["forced_layers"], chaotic["forced_layer"]) == (0, None)


def test_a_nan_counts_as_different():
    assert same(measured("layer_by_layer", case="nan")["free_end"], NAN)
    assert not math.isnan(measured("layer_by_layer", case="nan")["forced_least"])
