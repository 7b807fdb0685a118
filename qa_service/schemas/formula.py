"""A formula to be measured, and the result, as JSON."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import ConfigDict, Field

from qa_service.model import Lang, RunStatus
from qa_service.model.formula import (
    Elements,
    FormulaGradient,
    FormulaNode,
    FormulaRegion,
    FormulaRequest,
    FormulaResult,
    FormulaValue,
    StableForm,
)
from qa_service.schemas import allowed
from qa_service.schemas import values as types
from qa_service.schemas.evidence import EvidenceJson, ReceiptJson, evidence_json
from qa_service.schemas.requests import RequestBody, read_body
from qa_service.schemas.values import Body, Number


class FormulaBody(RequestBody):
    """A formula with values or ranges of its variables; a variable without either ranges from −1000 to 1000."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"expression": "log(1+exp(x))", "at": {"x": 100}},
                {"expression": "sqrt(x+1)-sqrt(x)", "over": {"x": [0, 1e6]}, "dtypes": ["float32"], "gradient": True},
            ]
        }
    )

    expression: Annotated[str, Field(max_length=10_000), allowed.EXPRESSION]
    at: Annotated[types.Params, allowed.AT] = Field(
        default={}, description='a number, or a text such as "1/3", "Infinity" or "NaN"'
    )
    over: Annotated[types.Ranges, allowed.OVER] = Field(default={}, description="the lowest and the highest number")
    dtypes: Annotated[list[str], Field(max_length=8), allowed.DTYPES] = Field(
        default=[], description="the formats to show; forms are compared in the first one; default: all, and float32"
    )
    gradient: Annotated[bool, allowed.BOOLEAN] = False
    stable: Annotated[bool, allowed.BOOLEAN] = Field(default=True, description="also look for stable forms")

    def to_request(self) -> FormulaRequest:
        """The request as a value of the model; a float becomes its shortest decimal representation."""
        return FormulaRequest(
            expression=self.expression,
            at={name: str(value) for name, value in self.at.items()},
            over={name: (str(low), str(high)) for name, (low, high) in self.over.items()},
            dtypes=tuple(self.dtypes),
            gradient=self.gradient,
            stable=self.stable,
        )


class FormulaValueJson(Body):
    """The value of a formula, or of one of its steps, as computed in one format; a vector is a list."""

    value: Number | list[Number] | None
    ulp: Number | None = Field(description="error in units in the last place; null without an exact value")
    status: str = Field(description="exact, rounded, overflow, underflow, cancelled or nan")


class FormulaStepJson(FormulaValueJson):
    """The value of a step in one format, and the fault of the step itself."""

    how: str = Field(description="overflow, underflow, pole, domain, cancellation, absorbed, amplification, or empty")


class FormulaNodeJson(Body):
    """One step of the calculation; its inputs are steps before it."""

    id: int
    operation: str
    inputs: list[int]
    text: str = Field(description="the part of the formula that it computes")
    exact: Number | list[Number] | None
    values: dict[str, FormulaStepJson]


class FormulaGradientJson(Body):
    """The derivative with respect to one variable: exact, and by autograd in each format that supports it."""

    exact: Number | None
    values: dict[str, FormulaValueJson]
    node: dict[str, int] = Field(description="by format, the step whose backward pass first gives inf or nan")


class FormulaRegionJson(Body):
    """An interval of the range in which a format fails."""

    dtype: str
    low: Number
    high: Number
    status: str = Field(description="nan, overflow or cancelled")
    how: str = Field(
        description="overflow: the result itself is too large; domain: it is undefined or infinite; or empty"
    )


class WinJson(Body):
    """An interval of the range in which a stable form loses at least one bit less than the formula."""

    low: Number
    high: Number
    bits: Number | None


class StableFormJson(Body):
    """Another form that loses fewer bits, as measured at the same points."""

    expression: str
    torch: str
    functions: list[str] = Field(description="functions of torch that it uses and the formula did not")
    rules: list[str]
    bits: dict[str, Number] = Field(description="bits that it loses on average, by format")
    bits_gained: Number
    where: list[WinJson]


class MapPointJson(Body):
    """Bits lost at one point, in one format, by the formula (form 0) or one of the other forms."""

    dtype: str
    x: Number
    bits: Number | None
    form: int


