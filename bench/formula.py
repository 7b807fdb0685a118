"""Stable forms of formulas: bits of error before and after, beside the textbook's form (Hamming 1987, chapter 3)."""

import statistics
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from bench.formula_values import (
    TORCH_DTYPES,
    UndefinedValue,
    bit_patterns,
    bits_of_error,
    exact_value,
    round_to_format,
    torch_values,
)
from bench.fpcore import FPCore, read_problems
from qa_service.formula.rewrites import proposals
from qa_service.formula.rounding import Array
from qa_service.formula.sexpr import from_sexpr, to_sexpr
from qa_service.formula.tree import Node, variables

POINTS = 8000
_POINTS_TO_CHOOSE = 256
_PROPOSALS = 8
HAMMING = Path(__file__).resolve().parents[2] / "shared" / "bench" / "fpbench" / "hamming-ch3.fpcore"
"""FPBench's collection of Hamming's problems; not part of the repository."""

_ROOT, _HALF_ROOT = "(sqrt (sub (square b) (mul 4 (mul a c))))", "(sqrt (sub (square b2) (mul a c)))"
TEXTBOOK = {
    "NMSE example 3.1": "(div 1 (add (sqrt (add x 1)) (sqrt x)))",
    "NMSE example 3.3": "(mul 2 (mul (cos (add x (div eps 2))) (sin (div eps 2))))",
    "NMSE example 3.4": "(tan (div x 2))",
    "NMSE example 3.5": "(atan (div 1 (add 1 (mul N (add N 1)))))",
    "NMSE example 3.6": "(div 1 (add (mul (add x 1) (sqrt x)) (mul x (sqrt (add x 1)))))",
    "NMSE problem 3.3.1": "(div -1 (mul x (add x 1)))",
    "NMSE problem 3.3.2": "(div (sin eps) (mul (cos x) (cos (add x eps))))",
    "NMSE problem 3.3.3": "(div 2 (mul x (sub (square x) 1)))",
    "NMSE problem 3.3.4": "(div 1 (add (add (pow (add x 1) 2/3) (pow (mul x (add x 1)) 1/3)) (pow x 2/3)))",
    "NMSE problem 3.3.5": "(mul -2 (mul (sin (add x (div eps 2))) (sin (div eps 2))))",
    "NMSE problem 3.3.6": "(log1p (div 1 N))",
    "NMSE problem 3.3.7": "(mul 4 (square (sinh (div x 2))))",
    "NMSE p42, positive": f"(where (lt b 0) (div (sub {_ROOT} b) (mul 2 a)) (div (mul 2 c) (sub (neg b) {_ROOT})))",
    "NMSE p42, negative": f"(where (lt b 0) (div (mul 2 c) (sub {_ROOT} b)) (div (sub (neg b) {_ROOT}) (mul 2 a)))",
    "NMSE problem 3.2.1, positive":
        f"(where (lt b2 0) (div (sub {_HALF_ROOT} b2) a) (div c (sub (neg b2) {_HALF_ROOT})))",
    "NMSE problem 3.2.1, negative":
        f"(where (lt b2 0) (div c (sub {_HALF_ROOT} b2)) (div (sub (neg b2) {_HALF_ROOT}) a))",
    "NMSE example 3.7": "(expm1 x)",
    "NMSE example 3.8":
        "(sub (log (add N 1)) (sub (div 1 (mul 2 N)) (sub (div 1 (mul 3 (square N))) (div 1 (mul 4 (pow N 3))))))",
    "NMSE example 3.9":
        "(where (lt (abs x) 0.026) (mul (div x 3) (add 1 (div (square x) 15))) (sub (div 1 x) (div 1 (tan x))))",
    "NMSE example 3.10": "(div (log1p (neg x)) (log1p x))",
    "NMSE problem 3.4.1": "(mul 1/2 (square (div (sin (div x 2)) (div x 2))))",
    "NMSE problem 3.4.2": "(add (div 1 a) (div 1 b))",
    "NMSE problem 3.4.3": "(sub (log1p (neg eps)) (log1p eps))",
    "NMSE problem 3.4.4": "(sqrt (add (exp x) 1))",
    "NMSE problem 3.4.5":
        "(where (lt (abs x) 0.1) (sub (mul 9/40 (square x)) (add 1/2 (mul 27/2800 (pow x 4)))) "
        "(div (sub x (sin x)) (sub x (tan x))))",
    "NMSE problem 3.4.6": "(sub (exp (div (log1p x) n)) (pow x (div 1 n)))",
    "NMSE section 3.5": "(expm1 (mul a x))",
    "NMSE section 3.11": "(div -1 (expm1 (neg x)))",
}  # fmt: skip
"""The better form of each problem. Hamming's hints, with expm1, log1p and sinh where he expands by hand."""


