"""The numbers of the experiments without randomness, against oracles that share nothing with them.

The oracles are exact rationals with one rounding function for every binary format, numpy's own float16 and float32,
closed forms and mpmath. What concerns every experiment, repeatability and the ends of the parameters, is here too.
"""

import importlib.util
import math
from contextlib import suppress
from fractions import Fraction
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

from qa_service.errors import BadParameter
from qa_service.lab import SERVER, Lab
from qa_service.lab.signature import read_experiments
from qa_service.model import Parameter, Status
from qa_service.parameters import complete
from qa_service.settings import Settings

DEMOS = Settings().demos
EXPERIMENTS = read_experiments(DEMOS)
INF, NAN = math.inf, math.nan


class Format(NamedTuple):
    """A binary format by its two numbers of IEEE 754: bits of the significand and largest exponent."""

    p: int
    emax: int

    @property
    def largest(self) -> Fraction:
        return (2 - Fraction(2) ** (1 - self.p)) * Fraction(2) ** self.emax

    @property
    def smallest_normal(self) -> Fraction:
        return Fraction(2) ** (1 - self.emax)

    @property
    def smallest(self) -> Fraction:
        return self.smallest_normal * Fraction(2) ** (1 - self.p)

    @property
    def overflow(self) -> Fraction:
        """From here on a real number is rounded to inf: half a unit above the largest."""
        return (2 - Fraction(2) ** -self.p) * Fraction(2) ** self.emax

    def rounded(self, value: Fraction) -> Fraction | None:
        """To nearest, ties to even, gradual underflow; None is ±inf."""
        if not value:
            return value
        size = abs(value)
        exponent = size.numerator.bit_length() - size.denominator.bit_length()
        exponent -= size < Fraction(2) ** exponent
        unit = Fraction(2) ** (max(exponent, 1 - self.emax) - self.p + 1)
        stored = round(value / unit) * unit  # Python rounds a Fraction half to even
        return stored if abs(stored) <= self.largest else None


FORMATS = {
    "float16": Format(11, 15), "bfloat16": Format(8, 127), "float32": Format(24, 127), "float64": Format(53, 1023),
}  # fmt: skip
NUMPY = {"float16": np.float16, "float32": np.float32, "float64": np.float64}


