"""Tests the experiment padding_leak against a loop over queries and keys in Python, and against what must be exact."""

import math

import pytest
from oracles import demo, measured

CASES = ["none", "attention", "mean", "positions", "last"]


def by_hand(tokens, filler, weights, case, padding):
    """The output for one sequence given as lists: softmax over the allowed keys only, without mask values."""
    import torch

    length, d = tokens.shape
    rows = [filler] * padding + list(tokens) if case == "positions" else [*tokens, *[filler] * padding]
    real = range(padding, padding + length) if case == "positions" else range(length)
    x = torch.stack(rows) + demo("padding_leak").sinusoids(len(rows), tokens.dtype)
    q, k, v = (x @ weight for weight in weights)
    out = []
    for i in range(len(rows)):
        keys = range(i + 1) if case == "last" else range(len(rows)) if case == "attention" else real
        powers = [math.exp(float(q[i] @ k[j]) / math.sqrt(d)) for j in keys]
        out.append(x[i] + sum(p * v[j] for p, j in zip(powers, keys, strict=True)) / sum(powers))
    if case == "last":
        return out[-1]
    chosen = range(len(rows)) if case == "mean" else real
    return sum(out[i] for i in chosen) / len(chosen)


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    import torch

    torch.manual_seed(1)
    tokens, filler = torch.randn(2, 5, 32).double(), torch.randn(32).double()
    weights = [torch.randn(32, 32).double() / 32**0.5 for _ in range(3)]
    found = demo("padding_leak").encode(tokens, filler, weights, case, 3)
    for row, sequence in zip(found, tokens, strict=True):
        torch.testing.assert_close(row, by_hand(sequence, filler, weights, case, 3))


def test_without_padding_nothing_differs():
    for case in CASES:
        found = measured("padding_leak", case=case, padding=0)
        assert (found["difference"], found["difference_double"], found["changed"]) == (0, 0, 0), case


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_a_leak_survives_float64(seed):
    sound = measured("padding_leak", seed, case="none")
    assert sound["difference"] < 1e-6 and sound["difference_double"] < 1e-14 and sound["changed"] == 0
    for case in CASES[1:]:
        found = measured("padding_leak", seed, case=case)
        assert found["difference"] > 0.1
        assert found["difference_double"] == pytest.approx(found["difference"], rel=1e-4)
