"""Measures a formula: reads it, proposes other forms, has all of them run in the lab, and judges which is stable."""

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from qa_service.answering.calculating import DEFAULT_RANGE
from qa_service.answering.service import Service, never_cancelled
from qa_service.errors import BadExpression, BadField
from qa_service.formula.dtypes import FLOAT_DTYPES
from qa_service.formula.functions import FUNCTIONS
from qa_service.formula.grammar import read_formula
from qa_service.formula.printing import infix, torch_code
from qa_service.formula.sexpr import to_sexpr
from qa_service.formula.tree import Call, Node, Number, Variable, variables
from qa_service.formula.values import NumberOrRange, Range, read_number_or_range, values_text
from qa_service.lab.cancellation import IsCancelled
from qa_service.model import Cell, Evidence, Row
from qa_service.model.events import Event
from qa_service.model.formula import (
    FORMULA_EXPERIMENT,
    Elements,
    FormulaGradient,
    FormulaNode,
    FormulaRegion,
    FormulaRequest,
    FormulaResult,
    FormulaValue,
    MapPoint,
    StableForm,
)

if TYPE_CHECKING:
    from qa_service.formula.rewrites import Proposal

DEFAULT_DTYPE = "float32"
ALL_DTYPES = (*FLOAT_DTYPES, "float8_e5m2fnuz", "float8_e4m3fnuz")
"""The formats in which the experiment `formula` measures."""
_MAX_FORMS = 4
"""The largest number of other forms that are measured."""
MIN_GAIN = 0.3
"""Average gain in bits from which on another form is called stable."""
_FAR = 1e300
_SOUGHT_IN = {"float64": _FAR, "float32": 1e38, "bfloat16": 1e38, "float16": 65504.0}
"""Format → the largest absolute value of inputs for which forms are sought in it; a float8 format uses that of
float16.
"""


