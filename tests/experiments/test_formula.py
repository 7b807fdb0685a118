"""The experiment `formula` against fractions, mpmath at 400 digits, torch and closed forms."""

import math
import operator
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import libmp
from oracles import EXPERIMENTS, FORMATS, INF, NAN, demo, measure

from qa_service.formula.functions import FUNCTIONS
from qa_service.model import RunStatus

M = mpmath
DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz",
          "float8_e4m3fnuz")  # fmt: skip
UNARY = {
    "neg": lambda x: -x, "square": lambda x: x * x, "abs": abs, "sqrt": M.sqrt, "rsqrt": lambda x: 1 / M.sqrt(x),
    "exp": M.exp, "exp2": lambda x: M.mpf(2) ** x, "expm1": lambda x: M.exp(x) - 1, "log": M.log,
    "log2": lambda x: M.log(x) / M.log(2), "log10": lambda x: M.log(x) / M.log(10), "log1p": lambda x: M.log(1 + x),
    "sin": M.sin, "cos": M.cos, "tan": M.tan, "asin": M.asin, "acos": M.acos, "atan": M.atan, "sinh": M.sinh,
    "cosh": M.cosh, "tanh": M.tanh, "asinh": M.asinh, "acosh": M.acosh, "atanh": M.atanh,
    "sigmoid": lambda x: 1 / (1 + M.exp(-x)), "logsigmoid": lambda x: -M.log(1 + M.exp(-x)),
    "softplus": lambda x: M.log(1 + M.exp(x)), "relu": lambda x: max(x, M.mpf(0)), "gelu": lambda x: x * M.ncdf(x),
    "silu": lambda x: x / (1 + M.exp(-x)), "erf": M.erf, "erfc": M.erfc, "lgamma": lambda x: M.log(abs(M.gamma(x))),
    "factorial": lambda x: M.gamma(x + 1), "sign": M.sign, "floor": M.floor, "ceil": M.ceil, "round": M.nint,
}  # fmt: skip
BINARY = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "pow": M.power,
    "atan2": M.atan2, "hypot": M.hypot, "logaddexp": lambda x, y: M.log(M.exp(x) + M.exp(y)),
    "xlogy": lambda x, y: x * M.log(y), "remainder": lambda x, y: x - y * M.floor(x / y), "max": max, "min": min,
}  # fmt: skip
POINTS = (0.5, -0.5, 1.5, -1.5, 3.0, 0.1, -0.1, 1e-20, -1e-20, 1e-300, 20.3, -20.3, 300.7, -300.7, 1 - 2**-53,
          1 + 2**-52, 1.4616321449683623)  # fmt: skip


@pytest.fixture(autouse=True)
def _many_digits():
    """Computes with 400 digits in mpmath during each test."""
    with mpmath.workdps(400):
        yield


def run(expression: str, values: str = "", alternatives: str = "", gradient: bool = False):
    """Rows and metrics of a run."""
    return measure("formula", expression=expression, values=values, alternatives=alternatives, gradient=gradient)


def rows_of(rows: list[dict[str, Any]], kind: str, **cells: object) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == kind and all(row.get(name) == cell for name, cell in cells.items())]


def exact(op: str, *args: float | Fraction):
    """The demo's exact value of one operation: a Fraction, inf or nan, or the ends of an interval as mpf."""
    formula = demo("formula")
    program = formula.Program()
    root = program.add(op, *(program.number(Fraction(arg)) for arg in args))
    value = formula.exactly(program, [root], {}, compared=True)[root][0]
    return tuple(M.mp.make_mpf(end) for end in value) if isinstance(value, tuple) else value


def agrees(found: Any, reference: Any) -> bool:
    """Whether an exact value equals the reference, which is known to 400 digits."""
    if isinstance(reference, mpmath.mpc) or mpmath.isnan(reference):
        return isinstance(found, float) and math.isnan(found)
    low, high = found if isinstance(found, tuple) else (M.mpf(found.numerator) / found.denominator,) * 2
    slack = abs(reference) * M.mpf(10) ** -90  # what the reference loses by cancellation
    return low - slack <= reference <= high + slack and high - low <= abs(reference) * M.mpf(2) ** -69


