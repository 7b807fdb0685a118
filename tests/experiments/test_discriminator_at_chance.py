"""Tests the experiment discriminator_at_chance against the best discriminator of two normals."""

import math

import numpy as np
import pytest
from oracles import DENSITY, Z, measured


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0, 6.0])
def test_the_best_discriminator(distance):
    best = 2 * (np.logaddexp(0, distance * Z - distance**2 / 2) * DENSITY).sum()
    metrics = measured("discriminator_at_chance", fault="none", distance=distance)
    assert metrics["theory_best"] == pytest.approx(best, rel=1e-6)
    assert metrics["fresh_end"] == pytest.approx(best, abs=0.1)
    assert metrics["loss_end"] == pytest.approx(best, abs=0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_dead_one_never_moves(seed):
    metrics = measured("discriminator_at_chance", seed, fault="dead", distance=3.0)
    assert metrics["loss_end"] == pytest.approx(2 * math.log(2), abs=1e-4)
    assert metrics["two_ln_two"] == pytest.approx(math.log(4), rel=1e-15)
    assert metrics["spread"] < 1e-6
    assert metrics["gradient"] == 0
    right = 0.5 * (1 + math.erf(1.5 / math.sqrt(2)))  # the two normals cut half-way
    assert metrics["fresh_accuracy"] == pytest.approx(right, abs=0.03)


@pytest.mark.parametrize("seed", [0, 1])
def test_with_leaky_relu_the_same_biases_are_no_death(seed):
    metrics = measured("discriminator_at_chance", seed, fault="leaky", distance=3.0, n=500)
    assert metrics["theory_best"] - 0.1 < metrics["loss_end"] < 0.6
    assert metrics["spread"] > 1 and metrics["gradient"] > 0
