"""Error of a run in lower precision against the same run in float64, in units in the last place (ulp).

The reference, float64, has 29 bits more than float32, 42 more than float16, 45 more than bfloat16. Errors against exact
numbers, and of the float8 formats, come from the companion experiments `dtype_ladder` and `dtype_functions`, which a
demo names in `BESIDE`.
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
    """A binary float format: bits of the significand (leading bit included), exponent of the smallest normal number."""

    significand_bits: int
    min_exponent: int

    def ulp(self, value: float) -> float:
        """The spacing of neighbouring numbers at `value`, as if the exponent had no upper bound."""
        exponent = math.frexp(value)[1] - 1 if value else self.min_exponent
        return math.ldexp(1.0, max(exponent, self.min_exponent) - self.significand_bits + 1)


FLOAT_FORMATS = {"float32": FloatFormat(24, -126), "bfloat16": FloatFormat(8, -126), "float16": FloatFormat(11, -14)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionLoss:
    """Overflow and error of one column of an experiment in one format.

    `overflow` and `first_wrong_digit` are values of the experiment's first column, or None. `overflow`: the first row
    that is not finite while float64's is. `first_wrong_digit`: the first row with an error of more than half an ulp,
    the most that correct rounding can cause. `ulps`: the error of the last row in ulp; inf if only float64 is finite,
    None if float64 is not finite.
    """

    block: str
    dtype: str
    column: str
    overflow: Cell
    first_wrong_digit: Cell
    ulps: float | None


def precision_losses(evidence: Iterable[Evidence]) -> list[PrecisionLoss]:
    """The losses of every block whose runs differ only in `dtype` and include float64. Numeric columns only."""
    return [loss for _, runs in groupby(evidence, key=lambda one: one.block) for loss in _block_losses(list(runs))]


def _block_losses(runs: Sequence[Evidence]) -> Iterator[PrecisionLoss]:
    """The losses of one block; rows of two formats belong together if their first columns are equal."""
    rows = {str(one.params.get("dtype")): one.run.rows for one in runs if set(one.compared) == {"dtype"}}
    key, *columns = runs[0].experiment.columns
    reference_rows: dict[object, Row] = {row[key]: row for row in rows.pop(REFERENCE_DTYPE, ()) if key in row}
    for column in columns:
        for dtype, dtype_rows in rows.items():
            triples = [
                (row[key], value, reference)
                for row in dtype_rows
                if (value := _float_or_none(row.get(column))) is not None
                and (reference := _float_or_none(reference_rows.get(row.get(key), {}).get(column))) is not None
            ]
            if triples and dtype in FLOAT_FORMATS:
                yield _column_loss(runs[0].block, dtype, column, triples)


def _column_loss(block: str, dtype: str, column: str, triples: Sequence[tuple[Cell, float, float]]) -> PrecisionLoss:
    """The loss of one column from (first column, value, float64 value) of each row."""
    errors = [(key, _error_in_ulps(value, exact, FLOAT_FORMATS[dtype])) for key, value, exact in triples]
    return PrecisionLoss(
        block=block,
        dtype=dtype,
        column=column,
        overflow=next(
            (key for key, value, exact in triples if math.isfinite(exact) and not math.isfinite(value)), None
        ),
        first_wrong_digit=next((key for key, ulps in errors if ulps is not None and ulps > 0.5), None),
        ulps=errors[-1][1],
    )


def _error_in_ulps(value: float, exact: float, float_format: FloatFormat) -> float | None:
    """The error in ulp of the exact value; None if that is not finite, inf if only the value is not."""
    if not math.isfinite(exact):
        return None
    return abs(value - exact) / float_format.ulp(exact) if math.isfinite(value) else math.inf


def _float_or_none(cell: object) -> float | None:
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else None