@pytest.mark.parametrize("op", UNARY)
def test_exact_values_of_functions(op):
    for x in POINTS:
        if op == "factorial" and x < 0:
            continue
        reference = UNARY[op](M.mpf(x))
        assert agrees(exact(op, x), reference), x


@pytest.mark.parametrize("op", BINARY)
def test_exact_values_of_functions_of_two(op):
    for x in POINTS:
        for y in POINTS:
            if op == "remainder" and abs(x / y) > 1e100:
                continue
            assert agrees(exact(op, x, y), BINARY[op](M.mpf(x), M.mpf(y))), (x, y)


@pytest.mark.parametrize(
    ("op", "args", "value"),
    [
        ("sqrt", (Fraction(4, 9),), Fraction(2, 3)), ("pow", (4, Fraction(1, 2)), 2), ("pow", (0, 0), 1),
        ("log2", (Fraction(1, 1024),), -10), ("log10", (1000,), 3), ("hypot", (3, 4), 5), ("exp", (0,), 1),
        ("sigmoid", (0,), Fraction(1, 2)), ("acos", (1,), 0), ("factorial", (5,), 120), ("xlogy", (0, 0), 0),
        ("div", (1, 0), INF), ("log", (0,), -INF), ("rsqrt", (0,), INF), ("atanh", (-1,), -INF), ("pow", (0, -1), INF),
    ],
)  # fmt: skip
def test_values_that_are_rational_or_poles(op, args, value):
    assert exact(op, *args) == value


@pytest.mark.parametrize(("op", "x"), [("log", -1), ("sqrt", -2), ("asin", 2), ("acosh", 0), ("atanh", -3)])
def test_outside_the_domain_there_is_no_value(op, x):
    assert math.isnan(exact(op, x))


def test_digits_that_cancel_are_found_again():
    """The intervals for (1 + 10^−300) − 1 need more than a thousand bits to give its digits."""
    _, metrics = run("(sub (exp (log1p 1e-300)) 1)")
    assert metrics["exact"] == 1e-300
    _, metrics = run("(sub (square (sqrt 2)) 2)")
    assert metrics["exact"] == 0


def test_a_planted_disagreement_is_noticed(monkeypatch):
    """If one precision yields an interval shifted by its own width, the result is not accepted as exact."""
    formula = demo("formula")
    honest = formula.INTERVALS["exp"]

    def shifted(prec, x):
        low, high = honest(prec, x)
        if prec != 128:
            return low, high
        step = libmp.mpf_shift(low, 60 - prec)
        return libmp.mpf_add(low, step), libmp.mpf_add(high, step)

    monkeypatch.setitem(formula.INTERVALS, "exp", shifted)
    with pytest.raises(ArithmeticError, match="exp"):
        run("(exp 1)")


# --- values in the formats ---

NUMBERS = st.fractions(min_value=-1000, max_value=1000, max_denominator=1000)
SIGNS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}
TREES = st.recursive(NUMBERS, lambda inner: st.tuples(st.sampled_from(list(SIGNS)), inner, inner), max_leaves=8).filter(
    lambda tree: isinstance(tree, tuple)  # 1/3 alone would be read as a division
)


def sexpr(tree: Any) -> str:
    return f"({tree[0]} {sexpr(tree[1])} {sexpr(tree[2])})" if isinstance(tree, tuple) else str(tree)


def evaluated(tree: Any, leaf: Any) -> Any:
    """The tree evaluated in another arithmetic, whose numbers `leaf` makes from fractions. Raises ZeroDivisionError."""
    if not isinstance(tree, tuple):
        return leaf(tree)
    return SIGNS[tree[0]](evaluated(tree[1], leaf), evaluated(tree[2], leaf))