@cache
def demo(slug: str) -> ModuleType:
    """The experiment as a module, found by its path; one thread, as in the lab."""
    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location(f"science_{slug}", DEMOS / f"{slug}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(slug: str, seed: int = 0, **params: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and metrics of one run in this process; the parameters are checked as the service checks them."""
    import torch

    run = demo(slug).run(**complete(EXPERIMENTS[slug], params))
    torch.manual_seed(seed)
    rows = []
    while True:
        try:
            rows.append(next(run))
        except StopIteration as stop:
            return rows, stop.value


def measured(slug: str, seed: int = 0, **params: object) -> dict[str, Any]:
    """The metrics of one run."""
    return measure(slug, seed, **params)[1]


def same(a: float | None, b: float | None) -> bool:
    """Equal, where nan equals nan and −0 does not equal 0."""
    if a is None or b is None:
        return a is b
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


# --- every experiment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_a_run_can_be_repeated_to_the_bit(slug):
    """The same seed gives the same rows and metrics, to the last bit and to the sign of a nan's absence."""
    first, again = measure(slug, 3), measure(slug, 3)
    assert repr(first) == repr(again)
    assert set(first[1]) == set(EXPERIMENTS[slug].metrics)
    assert all(set(row) <= set(EXPERIMENTS[slug].columns) for row in first[0])


@pytest.mark.parametrize("slug", EXPERIMENTS)
def test_another_seed_changes_random_experiments_only(slug):
    """What a text calls random depends on the seed; what it calls not random does not."""
    fixed = {"ieee_table", "quad_gd", "relu_interp", "pow_vs_sum", "fp_sum", "fp_properties"}
    assert (repr(measure(slug, 0)) == repr(measure(slug, 1))) is (slug in fixed)


@pytest.fixture(scope="module")
def real_lab() -> Lab:
    """The shipped experiments in children of their own, with time for a busy machine."""
    return Lab(DEMOS, deadline=30.0, warm=SERVER)


def ends(parameter: Parameter) -> list[object]:
    """The extreme values of a parameter: its bounds, each of its choices, and inf and nan where it takes them."""
    if parameter.kind == "bool":
        return [False, True]
    bounds = [bound for bound in (parameter.ge, parameter.le) if bound is not None and math.isfinite(bound)]
    return [*parameter.choices, *bounds] + ([INF, -INF, NAN, 1e308, -1e308, 5e-324] if parameter.nonfinite else [])


def accepted(slug: str, name: str) -> list[dict[str, Any]]:
    """The parameters with one of them at an end, the others at their defaults, where the service lets that through."""
    experiment, found = EXPERIMENTS[slug], []
    for value in ends(experiment.params[name]):
        with suppress(BadParameter):
            found.append(complete(experiment, {name: value}))
    return found


NAMES = [(slug, name) for slug, experiment in EXPERIMENTS.items() for name in experiment.params]


@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_the_ends_of_every_parameter_run(real_lab, slug, name):
    """Whatever a form lets through finishes in the lab, within its time and memory, and gives rows and all metrics."""
    experiment = real_lab.experiment(slug)
    for params in accepted(slug, name):
        if params == complete(experiment, {}):
            continue  # the defaults run in test_evidence
        run = real_lab.run(experiment, params)
        assert run.status is Status.RAN, f"{name} = {params[name]}: {run.note.en}"
        assert run.rows
        assert set(run.measured) == set(experiment.metrics)


@pytest.mark.parametrize(("slug", "name"), NAMES)
def test_only_a_limit_refuses_an_end(slug, name):
    """Each end inside the parameter's own bounds runs, unless a limit on several parameters says otherwise."""
    experiment = EXPERIMENTS[slug]
    parameter = experiment.params[name]
    low, high = (-INF if parameter.ge is None else parameter.ge), (INF if parameter.le is None else parameter.le)
    inside = [end for end in ends(parameter) if isinstance(end, str) or not math.isfinite(end) or low <= end <= high]
    limited = any(name in limit.names for limit in experiment.limits)
    assert len(accepted(slug, name)) >= len(inside) - limited
    assert accepted(slug, name)


# --- ieee_table -------------------------------------------------------------------------------------------------------

ALWAYS = {  # what does not depend on x or the format
    "zero_over_0": NAN, "inf_minus_inf": NAN, "zero_times_inf": NAN, "inf_over_inf": NAN, "log_0": -INF,
    "log_minus_1": NAN, "sqrt_minus_1": NAN, "minus_1_to_half": NAN, "exp_big": INF, "twice_max": INF,
    "softmax_naive": NAN, "softmax_stable": 1.0, "zero_to_0": 1.0, "grad_sqrt": INF, "grad_sqrt_square": NAN,
    "grad_t_log_t": NAN, "grad_where_log": NAN, "grad_abs": 0.0,
}  # fmt: skip
WITH_DIVISION = {"x_over_0", "zero_over_0", "inf_over_inf", "x_over_inf", "softmax_naive", "softmax_stable"}


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("x", [1.0, -1.5, 0.0, NAN, INF, -INF, 1e308, 1e-45, 1e-8, 65519.99, 65520.0, -3e38])
def test_ieee_table_follows_ieee_754(x, dtype):
    """Every entry is what the standard says of the number as the format stores it; the counts are counts of these."""
    stored = x
    if math.isfinite(x):
        kept = FORMATS[dtype].rounded(Fraction(x))
        stored = math.copysign(INF if kept is None else float(kept), x)
    with np.errstate(all="ignore"):
        own = np.float64(stored)
        expected = ALWAYS | {"x_over_0": own / 0.0, "x_over_inf": own / INF, "x_minus_inf": own - INF}
    rows, metrics = measure("ieee_table", x=x, dtype=dtype)
    assert same(metrics["stored_x"], stored)
    for name, value in expected.items():
        assert same(metrics[name], float(value)), name
    nans = {name for name, value in expected.items() if math.isnan(value)}
    assert metrics["n_nan"] == len(nans)
    assert metrics["n_inf"] == sum(math.isinf(value) for value in expected.values())
    assert metrics["n_nan_without_division"] == len(nans - WITH_DIVISION)
    kinds = {"nan": math.isnan, "inf": math.isinf, "finite": math.isfinite}
    assert len(rows) == 21
    assert all(kinds[row["kind"]](row["value"]) for row in rows)


@pytest.mark.parametrize(
    ("params", "counts"),
    [
        ({}, (11, 6, 8)),
        ({"dtype": "float16"}, (11, 6, 8)),
        ({"x": -1.5, "dtype": "float64"}, (11, 6, 8)),
        ({"x": 0.0}, (12, 5, 8)),
        ({"x": NAN}, (14, 4, 9)),
        ({"x": 1e308}, (13, 5, 9)),
        ({"x": 1e308, "dtype": "float64"}, (11, 6, 8)),
        ({"x": 1e-45}, (11, 6, 8)),
        ({"x": 1e-8, "dtype": "float16"}, (12, 5, 8)),
    ],
)
def test_ieee_table_counts(params, counts):
    """E1.1: 11 nan, 6 inf and 8 nan without a division by default; at the edges as measured independently."""
    metrics = measured("ieee_table", **params)
    assert (metrics["n_nan"], metrics["n_inf"], metrics["n_nan_without_division"]) == counts


@pytest.mark.parametrize("dtype", FORMATS)
def test_big_is_the_first_round_number_whose_exponential_overflows(dtype):
    """The logarithm of max lies below it, and one less does not overflow."""
    big, limit = demo("ieee_table").BIG[dtype], mpmath.log(mpmath.mpf(int(FORMATS[dtype].largest)))
    assert big - 1 < limit < big


# --- quad_gd ----------------------------------------------------------------------------------------------------------


def descend_exactly(dtype: str, lr: float, lam: float, x0: float, n: int) -> tuple[list[Fraction], int | None]:
    """|x| of every step by rational arithmetic with a rounding after each operation, and the step of the first inf."""
    form = FORMATS[dtype]
    wide = FORMATS["float64" if dtype == "float64" else "float32"]  # a Python number beside a tensor keeps at least 24
    rate, curvature = wide.rounded(Fraction(lr)), wide.rounded(Fraction(lam))
    x = form.rounded(Fraction(x0))
    path = [x]
    for step in range(1, n + 1):
        slope = form.rounded(curvature * x)
        update = None if slope is None else form.rounded(wide.rounded(rate * slope))
        x = None if update is None else form.rounded(x - update)
        if x is None:
            return path, step
        path.append(x)
    return path, None


@pytest.mark.parametrize(
    ("dtype", "lr", "first_inf"),
    [("float32", 2.5, 218), ("float16", 2.5, 27), ("bfloat16", 2.5, 219), ("float64", 2.5, 1750), ("float32", 3, 128)],
)
def test_quad_gd_overflows_when_exact_arithmetic_says(dtype, lr, first_inf):
    """The first inf is that of rational arithmetic rounded to the format; nan follows one step later (1c)."""
    _, exact = descend_exactly(dtype, lr, 1.0, 1.0, 2000)
    metrics = measured("quad_gd", lr=lr, dtype=dtype, n=2000)
    assert metrics["first_inf_step"] == exact == first_inf
    assert metrics["first_nan_step"] == exact + 1
    assert metrics["steps_from_inf_to_nan"] == 1
    assert math.isnan(metrics["final_abs"])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("lr", "lam", "x0"), [(2.5, 1.0, 1.0), (3.0, 1.0, -7.0), (-0.5, 1.0, 1.0), (0.25, 16.0, 1e-3)])
