"""Answers as JSON: entry, confidence, matches, text, and evidence once it is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import to_json

from qa_service.model import (
    FIRST_PARTS,
    MAX_CANDIDATES,
    PARTS,
    Answer,
    AnswerStatus,
    Calculation,
    Context,
    Entry,
    FoundClue,
    Lang,
    Match,
    NamedValues,
    Observation,
    ObservationKind,
    Part,
    Sign,
    rank,
)
from qa_service.presentation import prose
from qa_service.presentation.precision import PrecisionLoss, precision_losses
from qa_service.schemas import values as types
from qa_service.schemas.diagnosis import DiagnosisJson, diagnosis_json
from qa_service.schemas.evidence import EvidenceJson, evidence_json
from qa_service.schemas.values import Body, Cell, Number, omitted_if_none

_CACHED_TEXTS = 1000
"""Size of the LRU cache of entries' texts as JSON, 5 kB each."""
Probability = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]


class EntryLink(Body):
    """The entry that answers: id, question and address."""

    id: str
    item: int = Field(description="the number of the source item that it is or expands")
    expands: str | None
    question: str
    url: str
    aspect: str | SkipJsonSchema[None] = omitted_if_none("the further question of the entry that is answered")


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
    """A related entry."""

    entry: str
    question: str


class AlternativeJson(RelatedJson):
    """Another question that may be meant."""

    aspect: str | SkipJsonSchema[None] = omitted_if_none("the further question of the entry")
    short: str | SkipJsonSchema[None] = omitted_if_none("markdown: its short answer, if its numbers were measured")
    evidence: list[EvidenceJson] | SkipJsonSchema[None] = omitted_if_none("the runs that measured these numbers")


class DistinctionJson(Body):
    """How to recognise a cause, or a neighbouring question: what is seen, what it means, the entry for it."""

    see: str
    means: str
    entry: str | None
    because: list[str] = Field(description="the signs in the question that speak for it")
    ruled_out_by: list[str] = Field(description="the signs in the question that rule it out")


class CheckedJson(Body):
    """The last check in which every claim of the entry came out as stated."""

    on: str = Field(description="the date, as 2026-11-29")
    seeds: int
    versions: dict[str, str]
    current: bool = Field(description="false if a claim, a parameter or the code of an experiment has changed since")


class PartsJson(Body):
    """The parts of the entry's text, with the numbers measured so far; null for a part that the entry does not have."""

    short: str = Field(description="the answer in words, complete in itself; markdown, like the others")
    your_case: str | None = Field(description="the row of `tell` that the question's signs single out, in a sentence")
    do: str | None = Field(description="what to do, in order")
    tell: list[DistinctionJson] = Field(description="how to distinguish it from similar problems")
    why: str | None = Field(description="the mechanism")
    scope: str | None = Field(description="where it does not hold")
    lecture: str | None = Field(description="the lecture sentence by sentence, with verdicts")
    checked: CheckedJson | None = Field(description="the last check of its claims over several seeds; null without one")


class ObservationJson(Body):
    """What the question says about a run: a sign of the vocabulary, with the words that state it."""

    kind: ObservationKind
    value: str
    text: str
    used_by: list[str] = Field(
        description="ids of the evidence blocks that use it; `match` if it helped to find the entry, `tell` if the "
        "order of its causes depends on it, `clue` if the clue follows from it"
    )


class ClueJson(Body):
    """What follows from signs that the question states together."""

    id: str
    text: str = Field(description="a sentence in markdown, with the signs in words and the id of the entry")
    entry: str = Field(description="the entry whose run shows it; that of the answer where the clue names none")
    because: list[str] = Field(description="the signs that it follows from")


class CalculationJson(Body):
    """Formulas that the question asks to be computed; their values are among the metrics of the evidence, by format."""

    formulas: list[str]
    dtypes: list[str] = Field(description="the formats that the question names")
    at: dict[str, str] = Field(description="the values of variables")
    over: dict[str, list[str]] = Field(description="the ranges of variables, if the question is where it breaks")
    gradient: bool


