"""Tests the experiment td_divergence against the closed form of a linear recurrence."""

import pytest
from oracles import measured


def closed_form(factor, gamma, reward, lr, period, periods):
    """The value after so many whole periods, from 0."""
    rest = reward / (1 - gamma * factor)
    return rest - rest * (1 + (1 - (1 - lr) ** period) * (gamma * factor - 1)) ** periods


@pytest.mark.parametrize("period", [1, 7, 100])
@pytest.mark.parametrize(
    ("factor", "gamma", "reward"), [(1.1, 0.99, 1.0), (0.9, 0.9, -2.0), (1.5, 0.5, 3.0), (0, 0.9, 1.0)]
)
def test_whole_periods(factor, gamma, reward, period):
    metrics = measured(
        "td_divergence", factor=factor, gamma=gamma, reward=reward, lr=0.05, period=period, n=20 * period
    )
    assert metrics["value_end"] == pytest.approx(closed_form(factor, gamma, reward, 0.05, period, 20), rel=1e-9)
    assert metrics["bound"] == pytest.approx(abs(reward) / (1 - gamma))
    growth = 1 + (1 - 0.95**period) * (gamma * factor - 1)
    assert metrics["theory_growth"] == pytest.approx(growth)


def test_a_finished_episode_is_worth_its_reward():
    assert measured("td_divergence", masked=True, factor=3.0, reward=2.0)["value_end"] == pytest.approx(2)


def test_bounded_targets_bound_the_value():
    metrics = measured("td_divergence", factor=2.0, bounded=True, reward=-5.0, gamma=0.9, n=3000)
    assert metrics["value_end"] == pytest.approx(-50) and metrics["first_above"] is None


def test_huber_grows_by_the_rate_a_step():
    metrics = measured("td_divergence", huber=True, factor=2.0, reward=1.0, lr=0.1, n=500)
    assert metrics["value_end"] == pytest.approx(50)


def test_a_run_stops_once_it_has_diverged():
    metrics = measured("td_divergence", factor=10.0, lr=1.0, n=20000)
    assert metrics["steps"] < 40 and metrics["value_end"] > 1e30


def test_nothing_to_compare_with():
    metrics = measured("td_divergence", reward=0.0)
    assert metrics["value_end"] == metrics["bound"] == 0 and metrics["over_bound"] != metrics["over_bound"]
