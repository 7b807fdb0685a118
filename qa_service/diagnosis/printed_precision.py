"""Tells from the digits of printed numbers in which 16-bit format they were computed.

A loss or gradient norm that a program computed in bfloat16 has 8 significant bits, in float16 11: printed with enough
digits, every value lies on that coarse grid, as 1.8984375 does. Means over several steps do not.
"""

import math
from collections.abc import Mapping, Sequence

from qa_service.diagnosis.curves import finite_records, records, values_of
from qa_service.model.training_run import TrainingRun

_BITS = {"bfloat16": 8, "float16": 11}
"""Significant bits, the coarser format first: what lies on its grid lies on the finer one too."""
_COARSE = 8.0
"""The spacing of the grid, in units of the printed resolution, from which on a value is evidence."""
_CHANCE = 1e-6
"""The grid is believed if values of full precision would all lie on it with a smaller probability than this."""
_LEAST_VALUES = 4
_MAX_DECIMALS = 12


def infer_dtype(run: TrainingRun) -> str:
    """The format that the losses or the gradient norms were computed in; "" if their digits do not tell."""
    for key in ("loss", "grad_norm"):
        values = [abs(value) for value in values_of(finite_records(records(run, key))) if value]
        for name, bits in _BITS.items():
            if _lie_on_grid(values, bits):
                return name
    return ""


def _lie_on_grid(values: Sequence[float], bits: int) -> bool:
    """Whether every value printed finely enough has at most `bits` significant bits, which chance does not explain."""
    resolution = 10.0 ** -max((_decimals(value) for value in values), default=0)
    told: dict[float, float] = {}
    chance = 1.0
    for value in values:
        spacing = 2.0 ** (math.frexp(value)[1] - bits)
        if spacing < _COARSE * resolution or value in told:
            continue
        if abs(value - round(value / spacing) * spacing) > 0.501 * resolution:
            return False
        told[value] = spacing
        chance *= resolution / spacing
    return len(told) >= _LEAST_VALUES and chance < _CHANCE and not _are_counts(told)


def _are_counts(told: Mapping[float, float]) -> bool:
    """Whether the values are multiples of something larger than the grid, as means over samples of 0 and 100 are."""
    unit = min(told.values())
    return math.gcd(*(round(value / unit) for value in told)) > 1


def _decimals(value: float) -> int:
    """Decimals that the shortest form of a number has."""
    mantissa, _, exponent = repr(value).partition("e")
    fraction = mantissa.partition(".")[2].rstrip("0")
    return min(max(len(fraction) - int(exponent or 0), 0), _MAX_DECIMALS)
