"""Tests the experiment time_series_split against brute force and the expectation."""

from statistics import fmean

import pytest
from oracles import demo, measured


@pytest.mark.parametrize(("n", "gap"), [(40, 0), (60, 1), (50, 3)])
def test_nearest_neighbours_by_brute_force(n, gap):
    """The training points and the nearest of them, found by looking at every pair."""
    import torch

    torch.manual_seed(n)
    module = demo("time_series_split")
    for test in (torch.randperm(n)[: n // 5].sort().values, torch.arange(n - n // 5, n)):
        known = [t for t in range(n) if all(abs(t - at) > gap for at in test.tolist())]
        assert module.training(n, test, gap).tolist() == known
        nearest = [min(known, key=lambda t, at=at: (abs(t - at), t)) for at in test.tolist()]
        assert module.nearest(torch.tensor(known), test).tolist() == nearest


@pytest.mark.parametrize("phi", [0.99, 0.9, -0.5, 0.0])
def test_errors_are_as_expected_on_average(phi):
    """Over 60 seeds the mean error is the expectation 2·γ₀·(1 − φ^k) over the distances."""
    runs = [measured("time_series_split", seed, phi=phi, n=400) for seed in range(60)]
    for split, tolerance in (("random", 0.1), ("chronological", 0.35)):
        theory = fmean(run[f"theory_{split}_mse"] for run in runs)
        assert fmean(run[f"{split}_mse"] for run in runs) == pytest.approx(theory, rel=tolerance)
    lags = range(1, 81)
    expected = fmean(2 / (1 - phi**2) * (1 - phi**k) for k in lags)
    assert runs[0]["theory_chronological_mse"] == pytest.approx(expected)
    assert runs[0]["variance"] == pytest.approx(1 / (1 - phi**2))


@pytest.mark.parametrize("seed", range(5))
def test_a_random_split_underestimates_the_error(seed):
    """It does not for independent data, and does so less with a gap around every test point."""
    assert measured("time_series_split", seed)["mse_ratio"] > 3
    assert measured("time_series_split", seed, phi=0.0)["theory_random_mse"] == 2
    assert measured("time_series_split", seed, gap=20, share=0.05)["mse_ratio"] < 3


def test_edges():
    """A gap that leaves nothing to train on gives no error; the shortest series runs."""
    empty = measured("time_series_split", gap=1000)
    assert empty["random_mse"] is empty["chronological_mse"] is empty["mse_ratio"] is None
    assert measured("time_series_split", n=20, share=0.05)["random_mse"] >= 0