def test_quad_gd_theory_is_the_first_step_beyond_the_largest_number(dtype, lr, lam, x0):
    """The first t with max(λ, lr·λ, r, 1)·r^(t−1)·|x0| > max, compared as exact rationals; ±1 in bfloat16."""
    r, product = abs(1 - Fraction(lr) * Fraction(lam)), Fraction(lr) * Fraction(lam)
    reached, step = max(Fraction(lam), product, r, Fraction(1)) * abs(FORMATS[dtype].rounded(Fraction(x0))), 1
    while reached <= FORMATS[dtype].largest:
        reached, step = reached * r, step + 1
    metrics = measured("quad_gd", lr=lr, lam=lam, x0=x0, n=5000, dtype=dtype)
    assert metrics["theory_first_inf_step"] == step
    assert metrics["factor"] == r
    assert abs(metrics["first_inf_step"] - step) <= (1 if dtype == "bfloat16" else 0)
    assert metrics["steps_off_theory"] == abs(metrics["first_inf_step"] - step)


@pytest.mark.parametrize(("dtype", "lr", "n"), [("float32", 1.9, 1000), ("float16", 1.9, 300), ("bfloat16", 0.3, 200)])
def test_quad_gd_iterates_are_those_of_exact_arithmetic(dtype, lr, n):
    """Below the critical rate every |x| shown is the exactly rounded one; float32 stalls at 4 units of underflow."""
    path, _ = descend_exactly(dtype, lr, 1.0, 1.0, n)
    rows, metrics = measure("quad_gd", lr=lr, n=n, dtype=dtype)
    assert all(row["abs_x"] == float(abs(path[row["step"]])) for row in rows)
    if dtype == "float32":
        assert metrics["final_abs"] == 4 * FORMATS["float32"].smallest


