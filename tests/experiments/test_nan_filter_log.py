"""Tests the experiment nan_filter_log against a log that follows the rule in its docstring, for known true losses."""

import math

import pytest
from oracles import NAN, measure, measured, same


def printed(losses: list[float], every: int, keep_nan: bool) -> list[float]:
    """The number on each line of the log, derived from the true losses window by window."""
    lines = []
    for start in range(0, len(losses), every):
        window, total = losses[start : start + every], 0.0
        for k, loss in enumerate(window):
            total += loss if keep_nan or math.isfinite(loss) else total / (1 + k)
        lines.append(total / len(window))
    return lines


@pytest.mark.parametrize("case", ["poisoned", "skipped", "no_labels", "healthy"])
@pytest.mark.parametrize(("every", "keep_nan"), [(1, False), (7, False), (10, False), (7, True)])
def test_the_lines_follow_from_the_true_losses(case, every, keep_nan):
    """The true losses come from a run that prints every step and does not filter nan."""
    rows, _ = measure("nan_filter_log", 0, case=case, every=1, keep_nan=True)
    expected = printed([row["true"] for row in rows], every, keep_nan)
    lines, metrics = measure("nan_filter_log", 0, case=case, every=every, keep_nan=keep_nan)
    assert [line["printed"] for line in lines] == pytest.approx(expected, nan_ok=True)
    assert metrics["lines"] == len(expected)
    assert metrics["nan_lines"] == sum(math.isnan(line) for line in expected)


def test_a_dead_run_looks_perfect():
    """Every line after the fault prints a loss of 0.0 with a norm of nan; no line prints nan as the loss."""
    metrics = measured("nan_filter_log")
    assert (metrics["printed_end"], metrics["first_nan_step"], metrics["first_zero_line"]) == (0, 55, 70)
    assert same(metrics["printed_norm_end"], NAN)
    assert same(metrics["true_end"], NAN)
    assert (metrics["nan_weights"], metrics["nan_lines"]) == (1, 0)


def test_without_labels_the_norm_is_zero():
    """Without labels the printed loss is 0.0 as well, and nothing is nan."""
    metrics = measured("nan_filter_log", case="no_labels")
    assert (metrics["printed_end"], metrics["printed_norm_end"], metrics["nan_weights"]) == (0, 0, 0)


def test_a_skipped_step_leaves_a_healthy_run():
    """One nan loss is filtered from its line, and nothing goes wrong after it."""
    skipped = measured("nan_filter_log", case="skipped")
    assert (skipped["first_nan_step"], skipped["nan_weights"], skipped["zero_lines"]) == (55, 0, 0)
    assert 0.1 < skipped["printed_end"] < 1
    assert measured("nan_filter_log", case="skipped", keep_nan=True)["nan_lines"] == 1
