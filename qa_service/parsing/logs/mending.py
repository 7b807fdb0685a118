"""What is mended when all lines are read: losses that a trainer leaves out, numbers that do not count after all."""

import math
from collections.abc import Sequence
from itertools import pairwise

from qa_service.parsing.logs.names import meaning_of
from qa_service.parsing.logs.rows import LogRow

_NEARLY_ZERO = 0.02
"""Of the first loss: what is that small may be 0 or below it in the next records."""
_FEW = 0.15
"""Of the records, those that may lack a loss by chance: a negative one lacks in about half of them."""
LEADING = "plain leading"
"""Counter of a number that stands first in its line, without a name."""
TRAINER_STATE = "trainer_state"


def is_configured(row: LogRow) -> bool:
    """Whether a line of JSON with a learning rate alone is one of a configuration, not of a record."""
    return row.form == TRAINER_STATE and row.values.keys() == {"learning_rate"}


def restore_losses(rows: Sequence[LogRow]) -> None:
    """Gives the records of Megatron-LM that have no loss, though no update was skipped, the nan that is not printed.

    It prints a mean only if it is above 0; so of a loss that may be negative, nothing is known.
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


def forget_numbers(rows: Sequence[LogRow]) -> None:
    """Takes the steps from rows that begin with a number which does not count on."""
    led = [row for row in rows if row.counter == LEADING]
    numbers = [row.step or 0.0 for row in led]
    if any(after < before for before, after in pairwise(numbers)) or (len(led) > 1 and len(set(numbers)) == 1):
        for row in led:
            row.step = None