def test_quad_gd_around_the_critical_rate():
    """1a: lr > 2/λ diverges and nothing else does; at 2/λ the size stays."""
    for lam in (0.5, 1.0, 4.0):
        metrics = measured("quad_gd", lam=lam, lr=0.1, n=3000)
        assert metrics["lr_critical"] == 2 / lam
        assert metrics["final_abs_below_critical"] < 1e-30
        assert metrics["final_abs_at_critical"] == 1
        assert math.isnan(metrics["final_abs_above_critical"])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 1.9}, {"first_inf_step": None, "first_nan_step": None, "theory_first_inf_step": None}),
        ({"lr": 0.0}, {"final_abs": 1.0, "factor": 1.0, "first_inf_step": None}),
        ({"lr": 2.0}, {"final_abs": 1.0, "first_inf_step": None, "theory_first_inf_step": None}),
        ({"lr": 1.0}, {"final_abs": 0.0, "factor": 0.0}),
        ({"lr": -0.5}, {"first_inf_step": 219, "theory_first_inf_step": 219, "first_nan_step": None, "final_abs": INF}),
        ({"x0": 0.0}, {"final_abs": 0.0, "first_inf_step": None, "theory_first_inf_step": None}),
        ({"x0": NAN}, {"first_inf_step": None, "first_nan_step": 1, "theory_first_inf_step": None, "final_abs": NAN}),
        ({"x0": 1e308}, {"first_inf_step": None, "first_nan_step": 1, "theory_first_inf_step": None}),
        ({"x0": 1e308, "dtype": "float64"}, {"first_inf_step": 1, "first_nan_step": 2, "theory_first_inf_step": 1}),
        ({"lam": 0.0}, {"final_abs": 1.0, "lr_critical": None, "final_abs_at_critical": None}),
        ({"n": 1}, {"final_abs": 1.5, "first_inf_step": None, "theory_first_inf_step": 218}),
        ({"lam": 100.0, "lr": 0.0201, "n": 10000}, {"first_inf_step": 8455, "theory_first_inf_step": 8455}),
    ],
)
def test_quad_gd_edges(params, expected):
    """E1.2's edges: constant, one step to 0, ascent without nan, starts that are 0, nan or not representable."""
    metrics = measured("quad_gd", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name


# --- relu_interp ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 8, 15, 16, 32, 500, 2000])
@pytest.mark.parametrize(("lo", "hi"), [(0.0, 1.0), (-1.0, 1.0), (-0.5, 2.0)])
def test_relu_interp_error_of_the_square(k, lo, hi):
    """On x² the error is (hi − lo)²/(4k²) exactly, and equals its bound; the rate is −2."""
    metrics = measured("relu_interp", k=k, lo=lo, hi=hi)
    exact = float((Fraction(hi) - Fraction(lo)) ** 2 / (4 * k * k))
    assert metrics["max_err"] == pytest.approx(exact, rel=1e-6)
    assert metrics["theory_max_err"] == pytest.approx(exact, rel=1e-15)
    assert metrics["err_over_theory"] == pytest.approx(1, rel=1e-6)
    assert metrics["rate_slope"] == pytest.approx(-2, abs=1e-9)
    assert metrics["rate_off_two"] < 1e-9


@pytest.mark.parametrize(("target", "d"), [("x^3", 3), ("x^4", 4), ("x^7", 7), ("x^10", 10)])
@pytest.mark.parametrize("k", [1, 8, 16])
def test_relu_interp_error_of_powers(target, d, k):
    """On [0, 1] the last chord is the worst: its largest distance from x^d in closed form, by mpmath."""
    left = mpmath.mpf(k - 1) / k
    slope = (1 - left**d) * k
    touch = (slope / d) ** (mpmath.mpf(1) / (d - 1))
    exact = 1 + slope * (touch - 1) - touch**d
    metrics = measured("relu_interp", target=target, k=k)
    assert metrics["max_err"] == pytest.approx(float(exact), rel=1e-5)
    assert metrics["theory_max_err"] == pytest.approx(d * (d - 1) / (8 * k * k))
    assert metrics["max_err"] <= metrics["theory_max_err"]
    assert metrics["err_over_theory"] <= 1


@pytest.mark.parametrize(
    ("target", "f", "lo", "hi"),
    [("sin", np.sin, 0.0, 3.0), ("sqrt", lambda x: np.sqrt(abs(x)), -1.0, 2.0), ("x^5", lambda x: x**5, -1.0, 1.0)],
)
@pytest.mark.parametrize("k", [5, 32])
def test_relu_interp_is_interpolation(target, f, lo, hi, k):
    """The network of ReLUs is the broken line through its knots: numpy's interp has the same largest error."""
    knots, x = np.linspace(lo, hi, k + 1), np.linspace(lo, hi, 200 * k * 12 + 1)
    metrics = measured("relu_interp", target=target, k=k, lo=lo, hi=hi)
    assert metrics["max_err"] == pytest.approx(np.abs(np.interp(x, knots, f(knots)) - f(x)).max(), rel=1e-3)


def test_relu_interp_targets_that_are_not_smooth():
    """√x: the first chord is √h/4 off and the rate −½; |x − ⅓|: 4h/9 off and the rate −1; no bound for either."""
    root, kink = measured("relu_interp", target="sqrt"), measured("relu_interp", target="abs")
    assert root["max_err"] == pytest.approx(math.sqrt(1 / 8) / 4, rel=1e-5)
    assert root["rate_slope"] == pytest.approx(-0.5, abs=1e-3)
    assert kink["max_err"] == pytest.approx(4 / 9 / 8, rel=1e-12)
    assert kink["rate_slope"] == pytest.approx(-1, abs=1e-9)
    for metrics in (root, kink):
        assert metrics["theory_max_err"] is metrics["err_over_theory"] is metrics["theory_pieces_0_001"] is None


@pytest.mark.parametrize("k", [2, 4, 8, 32, 1000, 2000])
def test_relu_interp_sawtooth(k):
    """With m layers of 3 ReLUs x² is reached within 4^−(m+1) exactly; m is the least that makes at least k pieces."""
    metrics = measured("relu_interp", k=k)
    layers = next(m for m in range(1, 20) if 2**m >= k)
    assert (metrics["deep_layers"], metrics["deep_relus"]) == (layers, 3 * layers)
    assert metrics["deep_err"] == metrics["theory_deep_err"] == Fraction(1, 4 ** (layers + 1))
    assert metrics["deep_saving"] == pytest.approx(k / (3 * layers))


def test_relu_interp_deep_error_falls_by_four_per_layer():
    """The chart's sawtooth: each further layer divides the error by 4, until float64 itself ends."""
    errors = [demo("relu_interp").sawtooth_error(layers) for layers in range(25)]
    assert all(deeper == shallower / 4 for shallower, deeper in pairwise(errors))
    assert demo("relu_interp").sawtooth_error(400) < 1e-15


def test_relu_interp_edges():
    """E2.1: a line has no error and no rate; 16 pieces for 0.001, 15 miss it; slopes of x³ and x^10 as measured."""
    line = measured("relu_interp", target="x^1")
    assert line["max_err"] == pytest.approx(0, abs=1e-15)
    assert line["theory_max_err"] == 0
    assert line["rate_slope"] is line["rate_off_two"] is line["err_over_theory"] is None
    assert measured("relu_interp")["theory_pieces_0_001"] == 16
    assert measured("relu_interp", k=16)["max_err"] < 1e-3 < measured("relu_interp", k=15)["max_err"]
    assert measured("relu_interp", target="x^3")["rate_slope"] == pytest.approx(-1.966, abs=5e-4)
    assert measured("relu_interp", target="x^10", k=16)["rate_slope"] == pytest.approx(-1.933, abs=5e-4)
    assert measured("relu_interp", target="sin", hi=3.14, k=16)["max_err"] == pytest.approx(0.00479, rel=2e-3)
    with pytest.raises(BadParameter):
        measured("relu_interp", lo=1.0, hi=1.0)


# --- pow_vs_sum -------------------------------------------------------------------------------------------------------


def multiply_exactly(dtype: str, x: float, n: int) -> tuple[Fraction, int | None, int | None]:
    """The rounded product after n steps, the step of the first inf and that of the first 0."""
    form = FORMATS[dtype]
    factor, product, zero = form.rounded(Fraction(x)), Fraction(1), None
    for step in range(1, n + 1):
        before, product = product, form.rounded(product * factor)
        if product is None:
            return before, step, zero
        if not product and zero is None:
            zero = step
    return product, None, zero


def add_exactly(dtype: str, x: float, n: int) -> tuple[Fraction, int | None]:
    """The rounded running sum of n copies, and the first step that changes nothing."""
    form = FORMATS[dtype]
    term, total = form.rounded(Fraction(x)), Fraction(0)
    for step in range(1, n + 1):
        before, total = total, form.rounded(total + term)
        if total == before:
            return total, step
    return total, None


def test_pow_vs_sum_default():
    """9a, 9b: 1.5^100 = 4.0656e17 within the rounding of a hundred steps; the sum of a hundred 1.5 is 150 exactly."""
    metrics, exact = measured("pow_vs_sum"), Fraction(3, 2) ** 100
    assert abs(Fraction(metrics["product"]) / exact - 1) < 100 * Fraction(1, 2**24)
    assert Fraction(metrics["product"]) == multiply_exactly("float32", 1.5, 100)[0]
    assert f"{float(exact):.4e}" == "4.0656e+17"
    assert metrics["sum"] == 150
    assert metrics["sum_rel_err"] == 0
    assert metrics["true_log10_product"] == pytest.approx(float(100 * mpmath.log10(mpmath.mpf("1.5"))), rel=1e-14)


@pytest.mark.parametrize("x", [1.5, -1.5, 1.25, 2.0, 1000.0, 65504.0, 1.01])
@pytest.mark.parametrize("dtype", FORMATS)
def test_pow_vs_sum_overflow_steps(x, dtype):
    """The step in theory is the least n with |x|^n > max, compared exactly; the measured one is that of rounding."""
    power, step = Fraction(1), 0
    while power <= FORMATS[dtype].largest and step < 3000:
        power, step = power * abs(Fraction(x)), step + 1
    metrics = measured("pow_vs_sum", x=x, dtype=dtype, n=1)
    if step < 3000:
        assert metrics["theory_overflow_step"] == step
    _, overflow, _ = multiply_exactly(dtype, x, 3000)
    if overflow is not None:
        assert metrics[f"overflow_{dtype}"] == overflow


def test_pow_vs_sum_of_one_and_a_half():
    """28, 219 and 1751 as in theory; bfloat16's rounding may add one step, and does: 220."""
    metrics = measured("pow_vs_sum")
    assert [metrics[f"overflow_{dtype}"] for dtype in FORMATS] == [28, 220, 219, 1751]
    for dtype, form in FORMATS.items():
        exact = next(n for n in range(1, 2000) if Fraction(3, 2) ** n > form.largest)
        assert abs(metrics[f"overflow_{dtype}"] - exact) <= (dtype == "bfloat16")
        run = measured("pow_vs_sum", dtype=dtype, n=2000)
        assert run["first_overflow_step"] == metrics[f"overflow_{dtype}"]


@pytest.mark.parametrize(
    ("params", "stall"),
    [({"x": 0.9}, 4 * 2.0**-149), ({"x": 0.9, "dtype": "float16"}, 4 * 2.0**-24), ({"x": 0.5}, 0.0)],
)
def test_pow_vs_sum_underflow_stalls(params, stall):
    """0.9^n never reaches 0: it stays at four units of underflow; 0.5^n reaches 0 at step 150 (a tie, to even)."""
    metrics = measured("pow_vs_sum", n=2000, **params)
    assert metrics["product"] == stall
    product, _, zero = multiply_exactly(params.get("dtype", "float32"), params["x"], 2000)
    assert metrics["product"] == product
    assert metrics["first_zero_step"] == zero == (150 if params["x"] == 0.5 else None)


@pytest.mark.parametrize(
    ("x", "dtype", "n", "total", "stagnates"),
    [
        (1.5, "float16", 10000, 4096, 2220),
        (1.5, "bfloat16", 1000, 512, 279),
        (1.5, "float64", 2000, 3000, None),
        (0.9, "float16", 2000, 1965, None),
        (0.9, "float32", 100, None, None),
        (-1.5, "float32", 100, -150, None),
    ],
)
def test_pow_vs_sum_sums(x, dtype, n, total, stagnates):
    """9c: sums do not overflow, but a short format stops counting; value and step are those of exact rounding."""
    metrics = measured("pow_vs_sum", x=x, dtype=dtype, n=n)
    exact, stop = add_exactly(dtype, x, n)
    assert Fraction(metrics["sum"]) == exact
    assert metrics["sum_stagnates_at"] == stop == stagnates
    assert total is None or exact == total
    true = Fraction(x) * n
    assert metrics["sum_rel_err"] == pytest.approx(float(abs(exact - true) / abs(true)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"n": 1}, {"product": 1.5, "sum": 1.5}),
        ({"x": 0.0}, {"product": 0.0, "sum": 0.0, "first_zero_step": 1, "true_log10_product": -INF}),
        ({"x": 1.0}, {"product": 1.0, "sum": 100.0, "theory_overflow_step": None, "overflow_float16": None}),
        ({"x": -1.5}, {"sum": -150.0, "theory_overflow_step": 219, "overflow_float64": 1751}),
        ({"n": 10000}, {"product": INF, "sum": 15000.0, "first_overflow_step": 219, "sum_stagnates_at": None}),
        ({"x": NAN}, {"product": NAN, "sum": NAN, "first_overflow_step": None, "theory_overflow_step": None}),
        ({"x": 1e308}, {"product": INF, "sum": INF, "first_overflow_step": 1, "sum_stagnates_at": None}),
        ({"x": INF, "n": 3}, {"product": INF, "sum": INF, "first_overflow_step": 1, "theory_overflow_step": 1}),
        ({"x": -INF, "n": 3}, {"product": -INF, "sum": -INF, "first_overflow_step": 1}),
    ],
)
def test_pow_vs_sum_edges(params, expected):
    """E9.1's edges, with inf and nan as themselves and None for what never happens."""
    metrics = measured("pow_vs_sum", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name


# --- fp_sum -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "stall", "terms"),
    [
        ({}, 0.25, 2181),
        ({"dtype": "bfloat16"}, 0.03125, 273),
        ({"x": 1e-3, "n": 10000}, 4.0, 3070),
        ({"x": 1.0, "n": 10000}, 2048.0, 2048),
        ({"x": -1.5, "n": 10000}, -4096.0, 2219),
        ({"x": 0.3, "n": 2000, "dtype": "bfloat16"}, 128.0, None),
    ],
)
def test_fp_sum_stalls_where_rounding_says(params, stall, terms):
    """A running sum stops at the smallest power of two 2^e with |x| ≤ 2^(e−p), after as many terms as exact rounding
    needs: 0.25 after 2181 terms of 1e-4 in float16.
    """
    metrics = measured("fp_sum", **params)
    dtype, x = params.get("dtype", "float16"), params.get("x", 1e-4)
    form = FORMATS[dtype]
    total, stop = add_exactly(dtype, x, params.get("n", 20000))
    power = next(e for e in range(-60, 20) if abs(form.rounded(Fraction(x))) <= Fraction(2) ** (e - form.p))
    assert Fraction(metrics["running_sum"]) == total == stall
    assert metrics["theory_stall"] == math.copysign(2.0**power, x) == stall
    assert metrics["stall_over_theory"] == 1
    assert metrics["stagnates_after_n_terms"] == stop - 1
    assert terms in (None, stop - 1)
    assert metrics["stored_term"] == form.rounded(Fraction(x))


