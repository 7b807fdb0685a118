"""A training run to be diagnosed, and its diagnosis, as JSON."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from qa_service.model import Evidence, Lang, Text
from qa_service.model.diagnosis import (
    Cause,
    Certainty,
    Diagnosis,
    DiagnosisStatus,
    Experimented,
    Finding,
    Harm,
    Hypothesis,
    Mark,
)
from qa_service.model.training_run import OperationFault, Record, RunSource, TrainingRun
from qa_service.schemas import allowed
from qa_service.schemas.evidence import EvidenceJson, evidence_json
from qa_service.schemas.requests import RequestBody, read_body
from qa_service.schemas.values import Body, Number, Value, omitted_if_none

_MAX_POINTS = 400
"""Of a longer series, so many points are sent: the first, the last, and those between at equal distances."""
_CURVES = ("loss", "val_loss", "grad_norm", "lr", "loss_scale", "accuracy", "val_accuracy")
_TEXT = Text("一份训练日志的全文", "the text of a training log")
_NAME = Text("文件名", "the name of the file")


class DiagnoseBody(RequestBody):
    """The text of a log, of a table of its values, of a trainer_state.json or of a trace."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "step: 10 loss: 2.31\nstep: 20 loss: 9.8\nstep: 30 loss: nan\nstep: 40 loss: nan"}]
        }
    )

    text: Annotated[str, Field(min_length=1, max_length=1 << 20), _TEXT]
    name: Annotated[str, Field(max_length=200), _NAME] = Field(default="", description="helps to recognise its format")
    lang: Annotated[Lang | None, allowed.LANG] = None
    run: Annotated[bool, allowed.BOOLEAN] = Field(
        default=True, description="false: without the experiment at the run's numbers, and its cure"
    )


class RunFaultJson(Body):
    """The operation that made the first inf or nan out of finite numbers."""

    operation: str = Field(description="its name in torch; empty if the data had it already")
    phase: str
    value: Number
    step: int | None
    place: str
    code: str
    module: str
    operands: list[str]
    dtype: str
    reproduced: bool | None


class TrainingRunJson(Body):
    """What was read of the run."""

    source: RunSource
    name: str
    format: str
    framework: str
    lines: int
    lines_read: int
    from_start: bool
    cut: bool
    settings: dict[str, Value]
    series: dict[str, list[list[Number | None]]] = Field(
        description="key: [step, or null where it is not known; line of the log or null; value] of each record"
    )
    fault: RunFaultJson | None
    excerpt: dict[str, str] = Field(description="number of a line that a finding cites: its text")


class HarmJson(Body):
    """Something that goes wrong in the run, before any cause is thought of."""

    id: str
    text: str
    lines: list[int]
    step: int | None


class FindingJson(Body):
    """A fact about the run, and how much it speaks for or against the cause."""

    feature: str
    weight: Number = Field(description="natural logarithm of the likelihood ratio")
    text: str
    lines: list[int]
    step: int | None
    layer: str


class HypothesisJson(Body):
    """A cause with what speaks for and against it, the heaviest first."""

    cause: str
    probability: Number
    certainty: Certainty
    findings: list[FindingJson]


class ExcludedJson(Body):
    """A cause that one would think of, and why it is not this one."""

    cause: str
    reason: str


class CauseJson(Body):
    """A cause: its name, the entry that explains it, what to do."""

    name: str
    numerics: bool
    entry: str
    cure: str | None
    patch: str


class ExperimentedJson(Body):
    """The reduced experiment at the reader's numbers, and with the cure."""

    experiment: str
    params: dict[str, Value]
    cured: dict[str, Value] = Field(description="the parameters that the cure changes")
    from_run: list[str] = Field(description="the parameters that come from the run")
    evidence: EvidenceJson | SkipJsonSchema[None] = omitted_if_none("of the run at the reader's numbers")
    cured_evidence: EvidenceJson | SkipJsonSchema[None] = omitted_if_none("of the run with the cure")


class MarkJson(Body):
    """A place on a curve."""

    series: str
    step: Number = Field(description="a step, or the index of a record where steps are not known")
    text: str


class DiagnosisJson(Body):
    """The diagnosis of a training run."""

    lang: Lang
    status: DiagnosisStatus
    summary: str = Field(description="the verdict")
    harms: list[HarmJson]
    hypotheses: list[HypothesisJson] = Field(description="at most two, the most probable first")
    excluded: list[ExcludedJson]
    margins: list[str] = Field(description="of a healthy run: what looks alarming and is not")
    question: str | None = Field(description="where two causes fit: what tells them apart")
    next_line: str = Field(description="the one line of code to add that would tell more")
    unseen: list[str] = Field(description="what the record does not show")
    experiment: ExperimentedJson | None
    marks: list[MarkJson]
    causes: dict[str, CauseJson] = Field(description="every cause that is named above")
    run: TrainingRunJson