@dataclass(frozen=True)
class FormulaStudy:
    """One request: the formula as a tree, what is given for its variables, and the run that measures it."""

    request: FormulaRequest
    tree: Node
    given: Mapping[str, NumberOrRange]

    @classmethod
    def of(cls, request: FormulaRequest) -> "FormulaStudy":
        """Reads the request. Raises `BadExpression`, or `BadField` for a format that is not known."""
        for dtype in request.dtypes:
            if dtype not in ALL_DTYPES:
                raise BadField(
                    zh=f"没有数据类型 {dtype!r}。可用的：{', '.join(ALL_DTYPES)}",
                    en=f"there is no dtype {dtype!r}. Allowed: {', '.join(ALL_DTYPES)}",
                    field="dtypes",
                )
        tree = read_formula(request.expression)
        given: dict[str, NumberOrRange] = {}
        for name in variables(tree):
            if name in request.at:
                given[name] = _read_given(request.at[name], f"at.{name}")
            elif name in request.over:
                given[name] = _read_given("..".join(request.over[name]), f"over.{name}")
            else:
                given[name] = DEFAULT_RANGE
        return cls(request, tree, given)

    @property
    def dtype(self) -> str:
        """The format for which forms are compared."""
        return self.request.dtypes[0] if self.request.dtypes else DEFAULT_DTYPE

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Variable → its range (lowest, highest), for the variables that were given one."""
        return {
            name: (_float(each.low), _float(each.high)) for name, each in self.given.items() if isinstance(each, Range)
        }

    @cached_property
    def proposals(self) -> "list[Proposal]":
        """Other forms, which are sought in up to a second."""
        from qa_service.formula.rewrites import proposals

        if not self.request.stable:
            return []
        dtype = self.dtype if self.dtype in _SOUGHT_IN else "float16"
        far = _SOUGHT_IN[dtype]
        spans = {name: self.ranges.get(name, _around(each)) for name, each in self.given.items()}
        over = {name: (max(low, -far), min(high, far)) for name, (low, high) in spans.items()}
        return proposals(self.tree, _MAX_FORMS, {name: (min(span), max(span)) for name, span in over.items()}, dtype)

    @cached_property
    def params(self) -> dict[str, str | bool]:
        """The parameters of the run."""
        return {
            "expression": to_sexpr(self.tree),
            "alternatives": "\n".join(to_sexpr(each.tree) for each in self.proposals),
            "values": values_text(self.given),
            "gradient": self.request.gradient,
            "dtype": self.dtype if self.dtype in _SOUGHT_IN else "float16",
        }

    def stream(self, service: Service, is_cancelled: IsCancelled = never_cancelled) -> Generator[Event, None, None]:
        """The events of the run; the last has the evidence for `result`."""
        yield from service.run(FORMULA_EXPERIMENT, self.params, is_cancelled=is_cancelled)

    def result(self, evidence: Evidence) -> FormulaResult:
        """The `FormulaResult` built from the rows in `evidence`."""
        rows = _Rows(evidence.run.rows, self.request.dtypes)
        nodes = rows.nodes()
        last = max(nodes, key=lambda node: node.id, default=None)
        return FormulaResult(
            expression=infix(self.tree),
            sexpr=to_sexpr(self.tree),
            torch=torch_code(self.tree),
            dtype=self.dtype,
            at={str(row["operation"]): _number(row["value"]) for row in rows.of("point")},
            over=self.ranges,
            exact=last.exact if last else None,
            values=last.values if last else {},
            nodes=nodes,
            first_wrong={str(row["dtype"]): int(row["node"] or 0) for row in rows.of("node") if row["first"]},
            gradient=tuple(rows.gradients()),
            breaks_at=rows.breaks_at(evidence.run.measured) if self.ranges else {},
            breaking=rows.breaking(),
            regions=tuple(rows.regions()),
            points=tuple(rows.points()),
            bits=rows.bits(0),
            stable=tuple(self._stable(rows)),
            evidence=evidence,
        )

    def _stable(self, rows: "_Rows") -> list[StableForm]:
        """The forms that lose fewer bits than the formula, the best first; of equally good ones the shortest."""
        before = rows.bits(0).get(self.dtype)
        found = []
        for form, proposal in enumerate(self.proposals, 1):
            bits = rows.bits(form)
            if before is None or self.dtype not in bits or before - bits[self.dtype] < MIN_GAIN:
                continue
            found.append(
                StableForm(
                    form=form,
                    expression=infix(proposal.tree),
                    sexpr=to_sexpr(proposal.tree),
                    torch=torch_code(proposal.tree),
                    functions=proposal.torch,
                    rules=proposal.rules,
                    bits=bits,
                    bits_gained=before - bits[self.dtype],
                    where=tuple(sorted(rows.wins(form, self.dtype), key=lambda win: -(win.bits or 0))),
                )
            )
        return sorted(
            found, key=lambda each: (round(each.bits[self.dtype]), len(each.sexpr))
        )  # of equal ones the shortest


@dataclass(frozen=True)
class _Rows:
    """The rows of the experiment, by kind; with `dtypes` only those of these formats."""

    rows: Sequence[Row]
    dtypes: tuple[str, ...]

    def of(self, kind: str) -> list[Row]:
        return [row for row in self.rows if row["kind"] == kind and self._is_shown(row.get("dtype"))]

    def _is_shown(self, dtype: Cell) -> bool:
        return not self.dtypes or dtype is None or dtype in self.dtypes

    def nodes(self) -> tuple[FormulaNode, ...]:
        by_node: dict[int, list[Row]] = {}
        for row in self.of("node"):
            by_node.setdefault(int(row["node"] or 0), []).append(row)
        trees: dict[int, Node] = {}
        found = []
        for number, rows in sorted(by_node.items()):
            operation = str(rows[0]["operation"])
            inputs = tuple(map(int, str(rows[0]["inputs"]).split()))
            if all(each in trees for each in inputs):  # of a very long formula only the last steps are measured
                trees[number] = _tree(operation, [trees[each] for each in inputs])
            found.append(
                FormulaNode(
                    id=number,
                    operation=operation,
                    inputs=inputs,
                    text=infix(trees[number]) if number in trees else operation,
                    exact=_elements(rows[0]["exact"]),
                    values={str(row["dtype"]): _value(row) for row in rows},
                )
            )
        return tuple(found)

    def gradients(self) -> Iterable[FormulaGradient]:
        rows = self.of("gradient")
        for name in dict.fromkeys(str(row["operation"]) for row in rows):
            own = [row for row in rows if row["operation"] == name]
            yield FormulaGradient(
                variable=name,
                exact=_optional(own[0]["exact"]),
                values={str(row["dtype"]): _value(row) for row in own},
                node={str(row["dtype"]): int(row["node"]) for row in own if row["node"] is not None},
            )

    def breaks_at(self, measured: Mapping[str, float | int | None]) -> dict[str, float | None]:
        names = [name.removeprefix("breaks_at_") for name in measured if name.startswith("breaks_at_")]
        return {name: _optional(measured[f"breaks_at_{name}"]) for name in names if self._is_shown(name)}

    def breaking(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for row in self.of("break"):
            found.setdefault(str(row["dtype"]), {})[str(row["operation"])] = _number(row["value"])
        return found

    def regions(self) -> Iterable[FormulaRegion]:
        for row in self.of("region"):
            yield FormulaRegion(
                dtype=str(row["dtype"]),
                low=_number(row["low"]),
                high=_number(row["high"]),
                status=str(row["status"]),
                how=str(row["how"]),
            )

    def wins(self, form: int, dtype: str) -> Iterable[FormulaRegion]:
        """The intervals in which the form loses fewer bits; single points are left out, as their neighbours may
        differ.
        """
        for row in self.of("wins"):
            low, high = _number(row["low"]), _number(row["high"])
            if (row["form"], row["dtype"]) == (form, dtype) and low < high:
                yield FormulaRegion(dtype=dtype, low=low, high=high, status="wins", bits=_optional(row["bits"]))

    def points(self) -> Iterable[MapPoint]:
        for row in self.of("map"):
            yield MapPoint(
                dtype=str(row["dtype"]),
                x=_number(row["low"]),
                bits=_optional(row["bits"]),
                form=int(row["form"] or 0),
            )

    def bits(self, form: int) -> dict[str, float]:
        return {
            str(row["dtype"]): bits
            for row in self.of("form")
            if row["form"] == form and (bits := _optional(row["bits"])) is not None
        }


def _read_given(text: str, field: str) -> NumberOrRange:
    try:
        return read_number_or_range(text)
    except BadExpression as error:
        raise BadExpression(zh=error.zh, en=error.en, field=field) from None


def _around(given: NumberOrRange) -> tuple[float, float]:
    """The interval in which other forms are searched for, for a variable with one value: from 0 to it, and as far on
    the other side.
    """
    reach = max(abs(_float(given)), 1.0) if isinstance(given, Fraction) else _FAR
    return -reach, reach


def _float(exact: Fraction) -> float:
    """The nearest float whose absolute value is at most `_FAR`, as the search for forms needs it."""
    return float(min(max(exact, -Fraction(_FAR)), Fraction(_FAR)))


def _tree(operation: str, arguments: list[Node]) -> Node:
    if arguments or (operation in FUNCTIONS and FUNCTIONS[operation].kind == "constant"):
        return Call(operation, tuple(arguments))
    if operation[0].isdigit() or operation[0] == "-" or operation in ("inf", "nan"):
        return Number(float(operation) if operation.lstrip("-") in ("inf", "nan") else Fraction(operation))
    return Variable(operation)


def _value(row: Row) -> FormulaValue:
    return FormulaValue(
        value=_elements(row["value"]),
        ulp=_optional(row["ulps"]),
        status=str(row["status"]),
        how=str(row.get("how") or ""),
    )


def _elements(cell: Cell) -> Elements:
    """A number, or the elements of a vector, which a row holds as a text: [1.0, 0.0]."""
    if isinstance(cell, str):
        return tuple(None if each == "None" else float(each) for each in cell.strip("[]").split(", "))
    return _optional(cell)


def _optional(cell: Cell) -> float | None:
    return float(cell) if isinstance(cell, int | float) else None


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, int | float) else math.nan