@pytest.mark.parametrize(("dtype", "x", "n"), [("float16", 1e-4, 20000), ("float16", 0.3, 777), ("float32", 0.1, 5000)])
def test_fp_sum_against_numpy(dtype, x, n):
    """The four ways of adding, once more in numpy's own arithmetic of the same format: bit for bit the same sums."""
    kind = NUMPY[dtype]
    term, running, kahan, lost, wide = kind(x), kind(0), kind(0), kind(0), np.float32(0)
    for _ in range(n):
        running += term
        owed = term - lost
        new = kahan + owed
        kahan, lost = new, (new - kahan) - owed
        wide += np.float32(term)
    layer = [term] * n
    while len(layer) > 1:
        layer = [a + b for a, b in zip(layer[::2], layer[1::2], strict=False)] + layer[len(layer) & ~1 :]
    metrics = measured("fp_sum", x=x, n=n, dtype=dtype)
    expected = {"running": running, "kahan": kahan, "pairwise": layer[0], "float32": wide}
    for name, value in expected.items():
        assert metrics[f"{name}_sum"] == float(value), name
        error = abs(Fraction(float(value)) - Fraction(x) * n) / (Fraction(x) * n)
        assert metrics[f"rel_err_{name}"] == pytest.approx(float(error), rel=1e-6, abs=1e-12)
    assert metrics["rel_err_torch"] < 0.01
    assert metrics["true_sum"] == pytest.approx(n * x)


