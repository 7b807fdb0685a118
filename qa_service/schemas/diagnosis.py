"""A training run to be diagnosed, and its diagnosis, as JSON."""

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

import qa_service
from qa_service.machine import machine_name
from qa_service.model import Evidence, Lang, Text
from qa_service.model.diagnosis import (
    Certainty,
    CurveMark,
    Diagnosis,
    DiagnosisStatus,
    Finding,
    Harm,
    Reproduction,
)
from qa_service.model.training_run import OperationFault, Record, RunSource, TrainingRun
from qa_service.schemas import allowed
from qa_service.schemas.evidence import EvidenceJson, evidence_json
from qa_service.schemas.requests import RequestBody, read_body
from qa_service.schemas.values import Body, Number, Value

RunVerdict = Literal["sick", "healthy", "not_numerics", "cannot_tell"]
VERDICTS: Mapping[DiagnosisStatus, RunVerdict] = {
    "sick": "sick", "healthy": "healthy", "not_numerics": "not_numerics", "undecided": "cannot_tell",
    "unreadable": "cannot_tell",
}  # fmt: skip
"""Status → verdict in the JSON. Routes for programs refuse an unreadable run; the page shows its report, too."""

MAX_LOG_BYTES = 5_000_000
"""The size in bytes of the largest request body."""
_MAX_POINTS = 400
"""A longer series is thinned out to this number of points, at equal distances, with the first and the last one."""
_CURVES = ("loss", "val_loss", "grad_norm", "lr", "loss_scale", "accuracy", "val_accuracy")
_TEXT = Text("一份训练日志的全文", "the text of a training log")
_NAME = Text("文件名", "the name of the file")


class DiagnoseQuery(RequestBody):
    """The options of a diagnosis."""

    name: Annotated[str, Field(max_length=200), _NAME] = Field(default="", description="helps to recognise its format")
    lang: Annotated[Lang | None, allowed.LANG] = None
    run: Annotated[bool, allowed.BOOLEAN] = Field(
        default=True, description="false: do not run the experiment, with the run's settings and with the cure"
    )


class DiagnoseBody(DiagnoseQuery):
    """The text of a log, of a table of its values, of a trainer_state.json or of a trace."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "step: 10 loss: 2.31\nstep: 20 loss: 9.8\nstep: 30 loss: nan\nstep: 40 loss: nan"}]
        }
    )

    text: Annotated[str, Field(min_length=1, max_length=MAX_LOG_BYTES), _TEXT]


class RunFaultJson(Body):
    """The operation that made the first inf or nan out of finite numbers."""

    operation: str = Field(description="its name in torch; empty if the input data are not finite")
    phase: str
    value: Number
    step: int | None
    place: str
    code: str
    module: str
    operands: list[str]
    dtype: str
    hidden: bool = Field(description="whether the forward pass masks the result")
    reproduced: bool | None


class InterventionJson(Body):
    """A run of a trial: the same model and batch, trained again with one thing changed."""

    id: str
    healthy: bool
    losses: list[Number]
    detail: str


class TrainingRunJson(Body):
    """The data that were read from the log or trace."""

    source: RunSource
    name: str
    framework: str
    lines: int
    lines_read: int
    from_start: bool
    cut: bool
    settings: dict[str, Value]
    series: dict[str, list[list[Number | None]]] = Field(
        description="by key, the records as [step or null, line of the log or null, value]"
    )
    fault: RunFaultJson | None
    interventions: list[InterventionJson] = Field(description="of a trial; else empty")
    excerpt: dict[str, str] = Field(description="by line number, the text of the lines that findings cite")


class HarmJson(Body):
    """Something that goes wrong in the run, whatever the cause."""

    id: str
    text: str
    lines: list[int]
    step: int | None


class FactJson(Body):
    """A fact about the run that speaks for or against a cause."""

    line: int | None = Field(description="the first line of the log that shows it; null if none does")
    step: int | None
    layer: str
    text: str
    lines: list[int] = Field(description="every line that shows it")
    feature: str = Field(description="id of the feature that was observed")
    weights: dict[str, Number] = Field(
        description="by id of a cause, the natural logarithm of the likelihood ratio; above 0 it speaks for the cause"
    )


class CauseJson(Body):
    """A cause with what speaks for it, the entry that explains it, and what to do."""

    id: str
    name: str
    entry: str
    probability: Number
    word: Certainty
    because: list[str] = Field(description="the facts that speak for it, the most important first")
    cure: str
    patch: str = Field(description="the smallest change of code")


class RuledOutJson(Body):
    """A plausible cause that was ruled out, and why."""

    id: str
    name: str
    entry: str
    because: str


class ExperimentedJson(Body):
    """The experiment that reproduces the first cause with the run's own settings; `evidence` has its runs."""

    experiment: str
    params: dict[str, Value]
    cured: dict[str, Value] = Field(description="the parameters that the cure changes")
    from_run: list[str] = Field(description="the parameters that come from the run")


