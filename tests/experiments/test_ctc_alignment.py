"""Tests the experiment ctc_alignment against a count of alignments by enumeration."""

import itertools
import math

import pytest
from oracles import measure, measured


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """The labels of an alignment: equal neighbours are merged, then blanks (0) removed."""
    return tuple(label for label, _ in itertools.groupby(path) if label)


@pytest.mark.parametrize(("length", "repeats"), [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (4, 1)])
def test_the_frames_needed_are_those_of_the_shortest_alignment(length, repeats):
    """The shortest sequence over {blank, 1, 2} that collapses to the target is found by trying all."""
    target = [1]
    for place in range(1, length):
        target.append(target[-1] if place <= repeats else 3 - target[-1])
    shortest = next(
        frames
        for frames in range(1, 8)
        if any(collapse(path) == tuple(target) for path in itertools.product(range(3), repeat=frames))
    )
    metrics = measured("ctc_alignment", length=length, repeats=repeats, frames=9)
    assert metrics["needed"] == metrics["shortest_frames"] == shortest == length + repeats


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("frames", [14, 15])
def test_one_frame_decides(seed, frames):
    """12 labels with 3 repeats need 15 frames: below, the loss is inf and the shared gradient all nan."""
    _, metrics = measure("ctc_alignment", seed, frames=frames)
    fits = frames >= 15
    assert math.isfinite(metrics["loss"]) is fits
    assert (metrics["bad_gradients"], metrics["dropped"]) == ((0, 0) if fits else (1, 1))
    assert metrics["zeroed_bad_gradients"] == 0
    if fits:
        assert metrics["zeroed_loss"] == metrics["filtered_loss"] == metrics["loss"]
    else:
        assert metrics["zeroed_loss"] == pytest.approx(metrics["filtered_loss"] * 7 / 8)


def test_nothing_fits():
    """If every sample has more labels than frames, there is no finite loss to average."""
    metrics = measured("ctc_alignment", length=5, repeats=0, frames=2, batch=2)
    assert metrics["dropped"] == 1
    assert metrics["loss"] == math.inf