def test_fp_sum_cures():
    """16c: the running sum is 87.5 % short; Kahan, pairwise and a float32 accumulator stay within 1 %."""
    metrics = measured("fp_sum")
    assert metrics["rel_err_running"] == pytest.approx(0.875, rel=1e-12)
    assert max(metrics[f"rel_err_{name}"] for name in ("kahan", "pairwise", "float32", "torch")) < 0.01
    assert metrics["kahan_sum"] == metrics["pairwise_sum"] == 2
    assert measured("fp_sum", dtype="bfloat16")["kahan_sum"] == 2.015625  # 2.016, the next bfloat16 above 2
    control = measured("fp_sum", dtype="float32")
    assert control["stagnates_after_n_terms"] is control["stall_over_theory"] is None
    assert control["rel_err_running"] < 1e-3


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"n": 1}, {"stagnates_after_n_terms": None, "theory_stall": 0.25, "stall_over_theory": None}),
        (
            {"x": 0.0},
            {"running_sum": 0.0, "stagnates_after_n_terms": None, "theory_stall": None, "rel_err_kahan": None},
        ),
        (
            {"x": 1e-8, "n": 100},
            {"stored_term": 0.0, "running_sum": 0.0, "kahan_sum": 0.0, "float32_sum": 0.0, "rel_err_kahan": 1.0},
        ),
        (
            {"x": 1e308, "n": 10},
            {"stored_term": INF, "running_sum": INF, "kahan_sum": NAN, "pairwise_sum": INF, "rel_err_running": None},
        ),
        ({"x": NAN, "n": 10}, {"running_sum": NAN, "kahan_sum": NAN, "theory_stall": None, "rel_err_running": None}),
        ({"x": -INF, "n": 10}, {"running_sum": -INF, "kahan_sum": NAN, "stagnates_after_n_terms": None}),
        ({"x": 60000.0, "n": 10}, {"running_sum": INF, "theory_stall": None, "stagnates_after_n_terms": None}),
    ],
)
def test_fp_sum_edges(params, expected):
    """E16.1's edges: nothing to stop, a term that underflows, a term that overflows (Kahan: inf − inf), nan."""
    metrics = measured("fp_sum", **params)
    for name, value in expected.items():
        assert same(metrics[name], value), name


