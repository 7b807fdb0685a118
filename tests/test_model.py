"""Claims are judged by measured values; numbers are formatted for people and for JSON."""

import math

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.model import Claim, Text, Verdict
from qa_service.model.json_numbers import json_safe
from qa_service.presentation.numbers import format_number


def claim(op: str, bound: float) -> Claim:
    return Claim(id="c", says=Text("说", "says"), metric="m", op=op, bound=bound, control={"x": 1})


@each_case(
    ("value", "op", "bound", "verdict"),
    [
        (4.07e17, ">", 1e6, Verdict.HOLDS),
        (2.7e-5, ">", 1e6, Verdict.FAILS),
        (28, "==", 28, Verdict.HOLDS),
        (math.inf, "==", math.inf, Verdict.HOLDS),
        (math.inf, "<", math.inf, Verdict.FAILS),
        (math.nan, "<", 1, Verdict.FAILS),
        (math.nan, ">=", 1, Verdict.FAILS),
        (math.nan, "==", math.nan, Verdict.HOLDS),
        (1.0, "==", math.nan, Verdict.FAILS),
        (1.0, "!=", math.nan, Verdict.HOLDS),
        (None, "<=", 1e9, Verdict.FAILS),
    ],
)
def test_claims_are_judged_by_ieee_comparison(value, op, bound, verdict):
    """Nan fails every comparison but `== nan`; a metric whose value is None fails every claim."""
    assert claim(op, bound).judge({"m": value}) is verdict


def test_a_missing_metric_is_unknown():
    assert claim("<", 1).judge({"other": 0.0}) is Verdict.UNKNOWN


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_exactly_one_of_opposite_claims_holds(value, bound):
    """Either < or >= holds for any number and bound."""
    verdicts = {claim(op, bound).judge({"m": value}) for op in ("<", ">=")}
    assert verdicts == {Verdict.HOLDS, Verdict.FAILS}


@each_case(
    ("value", "text"),
    [
        (4.065611575627612e17, "4.0656×10¹⁷"), (150.0, "150"), (65504.0, "65504"), (0.00390625, "0.0039062"),
        (1e-5, "1×10⁻⁵"), (1e6, "1×10⁶"), (123456.7, "123457"), (-2.5e-30, "-2.5×10⁻³⁰"), (0.0, "0"),
        (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"), (28, "28"), (None, "(none)"), (True, "true"),
    ],
)  # fmt: skip
def test_numbers_are_formatted_to_five_significant_digits(value, text):
    """Large and small numbers get powers of ten; inf, nan, None and booleans are words."""
    assert format_number(value) == text


@given(st.floats(min_value=-1e308, max_value=1e308) | st.sampled_from([math.inf, -math.inf, math.nan]))
def test_formatted_numbers_can_be_parsed_back(value):
    """The formatted value equals the value to five digits."""
    text = format_number(value).translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace("×10", "e")
    if math.isnan(value):
        assert text == "nan"
    else:
        assert float(text) == pytest.approx(value, rel=6e-5)


def test_nonfinite_numbers_become_strings_in_json():
    """They are replaced at any depth; None stays null; other types raise TypeError."""
    rows = {"a": [math.inf, (-math.inf,)], "b": {"c": math.nan}, "d": None, "e": True}
    assert json_safe(rows) == {"a": ["Infinity", ["-Infinity"]], "b": {"c": "NaN"}, "d": None, "e": True}
    with pytest.raises(TypeError):
        json_safe(object())
