"""The domain model: frozen dataclasses without input or output, standard library only.

Its terms are those of the glossary in CONTRIBUTING: an *entry* answers a question; an *experiment* measures *metrics*;
a *claim* is a sentence about one metric that can be false; a *run* is one execution of an experiment; *evidence* is a
run with the verdicts on the claims.
"""

from qa_service.model.clue import Clue, FoundClue, find_clue
from qa_service.model.differential import RankedDistinction, rank, single_out
from qa_service.model.evidence import Evidence, Spread, claims_not_testable, judge_claims, run_id
from qa_service.model.experiment import Companion, Experiment, FieldInfo, Limit, Parameter, Run, RunStatus
from qa_service.model.knowledge import (
    FIRST_PARTS,
    PARTS,
    PLACEHOLDER,
    Aspect,
    CheckRecord,
    Claim,
    Distinction,
    Entry,
    EvidenceBlock,
    Lecture,
    Op,
    Part,
    Subject,
    Verdict,
)
from qa_service.model.observation import SIGN_VOCABULARY, Observation, ObservationKind, Sign
from qa_service.model.question_answer import (
    MAX_CANDIDATES,
    MAX_RUNS,
    MAX_SEEDS,
    Answer,
    AnswerStatus,
    Calculation,
    Context,
    Match,
    Request,
)
from qa_service.model.values import LANGS, Cell, Lang, MetricValues, NamedValues, Params, Row, Text, Value

__all__ = [
    "FIRST_PARTS",
    "LANGS",
    "MAX_CANDIDATES",
    "MAX_RUNS",
    "MAX_SEEDS",
    "PARTS",
    "PLACEHOLDER",
    "SIGN_VOCABULARY",
    "Answer",
    "AnswerStatus",
    "Aspect",
    "Calculation",
    "Cell",
    "CheckRecord",
    "Claim",
    "Clue",
    "Companion",
    "Context",
    "Distinction",
    "Entry",
    "Evidence",
    "EvidenceBlock",
    "Experiment",
    "FieldInfo",
    "FoundClue",
    "Lang",
    "Lecture",
    "Limit",
    "Match",
    "MetricValues",
    "NamedValues",
    "Observation",
    "ObservationKind",
    "Op",
    "Parameter",
    "Params",
    "Part",
    "RankedDistinction",
    "Request",
    "Row",
    "Run",
    "RunStatus",
    "Sign",
    "Spread",
    "Subject",
    "Text",
    "Value",
    "Verdict",
    "claims_not_testable",
    "find_clue",
    "judge_claims",
    "rank",
    "run_id",
    "single_out",
]