@given(TREES)
def test_arithmetic_is_pythons_fractions_and_floats(tree):
    """The exact value is that of fractions, the value in float64 that of Python's floats."""
    try:
        true, double = evaluated(tree, Fraction), evaluated(tree, float)
    except (ZeroDivisionError, OverflowError):
        return
    _, metrics = run(sexpr(tree))
    assert metrics["exact"] == float(true)
    assert metrics["value_float64"] == double


class Rounded:
    """A number of a format: each operation on fractions, rounded once."""

    def __init__(self, form, value):
        self.form, self.value = form, form.rounded(value)

    def _with(self, other, sign):
        if self.value is None or other.value is None:
            raise OverflowError
        return Rounded(self.form, sign(self.value, other.value))

    __add__ = lambda self, other: self._with(other, operator.add)  # noqa: E731
    __sub__ = lambda self, other: self._with(other, operator.sub)  # noqa: E731
    __mul__ = lambda self, other: self._with(other, operator.mul)  # noqa: E731
    __truediv__ = lambda self, other: self._with(other, operator.truediv)  # noqa: E731


@given(TREES)
def test_every_operation_is_rounded_once(tree):
    _, metrics = run(sexpr(tree))
    for name in ("float32", "float16", "bfloat16"):
        try:
            reference = evaluated(tree, lambda value: Rounded(FORMATS[name], value)).value  # noqa: B023
        except (ZeroDivisionError, OverflowError):
            continue
        if reference is None:
            assert math.isinf(metrics[f"value_{name}"])
        elif abs(reference) >= FORMATS["bfloat16"].smallest_normal:  # below, torch rounds bfloat16 twice
            assert metrics[f"value_{name}"] == reference


@pytest.mark.parametrize(
    ("expression", "dtype", "value"),
    [
        ("70000", "float16", INF), ("70000", "bfloat16", 70144), ("(add 1 1/256)", "float16", 1.00390625),
        ("(add 1 1/256)", "bfloat16", 1), ("(sub (add 1 1e-3) 1)", "float16", 0.0009765625), ("1e-8", "float16", 0),
        ("(div 0 (add (sqrt 0) 1e-8))", "float16", NAN), ("(div 0 (add (sqrt 0) 1e-4))", "float16", 0),
        ("(exp 11.09)", "float16", INF), ("(item (softmax (vector 60000 0)) 0)", "float16", 1),
        ("2049", "float16", 2048), ("4097", "float16", 4096), ("(add (add 2048 1) 1)", "float16", 2048),
        ("(add 2048 (add 1 1))", "float16", 2050), ("(exp 89)", "float32", INF),
        ("(add 0.1 0.2)", "float64", 0.1 + 0.2),
        ("(log (sigmoid -200))", "float32", -INF), ("(softmax (vector 1000 0))", "bfloat16", 1),
    ],
)  # fmt: skip
def test_values_that_people_ask_for(expression, dtype, value):
    _, metrics = run(expression)
    assert metrics[f"value_{dtype}"] == pytest.approx(value, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if function.kind == "elementwise"])
def test_functions_are_torchs_own(name):
    """In float64, float32, bfloat16 and float16 values are torch's, to the bit; float8 values are rounded from
    float32.
    """
    spelled = {"max": "maximum", "min": "minimum"}.get(name, name)
    call = getattr(torch, spelled, None) or getattr(torch.nn.functional, name, None)
    arity = FUNCTIONS[name].arity
    if name in ("where", "factorial"):
        return
    points = [0.75, 0.5, 0.25][:arity] if name != "acosh" else [1.75]
    _, metrics = run(f"({name} {' '.join(map(str, points))})")
    for dtype in DTYPES:
        stored = [torch.tensor(point, dtype=torch.float64).to(getattr(torch, dtype)) for point in points]
        wide = [one.float() for one in stored] if dtype.startswith("float8") else stored
        exponent = points[1] if name == "pow" else None
        value = (call(wide[0], exponent) if exponent else call(*wide)).to(getattr(torch, dtype))
        assert metrics[f"value_{dtype}"] == float(value.double()), dtype


