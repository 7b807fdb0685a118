"""The same run in several number formats: how far each lies from float64, in its own units in the last place.

float64 stands for the exact value: it carries 29 bits more than float32, 42 more than float16, 45 more than bfloat16.
`dtype_ladder` and `dtype_functions` have the float8 formats as well, and exact numbers for a reference. Beside the
comparison they carry out the operation on which the experiment turns, not the whole of it (`BESIDE` in a demo).
Source: IEEE 754-2019; Muller et al. 2018, Handbook of Floating-Point Arithmetic, ch. 2.3 (ulp).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from qa_service.model import Cell, Evidence, Row

REFERENCE = "float64"


@dataclass(frozen=True, slots=True)
class Format:
    """Bits of the significand, the leading one included, and the exponent of the smallest normal number."""

    bits: int
    lowest: int

    def ulp(self, value: float) -> float:
        """The distance of neighbours near a value, were the format without an upper end."""
        exponent = math.frexp(value)[1] - 1 if value else self.lowest
        return math.ldexp(1.0, max(exponent, self.lowest) - self.bits + 1)


FORMATS = {"float32": Format(24, -126), "bfloat16": Format(8, -126), "float16": Format(11, -14)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionLoss:
    """One column of a block's experiment in one format.

    `overflow` and `first_wrong_digit` are values of the experiment's first column: at the first row that is not finite
    while float64's is, and at the first row that is off by more than half a unit in the last place, as no correctly
    rounded number is; None if there is none. `ulps` is the error of the last row in units in the last place: inf where
    only float64 is finite, None where float64 itself is not.
    """

    block: str
    dtype: str
    column: str
    overflow: Cell
    first_wrong_digit: Cell
    ulps: float | None


def precision_losses(evidence: Iterable[Evidence]) -> list[PrecisionLoss]:
    """Of every block whose runs differ in nothing but `dtype`, float64 among them. Columns of numbers only."""
    return [rung for _, runs in groupby(evidence, key=lambda one: one.block) for rung in _of_block(list(runs))]


def _of_block(runs: Sequence[Evidence]) -> Iterator[PrecisionLoss]:
    rows = {str(one.params.get("dtype")): one.run.rows for one in runs if set(one.compared) == {"dtype"}}
    key, *columns = runs[0].experiment.columns
    exact: dict[object, Row] = {row[key]: row for row in rows.pop(REFERENCE, ()) if key in row}
    for column in columns:
        for dtype, own in rows.items():
            pairs = [
                (row[key], value, reference)
                for row in own
                if (value := _number(row.get(column))) is not None
                and (reference := _number(exact.get(row.get(key), {}).get(column))) is not None
            ]
            if pairs and dtype in FORMATS:
                yield _rung(runs[0].block, dtype, column, pairs)


def _rung(block: str, dtype: str, column: str, pairs: Sequence[tuple[Cell, float, float]]) -> PrecisionLoss:
    errors = [(at, _error(value, exact, FORMATS[dtype])) for at, value, exact in pairs]
    return PrecisionLoss(
        block=block,
        dtype=dtype,
        column=column,
        overflow=next((at for at, value, exact in pairs if math.isfinite(exact) and not math.isfinite(value)), None),
        first_wrong_digit=next((at for at, ulps in errors if ulps is not None and ulps > 0.5), None),
        ulps=errors[-1][1],
    )


def _error(value: float, exact: float, form: Format) -> float | None:
    if not math.isfinite(exact):
        return None
    return abs(value - exact) / form.ulp(exact) if math.isfinite(value) else math.inf


def _number(cell: object) -> float | None:
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else None
