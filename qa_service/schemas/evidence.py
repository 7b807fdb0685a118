"""Evidence as JSON: metrics with units, claims with values and verdicts, rows, the chart, the receipt."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from qa_service.machine import machine_name
from qa_service.model import Evidence, Experiment, FieldInfo, Lang, Op, RunStatus, Spread, Verdict
from qa_service.presentation import chart
from qa_service.presentation.alt_text import chart_alt_text
from qa_service.schemas.values import Body, JsonObject, Number, Row, Value, omitted_if_none

ParamsJson = dict[str, Value]


class MetricJson(Body):
    """A named number that a run returned; null means that there is no such value ("it never overflowed")."""

    value: Number | None
    unit: str
    title: str


class ColumnJson(Body):
    """A column of the rows."""

    title: str
    unit: str


class SpreadJson(Body):
    """A claim over seeds: it held in `held` of `seeds` runs; the range of its metric is null without any value."""

    held: int
    seeds: int
    lowest: Number | None
    median: Number | None
    highest: Number | None


class ClaimJson(Body):
    """A sentence about one metric that can be false, with the value just measured and the verdict."""

    id: str
    says: str
    metric: str
    op: Op
    bound: Number
    value: Number | None
    verdict: Verdict
    visible_at: ParamsJson | None = Field(
        description="the entry's parameters, if the run had others and the verdict is not the expected one; else null"
    )
    spread: SpreadJson | SkipJsonSchema[None] = omitted_if_none("if the run was repeated with other seeds")


class ReceiptJson(Body):
    """Hashes and versions with which the run was made; `numstab replay` compares them."""

    entry: str | None
    entry_hash: str | None
    code_hash: str
    versions: dict[str, str]
    machine: str


class EvidenceJson(Body):
    """A run with its parameters, its machine and the verdicts."""

    id: str = Field(description="the id of the block; of the second run of a comparison, `block~2`")
    block: str
    compared: ParamsJson = Field(description="parameters in which this run differs from the others of a comparison")
    experiment: str
    title: str
    params: ParamsJson
    seed: int
    status: RunStatus
    note: str = Field(description="why it did not finish; empty if it did")
    metrics: Mapping[str, MetricJson]
    claims: list[ClaimJson]
    columns: dict[str, ColumnJson]
    rows: list[Row]
    chart: JsonObject = Field(description="Vega-Lite, data included")
    chart_in_words: str
    seconds: float
    cached: bool = Field(description="true if it was measured earlier, for the same code, parameters and seed")
    receipt: ReceiptJson


def evidence_json(evidence: Evidence, lang: Lang, *, brief: bool = False) -> EvidenceJson:
    """An Evidence in a language; with `brief` without rows, columns and chart."""
    run, experiment = evidence.run, evidence.experiment
    return EvidenceJson(
        id=evidence.id,
        block=evidence.block,
        compared=dict(evidence.compared),
        experiment=experiment.slug,
        title=experiment.title[lang],
        params=dict(evidence.params),
        seed=evidence.seed,
        status=run.status,
        note=run.note[lang],
        metrics={name: _metric_json(value, experiment.metrics[name], lang) for name, value in run.measured.items()},
        claims=claims_json(evidence, lang),
        columns={} if brief else _columns_json(experiment, lang),
        rows=[] if brief else list(run.rows),
        chart={} if brief else chart.evidence_spec(evidence, lang),
        chart_in_words=chart_alt_text(experiment, run.rows, lang),
        seconds=run.seconds,
        cached=run.cached,
        receipt=_receipt_json(evidence, experiment),
    )


def claims_json(evidence: Evidence, lang: Lang) -> list[ClaimJson]:
    """Every claim with its measured value and verdict."""
    elsewhere = evidence.not_testable_here
    spreads: tuple[Spread | None, ...] = evidence.spreads or (None,) * len(evidence.claims)
    return [
        ClaimJson(
            id=claim.id,
            says=claim.says[lang],
            metric=claim.metric,
            op=claim.op,
            bound=claim.bound,
            value=evidence.run.measured.get(claim.metric),
            verdict=verdict,
            visible_at=dict(evidence.entry_params) if claim in elsewhere else None,
            spread=_spread_json(spread) if spread else None,
        )
        for claim, verdict, spread in zip(evidence.claims, evidence.verdicts, spreads, strict=True)
    ]


def _columns_json(experiment: Experiment, lang: Lang) -> dict[str, ColumnJson]:
    return {name: ColumnJson(title=column.title[lang], unit=column.unit) for name, column in experiment.columns.items()}


def _metric_json(value: Any, about: FieldInfo, lang: Lang) -> MetricJson:
    return MetricJson(value=value, unit=about.unit, title=about.title[lang])


def _spread_json(spread: Spread) -> SpreadJson:
    return SpreadJson(
        held=spread.held, seeds=spread.seeds, lowest=spread.lowest, median=spread.median, highest=spread.highest
    )


def _receipt_json(evidence: Evidence, experiment: Experiment) -> ReceiptJson:
    return ReceiptJson(
        entry=evidence.entry,
        entry_hash=evidence.entry_hash,
        code_hash=experiment.hash,
        versions=dict(evidence.run.versions),
        machine=evidence.run.machine or machine_name(),
    )
