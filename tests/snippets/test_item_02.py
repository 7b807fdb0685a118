"""Snippets on ReLU networks and curves: constructions are as exact as promised, and checks recognise linear models."""

import pytest
import torch
from snippets.reader import batch
from torch import nn


def test_deeper_or_wider_for_a_curve(snippet):
    assert snippet.run().numbers[0] < 4**-10 + 1e-12
    assert snippet.run(swap={"square(t)": "square(t, 3)"}).numbers[0] == pytest.approx(4**-4, rel=0.01)


def test_layers_without_activations(snippet):
    linear = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 2, bias=False))
    assert snippet.diagnose(linear).numbers[-1] < 1e-5
    assert snippet.diagnose().numbers[-1] > 0.01


def test_pieces_for_a_given_error(snippet):
    assert snippet.run().numbers == [16, 32, 500]
    t = torch.linspace(0, 1, 100001, dtype=torch.float64)
    for pieces, enough in ((16, True), (15, False)):
        width = 1 / pieces
        low = (t / width).floor().clamp(max=pieces - 1) * width
        chord = low**2 + (t - low) * (2 * low + width)
        assert ((chord - t**2).abs().max().item() <= 1e-3) is enough


def test_relu_exact_abs_and_max(snippet):
    assert max(snippet.run().numbers) < 1e-6


def test_relu_fits_curves(snippet):
    error, kinks = snippet.run().numbers
    assert error < 1e-3 and kinks > 2
    assert snippet.run(swap={"torch.nn.ReLU()": "torch.nn.Identity()"}).numbers[0] > 0.05


def test_relu_fits_sine(snippet):
    assert snippet.run().numbers[0] < 0.01
    assert snippet.run(swap={"torch.nn.ReLU()": "torch.nn.Identity()"}).numbers[0] > 0.1


def test_relu_outside_the_data(snippet):
    assert snippet.run().numbers[0] > 50
    assert snippet.run(swap={"x * 3": "x"}).numbers[0] == 0


def test_smooth_activation_for_a_parabola(snippet):
    error, theory = snippet.run().numbers
    assert error == pytest.approx(theory, rel=0.1)


def test_what_universal_approximation_says(snippet):
    assert snippet.run().numbers[0] == 0
    x, _ = batch()
    assert (
        snippet.run(x=x, swap={"outside = (x < low) | (x > high)": "outside = (3 * x < low) | (3 * x > high)"}).numbers[
            0
        ]
        > 0.5
    )