# --- fp_properties ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FORMATS)
def test_fp_properties_follow_from_p_and_emax(dtype):
    """The whole table of machine numbers is derived from two integers of the format, with exact rationals."""
    form, metrics = FORMATS[dtype], measured("fp_properties", dtype=dtype)
    assert metrics["significand_bits"] == form.p
    assert metrics["eps"] == Fraction(2) ** (1 - form.p)
    assert metrics["max"] == form.largest
    assert metrics["smallest_normal"] == form.smallest_normal
    assert metrics["smallest_subnormal"] == form.smallest
    assert metrics["first_lost_integer"] == 2**form.p + 1
    assert metrics["decimal_digits"] == pytest.approx(float(form.p * mpmath.log10(2)), rel=1e-14)
    pi = Fraction(int(mpmath.pi * 2**50), 2**50)
    for name, number in {
        "0p1": Fraction(1, 10),
        "pi": pi,
        "70000": Fraction(70000),
        "1e_8": Fraction(1, 10**8),
    }.items():
        kept = form.rounded(Fraction(float(number)))
        assert metrics[f"stored_{name}"] == (INF if kept is None else kept), name


@pytest.mark.parametrize("dtype", FORMATS)
def test_fp_properties_overflow_of_exp_and_square(dtype):
    """Up to the number found, as stored, the function is below the overflow threshold; the next number is not."""
    form, metrics = FORMATS[dtype], measured("fp_properties", dtype=dtype)
    with mpmath.workdps(40):
        limit = mpmath.mpf(form.overflow.numerator) / form.overflow.denominator
        for name, f in {"exp": mpmath.exp, "square": lambda x: x * x}.items():
            last = form.rounded(Fraction(metrics[f"{name}_overflow_x"]))
            unit = Fraction(2) ** (math.frexp(last)[1] - form.p)
            below, above = (mpmath.mpf(x.numerator) / x.denominator for x in (last, last + unit))
            assert f(below) < limit <= f(above), name
        top = mpmath.mpf(int(form.largest))
        assert metrics["theory_exp_overflow_x"] == pytest.approx(float(mpmath.log(top)), rel=1e-14)
        assert metrics["theory_square_overflow_x"] == pytest.approx(float(mpmath.sqrt(top)), rel=1e-14)
    assert metrics["exp_overflow_x"] == pytest.approx(metrics["theory_exp_overflow_x"], rel=3 * 2.0**-form.p)