def test_every_function_of_the_grammar_is_measured():
    """Each function of the table has a value, an exact value and a derivative."""
    for name, function in FUNCTIONS.items():
        match function.kind:
            case "constant":
                expression = f"(mul x {name})"
            case "vector":
                expression = "(sum (vector x 2 3))"
            case "item":
                expression = "(item (vector x 2 3) 0)"
            case "comparison":
                expression = f"(where ({name} x 1) x 2)"
            case "map" | "reduction":
                vectors = " ".join(["(vector x 0.5 0.25)"] * function.arity)
                expression = f"(item ({name} {vectors}) 0)" if function.kind == "map" else f"({name} {vectors})"
            case _:
                arguments = " ".join(["x", "1.25", "0.5"][: function.arity])
                expression = "(where (lt x 2) x 0)" if name == "where" else f"({name} {arguments})"
        _, metrics = run(expression, "x=1.5" if name == "acosh" else "x=0.75", gradient=True)
        assert metrics["exact"] is not None, name
        assert metrics["value_float64"] == pytest.approx(metrics["exact"], rel=1e-12), name
        assert metrics["gradient_exact"] is not None, name


# --- what goes wrong, and where ---


@pytest.mark.parametrize(
    ("expression", "values", "dtype", "status", "operation", "how"),
    [
        ("(log (add 1 (exp x)))", "x=100", "float32", "overflow", "exp", "overflow"),
        ("(log (sigmoid x))", "x=-200", "float32", "overflow", "sigmoid", "underflow"),
        ("(sub (add x 1) x)", "x=2048", "float16", "cancelled", "add", "absorbed"),
        ("(log (add 1 (exp x)))", "x=-40", "float32", "cancelled", "add", "absorbed"),
        ("(sub 1 (cos x))", "x=1e-4", "float32", "cancelled", "sub", "cancellation"),
        ("(sin (mul x 3333333))", "x=0.7", "float32", "cancelled", "sin", "amplification"),
        ("(log x)", "x=-1", "float32", "nan", "log", "domain"),
        ("(div 1 x)", "x=0", "float32", "overflow", "div", "pole"),
        ("(mul x 2)", "x=70000", "float16", "overflow", "x", "overflow"),
        ("(div (exp x) (add (exp x) 1))", "x=1000", "float64", "nan", "exp", "overflow"),
        ("(exp x)", "x=-200", "float32", "underflow", "exp", "underflow"),
    ],
)  # fmt: skip
def test_the_first_step_that_goes_wrong(expression, values, dtype, status, operation, how):
    rows, _ = run(expression, values)
    steps = rows_of(rows, "node", dtype=dtype)
    assert steps[-1]["status"] == status
    (first,) = (row for row in steps if row["first"])
    assert (first["operation"], first["how"]) == (operation, how)


@pytest.mark.parametrize(
    ("expression", "values"),
    [("(add 0.1 0.2)", ""), ("(add 2048 1)", ""), ("(where (gt x 0) (log x) 0)", "x=0"), ("(logaddexp 0 x)", "x=1000")],
)
def test_what_is_right_has_no_first_wrong_step(expression, values):
    rows, _ = run(expression, values)
    assert not [row for row in rows_of(rows, "node", dtype="float32") if row["first"]]


def test_errors_are_in_units_of_the_last_place():
    """0.1 + 0.2 in float64 is 2^−54·0.8 too large; the unit at 0.3 is 2^−54."""
    _, metrics = run("(add 0.1 0.2)")
    off = abs(Fraction(0.1 + 0.2) - Fraction(3, 10)) / Fraction(2) ** -54
    assert metrics["ulps_float64"] == pytest.approx(float(off), rel=1e-12)
    _, metrics = run("(add 2048 1)")
    assert metrics["ulps_float16"] == 0.5


# --- gradients ---


