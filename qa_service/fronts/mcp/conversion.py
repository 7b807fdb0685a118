"""Converts answers, evidence, checks, formulas and diagnoses to the results that the tools return."""

from collections.abc import Mapping, Sequence
from typing import Any

from qa_service.answering.service import Service
from qa_service.experiments.parameters import describe_allowed
from qa_service.fronts.mcp.claim_checking import CheckedClaim
from qa_service.fronts.mcp.receipts import CompactReceipt
from qa_service.fronts.mcp.results import (
    AskResult,
    CheckResult,
    ClaimChecked,
    CompareResult,
    CompareTable,
    DiagnoseResult,
    EntryName,
    ExperimentFound,
    ExperimentParam,
    FactFound,
    FindResult,
    FormatValue,
    FormulaRewritten,
    FormulaStep,
    FormulaToolResult,
    RunClaim,
    RunMetric,
    RunResult,
)
from qa_service.machine import machine_name
from qa_service.model import (
    FIRST_PARTS,
    MAX_CANDIDATES,
    Answer,
    Entry,
    Evidence,
    Experiment,
    Lang,
    Part,
    Text,
)
from qa_service.model.diagnosis import Diagnosis
from qa_service.model.formula import Elements, FormulaNode, FormulaResult, FormulaValue
from qa_service.presentation import prose
from qa_service.presentation.alt_text import chart_alt_text
from qa_service.presentation.comparison import comparison_tables
from qa_service.presentation.formula_words import ERROR_MECHANISM_TEXTS, STATUS_TEXTS
from qa_service.schemas.answers import context_json
from qa_service.schemas.diagnosis import diagnosis_json
from qa_service.schemas.evidence import claims_json

_HASH_CHARACTERS = 12
_IN_THE_LOG = Text(
    "这段日志的诊断：{} 原因、依据和改法用 diagnose 看。",
    "The log in the question: {} Call diagnose with it for the causes, the evidence and the cure.",
)


def ask_result(answer: Answer) -> AskResult:
    """The result of `ask`: an answer with its evidence."""
    return AskResult(**_answer_fields(answer, FIRST_PARTS))


def compare_result(answer: Answer) -> CompareResult:
    """The result of `compare`: an answer whose runs differ in a parameter."""
    tables = [
        CompareTable(
            title=table.title,
            runs=list(table.column_titles),
            rows={title: list(values) for title, values in table.rows},
        )
        for table in comparison_tables(answer.evidence, answer.lang)
    ]
    return CompareResult(**_answer_fields(answer, ("short",)), tables=tables)


def _answer_fields(answer: Answer, parts: Sequence[Part]) -> dict[str, Any]:
    """The fields that `AskResult` and `CompareResult` share, with these parts of the entry's text."""
    lang, entry = answer.lang, answer.entry
    is_answered = entry is not None or answer.calculation is not None or answer.is_verdict
    nearest = [match.entry for match in answer.matches[:MAX_CANDIDATES]]
    offered = answer.alternatives if is_answered else nearest
    return {
        "left_out": [],
        "status": answer.status,
        "lang": lang,
        "answer": prose.answer_text(answer, parts),
        "entry": _entry_name(entry, lang) if entry else None,
        "params": _json_values(answer.params),
        "notes": [note[lang] for note in answer.notes] + _log_note(answer),
        "runs": [run_result(one, lang) for one in answer.evidence],
        "candidates": [_entry_name(each, lang) for each in offered],
        "related": [_entry_name(other, lang) for other in answer.related],
        "context": context_json(answer.context),
    }


def _log_note(answer: Answer) -> list[str]:
    """A sentence with the verdict on the log in the question, and a reference to `diagnose`; [] without a log."""
    if answer.diagnosis is None or answer.is_verdict:
        return []
    return [_IN_THE_LOG[answer.lang].format(answer.diagnosis.summary[answer.lang])]


def run_result(evidence: Evidence, lang: Lang) -> RunResult:
    """The result of a run, with the verdicts on its claims."""
    run, experiment = evidence.run, evidence.experiment
    return RunResult(
        experiment=experiment.slug,
        title=experiment.title[lang],
        params=dict(evidence.params),
        compared=list(evidence.compared),
        seed=evidence.seed,
        status=run.status,
        note=run.note[lang],
        metrics={
            name: RunMetric(title=experiment.metrics[name].title[lang], value=value, unit=experiment.metrics[name].unit)
            for name, value in run.measured.items()
        },
        claims=[
            RunClaim(
                says=claim.says,
                metric=claim.metric,
                op=claim.op,
                bound=claim.bound,
                value=claim.value,
                verdict=claim.verdict,
                holds_at=claim.visible_at,
                seeds=claim.spread,
            )
            for claim in claims_json(evidence, lang)
        ],
        chart=chart_alt_text(experiment, run.rows, lang),
        rows=f"numstab://runs/{CompactReceipt.of(evidence, lang).encode()}",
        code_hash=experiment.hash[:_HASH_CHARACTERS],
        versions=dict(run.versions),
        machine=run.machine or machine_name(),
    )


