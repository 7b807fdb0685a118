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

REFERENCE_DTYPE = "float64"


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """Bits of the significand, the leading one included, and the exponent of the smallest normal number."""

    significand_bits: int
    min_exponent: int

    def ulp(self, value: float) -> float:
        """The distance of neighbours near a value, were the format without an upper end."""
        exponent = math.frexp(value)[1] - 1 if value else self.min_exponent
        return math.ldexp(1.0, max(exponent, self.min_exponent) - self.significand_bits + 1)


FLOAT_FORMATS = {"float32": FloatFormat(24, -126), "bfloat16": FloatFormat(8, -126), "float16": FloatFormat(11, -14)}


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
    return [rung for _, runs in groupby(evidence, key=lambda one: one.block) for rung in _block_losses(list(runs))]


def _block_losses(runs: Sequence[Evidence]) -> Iterator[PrecisionLoss]:
    rows = {str(one.params.get("dtype")): one.run.rows for one in runs if set(one.compared) == {"dtype"}}
    key, *columns = runs[0].experiment.columns
    exact: dict[object, Row] = {row[key]: row for row in rows.pop(REFERENCE_DTYPE, ()) if key in row}
    for column in columns:
        for dtype, own in rows.items():
            pairs = [
                (row[key], value, reference)
                for row in own
                if (value := _float_or_none(row.get(column))) is not None
                and (reference := _float_or_none(exact.get(row.get(key), {}).get(column))) is not None
            ]
            if pairs and dtype in FLOAT_FORMATS:
                yield _column_loss(runs[0].block, dtype, column, pairs)


def _column_loss(block: str, dtype: str, column: str, pairs: Sequence[tuple[Cell, float, float]]) -> PrecisionLoss:
    errors = [(at, _error_in_ulps(value, exact, FLOAT_FORMATS[dtype])) for at, value, exact in pairs]
    return PrecisionLoss(
        block=block,
        dtype=dtype,
        column=column,
        overflow=next((at for at, value, exact in pairs if math.isfinite(exact) and not math.isfinite(value)), None),
        first_wrong_digit=next((at for at, ulps in errors if ulps is not None and ulps > 0.5), None),
        ulps=errors[-1][1],
    )


def _error_in_ulps(value: float, exact: float, form: FloatFormat) -> float | None:
    if not math.isfinite(exact):
        return None
    return abs(value - exact) / form.ulp(exact) if math.isfinite(value) else math.inf


def _float_or_none(cell: object) -> float | None:
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else None