@pytest.mark.parametrize("op", [*UNARY, *BINARY])
def test_exact_derivatives(op):
    """They agree with mpmath's numerical derivative at 400 digits."""
    function = UNARY.get(op) or (lambda x: BINARY[op](x, M.mpf(1.25)))
    rest = "" if op in UNARY else " 1.25"
    x = 1.75 if op == "acosh" else 0.75
    _, metrics = run(f"({op} x{rest})", f"x={x}", gradient=True)
    assert metrics["gradient_exact"] == pytest.approx(float(M.diff(function, M.mpf(x))), rel=1e-13, abs=1e-60)
    assert metrics["gradient_float64"] == pytest.approx(metrics["gradient_exact"], rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("op", [op for op in BINARY if op != "remainder"])
def test_exact_derivatives_by_the_second_argument(op):
    _, metrics = run(f"({op} 1.25 x)", "x=0.75", gradient=True)
    slope = M.diff(lambda x: BINARY[op](M.mpf(1.25), x), M.mpf(0.75))
    assert metrics["gradient_exact"] == pytest.approx(float(slope), rel=1e-13, abs=1e-60)


@pytest.mark.parametrize("op", ["lerp", "addcdiv", "where"])
def test_derivatives_of_functions_of_three_are_autograds(op):
    first = "(gt x 0)" if op == "where" else "x"
    rows, _ = run(f"({op} {first} (mul 2 y) (square z))", "x=0.7 y=0.9 z=0.4", gradient=True)
    assert len(rows_of(rows, "gradient", dtype="float64")) == 3
    for row in rows_of(rows, "gradient", dtype="float64"):
        assert row["value"] == pytest.approx(row["exact"], rel=1e-12)


@pytest.mark.parametrize("op", ["sum", "mean", "prod", "var", "std", "norm", "logsumexp", "amax", "amin"])
def test_derivatives_of_reductions_are_autograds(op):
    rows, _ = run(f"({op} (vector x (mul 2 y) 0.3))", "x=0.7 y=0.9", gradient=True)
    for row in rows_of(rows, "gradient", dtype="float64"):
        assert row["value"] == pytest.approx(row["exact"], rel=1e-12)


def test_the_gradient_through_where_is_nan_although_the_value_is_right():
    rows, metrics = run("(where (gt x 0) (log x) 0)", "x=0", gradient=True)
    assert metrics["value_float32"] == metrics["exact"] == metrics["gradient_exact"] == 0
    assert math.isnan(metrics["gradient_float32"])
    (row,) = rows_of(rows, "gradient", dtype="float32")
    (step,) = rows_of(rows, "node", dtype="float32", node=row["node"])
    assert step["operation"] == "log"


def test_the_gradient_of_the_root_of_a_square():
    _, metrics = run("(sqrt (square x))", "x=0", gradient=True)
    assert math.isnan(metrics["gradient_float64"])
    _, metrics = run("(sqrt (square x))", "x=1e-30", gradient=True)
    assert metrics["gradient_exact"] == 1
    assert math.isinf(metrics["gradient_float32"])


# --- the largest numbers and roots ---


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("(pow 2 1e6)", ""), ("(pow 1.0000001 1e9)", ""), ("(pow 10 (pow 10 10))", ""),
        ("(pow (add 1 x) 1e300)", "x=-1..1"), ("(pow x 1e1000)", "x=-1..1"), ("(div (pow 2 5000) 0)", ""),
        ("(div x 0)", "x=-1e1000"),
    ],
)  # fmt: skip
def test_numbers_beyond_a_format_are_infinite_in_it(expression, values):
    """An exponent that float16 cannot hold is infinite there too, although torch refuses it as a number."""
    _, metrics = run(expression, values, gradient=True)
    assert all(metrics[f"value_{dtype}"] is not None for dtype in DTYPES)


@given(st.fractions(min_value=Fraction(1, 50), max_value=50, max_denominator=50), st.integers(2, 9), st.integers(-3, 3))
def test_roots_of_powers_are_rational(base, root, power):
    assert exact("pow", base**root, Fraction(power, root)) == base**power


def test_other_roots_are_not_taken_for_rational():
    found = exact("pow", Fraction(28), Fraction(1, 3))
    assert isinstance(found, tuple)
    assert agrees(found, M.cbrt(28))