class ContextJson(Body):
    """The context to send back, unchanged, with a follow-up question."""

    entry: str | None
    aspect: str | SkipJsonSchema[None] = omitted_if_none("the further question of the entry that was answered")
    params: types.NamedValues
    lang: Lang
    candidates: list[str] | SkipJsonSchema[None] = omitted_if_none("the entries offered, if none answers")
    seed: int | SkipJsonSchema[None] = omitted_if_none("the seed that the conversation asked for")


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
    answer: str = Field(description="markdown: all parts in one text")
    parts: PartsJson | None = Field(description="the same in parts; null if nothing answers")
    calculation: CalculationJson | None
    lecture: LectureJson | None
    params: types.NamedValues = Field(description="what was read from the question, its context and the request")
    observations: list[ObservationJson]
    clue: ClueJson | None = Field(
        description="what follows from the observations, if they single out no row of `tell` (`parts.your_case`)"
    )
    notes: list[str] = Field(description="what was assumed, clamped or corrected")
    evidence: list[EvidenceJson]
    ladder: list[PrecisionLossJson] = Field(
        description="one for each column and format, if float64 is compared with other formats"
    )
    references: list[str]
    related: list[RelatedJson]
    alternatives: list[AlternativeJson] = Field(
        description="other questions that may be meant, the most probable first; empty if the entry is clearly ahead"
    )
    context: ContextJson
    diagnosis: DiagnosisJson | SkipJsonSchema[None] = omitted_if_none("of the run whose log the question contains")
    part: Part | SkipJsonSchema[None] = omitted_if_none(
        "the part that a follow-up asks for; it comes first in `answer`"
    )


def answer_json(answer: Answer, *, brief: bool = False) -> AnswerJson:
    """An Answer in its language; with `brief` without folded parts, rows, charts, reasons and references."""
    return AnswerJson.model_validate(
        _fields_before_text(answer, brief) | _text_fields(answer, brief) | _fields_after_text(answer, brief)
    )


def _fields_before_text(answer: Answer, brief: bool) -> dict[str, Any]:
    """The fields of `AnswerJson` from its first to `subject`, in its order."""
    lang, entry = answer.lang, answer.entry
    matches = answer.matches[:MAX_CANDIDATES] if brief else answer.matches
    return {
        "id": answer.id,
        "status": answer.status,
        "lang": lang,
        "question": answer.question,
        "entry": _entry_fields(entry, lang) if entry else None,
        "confidence": answer.confidence,
        "matches": [_match_fields(match, lang, brief=brief) for match in matches],
        "subject": {"id": answer.subject.id, "name": answer.subject.name[lang]} if answer.subject else None,
    }


def _text_fields(answer: Answer, brief: bool) -> dict[str, Any]:
    """The fields of `AnswerJson` from `answer` to `lecture`, in its order."""
    entry = answer.entry
    parts = FIRST_PARTS if brief else PARTS
    return {
        "answer": prose.answer_text(answer, parts),
        "parts": _parts_json(answer, entry, parts) if entry else _reply_alone(answer),
        "calculation": _calculation_json(answer.calculation) if answer.calculation else None,
        "lecture": lecture_json(entry, answer.lang) if entry and not brief else None,
    }


def _fields_after_text(answer: Answer, brief: bool) -> dict[str, Any]:
    """The fields of `AnswerJson` from `params` to the last, in its order."""
    lang, entry = answer.lang, answer.entry
    fields: dict[str, Any] = {
        "params": _named_values(answer.params),
        "observations": [
            {
                "kind": each.sign.kind,
                "value": each.sign.value,
                "text": each.text,
                "used_by": list(answer.used_by.get(str(each.sign), ())),
            }
            for each in answer.observations
        ],
        "clue": _clue_json(answer),
        "notes": [note[lang] for note in answer.notes],
        "evidence": [evidence_json(each, lang, brief=brief) for each in answer.evidence],
        "ladder": [] if brief else [_precision_loss_json(loss) for loss in precision_losses(answer.evidence)],
        "references": list(entry.references) if entry and not brief else [],
        "related": [{"entry": other.id, "question": other.question[lang]} for other in answer.related],
        "alternatives": _alternatives(answer, brief=brief),
        "context": _context_fields(answer.context),
    }
    if answer.diagnosis:
        fields["diagnosis"] = diagnosis_json(answer.diagnosis, lang, brief=brief)
    if answer.part:
        fields["part"] = answer.part
    return fields


@dataclass(frozen=True, slots=True)
class AnswerPieces:
    """The JSON of an answer without evidence, in three pieces.

    `text` is one cached object for all answers by an entry with the same clue and the same signs that order its rows.
    """

    before: bytes
    text: bytes
    after: bytes

    def join(self) -> bytes:
        """The whole JSON."""
        return self.before + self.text + self.after