def stable_forms(points: int = POINTS, names: Iterable[str] = ()) -> None:
    """Hamming's 28 expressions: average bits of error as written, in our form, in the textbook's form."""
    if not HAMMING.exists():
        print("Hamming's problems are not here: hamming-ch3.fpcore of FPBench is read from", HAMMING)
        return
    problems = [each for each in read_problems(HAMMING) if not names or each.name in names]
    for dtype in TORCH_DTYPES:
        rows = []
        for problem in problems:
            before, ours, textbook, form = compare_forms(problem, dtype, points)
            rows.append((before, ours, textbook))
            print(
                f"{dtype} {problem.name:30} {before:6.2f} → {ours:6.2f}   textbook {textbook:6.2f}   {form}", flush=True
            )
        near = sum(ours <= textbook + 1 for _, ours, textbook in rows)
        means = " → ".join(f"{statistics.mean(column):.1f}" for column in list(zip(*rows, strict=True))[:2])
        book = statistics.mean(textbook for _, _, textbook in rows)
        print(
            f"{dtype}: within one bit of the textbook or better: {near} of {len(rows)}; "
            f"mean {means}, textbook {book:.1f}"
        )


def compare_forms(problem: FPCore, dtype: str, count: int) -> tuple[float, float, float, str]:
    """Average bits of error of a problem as written, in the form chosen, in the textbook's form; the form chosen."""
    points, right = valid_points(problem, dtype, count, seed=1)
    textbook = from_sexpr(TEXTBOOK[problem.name])
    chosen = choose_form(problem, dtype)
    error = partial(average_error, points=points, right=right, dtype=dtype)
    return error(problem.tree), error(chosen), error(textbook), to_sexpr(chosen)


def choose_form(problem: FPCore, dtype: str) -> Node:
    """The proposal with the least error at points of its own, as the service chooses; or the problem as written."""
    points, right = valid_points(problem, dtype, _POINTS_TO_CHOOSE, seed=2)
    candidates = [problem.tree, *(each.tree for each in proposals(problem.tree, _PROPOSALS, dtype=dtype))]
    return min(candidates, key=lambda tree: average_error(tree, points, right, dtype))


def average_error(tree: Node, points: dict[str, Array], right: Array, dtype: str) -> float:
    """Average bits of error of a formula in a format at points with known values."""
    return float(bits_of_error(torch_values(tree, points, dtype), right, dtype).mean())


def valid_points(problem: FPCore, dtype: str, count: int, seed: int) -> tuple[dict[str, Array], Array]:
    """Points under the precondition where the value is finite in the format, and the values, rounded to the format."""
    random = np.random.default_rng(seed)
    names = variables(problem.tree)
    kept: list[list[float]] = []
    right: list[float] = []
    for _ in range(200):
        for row in zip(*(bit_patterns(random, count, dtype) for _ in names), strict=False):
            point = {name: float(value) for name, value in zip(names, row, strict=True)}
            if not problem.holds(point):
                continue
            try:
                value = round_to_format(exact_value(problem.tree, point), dtype)
            except UndefinedValue:
                continue
            if np.isfinite(value):
                kept.append([point[name] for name in names])
                right.append(value)
            if len(kept) == count:
                return {
                    name: np.array(column) for name, column in zip(names, zip(*kept, strict=True), strict=True)
                }, np.array(right)
    raise AssertionError(f"too few valid points for {problem.name}")