def find_result(experiments: Sequence[Experiment], service: Service, lang: Lang) -> FindResult:
    """The result of a search: experiments with their parameters and metrics."""
    return FindResult(
        left_out=[],
        lang=lang,
        of=len(service.knowledge.experiments),
        experiments=[
            ExperimentFound(
                experiment=each.slug,
                title=each.title[lang],
                params={
                    name: ExperimentParam(
                        title=param.title[lang], default=param.default, allowed=describe_allowed(param, lang).strip()
                    )
                    for name, param in each.params.items()
                },
                metrics={name: metric.title[lang] for name, metric in each.metrics.items()},
            )
            for each in experiments
        ],
    )


def check_result(entry: Entry, checked: Sequence[CheckedClaim], lang: Lang) -> CheckResult:
    """The result of a check: the claims of an entry over seeds."""
    claims = [
        ClaimChecked(
            claim=one.summary.claim.id,
            says=one.summary.claim.says[lang],
            at=one.summary.condition,
            params=dict(one.params),
            metric=one.summary.claim.metric,
            op=one.summary.claim.op,
            bound=one.summary.claim.bound,
            expected=one.expected,
            as_expected=one.summary.as_expected,
            seeds=one.summary.spread.seeds,
            lowest=one.summary.spread.lowest,
            median=one.summary.spread.median,
            highest=one.summary.spread.highest,
            confirmed=not one.summary.differs,
        )
        for one in checked
    ]
    return CheckResult(
        left_out=[],
        lang=lang,
        entry=_entry_name(entry, lang),
        claims=claims,
        confirmed=all(one.confirmed for one in claims),
    )


def formula_result(result: FormulaResult, lang: Lang) -> FormulaToolResult:
    """The result of measuring a formula."""
    evidence = result.evidence
    nodes = {node.id: node for node in result.nodes}
    return FormulaToolResult(
        left_out=[],
        lang=lang,
        expression=result.expression,
        torch=result.torch,
        status=evidence.run.status,
        note=evidence.run.note[lang],
        at=dict(result.at),
        exact=_elements(result.exact),
        values={dtype: _format_value(value, lang) for dtype, value in result.values.items()},
        first_wrong={
            dtype: _step(nodes[number], dtype, lang) for dtype, number in result.first_wrong.items() if number in nodes
        },
        gradient={
            each.variable: {dtype: _format_value(value, lang) for dtype, value in each.values.items()}
            for each in result.gradient
        },
        breaks_at=dict(result.breaks_at),
        dtype=result.dtype,
        stable=[
            FormulaRewritten(expression=form.expression, torch=form.torch, bits_gained=round(form.bits_gained, 1))
            for form in result.stable[:3]
        ],
        rows=f"numstab://runs/{CompactReceipt.of(evidence, lang).encode()}",
    )


def diagnose_result(diagnosis: Diagnosis, evidence: Sequence[Evidence], lang: Lang) -> DiagnoseResult:
    """The result of a diagnosis, with the evidence of its experiment and of its cure if they were run."""
    told = diagnosis_json(diagnosis, lang)
    planned = told.experiment
    return DiagnoseResult(
        left_out=[],
        lang=lang,
        verdict=told.verdict,
        summary=told.summary,
        harms=told.harms,
        causes=[each.model_copy(update={"probability": round(each.probability, 2)}) for each in told.causes],
        facts=[
            FactFound(line=each.line, step=each.step, layer=each.layer, text=each.text, lines=each.lines)
            for each in told.facts
        ],
        ruled_out=told.ruled_out,
        margins=told.margins,
        ask=told.ask,
        next=told.next,
        unseen=told.unseen,
        runs=[run_result(one, lang) for one in evidence],
        cured=planned.cured if planned and evidence else {},
        from_run=planned.from_run if planned and evidence else [],
    )


def _entry_name(entry: Entry, lang: Lang) -> EntryName:
    return EntryName(entry=entry.id, question=entry.question[lang])


def _json_values(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}


def _elements(value: Elements) -> Any:
    """A number, or the first eight elements of a vector as a list."""
    return list(value[:8]) if isinstance(value, tuple) else value


def _format_value(value: FormulaValue, lang: Lang) -> FormatValue:
    return FormatValue(value=_elements(value.value), ulp=value.ulp, status=STATUS_TEXTS[value.status][lang])


def _step(node: FormulaNode, dtype: str, lang: Lang) -> FormulaStep:
    value = node.values[dtype]
    return FormulaStep(
        step=node.text,
        exact=_elements(node.exact),
        value=_elements(value.value),
        what=ERROR_MECHANISM_TEXTS[value.how][lang],
    )