def answer_pieces(answer: Answer, *, brief: bool = False) -> AnswerPieces | None:
    """The bytes of `answer_json`, ten times as fast; None for an answer that it does not cover.

    These are answers without an entry, or with evidence, a diagnosis, a calculation or a part. Most of an answer is the
    entry's text, which is cached. The fields that depend on the question are not validated: their types are right
    already (tests compare both ways).
    """
    entry = answer.entry
    if entry is None or answer.evidence or answer.diagnosis or answer.calculation or answer.part:
        return None
    own = _ByIdentity(entry.unfocused or entry)
    told: tuple[Observation, ...] = ()
    if answer.observations and entry.tell:
        telling = _telling(own)
        told = tuple(replace(each, text="") for each in answer.observations if each.sign in telling)
    before, after = _write(_fields_before_text(answer, brief)), _write(_fields_after_text(answer, brief))
    text = _text_piece(own, entry.aspect, answer.lang, told, _without_fragments(answer.clue), brief)
    return AnswerPieces(before[:-1] + b",", text, after[1:])


def _write(fields: dict[str, Any]) -> bytes:
    """A JSON object with these fields."""
    return to_json(fields, inf_nan_mode="strings")


@dataclass(frozen=True, slots=True)
class _ByIdentity:
    """An entry as a cache key, compared by identity: to compare two equal entries field by field takes long."""

    entry: Entry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.entry is other.entry

    def __hash__(self) -> int:
        return hash(self.entry.id)


@lru_cache(_CACHED_TEXTS)
def _telling(own: _ByIdentity) -> frozenset[Sign]:
    """The signs that tell the rows of an entry apart; an aspect has the same rows."""
    return frozenset(sign for row in own.entry.tell for sign in (*row.signs, *row.excluded_by))


@lru_cache(_CACHED_TEXTS)
def _text_piece(
    own: _ByIdentity, aspect: str, lang: Lang, told: tuple[Observation, ...], clue: FoundClue | None, brief: bool
) -> bytes:
    """The `_text_fields` as bytes, for observations and a clue without their fragments of the question."""
    entry = own.entry.focused_on(aspect)
    answer = Answer(
        id="",
        status=AnswerStatus.ANSWERED,
        lang=lang,
        question="",
        entry=entry,
        confidence=1.0,
        matches=(),
        params={},
        observations=told,
        clue=clue,
    )
    return _write(_text_fields(answer, brief))[1:-1] + b","


def _without_fragments(found: FoundClue | None) -> FoundClue | None:
    """The clue, its observations without their fragments of the question."""
    return found and replace(found, because=tuple(replace(each, text="") for each in found.because))


def _clue_json(answer: Answer) -> ClueJson | None:
    found = answer.clue
    if found is None:
        return None
    shown_by = found.clue.entry or (answer.entry.id if answer.entry else "")
    return ClueJson(id=found.clue.id, text=prose.clue_text(answer), entry=shown_by, because=_signs(found.because))


def lecture_json(entry: Entry, lang: Lang) -> LectureJson | None:
    """The lecture's question and answer in a language; None for an entry without a lecture."""
    said = entry.lecture
    if said is None:
        return None
    return LectureJson(
        question=said.question[lang] if said.question else None,
        answer=said.answer[lang],
        netizens=said.netizens[lang] if said.netizens else None,
    )


def _alternatives(answer: Answer, *, brief: bool) -> list[dict[str, Any]]:
    """The fields of each `AlternativeJson`, without those that are left out."""
    lang = answer.lang
    shorts = {entry.id: short for entry, short in prose.alternative_texts(answer)}
    found = []
    for entry in answer.alternatives:
        fields: dict[str, Any] = {"entry": entry.id, "question": entry.question[lang]}
        if entry.aspect:
            fields["aspect"] = entry.aspect
        if entry.id in shorts:
            fields["short"] = shorts[entry.id]
        if evidence := [one for one in answer.alternative_evidence if one.entry == entry.id]:
            fields["evidence"] = [evidence_json(one, lang, brief=brief) for one in evidence]
        found.append(fields)
    return found


def _parts_json(answer: Answer, entry: Entry, wanted: Sequence[Part]) -> PartsJson:
    """The parts `wanted` of an entry's text; without evidence, from the cache `_UNMEASURED`, with `tell` in order."""
    if answer.evidence:
        return _measured_parts(answer, entry, wanted)
    own = entry.unfocused or entry  # the view that is focused on an aspect is a new object for each answer
    key = (entry.id, entry.aspect, answer.lang, *wanted)
    cached = _UNMEASURED.get(key)
    if cached is None or cached[0] is not own:
        bare = replace(answer, observations=())
        cached = _UNMEASURED[key] = (own, _measured_parts(bare, entry, wanted))
    parts = cached[1]
    if not answer.observations:
        return parts
    rows = {id(row): told for row, told in zip(entry.tell, parts.tell, strict=True)}
    tell = [
        rows[id(each.row)].model_copy(
            update={"because": _signs(each.because), "ruled_out_by": _signs(each.excluded_by)}
        )
        for each in rank(entry.tell, answer.observations)
    ]
    return parts.model_copy(update={"your_case": prose.singled_out_row(answer) or None, "tell": tell})


