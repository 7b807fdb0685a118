"""The benchmark of stable forms (Hamming's problems): its problems, the textbook's forms, exact values, and some
results.
"""

import mpmath
import numpy as np
import pytest

from bench.formula import HAMMING, TEXTBOOK, compare_forms
from bench.formula_values import UndefinedValue, bits_of_error, exact_value, round_to_format
from bench.fpcore import read_problems
from qa_service.formula.sexpr import from_sexpr, to_sexpr
from qa_service.formula.tree import variables

PROBLEMS = {each.name: each for each in read_problems(HAMMING)} if HAMMING.exists() else {}
needs_hamming = pytest.mark.skipif(not PROBLEMS, reason="Hamming's problems are not part of the repository")
POINTS = {
    "NMSE example 3.8": {"N": 1e7},  # a series for large N
    "NMSE problem 3.4.2": {"a": 1.5, "b": 2.25, "eps": 1e-9},  # the limit for small eps
    "NMSE example 3.9": {"x": 1e-3},
    "NMSE problem 3.4.5": {"x": 1e-3},
}
"""Where a form that is an approximation holds; the others are compared at one point of moderate numbers."""

MODERATE = {"x": 0.375, "eps": 0.25, "N": 2.5, "n": 2.5, "a": 0.5, "b": 2.5, "b2": 2.5, "c": 0.375}


@needs_hamming
def test_all_28_problems_are_read_with_their_preconditions():
    assert len(PROBLEMS) == 28
    assert PROBLEMS.keys() == TEXTBOOK.keys()
    assert PROBLEMS["NMSE example 3.1"].holds({"x": 0.0})
    assert not PROBLEMS["NMSE example 3.1"].holds({"x": -1.0})
    assert not PROBLEMS["NMSE problem 3.3.3"].holds({"x": -1.0})
    assert PROBLEMS["NMSE p42, positive"].holds({"a": 1.0, "b": 2.0, "c": 1.0})
    assert not PROBLEMS["NMSE p42, positive"].holds({"a": 1.0, "b": 1.0, "c": 1.0})


@needs_hamming
@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_textbooks_form_has_the_value_of_the_problem(name):
    problem = PROBLEMS[name]
    point = POINTS.get(name, {each: MODERATE[each] for each in variables(problem.tree)})
    right, form = exact_value(problem.tree, point), exact_value(from_sexpr(TEXTBOOK[name]), point)
    assert abs(form - right) <= abs(right) * 1e-8


def test_exact_values_keep_an_addend_that_every_small_precision_absorbs():
    tree = from_sexpr("(sub (add x y) x)")
    assert exact_value(tree, {"x": 1e300, "y": 1e-300}) == mpmath.mpf(1e-300)
    assert round_to_format(exact_value(from_sexpr("(sub 1 (cos x))"), {"x": 1e-150}), "float64") == pytest.approx(
        5e-301, rel=1e-15
    )
    assert exact_value(from_sexpr("(div (exp x) (sub (exp x) 1))"), {"x": 1e200}) == 1


def test_a_value_that_is_not_real_or_not_finite_is_undefined():
    for text, x in (("(sqrt x)", -1.0), ("(div 1 x)", 0.0), ("(log x)", 0.0), ("(pow x 1/3)", -8.0)):
        with pytest.raises(UndefinedValue):
            exact_value(from_sexpr(text), {"x": x})


def test_bits_of_error_count_the_numbers_between():
    one, next_one = np.array([1.0]), np.nextafter(np.array([1.0]), 2)
    assert bits_of_error(one, one, "float64")[0] == 0
    assert bits_of_error(next_one, one, "float64")[0] == 1
    assert bits_of_error(np.array([-0.0]), np.array([0.0]), "float32")[0] == 0
    assert bits_of_error(np.array([np.nan]), one, "float32")[0] == 32
    assert bits_of_error(np.array([-1.0]), one, "float64")[0] > 62


@pytest.mark.parametrize(
    "name",
    ["NMSE example 3.1", "NMSE example 3.6", "NMSE problem 3.3.3", "NMSE problem 3.3.6", "NMSE section 3.11",
     "NMSE problem 3.4.4"],
)  # fmt: skip
@needs_hamming
def test_the_form_found_is_within_one_bit_of_the_textbooks(name):
    before, ours, textbook, _ = compare_forms(PROBLEMS[name], "float32", 128)
    assert ours <= textbook + 1
    assert before > ours + 3


def test_an_fpcore_is_read(tmp_path):
    """The parser reads the name, arithmetic with constants and several operands, and the precondition of an FPCore
    benchmark.
    """
    file = tmp_path / "own.fpcore"
    file.write_text('; a comment\n(FPCore (x y) :name "own" :pre (< 0 x 2) (- (sqrt (+ x 1)) (/ y 0.5)))\n', "utf-8")
    (problem,) = read_problems(file)
    assert problem.name == "own"
    assert to_sexpr(problem.tree) == "(sub (sqrt (add x 1)) (div y 0.5))"
    assert problem.holds({"x": 1.0, "y": 0.0})
    assert not problem.holds({"x": 2.0, "y": 0.0})