class FormulaJson(Body):
    """A formula, measured."""

    expression: str
    torch: str
    status: RunStatus
    note: str = Field(description="why the run did not finish")
    at: dict[str, Number] = Field(description="the point of the values, the steps and the gradient")
    over: dict[str, list[Number]]
    dtype: str = Field(description="the format in which forms are compared")
    exact: Number | list[Number] | None
    values: dict[str, FormulaValueJson]
    tree: list[FormulaNodeJson]
    first_wrong: dict[str, int] = Field(description="by format, the step in which the error of the result arises")
    gradient: dict[str, FormulaGradientJson]
    breaks_at: dict[str, Number | None] = Field(description="by format, an input that breaks it; empty without a range")
    breaking: dict[str, dict[str, Number]] = Field(
        description="by format, that input in full: the value of each variable that has a range"
    )
    regions: list[FormulaRegionJson]
    map: list[MapPointJson]
    bits: dict[str, Number] = Field(description="bits that the formula loses on average, by format")
    stable: list[StableFormJson] = Field(description="the best first")
    receipt: ReceiptJson
    evidence: list[EvidenceJson] = Field(description="the run, which `numstab replay` repeats; without its rows")


def read_formula_request(data: object) -> FormulaRequest:
    """A formula from JSON; raises `BadField`, which names the field and what is allowed."""
    return read_body(FormulaBody, data).to_request()


def formula_json(result: FormulaResult, lang: Lang) -> FormulaJson:
    """A result in a language."""
    evidence = evidence_json(result.evidence, lang, brief=True)
    return FormulaJson(
        expression=result.expression,
        torch=result.torch,
        status=result.evidence.run.status,
        note=result.evidence.run.note[lang],
        at=dict(result.at),
        over={name: list(ends) for name, ends in result.over.items()},
        dtype=result.dtype,
        exact=_elements(result.exact),
        values={dtype: _value(value) for dtype, value in result.values.items()},
        tree=[_node(node) for node in result.nodes],
        first_wrong=dict(result.first_wrong),
        gradient={each.variable: _gradient(each) for each in result.gradient},
        breaks_at=dict(result.breaks_at),
        breaking={dtype: dict(values) for dtype, values in result.breaking.items()},
        regions=[_region(each) for each in result.regions],
        map=[MapPointJson(dtype=each.dtype, x=each.x, bits=each.bits, form=each.form) for each in result.points],
        bits=dict(result.bits),
        stable=[_stable(each) for each in result.stable],
        receipt=evidence.receipt,
        evidence=[evidence],
    )


def _elements(value: Elements) -> float | list[float | None] | None:
    return list(value) if isinstance(value, tuple) else value


def _value(value: FormulaValue) -> FormulaValueJson:
    return FormulaValueJson(value=_elements(value.value), ulp=value.ulp, status=value.status)


def _steps(values: Mapping[str, FormulaValue]) -> dict[str, FormulaStepJson]:
    return {
        dtype: FormulaStepJson(value=_elements(each.value), ulp=each.ulp, status=each.status, how=each.how)
        for dtype, each in values.items()
    }


def _node(node: FormulaNode) -> FormulaNodeJson:
    return FormulaNodeJson(
        id=node.id,
        operation=node.operation,
        inputs=list(node.inputs),
        text=node.text,
        exact=_elements(node.exact),
        values=_steps(node.values),
    )


def _gradient(gradient: FormulaGradient) -> FormulaGradientJson:
    values = {dtype: _value(value) for dtype, value in gradient.values.items()}
    return FormulaGradientJson(exact=gradient.exact, values=values, node=dict(gradient.node))


def _region(region: FormulaRegion) -> FormulaRegionJson:
    return FormulaRegionJson(dtype=region.dtype, low=region.low, high=region.high, status=region.status, how=region.how)


def _stable(form: StableForm) -> StableFormJson:
    return StableFormJson(
        expression=form.expression,
        torch=form.torch,
        functions=list(form.functions),
        rules=list(form.rules),
        bits=dict(form.bits),
        bits_gained=form.bits_gained,
        where=[WinJson(low=each.low, high=each.high, bits=each.bits) for each in form.where],
    )
