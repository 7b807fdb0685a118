"""The values everything else passes around. Frozen, standard library only, no input or output.

The words are those of the glossary (CONTRIBUTING): an *entry* answers a question; an *experiment* measures
*metrics*; a *claim* is a sentence about one metric that can be false; a *run* is one execution; *evidence* is a
run with the verdicts on the claims.
"""

from qa_service.model.asking import MOST_SEEDS, OFFERED, Answer, AnswerStatus, Context, Match, Request
from qa_service.model.evidence import Evidence, Spread, run_id
from qa_service.model.experiment import Beside, Experiment, Limit, Parameter, Quantity, Run, Status
from qa_service.model.knowledge import PLACEHOLDER, Claim, Entry, EvidenceBlock, Lecture, Op, Subject, Verdict
from qa_service.model.values import LANGS, Cell, Lang, Measured, Named, Params, Row, Text, Value

__all__ = [
    "LANGS",
    "MOST_SEEDS",
    "OFFERED",
    "PLACEHOLDER",
    "Answer",
    "AnswerStatus",
    "Beside",
    "Cell",
    "Claim",
    "Context",
    "Entry",
    "Evidence",
    "EvidenceBlock",
    "Experiment",
    "Lang",
    "Lecture",
    "Limit",
    "Match",
    "Measured",
    "Named",
    "Op",
    "Parameter",
    "Params",
    "Quantity",
    "Request",
    "Row",
    "Run",
    "Spread",
    "Status",
    "Subject",
    "Text",
    "Value",
    "Verdict",
    "run_id",
]
