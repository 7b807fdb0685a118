"""Corrections that need all lines: losses that Megatron-LM does not print, leading numbers that count nothing."""

import math
from collections.abc import Sequence
from itertools import pairwise

from qa_service.parsing.logs.names import meaning_of
from qa_service.parsing.logs.rows import LogRow

_NEARLY_ZERO = 0.02
"""A loss below this share of the first one may be 0 or negative in the next records."""
_FEW = 0.15
"""Missing losses are nan if at most this share of the records lacks one: of a loss about 0, half would be missing."""
LEADING = "plain leading"
"""The counter of rows whose step is a number without a name at the beginning of the line."""
TRAINER_STATE = "trainer_state"


def is_setting_alone(row: LogRow) -> bool:
    """Whether a row has only a learning rate from a line of JSON, which is then a configuration and no record."""
    return row.form == TRAINER_STATE and row.values.keys() == {"learning_rate"}


def restore_losses(rows: Sequence[LogRow]) -> None:
    """Sets the loss of Megatron-LM records that print none, though no update was skipped, to nan, in place.

    Megatron-LM prints a mean only if it is above 0. Nothing is set where the loss may have been 0 or negative.
    """
    made = [row for row in rows if row.form == "megatron" and row.values.get("number_of_skipped_iterations") == 0]
    losses = {row.number: value for row in made for name, value in row.values.items() if meaning_of(name) == "loss"}
    without = [row for row in made if row.number not in losses]
    if not losses or not without:
        return
    printed = list(losses.values())
    ends = min(row.number for row in without) > max(losses)
    falls_to_zero = printed[-1] < _NEARLY_ZERO * printed[0]
    few = len(without) <= _FEW * len(made) and min(losses) < min(row.number for row in without)
    spoilt = all(not math.isfinite(row.values.get("grad_norm", math.nan)) for row in without)
    if spoilt or few or (ends and not falls_to_zero):
        for row in without:
            row.values["lm_loss"] = math.nan


def drop_noncounting_steps(rows: Sequence[LogRow]) -> None:
    """Removes the steps of rows, in place, whose leading numbers decrease or are all equal, and so count nothing."""
    led = [row for row in rows if row.counter == LEADING]
    numbers = [row.step or 0.0 for row in led]
    if any(after < before for before, after in pairwise(numbers)) or (len(led) > 1 and len(set(numbers)) == 1):
        for row in led:
            row.step = None
