"""What was found in a training run: whether it is sick, of which cause, by which evidence, and what to do."""

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
    """Id of what was looked at, such as "nan_at_first_step"."""
    cause: str
    """Id of the cause that it speaks about, see `diagnosis/causes.py`."""
    weight: float
    """Logarithm of the likelihood ratio: above 0 it speaks for the cause, below 0 against it."""
    text: Text
    """The fact, with the reader's own numbers."""
    lines: tuple[int, ...] = ()
    step: int | None = None
    layer: str = ""


HarmId = Literal["nonfinite", "diverging", "no_learning", "skipping", "evaluation", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What goes wrong in the run, before any cause is thought of."""

    id: HarmId
    text: Text
    lines: tuple[int, ...] = ()
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A cause with what speaks for and against it."""

    cause: str
    probability: float
    """Calibrated on runs whose cause is known; 0 to 1."""
    certainty: Certainty
    findings: tuple[Finding, ...]
    """The heaviest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A cause that one would think of, and why it is not this one."""

    cause: str
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Experimented:
    """The reduced experiment at the reader's numbers: as it is, and with the cure."""

    experiment: str
    params: Params
    cured: Params
    """The parameters that the cure changes."""
    from_run: tuple[str, ...]
    """Which of the parameters come from the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A cause of sick runs."""

    id: str
    name: Text
    """As in "Cause: …", without a full stop."""
    entry: str
    """The entry that explains it."""
    numerics: bool = True
    """Whether it is a matter of numerics at all."""
    consequences: frozenset[str] = frozenset()
    """Causes that it brings about, and so explains away."""
    cure: Text | None = None
    """What to do, in a sentence."""
    patch: str = ""
    """The smallest change of code, 1 to 6 lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place on the curve."""

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
    """At most two, the most probable first."""
    excluded: tuple[Excluded, ...] = ()
    margins: tuple[Text, ...] = ()
    """Of a healthy run: how far it is from harm. Information, never a warning."""
    question: Text | None = None
    """Where two causes fit: the one question that tells them apart."""
    next_line: str = ""
    """The one line of code to add that would tell more."""
    unseen: tuple[Text, ...] = ()
    """What this run does not show, and would be needed."""
    experiment: Experimented | None = None
    marks: tuple[Mark, ...] = ()
    causes: Mapping[str, Cause] = field(default_factory=dict)
    """Every cause that is named above, by its id."""
