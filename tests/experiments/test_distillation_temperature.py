"""Tests the experiment distillation_temperature against the gradient of the KL written by hand in numpy."""

import math

import numpy as np
import pytest
from oracles import draws, measure, measured


def softmax(z):
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def by_hand(seed: int, temperature: float, classes: int = 100):
    """The mean KL, the norm of its gradient (softmax(s/T) − softmax(t/T))/(n·T), the probabilities of teacher and
    student, and s − t.
    """
    t, noise = draws(seed, (64, classes), (64, classes))
    t = 2 * t
    s = t + noise
    p, q = softmax(t / temperature), softmax(s / temperature)
    slope = (q - p) / (64 * temperature)
    return (p * (np.log(p) - np.log(q))).sum() / 64, float(np.linalg.norm(slope)), p, q, s - t


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("temperature", "classes"), [(1.0, 100), (4.0, 100), (10.0, 20)])
def test_loss_and_gradient(seed, temperature, classes):
    rows, metrics = measure("distillation_temperature", seed, x=temperature, classes=classes)
    loss, slope, p, q, d = by_hand(seed, temperature, classes)
    one = by_hand(seed, 1.0, classes)[1]
    assert metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["gradient_ratio"] == pytest.approx(slope / one, rel=1e-5)
    assert metrics["restored_ratio"] == pytest.approx(temperature**2 * slope / one, rel=1e-5)
    assert rows[-1]["plain"] == pytest.approx(slope, rel=1e-5)
    assert metrics["mean_share"] == pytest.approx(1 / classes, rel=1e-9)
    assert metrics["swapped"] == pytest.approx((p * (np.log(p) - q)).sum() / 64, rel=1e-5)
    limit = np.linalg.norm(d - d.mean(1, keepdims=True)) / (64 * classes)
    assert metrics["limit_ratio"] == pytest.approx(limit / one, rel=1e-5)


def test_a_high_temperature_comes_to_its_limit():
    metrics = measured("distillation_temperature", x=100.0)
    assert metrics["restored_ratio"] == pytest.approx(metrics["limit_ratio"], rel=0.02)
    assert metrics["one_over_t2"] == pytest.approx(1e-4)


def test_float16_loses_probabilities_below_its_smallest_number():
    """exp(−d) rounds to 0 below 2^-25, 17.3 nats below the sum; log_softmax keeps d itself."""
    metrics = measured("distillation_temperature", 1, size=2.0, gap=1.0)
    t, noise = draws(1, (64, 100), (64, 100))
    z = (10 * (2 * t + noise)).astype(np.float16).astype(float)
    below = z - z.max(1, keepdims=True) - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))
    assert metrics["half_bad"] == pytest.approx((below < 25 * -math.log(2)).mean(), abs=0.01)
    assert metrics["fused_bad"] == 0
