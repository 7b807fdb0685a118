"""Tests the experiment ctc_blanks against all alignments written out, and against the course of its own rows."""

import itertools
import math

import pytest
from oracles import measured


def collapsed(symbols: tuple[int, ...]) -> tuple[int, ...]:
    merged = [symbol for place, symbol in enumerate(symbols) if place == 0 or symbol != symbols[place - 1]]
    return tuple(symbol for symbol in merged if symbol)


@pytest.mark.parametrize(("frames", "length"), [(4, 1), (6, 2), (8, 3)])
def test_blanks_of_all_alignments(frames, length):
    """Alignments are enumerated over the blank and the target's labels; which labels these are does not matter."""
    target = tuple(range(1, length + 1))
    every = [path for path in itertools.product(range(length + 1), repeat=frames) if collapsed(path) == target]
    right = sum(path.count(0) for path in every) / (frames * len(every))
    metrics = measured("ctc_blanks", frames=frames, length=length, samples=1, n=1)
    assert metrics["occupancy"] == pytest.approx(right, rel=1e-6)
    assert metrics["loss_start"] == pytest.approx(frames * math.log(21) - math.log(len(every)), rel=1e-5)
    assert metrics["even_share"] == pytest.approx(1 / 21)


@pytest.mark.parametrize("seed", [0, 1])
def test_blanks_first_and_labels_later(seed):
    metrics = measured("ctc_blanks", seed, n=400)
    assert metrics["peak"] > 0.9
    assert metrics["peak_correct"] == 0
    assert metrics["peak_step"] < metrics["right_from"]
    assert metrics["correct_end"] >= 0.5
    assert metrics["peak_loss"] < metrics["loss_start"] / 3
    assert metrics["blank_end"] == pytest.approx(36 / 40, abs=0.05)  # a frame for each of four labels


def test_known_places_need_no_plateau():
    with_places, without = (measured("ctc_blanks", way=way, n=400) for way in ("framewise", "ctc"))
    assert with_places["right_from"] < without["right_from"] / 2