_UNMEASURED: dict[tuple[str, ...], tuple[Entry, PartsJson]] = {}
"""(id of an entry, aspect, language, *parts) → (the entry, these parts without evidence and observations)."""


def _measured_parts(answer: Answer, entry: Entry, wanted: Sequence[Part]) -> PartsJson:
    """The parts `wanted` of an entry's text, with the numbers of the answer's evidence."""
    lang = answer.lang

    def filled(text: str) -> str:
        return prose.fill_text(text, entry, answer.evidence, lang)

    parts = prose.filled_parts(entry, answer.evidence, lang, wanted)
    return PartsJson(
        short=parts["short"],
        your_case=prose.singled_out_row(answer) or None,
        do=parts.get("do"),
        tell=[
            DistinctionJson(
                see=filled(each.row.see[lang]),
                means=filled(each.row.means[lang]),
                entry=each.row.entry,
                because=_signs(each.because),
                ruled_out_by=_signs(each.excluded_by),
            )
            for each in rank(entry.tell, answer.observations)
        ],
        why=parts.get("why"),
        scope=parts.get("scope"),
        lecture=parts.get("lecture"),
        checked=_checked_json(entry),
    )


def _checked_json(entry: Entry) -> CheckedJson | None:
    checked = entry.checked
    if checked is None:
        return None
    return CheckedJson(on=checked.on, seeds=checked.seeds, versions=dict(checked.versions), current=checked.current)


def _reply_alone(answer: Answer) -> PartsJson | None:
    """The result of a calculation, or the verdict on a run, as the short answer; None if neither is the answer."""
    if answer.calculation is None and not answer.is_verdict:
        return None
    return PartsJson(
        short=prose.answer_text(answer),
        your_case=None,
        do=None,
        tell=[],
        why=None,
        scope=None,
        lecture=None,
        checked=None,
    )


def _calculation_json(calculation: Calculation) -> CalculationJson:
    return CalculationJson(
        formulas=list(calculation.formulas),
        dtypes=list(calculation.dtypes),
        at=dict(calculation.at),
        over={name: list(ends) for name, ends in calculation.over.items()},
        gradient=calculation.gradient,
    )


def _signs(observations: Sequence[Observation]) -> list[str]:
    return list(dict.fromkeys(str(one.sign) for one in observations))


def _entry_fields(entry: Entry, lang: Lang) -> dict[str, Any]:
    fields = {
        "id": entry.id,
        "item": entry.item,
        "expands": entry.expands,
        "question": entry.question[lang],
        "url": entry.address,
    }
    return {**fields, "aspect": entry.aspect} if entry.aspect else fields


def _match_fields(match: Match, lang: Lang, *, brief: bool) -> dict[str, Any]:
    return {
        "entry": match.entry.id,
        "item": match.entry.item,
        "score": match.score,
        "phrasing": match.phrasing,
        "question": match.entry.question[lang],
        "reasons": [] if brief else [{"term": term, "weight": weight} for term, weight in match.reasons],
    }


def _precision_loss_json(loss: PrecisionLoss) -> PrecisionLossJson:
    return PrecisionLossJson(
        block=loss.block,
        dtype=loss.dtype,
        column=loss.column,
        overflow=loss.overflow,
        lost=loss.first_wrong_digit,
        ulps=loss.ulps,
    )


def context_json(context: Context) -> ContextJson:
    """A context as JSON, in the form in which a client sends it back."""
    return ContextJson(**_context_fields(context))


def _context_fields(context: Context) -> dict[str, Any]:
    """The fields of a context that are not left out, in the order of the schema."""
    fields: dict[str, Any] = {"entry": context.entry}
    if context.aspect:
        fields["aspect"] = context.aspect
    fields |= {"params": _named_values(context.params), "lang": context.lang}
    if not context.entry:
        fields["candidates"] = list(context.candidates)
    if context.seed:
        fields["seed"] = context.seed
    return fields


def _named_values(named: NamedValues) -> dict[str, types.Value | list[types.Value]]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}
