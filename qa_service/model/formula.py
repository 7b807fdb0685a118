"""A formula in the float formats, as the experiment `formula` measures it: values, steps, gradient, map, forms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from qa_service.model.evidence import Evidence
from qa_service.model.experiment import RunStatus

FORMULA_EXPERIMENT = "formula"
"""The slug of the experiment that measures a formula."""
Elements = float | tuple[float | None, ...] | None
"""A value: a number, possibly inf or nan, the elements of a vector, or None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaRequest:
    """A formula to be measured."""

    expression: str
    """The formula as people write it, or as an S-expression."""
    at: Mapping[str, str] = field(default_factory=dict)
    """Variable → its value: a decimal, a quotient such as 1/3, inf, -inf or nan."""
    over: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variable → the least and the largest number of a range."""
    dtypes: tuple[str, ...] = ()
    """The formats to show, under torch's names; the first is the one for which stable forms are compared."""
    gradient: bool = False
    stable: bool = True
    """Whether stable forms are sought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaValue:
    """The value of a formula, or of one of its steps, as computed in one format, and its error."""

    value: Elements
    ulp: float | None
    """The error in units in the last place of the exact value, for a vector the largest of its elements' errors.

    None if there is no exact value.
    """
    status: str
    """One of exact, rounded, overflow, underflow, cancelled and nan."""
    how: str = ""
    """The fault of the step itself: overflow, underflow, pole, domain, cancellation, absorbed, amplification or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaNode:
    """One step of the calculation."""

    id: int
    operation: str
    """The name of a function or variable, or a number."""
    inputs: tuple[int, ...]
    """The ids of its arguments, which come before it."""
    text: str
    """The part of the formula that it computes."""
    exact: Elements
    values: Mapping[str, FormulaValue]
    """Format → the value of the step in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaGradient:
    """The derivative with respect to one variable; for a vector, that of the sum of its elements."""

    variable: str
    exact: float | None
    values: Mapping[str, FormulaValue]
    """Format → the derivative that autograd computes; without float8, for which it computes none."""
    node: Mapping[str, int]
    """Format → the id of the step whose backward pass is the first to give inf or nan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaRegion:
    """An interval in which a format fails, or in which a stable form loses fewer bits than the formula."""

    dtype: str
    low: float
    high: float
    status: str
    """nan, overflow or cancelled; of a stable form, "wins"."""
    how: str = ""
    """overflow where the result itself is too large, domain where it is undefined or infinite, else empty."""
    bits: float | None = None
    """Bits gained by a stable form, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPoint:
    """The bits that a form loses at one point in a format."""

    dtype: str
    x: float
    bits: float | None
    """The bits that are lost; None where the formula has no exact value."""
    form: int = 0
    """The number of the form: 0 is the formula itself, 1 the first of the alternatives that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StableForm:
    """Another form of the formula that loses fewer bits."""

    form: int
    """Its number among the forms that were measured."""
    expression: str
    sexpr: str
    torch: str
    """The form as torch code."""
    functions: tuple[str, ...]
    """Functions of torch that it uses and the formula did not."""
    rules: tuple[str, ...]
    """The names of the rules that lead to it."""
    bits: Mapping[str, float]
    """Format → bits that it loses on average; 0 is correct rounding."""
    bits_gained: float
    """The bits gained on average, in the format for which forms are compared."""
    where: tuple[FormulaRegion, ...]
    """The regions where the form wins, in that format; the one with the largest gain first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaResult:
    """The results of a run of the experiment `formula`; all but `evidence` are empty if the run did not finish."""

    expression: str
    sexpr: str
    torch: str
    dtype: str
    """The format for which forms are compared."""
    at: Mapping[str, float]
    """The point at which the steps and the gradient are shown."""
    over: Mapping[str, tuple[float, float]]
    exact: Elements
    values: Mapping[str, FormulaValue]
    nodes: tuple[FormulaNode, ...]
    first_wrong: Mapping[str, int]
    """Format → the id of the step in which the error of the result arises; without formats whose result is right."""
    gradient: tuple[FormulaGradient, ...]
    breaks_at: Mapping[str, float | None]
    """Format → a value, of the first variable that has a range, at which the formula breaks; None if it does not."""
    breaking: Mapping[str, Mapping[str, float]]
    """Format → the value of each variable that has a range at one input at which the formula breaks."""
    regions: tuple[FormulaRegion, ...]
    points: tuple[MapPoint, ...]
    bits: Mapping[str, float]
    """Format → bits that the formula loses on average."""
    stable: tuple[StableForm, ...]
    """The stable forms, the best first."""
    evidence: Evidence

    @property
    def exceeds_float64(self) -> bool:
        """Whether the exact value is finite but exceeds the range of float64, so that `exact` is inf or -inf."""
        found = self.values.get("float64")
        is_inf = isinstance(self.exact, float) and math.isinf(self.exact) and found is not None
        return is_inf and found is not None and found.value == self.exact and found.ulp == math.inf

    @property
    def ran(self) -> bool:
        """Whether the run finished."""
        return self.evidence.run.status is RunStatus.RAN
