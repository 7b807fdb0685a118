"""What happens while a question is answered, in this order: answered, then started, measuring … and finished for each
experiment, then done. A front shows them as they come.
"""

from dataclasses import dataclass

from qa_service.model import Answer, Evidence, Experiment, Params, Row


@dataclass(frozen=True, slots=True)
class Answered:
    """First of an answer's events: who answers, before any evidence."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Started:
    """An experiment is about to run."""

    block: str
    experiment: Experiment
    params: Params
    seed: int


@dataclass(frozen=True, slots=True)
class Measuring:
    """One row of the experiment that is running."""

    block: str
    row: Row


@dataclass(frozen=True, slots=True)
class Finished:
    """One evidence is complete."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Done:
    """Last of an answer's events: the whole answer."""

    answer: Answer


Event = Answered | Started | Measuring | Finished | Done