@pytest.mark.parametrize("dtype", FORMATS)
def test_fp_properties_chart_is_exact_rounding(dtype):
    """Each point of the chart is the worst relative error of its eight fractions, recomputed with exact rationals."""
    form = FORMATS[dtype]
    rows = measure("fp_properties", dtype=dtype)[0]
    assert len(rows) == 193
    for row in rows[::6]:
        errors = []
        for part in range(1, 9):
            number = Fraction(row["size"]) * (1 + Fraction(part, 37))
            kept = form.rounded(Fraction(float(number)))
            errors.append(INF if kept is None else float(abs(kept - number) / number))
        assert row["rel_err"] == pytest.approx(max(errors), rel=1e-9)
        assert row["half_eps"] == 2.0**-form.p
        if form.smallest_normal < row["size"] < form.largest / 2:
            assert row["rel_err"] <= row["half_eps"] * (1 + 1e-9)


def test_fp_properties_computations_of_float16():
    """16a: π and 1.001 − 1 to three digits, a softmax that is nan, a variance of 0 and an eps of Adam that is 0."""
    metrics = measured("fp_properties")
    assert metrics["one_plus_0p001_minus_1"] == 2.0**-10
    assert metrics["cancellation_rel_err"] == pytest.approx(abs(2.0**-10 - 1e-3) / 1e-3)
    assert metrics["stored_pi"] == 3.140625
    assert math.isnan(metrics["softmax_naive"])
    assert metrics["softmax_stable"] == np.float16(1) / (np.float16(1) + np.exp(np.float16(-10)))
    assert (metrics["variance_naive"], metrics["variance_two_pass"]) == (0, 1)
    assert math.isnan(metrics["adam_step_at_zero_gradient"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_fp_properties_computations_of_wider_formats(dtype):
    """A wider range keeps the softmax and Adam; only more bits keep the variance and the small difference."""
    metrics = measured("fp_properties", dtype=dtype)
    exact = mpmath.exp(20) / (mpmath.exp(20) + mpmath.exp(10) + 1)
    assert metrics["softmax_naive"] == pytest.approx(float(exact), rel=2.0 ** (1 - FORMATS[dtype].p))
    assert metrics["adam_step_at_zero_gradient"] == 0
    assert metrics["variance_two_pass"] == 1
    lost = dtype == "bfloat16"
    assert metrics["variance_naive"] == (0 if lost else 1)
    assert metrics["one_plus_0p001_minus_1"] == (0 if lost else pytest.approx(1e-3, rel=1e-4))
    assert metrics["cancellation_rel_err"] == (1 if lost else pytest.approx(0, abs=1e-4))