# --- ranges ---


def breaks_exactly(dtype: str, at: float, function: Any, towards: float) -> bool:
    """Whether a function is not finite at a number, and finite at its neighbour in the format."""
    here = torch.tensor(at, dtype=getattr(torch, dtype))
    neighbour = torch.nextafter(here, torch.tensor(towards, dtype=here.dtype))
    return not bool(function(here).isfinite()) and bool(function(neighbour).isfinite())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("expression", "function", "towards"),
    [
        ("(log (add 1 (exp x)))", lambda x: (1 + x.exp()).log(), 0.0),
        ("(exp (mul x x))", lambda x: (x * x).exp(), 0.0),
        ("(acos (mul x 1.5))", lambda x: (x * 1.5).acos(), 0.0),
        ("(sqrt (sub x 2.5))", lambda x: (x - 2.5).sqrt(), INF),
        ("(log (sub x 3))", lambda x: (x - 3).log(), INF),
    ],
)
def test_the_edge_of_what_breaks_is_found_to_the_last_number(dtype, expression, function, towards):
    _, metrics = run(expression, "x=-1000..1000")
    at = metrics[f"breaks_at_{dtype}"]
    assert breaks_exactly(dtype, at, function, towards)


@pytest.mark.parametrize(
    "expression", ["(div 1 (sub x 3.7))", "(div 1 (sub (square x) 2.25))", "(log (abs (sub x 1/3)))"]
)
def test_a_single_breaking_number_is_found(expression):
    """It is no point of the grid, but found by the change of sign of a divisor or argument."""
    rows, metrics = run(expression, "x=-10..10")
    assert metrics["breaks_at_float32"] is not None
    assert rows_of(rows, "region", dtype="float32", status="overflow")


@pytest.mark.parametrize(
    ("expression", "zero"),
    [("(log (div x (sub 1 x)))", 0.5), ("(add (sub (mul x (log x)) x) 1)", 1), ("(sub (square x) 2)", math.sqrt(2))],
)
def test_digits_that_are_lost_around_a_zero_are_found(expression, zero):
    """The loss lies between the points of the map, also where the result touches 0 without changing its sign."""
    rows, metrics = run(expression, "x=0.01..5")
    assert any(
        row["low"] < zero * 1.00001 and row["high"] > zero * 0.99 for row in rows_of(rows, "region", dtype="float32")
    )
    assert metrics["breaks_at_float32"] == pytest.approx(zero, rel=0.02)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_the_steps_are_at_the_input_that_breaks_the_format_asked_for(dtype):
    """The operations are evaluated at the input that breaks the requested format; each variable has a row."""
    expression = "(sqrt (add (square x) (square y)))"
    rows, metrics = measure("formula", expression=expression, values="x=0..1e300 y=0..1e300", dtype=dtype)
    at = {row["operation"]: row["value"] for row in rows_of(rows, "break", dtype=dtype)}
    assert set(at) == {"x", "y"}
    assert at["x"] == metrics[f"breaks_at_{dtype}"]
    assert at == {row["operation"]: row["value"] for row in rows_of(rows, "point")}
    last = max(rows_of(rows, "node", dtype=dtype), key=lambda row: row["node"])
    assert last["status"] not in ("exact", "rounded")


def test_two_variables_that_meet():
    rows, metrics = run("(div 1 (sub x y))", "x=1..10 y=1..10")
    assert metrics["breaks_at_float32"] is not None
    points = {row["operation"]: row["value"] for row in rows_of(rows, "point")}
    assert points["x"] == points["y"]


def test_a_formula_that_holds_breaks_nowhere():
    rows, metrics = run("(tanh x)", "x=-1000..1000")
    assert not rows_of(rows, "region")
    assert all(metrics[f"breaks_at_{dtype}"] is None for dtype in DTYPES)