class MarkJson(Body):
    """A marked point of a curve."""

    series: str
    step: Number = Field(description="a step, or the index of a record where steps are not known")
    text: str


class DiagnosisReceiptJson(Body):
    """The code that made the diagnosis; the runs of its experiment have receipts of their own."""

    code_hash: str
    versions: dict[str, str]
    machine: str


class DiagnosisJson(Body):
    """The diagnosis of a training run."""

    lang: Lang
    verdict: RunVerdict
    summary: str = Field(description="the verdict in a sentence")
    causes: list[CauseJson] = Field(description="at most two, the most probable first")
    facts: list[FactJson] = Field(description="what was found about these causes")
    ruled_out: list[RuledOutJson]
    ask: str | None = Field(description="if two causes fit, the question that tells them apart")
    patch: str = Field(description="the smallest change of code for the first cause; empty without one")
    next: str = Field(description="the one line of code to add that would tell more; empty without one")
    evidence: list[EvidenceJson] = Field(
        description="two runs of the experiment, with the run's settings and with the cure; empty without one"
    )
    format: str = Field(description="of the log; or csv, trainer_state, event_file, trace, trial")
    receipt: DiagnosisReceiptJson
    harms: list[HarmJson]
    margins: list[str] = Field(description="of a healthy run: what looks alarming and is not")
    unseen: list[str] = Field(description="what the log does not show although the diagnosis would need it")
    experiment: ExperimentedJson | None
    marks: list[MarkJson]
    run: TrainingRunJson


def read_diagnose(data: object) -> DiagnoseBody:
    """A body from JSON; raises `BadField`, which names the field and what is allowed."""
    return read_body(DiagnoseBody, data)


def read_options(query: Mapping[str, str]) -> DiagnoseQuery:
    """The options in the query of a URL, ?name=&lang=&run=; raises `BadField`."""
    words = {"true": True, "1": True, "false": False, "0": False}
    named: dict[str, object] = dict(query)
    if "run" in query:
        named["run"] = words.get(query["run"], query["run"])
    return read_body(DiagnoseQuery, named)


def diagnosis_json(
    diagnosis: Diagnosis, lang: Lang, evidence: Sequence[Evidence] = (), *, brief: bool = False
) -> DiagnosisJson:
    """A diagnosis in a language, with the evidence of its experiment if that was run.

    With `brief`, without curves, lines of the log, rows and charts.
    """
    causes = causes_json(diagnosis, lang)
    run = diagnosis.run
    return DiagnosisJson(
        lang=lang,
        verdict=VERDICTS[diagnosis.status],
        summary=diagnosis.summary[lang],
        causes=causes,
        facts=facts_json(diagnosis, lang),
        ruled_out=ruled_out_json(diagnosis, lang),
        ask=diagnosis.question[lang] if diagnosis.question else None,
        patch=causes[0].patch if causes else "",
        next=diagnosis.line_to_add,
        evidence=[evidence_json(each, lang, brief=brief) for each in evidence],
        format=run.format or run.source,
        receipt=_receipt(evidence),
        harms=[_harm(each, lang) for each in diagnosis.harms],
        margins=[each[lang] for each in diagnosis.harmless_anomalies],
        unseen=[each[lang] for each in diagnosis.unseen],
        experiment=_experimented(diagnosis.experiment) if diagnosis.experiment else None,
        marks=[_mark(each, lang) for each in diagnosis.marks],
        run=_run(run, _cited(diagnosis), brief=brief),
    )


