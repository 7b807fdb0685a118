"""Entries and experiments as JSON, in both languages."""

from pydantic import Field

from qa_service.experiments.parameters import schema
from qa_service.model import Claim, Entry, EvidenceBlock, Experiment, FieldInfo, Op, Verdict
from qa_service.schemas.answers import LectureJson, lecture_json
from qa_service.schemas.evidence import ParamsJson
from qa_service.schemas.values import Body, JsonObject, Number, TextJson, text_json


class PhrasingsJson(Body):
    """Wordings by which an entry can be found."""

    zh: list[str]
    en: list[str]


class LecturesJson(Body):
    """The lecture's own question and answer in both languages; null for an entry without them."""

    zh: LectureJson | None
    en: LectureJson | None


class StatedClaimJson(Body):
    """A claim as its entry states it: a sentence about one metric, and parameters at which it must be false."""

    id: str
    says: TextJson
    metric: str
    op: Op
    bound: Number
    control: ParamsJson
    stated: Verdict
    share: float = Field(description="the least share of seeds, 0 to 1, with the stated verdict")


class EvidenceBlockJson(Body):
    """An experiment that an entry runs, with its parameters, and the claims about its metrics."""

    id: str
    experiment: str
    params: ParamsJson
    fixed: list[str] = Field(description="parameters that keep their value when a question names another")
    claims: list[StatedClaimJson]


class EntryJson(Body):
    """One curated question with its answer."""

    id: str
    item: int
    expands: str | None
    question: TextJson
    answer: TextJson
    lecture: LecturesJson
    phrasings: PhrasingsJson
    evidence: list[EvidenceBlockJson]
    references: list[str]
    related: list[str]
    url: str


class FieldInfoJson(Body):
    """Title and unit of a metric or of a column."""

    unit: str
    title: TextJson


class ExperimentJson(Body):
    """An experiment: parameters, metrics, columns and source."""

    slug: str
    title: TextJson
    doc: str
    params: JsonObject = Field(description="the parameters as JSON Schema: bounds, defaults, units, titles")
    metrics: dict[str, FieldInfoJson]
    columns: dict[str, FieldInfoJson]
    source: str
    code_hash: str


def entry_json(one: Entry) -> EntryJson:
    """An entry in both languages."""
    return EntryJson(
        id=one.id,
        item=one.item,
        expands=one.expands,
        question=text_json(one.question),
        answer=text_json(one.answer),
        lecture=LecturesJson(zh=lecture_json(one, "zh"), en=lecture_json(one, "en")),
        phrasings=PhrasingsJson(zh=list(one.phrasings["zh"]), en=list(one.phrasings["en"])),
        evidence=[_block_json(block) for block in one.evidence],
        references=list(one.references),
        related=list(one.related),
        url=f"/entries/{one.id}",
    )


def experiment_json(one: Experiment) -> ExperimentJson:
    """An experiment in both languages."""
    return ExperimentJson(
        slug=one.slug,
        title=text_json(one.title),
        doc=one.doc,
        params=schema(one),
        metrics={name: _field_info_json(each) for name, each in one.metrics.items()},
        columns={name: _field_info_json(each) for name, each in one.columns.items()},
        source=one.source,
        code_hash=one.hash,
    )


def _block_json(one: EvidenceBlock) -> EvidenceBlockJson:
    return EvidenceBlockJson(
        id=one.id,
        experiment=one.experiment,
        params=dict(one.params),
        fixed=sorted(one.fixed),
        claims=[_stated_claim_json(claim) for claim in one.claims],
    )


def _stated_claim_json(one: Claim) -> StatedClaimJson:
    return StatedClaimJson(
        id=one.id,
        says=text_json(one.says),
        metric=one.metric,
        op=one.op,
        bound=one.bound,
        control=dict(one.control),
        stated=one.expected_verdict,
        share=one.min_share,
    )


def _field_info_json(one: FieldInfo) -> FieldInfoJson:
    return FieldInfoJson(unit=one.unit, title=text_json(one.title))
