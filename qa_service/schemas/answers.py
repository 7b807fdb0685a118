"""Answers as JSON: entry, confidence, matches, text, and evidence once it is measured."""

from typing import Annotated

from pydantic import Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from qa_service.model import Answer, AnswerStatus, Context, Entry, Lang, Match, NamedValues
from qa_service.presentation import prose
from qa_service.presentation.precision import PrecisionLoss, precision_losses
from qa_service.schemas import values as types
from qa_service.schemas.evidence import EvidenceJson, evidence_json
from qa_service.schemas.values import Body, Cell, Number, omitted_if_none

Probability = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]


class EntryLink(Body):
    """The entry that answers, in short."""

    id: str
    item: int = Field(description="the number of the source item that it is or expands")
    expands: str | None
    question: str
    url: str


class ReasonJson(Body):
    """A term of the question and its contribution to the score; the empty term is the sentence vector."""

    term: str
    weight: float


class MatchJson(Body):
    """An entry found: calibrated probability that it answers, nearest phrasing, and the terms that count most."""

    entry: str
    item: int
    score: Probability
    phrasing: str
    question: str
    reasons: list[ReasonJson]


class SubjectJson(Body):
    """The subject of a question that is not covered."""

    id: str
    name: str


class LectureJson(Body):
    """The lecture's own question and answer, verbatim."""

    question: str | None
    answer: str
    netizens: str | None = Field(description="remarks of the audience")


class PrecisionLossJson(Body):
    """One column of a block's experiment in one number format, against float64."""

    block: str
    dtype: str
    column: str
    overflow: Cell = Field(description="the first column at the first row that overflows")
    lost: Cell = Field(description="the same at the first row off by more than half a unit in the last place")
    ulps: Number | None = Field(description="the last row's error in units in the last place")


class RelatedJson(Body):
    """Another entry that may help."""

    entry: str
    question: str


class ContextJson(Body):
    """The context to send back, unchanged, with a follow-up question."""

    entry: str | None
    params: types.NamedValues
    lang: Lang
    candidates: list[str] | SkipJsonSchema[None] = omitted_if_none("the entries offered, where none answers")


class AnswerJson(Body):
    """The answer to a question."""

    id: str
    status: AnswerStatus
    lang: Lang
    question: str
    entry: EntryLink | None
    confidence: Probability
    matches: list[MatchJson] = Field(description="best first")
    subject: SubjectJson | None
    answer: str = Field(description="markdown")
    lecture: LectureJson | None
    params: types.NamedValues = Field(description="what was read from the question, its context and the request")
    notes: list[str] = Field(description="what was assumed, clamped or corrected")
    evidence: list[EvidenceJson]
    ladder: list[PrecisionLossJson] = Field(
        description="one for each column and format, where float64 and other formats are compared"
    )
    references: list[str]
    related: list[RelatedJson]
    context: ContextJson


def answer_json(one: Answer) -> AnswerJson:
    """An Answer in its language."""
    lang, entry = one.lang, one.entry
    return AnswerJson(
        id=one.id,
        status=one.status,
        lang=lang,
        question=one.question,
        entry=_entry_link(entry, lang) if entry else None,
        confidence=one.confidence,
        matches=[_match_json(match, lang) for match in one.matches],
        subject=SubjectJson(id=one.subject.id, name=one.subject.name[lang]) if one.subject else None,
        answer=prose.answer_text(one),
        lecture=lecture_json(entry, lang) if entry else None,
        params=_named_values(one.params),
        notes=[note[lang] for note in one.notes],
        evidence=[evidence_json(each, lang) for each in one.evidence],
        ladder=[_precision_loss_json(loss) for loss in precision_losses(one.evidence)],
        references=list(entry.references) if entry else [],
        related=[RelatedJson(entry=other.id, question=other.question[lang]) for other in one.related],
        context=_context_json(one.context),
    )


def lecture_json(one: Entry, lang: Lang) -> LectureJson | None:
    """The lecture's question and answer in a language; None for an entry without them."""
    said = one.lecture
    if said is None:
        return None
    return LectureJson(
        question=said.question[lang] if said.question else None,
        answer=said.answer[lang],
        netizens=said.netizens[lang] if said.netizens else None,
    )


def _entry_link(one: Entry, lang: Lang) -> EntryLink:
    return EntryLink(
        id=one.id, item=one.item, expands=one.expands, question=one.question[lang], url=f"/entries/{one.id}"
    )


def _match_json(one: Match, lang: Lang) -> MatchJson:
    return MatchJson(
        entry=one.entry.id,
        item=one.entry.item,
        score=one.score,
        phrasing=one.phrasing,
        question=one.entry.question[lang],
        reasons=[ReasonJson(term=term, weight=weight) for term, weight in one.reasons],
    )


def _precision_loss_json(one: PrecisionLoss) -> PrecisionLossJson:
    return PrecisionLossJson(
        block=one.block,
        dtype=one.dtype,
        column=one.column,
        overflow=one.overflow,
        lost=one.first_wrong_digit,
        ulps=one.ulps,
    )


def _context_json(one: Context) -> ContextJson:
    return ContextJson(
        entry=one.entry,
        params=_named_values(one.params),
        lang=one.lang,
        candidates=None if one.entry else list(one.candidates),
    )


def _named_values(named: NamedValues) -> dict[str, types.Value | list[types.Value]]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}