def test_the_map_and_the_forms():
    rows, _ = run("(sub (exp x) 1)", "x=-1..1", "(expm1 x)")
    near = [row["bits"] for row in rows_of(rows, "map", dtype="float32", form=0) if 0 < abs(row["place"]) < 1e-7]
    assert near
    assert min(near) > 20  # of 24
    (naive,), (better,) = (rows_of(rows, "form", dtype="float32", form=k) for k in (0, 1))
    assert naive["bits"] > 10
    assert better["bits"] < 0.5
    wins = rows_of(rows, "wins", dtype="float32", form=1)
    assert any(row["low"] < 1e-6 < row["high"] for row in wins)


def test_a_form_that_is_no_identity_loses():
    """An alternative form is compared with the exact value of the original formula."""
    rows, _ = run("(sub (exp x) 1)", "x=1..2", "(add (exp x) 1)")
    (wrong,) = rows_of(rows, "form", dtype="float64", form=1)
    assert wrong["bits"] > 50


def test_inputs_are_rounded_before_the_map_measures():
    """An input that the format cannot represent is rounded first, so that it does not count as an error."""
    rows, _ = run("x", "x=-3..3")
    assert all(row["bits"] == 0 for row in rows_of(rows, "map"))


# --- limits ---

HARD = {
    "gamma functions": "(sum (vector " + " ".join(f"(lgamma (add x {k}/7))" for k in range(60)) + "))",
    "deep": "(sin " * 190 + "x" + ")" * 190,
    "a tower": "(pow 9 (pow 9 (pow 9 9)))",
    "factorials": "(sub (factorial 1e9) (factorial (factorial 400)))",
    "zero": "(sum (vector " + " ".join(f"(sub (square (sqrt (add x {k}))) (add x {k}))" for k in range(40)) + "))",
    "long numbers": f"(mul x 1.{'3' * 480})",
    "exponentials": "(exp " * 190 + "x" + ")" * 190,
    "vectors": "(sum (log_softmax (softmax (vector " + " ".join(f"(mul x {k})" for k in range(64)) + "))))",
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_it_ends_in_time(service, name):
    """The run finishes in the lab before its deadline."""
    experiment = EXPERIMENTS["formula"]
    values = "x=-1000..1000" if "x" in HARD[name].replace("exp", "") else ""
    params = {"expression": HARD[name], "alternatives": "", "values": values, "gradient": True}
    run_of_it = service.runner.run(experiment, params)
    assert run_of_it.status is RunStatus.RAN, run_of_it.note.en


ELEMENTWISE = [name for name, function in FUNCTIONS.items() if function.kind == "elementwise" and name != "where"]
LEAVES = st.sampled_from(
    ["x", "y", "0", "1", "-2", "0.1", "1e-8", "1e10", "1/3", "pi", "inf", "nan", "1e-320", "1e300"]
)


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A strategy for calls of a function, whose arguments are drawn from `inner`."""
    return st.sampled_from(ELEMENTWISE).flatmap(
        lambda name: st.tuples(*[inner] * FUNCTIONS[name].arity).map(lambda args: f"({name} {' '.join(args)})")
    )


@given(st.recursive(LEAVES, calls, max_leaves=10), st.sampled_from(["x=1.5 y=-2", "x=0 y=1e308", "x=-10..10 y=inf"]))
def test_any_formula_is_measured(expression, values):
    """Every formula gives all metrics, whatever its values are; two evaluations of its exact value agree."""
    rows, metrics = run(f"(add {expression} 0)", values, expression, gradient=True)
    assert set(metrics) == set(EXPERIMENTS["formula"].metrics)
    assert len(rows) <= 5000
    for row in rows_of(rows, "node"):
        assert row["status"] in ("exact", "rounded", "overflow", "underflow", "cancelled", "nan")
        if row["status"] == "exact" and row["exact"] is not None and abs(row["exact"]) < 1e300:
            assert row["value"] == row["exact"] or row["exact"] != row["exact"]


def test_a_variable_without_a_value_is_named():
    with pytest.raises(ValueError, match="no value for y"):
        run("(add x y)", "x=1")
