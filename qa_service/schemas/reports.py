"""What `numstab check`, `replay` and `gaps` print with `--json`."""

from typing import Literal

from qa_service.model import Op
from qa_service.schemas.values import Body, Cell, Number

_Verdict = Literal["holds", "fails", "unknown"]
_Condition = Literal["params", "control"]


class ClaimResultJson(Body):
    """The verdict on a claim at its parameters or at its control, with one seed."""

    entry: str
    claim: str
    at: _Condition
    seed: int
    value: Number
    op: Op
    bound: Number
    verdict: _Verdict
    stated: _Verdict
    expected: _Verdict
    seconds: float


class ClaimSummaryJson(Body):
    """A claim at its parameters or at its control, over all seeds."""

    entry: str
    claim: str
    at: _Condition
    metric: str
    op: Op
    bound: Number
    stated: _Verdict
    held: int
    as_stated: int
    seeds: int
    share: float
    lowest: Number
    median: Number
    highest: Number
    seconds: float


class CheckReportJson(Body):
    """The report of a check."""

    checked: int
    differ: int
    versions: dict[str, str]
    claims: list[ClaimResultJson]
    over_seeds: list[ClaimSummaryJson]


class ChangedMetricJson(Body):
    """A metric of a receipt and of the run that was repeated."""

    then: Number
    now: Number


class MovedVersionJson(Body):
    """The version of a library, or the hash of the code, in a receipt and now."""

    then: str
    now: str


class ReplayResultJson(Body):
    """A run that was repeated."""

    experiment: str
    params: dict[str, Cell]
    seed: int
    status: str
    sameness: Literal["identical", "equal", "different"]
    changed: dict[str, ChangedMetricJson]
    moved: dict[str, MovedVersionJson]


class UnansweredQuestionJson(Body):
    """A question that was not answered, or whose answer did not help."""

    question: str
    lang: str
    status: str
    entry: str | None
    helpful: bool | None
    reason: str | None


class NearestEntryJson(Body):
    """An entry that is near a group of questions."""

    entry: str
    score: float


class UnansweredGroupJson(Body):
    """Unanswered questions on one subject."""

    questions: list[UnansweredQuestionJson]
    nearest: list[NearestEntryJson]
