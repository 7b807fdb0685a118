"""Entries and experiments as JSON, in both languages."""

from pydantic import Field

from qa_service.experiments.parameters import schema
from qa_service.model import Claim, Entry, EvidenceBlock, Experiment, FieldInfo, Op, Verdict
from qa_service.presentation.prose import entry_text
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


class AspectJson(Body):
    """A further question that an entry answers, with a short answer of its own."""

    id: str
    question: TextJson
    short: TextJson
    block: str | None = Field(description="the evidence block that proves it; null means the first")


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
    aspects: list[AspectJson] = Field(description="further questions that it answers")


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


def entry_json(entry: Entry) -> EntryJson:
    """An entry in both languages."""
    return EntryJson(
        id=entry.id,
        item=entry.item,
        expands=entry.expands,
        question=text_json(entry.question),
        answer=TextJson(zh=entry_text(entry, "zh"), en=entry_text(entry, "en")),
        lecture=LecturesJson(zh=lecture_json(entry, "zh"), en=lecture_json(entry, "en")),
        phrasings=PhrasingsJson(zh=list(entry.all_phrasings("zh")), en=list(entry.all_phrasings("en"))),
        evidence=[_block_json(block) for block in entry.evidence],
        references=list(entry.references),
        related=list(entry.related),
        url=entry.address,
        aspects=[
            AspectJson(id=one.id, question=text_json(one.question), short=text_json(one.short), block=one.block)
            for one in entry.aspects
        ],
    )


def experiment_json(experiment: Experiment) -> ExperimentJson:
    """An experiment in both languages."""
    return ExperimentJson(
        slug=experiment.slug,
        title=text_json(experiment.title),
        doc=experiment.doc,
        params=schema(experiment),
        metrics={name: _field_info_json(each) for name, each in experiment.metrics.items()},
        columns={name: _field_info_json(each) for name, each in experiment.columns.items()},
        source=experiment.source,
        code_hash=experiment.hash,
    )


def _block_json(block: EvidenceBlock) -> EvidenceBlockJson:
    return EvidenceBlockJson(
        id=block.id,
        experiment=block.experiment,
        params=dict(block.params),
        fixed=sorted(block.fixed),
        claims=[_stated_claim_json(claim) for claim in block.claims],
    )


def _stated_claim_json(claim: Claim) -> StatedClaimJson:
    return StatedClaimJson(
        id=claim.id,
        says=text_json(claim.says),
        metric=claim.metric,
        op=claim.op,
        bound=claim.bound,
        control=dict(claim.control),
        stated=claim.expected_verdict,
        share=claim.min_share,
    )


def _field_info_json(field_info: FieldInfo) -> FieldInfoJson:
    return FieldInfoJson(unit=field_info.unit, title=text_json(field_info.title))
