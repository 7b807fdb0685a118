"""The diagnosis of a training run: whether it is sick, of which cause, on which evidence, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qa_service.model.training_run import TrainingRun
from qa_service.model.values import Params, Text

DiagnosisStatus = Literal["sick", "healthy", "not_numerics", "undecided", "unreadable"]
Certainty = Literal["certain", "likely", "possible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about the run, and how much it speaks for or against a cause."""

    feature: str
    """Id of the feature that was observed, such as "nan_at_first_step"."""
    cause: str
    """Id of the cause whose probability it changes, see `diagnosis/causes.py`."""
    weight: float
    """Logarithm of the likelihood ratio: above 0 it speaks for the cause, below 0 against it."""
    text: Text
    """The fact, with the user's own numbers."""
    lines: tuple[int, ...] = ()
    step: int | None = None
    layer: str = ""


HarmId = Literal["nonfinite", "diverging", "no_learning", "skipping", "evaluation", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """A harm: something that goes wrong in the run, whatever its cause."""

    id: HarmId
    text: Text
    lines: tuple[int, ...] = ()
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A cause with what speaks for and against it."""

    cause: str
    probability: float
    """The probability of the cause, 0 to 1, calibrated on runs whose cause is known."""
    certainty: Certainty
    findings: tuple[Finding, ...]
    """The findings about the cause, the heaviest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedCause:
    """A plausible cause that was ruled out, and why."""

    cause: str
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A small experiment that reproduces the cause with the run's own settings, once without and once with the cure."""

    experiment: str
    params: Params
    cured: Params
    """The parameters that the cure changes."""
    from_run: tuple[str, ...]
    """Names of the parameters whose values come from the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A cause of sick runs."""

    id: str
    name: Text
    """The name as it follows "Cause: …", without a full stop."""
    entry: str
    """Id of the entry that explains the cause."""
    is_numerical: bool = True
    """False for a cause that is not numerical, such as overfitting."""
    consequences: frozenset[str] = frozenset()
    """Ids of causes that follow from this one, so that evidence for them is explained by it."""
    cure: Text | None = None
    """What to do, in a sentence."""
    patch: str = ""
    """The smallest change of code, 1 to 6 lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveMark:
    """A point of a curve that the report marks, with its label."""

    series: str
    step: float
    """The place on the x axis: a step, or the index of a record where steps are not known."""
    text: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The report on a run."""

    run: TrainingRun
    status: DiagnosisStatus
    summary: Text
    """The verdict in one sentence."""
    harms: tuple[Harm, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()
    """The causes that are named, at most two, the most probable first."""
    excluded: tuple[ExcludedCause, ...] = ()
    harmless_anomalies: tuple[Text, ...] = ()
    """What looks alarming in a healthy run and is not, such as skipped updates; information, never a warning."""
    question: Text | None = None
    """If two causes fit: the question whose answer tells them apart."""
    line_to_add: str = ""
    """The one line of code to add that would tell more."""
    unseen: tuple[Text, ...] = ()
    """What the run does not show although the diagnosis would need it."""
    experiment: Reproduction | None = None
    marks: tuple[CurveMark, ...] = ()
    causes: Mapping[str, Cause] = field(default_factory=dict)
    """Every cause that is named above, by its id."""