def read_diagnose(data: object) -> DiagnoseBody:
    """A body from JSON; raises `BadField`, which names the field and what is allowed."""
    return read_body(DiagnoseBody, data)


def diagnosis_json(diagnosis: Diagnosis, lang: Lang, evidence: Sequence[Evidence] = ()) -> DiagnosisJson:
    """A diagnosis in a language, with the evidence of its experiment and of its cure if they were run."""
    return DiagnosisJson(
        lang=lang,
        status=diagnosis.status,
        summary=diagnosis.summary[lang],
        harms=[_harm(each, lang) for each in diagnosis.harms],
        hypotheses=[_hypothesis(each, lang) for each in diagnosis.hypotheses],
        excluded=[ExcludedJson(cause=each.cause, reason=each.reason[lang]) for each in diagnosis.excluded],
        margins=[each[lang] for each in diagnosis.margins],
        question=diagnosis.question[lang] if diagnosis.question else None,
        next_line=diagnosis.next_line,
        unseen=[each[lang] for each in diagnosis.unseen],
        experiment=_experimented(diagnosis.experiment, evidence, lang) if diagnosis.experiment else None,
        marks=[_mark(each, lang) for each in diagnosis.marks],
        causes={name: _cause(each, lang) for name, each in diagnosis.causes.items()},
        run=_run(diagnosis.run, _cited(diagnosis)),
    )


def _cited(diagnosis: Diagnosis) -> set[int]:
    lines = {line for harm in diagnosis.harms for line in harm.lines}
    return lines | {line for each in diagnosis.hypotheses for finding in each.findings for line in finding.lines}


def _harm(harm: Harm, lang: Lang) -> HarmJson:
    return HarmJson(id=harm.id, text=harm.text[lang], lines=list(harm.lines), step=harm.step)


def _hypothesis(hypothesis: Hypothesis, lang: Lang) -> HypothesisJson:
    return HypothesisJson(
        cause=hypothesis.cause,
        probability=hypothesis.probability,
        certainty=hypothesis.certainty,
        findings=[_finding(each, lang) for each in hypothesis.findings],
    )


def _finding(finding: Finding, lang: Lang) -> FindingJson:
    return FindingJson(
        feature=finding.feature,
        weight=finding.weight,
        text=finding.text[lang],
        lines=list(finding.lines),
        step=finding.step,
        layer=finding.layer,
    )


def _experimented(planned: Experimented, evidence: Sequence[Evidence], lang: Lang) -> ExperimentedJson:
    shown = [evidence_json(each, lang) for each in evidence]
    return ExperimentedJson(
        experiment=planned.experiment,
        params=dict(planned.params),
        cured=dict(planned.cured),
        from_run=list(planned.from_run),
        evidence=shown[0] if shown else None,
        cured_evidence=shown[1] if len(shown) > 1 else None,
    )


def _mark(mark: Mark, lang: Lang) -> MarkJson:
    return MarkJson(series=mark.series, step=mark.step, text=mark.text[lang])


def _cause(cause: Cause, lang: Lang) -> CauseJson:
    return CauseJson(
        name=cause.name[lang],
        numerics=cause.numerics,
        entry=cause.entry,
        cure=cause.cure[lang] if cause.cure else None,
        patch=cause.patch,
    )


def _run(run: TrainingRun, cited: set[int]) -> TrainingRunJson:
    return TrainingRunJson(
        source=run.source,
        name=run.name,
        format=run.format,
        framework=run.framework,
        lines=run.lines,
        lines_read=run.lines_read,
        from_start=run.from_start,
        cut=run.cut,
        settings=dict(run.settings),
        series={key: list(_points(run.series[key])) for key in _CURVES if run.series.get(key)},
        fault=_fault(run.fault) if run.fault else None,
        excerpt={str(line): run.excerpt[line] for line in sorted(cited) if line in run.excerpt},
    )


def _points(records: Sequence[Record]) -> Iterable[list[float | None]]:
    count = len(records)
    places = (
        range(count) if count <= _MAX_POINTS else [i * (count - 1) // (_MAX_POINTS - 1) for i in range(_MAX_POINTS)]
    )
    for index in places:
        step, line, value = records[index]
        yield [step, line, value]


def _fault(fault: OperationFault) -> RunFaultJson:
    return RunFaultJson(
        operation=fault.operation,
        phase=fault.phase,
        value=fault.value,
        step=fault.step,
        place=fault.place,
        code=fault.code,
        module=fault.module,
        operands=list(fault.operands),
        dtype=fault.dtype,
        reproduced=fault.reproduced,
    )
