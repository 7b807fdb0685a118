"""Tests the experiment relu_exact against exact rationals."""

from fractions import Fraction

import pytest
from oracles import FORMATS, demo, draws, measure, measured


@pytest.mark.parametrize("case", ["abs", "max", "min", "clip", "hat", "xor"])
def test_relu_exact_identities(case):
    """In rational arithmetic each form equals its function, at halves from −3 to 3 and at random pairs."""
    points = [Fraction(i, 2) for i in range(-6, 7)]
    pairs = [(a, b) for a in points for b in points]
    pairs += [(Fraction(float(a)), Fraction(float(b))) for a, b in draws(0, (50, 2))[0]]
    sign = lambda t: Fraction(t > 0)  # noqa: E731
    relu = lambda t: max(t, Fraction(0))  # noqa: E731
    for a, b in pairs:
        p, q = sign(a), sign(b)
        function, form = {
            "abs": (abs(a), relu(a) + relu(-a)),
            "max": (max(a, b), relu(b - a) + relu(a) - relu(-a)),
            "min": (min(a, b), relu(a) - relu(-a) - relu(a - b)),
            "clip": (min(max(a, -1), 1), relu(a + 1) - relu(a - 1) - 1),
            "hat": (max(1 - abs(a), 0), relu(a + 1) - 2 * relu(a) + relu(a - 1)),
            "xor": (Fraction(p != q), relu(p + q) - 2 * relu(p + q - 1)),
        }[case]
        assert function == form
        torch_function, torch_form = (
            one(*tensors(float(a), float(b))).item() for one in demo("relu_exact").CASES[case][1:]
        )
        assert torch_function == pytest.approx(float(function), abs=1e-15)
        assert torch_form == pytest.approx(float(form), abs=1e-14)


def tensors(*numbers: float) -> list[object]:
    """Scalars in float64."""
    import torch

    return [torch.tensor(number, dtype=torch.float64) for number in numbers]


@pytest.mark.parametrize("dtype", FORMATS)
def test_relu_exact_max_is_correct_to_two_roundings(dtype):
    """The difference and the sum are each rounded once, so the maximum is right within 1.5·eps·max(|a|, |b|)."""
    metrics = measured("relu_exact", dtype=dtype, n=2000)
    assert metrics["max_err"] > 0
    assert metrics["err_in_eps"] <= 1.5
    assert 0.5 < metrics["equal_share"] < 1


def test_relu_exact_claims_and_controls():
    """|x| is exact to the bit; x² and a step are only approximated; for very different sizes max loses digits."""
    assert measured("relu_exact", case="abs", dtype="float16")["max_err"] == 0
    assert measured("relu_exact", case="square")["max_err"] >= 0.2
    assert measured("relu_exact", case="step")["max_err"] > 0.1
    apart = measured("relu_exact", std=1e8, dtype="float32")
    assert 1 < apart["max_err"] <= 8
    assert [measured("relu_exact", case=c, n=1)["n_relus"] for c in ("abs", "max", "square")] == [2, 3, 4]


def test_relu_exact_square_on_its_pieces():
    """Between the knots the broken line is exactly ¼ above the parabola at the middle."""
    rows = {round(row["a"], 3): row for row in measure("relu_exact", case="square")[0]}
    for middle in (-1.5, -0.5, 0.5, 1.5):
        assert rows[middle]["relus"] - rows[middle]["function"] == pytest.approx(0.25, abs=1e-12)
    for knot in (-2.0, -1.0, 0.0, 1.0, 2.0):
        assert rows[knot]["relus"] == pytest.approx(knot**2, abs=1e-12)
