"""Tests the experiment bn_client_average against the variance of a mixture and torch's batch norm in eval()."""

import pytest
import torch
from oracles import demo, measured


def test_pooled_statistics_are_those_of_all_data():
    torch.manual_seed(0)
    data = torch.randn(5, 300, 16, dtype=torch.float64) * torch.rand(5, 1, 16) + torch.randn(5, 1, 16)
    mean, variance = demo("bn_client_average").pooled(data.mean(1), data.var(1, correction=0))
    assert torch.allclose(mean[0], data.reshape(-1, 16).mean(0))
    assert torch.allclose(variance[3], data.reshape(-1, 16).var(0, correction=0))


def test_normalise_is_batch_norm_in_eval():
    torch.manual_seed(1)
    data, mean, variance = torch.randn(2, 50, 16), torch.randn(2, 16), torch.rand(2, 16) + 0.1
    found = demo("bn_client_average").normalise(data, (mean, variance))
    for client in range(2):
        expected = torch.nn.functional.batch_norm(data[client], mean[client], variance[client], eps=1e-5)
        assert torch.allclose(found[client], expected, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_missing_term(seed):
    """Normalised by averaged statistics all data have variance 1 + Var m/E s², by pooled ones 1; local statistics fit
    each client.
    """
    metrics = measured("bn_client_average", seed, clients=32, shift=3.0)
    # E s² with log₂ s uniform in ±1 is (4 − ¼)/(4 ln 2) = 1.35
    assert metrics["averaged_variance"] == pytest.approx(1 + 9 / 1.35, rel=0.25)
    assert metrics["pooled_variance"] == pytest.approx(1, abs=1e-3)
    assert metrics["local_mean"] < 1e-6 < 0.5 < metrics["pooled_mean"] < metrics["averaged_mean"]
    same = measured("bn_client_average", seed, shift=0.0)
    assert same["averaged_variance"] == pytest.approx(1, abs=0.01)