def causes_json(diagnosis: Diagnosis, lang: Lang) -> list[CauseJson]:
    """The causes of a diagnosis, the most probable first."""
    return [
        CauseJson(
            id=each.cause,
            name=cause.name[lang],
            entry=cause.entry,
            probability=each.probability,
            word=each.certainty,
            because=list(dict.fromkeys(finding.text[lang] for finding in each.findings if finding.weight > 0)),
            cure=cause.cure[lang] if cause.cure else "",
            patch=cause.patch,
        )
        for each in diagnosis.hypotheses
        for cause in (diagnosis.causes[each.cause],)
    ]


def facts_json(diagnosis: Diagnosis, lang: Lang) -> list[FactJson]:
    """Each fact about the causes once, with its weight for each cause."""
    findings: dict[tuple[str, str], list[Finding]] = {}
    for hypothesis in diagnosis.hypotheses:
        for finding in hypothesis.findings:
            findings.setdefault((finding.feature, finding.text[lang]), []).append(finding)
    return [_fact(each, lang) for each in findings.values()]


def ruled_out_json(diagnosis: Diagnosis, lang: Lang) -> list[RuledOutJson]:
    """The plausible causes that were ruled out, and why."""
    return [
        RuledOutJson(id=each.cause, name=cause.name[lang], entry=cause.entry, because=each.reason[lang])
        for each in diagnosis.excluded
        for cause in (diagnosis.causes[each.cause],)
    ]


def _fact(findings: Sequence[Finding], lang: Lang) -> FactJson:
    first = findings[0]
    return FactJson(
        line=first.lines[0] if first.lines else None,
        step=first.step,
        layer=first.layer,
        text=first.text[lang],
        lines=list(first.lines),
        feature=first.feature,
        weights={each.cause: each.weight for each in findings},
    )


def _receipt(evidence: Sequence[Evidence]) -> DiagnosisReceiptJson:
    versions = {name: version for each in evidence for name, version in each.run.versions.items()}
    measured_on = next((each.run.machine for each in evidence if each.run.machine), machine_name())
    return DiagnosisReceiptJson(
        code_hash=_code_hash(), versions={"python": platform.python_version(), **versions}, machine=measured_on
    )


@cache
def _code_hash() -> str:
    """SHA-256 of the code that reads and diagnoses a run."""
    root = Path(qa_service.__file__).parent
    digest = hashlib.sha256()
    for folder in ("diagnosis", "parsing/logs"):
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _cited(diagnosis: Diagnosis) -> set[int]:
    """The numbers of the lines that harms and findings cite."""
    lines = {line for harm in diagnosis.harms for line in harm.lines}
    return lines | {line for each in diagnosis.hypotheses for finding in each.findings for line in finding.lines}


def _harm(harm: Harm, lang: Lang) -> HarmJson:
    return HarmJson(id=harm.id, text=harm.text[lang], lines=list(harm.lines), step=harm.step)


def _experimented(planned: Reproduction) -> ExperimentedJson:
    return ExperimentedJson(
        experiment=planned.experiment,
        params=dict(planned.params),
        cured=dict(planned.cured),
        from_run=list(planned.from_run),
    )


def _mark(mark: CurveMark, lang: Lang) -> MarkJson:
    return MarkJson(series=mark.series, step=mark.step, text=mark.text[lang])


def _run(run: TrainingRun, cited: set[int], *, brief: bool) -> TrainingRunJson:
    return TrainingRunJson(
        source=run.source,
        name=run.name,
        framework=run.framework,
        lines=run.lines,
        lines_read=run.lines_read,
        from_start=run.from_start,
        cut=run.cut,
        settings=dict(run.settings),
        series={} if brief else {key: list(_points(run.series[key])) for key in _CURVES if run.series.get(key)},
        fault=_fault(run.fault) if run.fault else None,
        interventions=[
            InterventionJson(id=each.id, healthy=each.healthy, losses=list(each.losses), detail=each.detail)
            for each in run.interventions
        ],
        excerpt={} if brief else {str(line): run.excerpt[line] for line in sorted(cited) if line in run.excerpt},
    )


def _points(records: Sequence[Record]) -> Iterable[list[float | None]]:
    """[step, line, value] of at most `_MAX_POINTS` records."""
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
        hidden=fault.hidden,
        reproduced=fault.reproduced,
    )
