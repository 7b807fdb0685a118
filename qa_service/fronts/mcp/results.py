"""What the tools return, as structured content; `text.py` writes every value of it into the text.

Some clients give a model the text and some the structured content, so each has all of it, within `MAX_BYTES`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from pydantic import Field

from qa_service.answering.service import Service
from qa_service.experiments.parameters import describe
from qa_service.fronts.mcp.checking import CheckedClaim
from qa_service.fronts.mcp.receipts import Receipt
from qa_service.model import (
    FIRST_PARTS,
    MAX_CANDIDATES,
    Answer,
    AnswerStatus,
    Entry,
    Evidence,
    Experiment,
    Lang,
    Op,
    Part,
    RunStatus,
    Verdict,
)
from qa_service.model.diagnosis import Cause, Certainty, Diagnosis, DiagnosisStatus, Hypothesis
from qa_service.model.formula import Elements, FormulaNode, FormulaResult, FormulaValue
from qa_service.presentation import prose
from qa_service.presentation.alt_text import chart_alt_text
from qa_service.presentation.comparison import comparison_tables
from qa_service.presentation.formula_words import HOW, STATUS
from qa_service.schemas.answers import ContextJson
from qa_service.schemas.evidence import ParamsJson, SpreadJson, claims_json, machine
from qa_service.schemas.values import Body, NamedValues, Number

MAX_BYTES = 9_000
"""The largest text of a result in UTF-8, and the largest structured content: what clients give a model uncut."""
_HASH_CHARACTERS = 12
_MAX_NODES = 12


class RunMetric(Body):
    """A measured number; null means that there is no such value ("it never overflowed")."""

    title: str
    value: Number | None
    unit: str


class RunClaim(Body):
    """A sentence about one metric that can be false, and the verdict on the value just measured."""

    says: str
    metric: str
    op: Op
    bound: Number
    value: Number | None
    verdict: Verdict
    holds_at: ParamsJson | None = Field(description="the entry's parameters, if it fails only because these are others")
    seeds: SpreadJson | None = Field(description="over several seeds, where the run was repeated")


class RunResult(Body):
    """One run of an experiment: what was set, what was measured, and how to repeat it."""

    experiment: str
    title: str
    params: ParamsJson
    compared: list[str] = Field(description="the parameters in which this run differs from the others")
    seed: int
    status: RunStatus
    note: str = Field(description="why it did not finish")
    metrics: dict[str, RunMetric]
    claims: list[RunClaim]
    chart: str = Field(description="the chart in words")
    rows: str = Field(description="the resource with every row and the chart's specification")
    code_hash: str
    versions: dict[str, str]
    machine: str


class EntryName(Body):
    """An entry and the question that it answers."""

    entry: str
    question: str


class Result(Body):
    """Base of the results."""

    left_out: list[str] = Field(description="what was left out for its length")

    def shortened(self) -> Iterator[Self]:
        """The result with more and more left out, in the order in which a reader can do without."""
        yield self


class RunsResult(Result):
    """Base of the results with runs."""

    runs: list[RunResult]

    def shortened(self) -> Iterator[Self]:
        """Without the charts in words, then without metrics that no claim is about, then with fewer runs."""
        yield self
        now = self.without("charts", runs=[run.model_copy(update={"chart": ""}) for run in self.runs])
        yield now
        now = now.without("metrics", runs=[_essential(run) for run in now.runs])
        yield now
        for count in range(len(now.runs) - 1, 0, -1):
            yield now.without("runs", runs=now.runs[:count])

    def without(self, what: str, **fields: Any) -> Self:
        """The result with other values in these fields, as `what` is left out."""
        return self.model_copy(update={**fields, "left_out": [*self.left_out, what]})


class AskResult(RunsResult):
    """The answer to a question."""

    status: AnswerStatus
    lang: Lang
    answer: str = Field(description="markdown, with the measured numbers in place")
    entry: EntryName | None = Field(description="the entry that answers")
    params: NamedValues = Field(description="what was read from the question")
    notes: list[str] = Field(description="what was assumed, clamped or corrected")
    candidates: list[EntryName] = Field(description="if no entry answers: the nearest, one of which may be meant")
    related: list[EntryName]
    context: ContextJson = Field(description="to be sent back with a follow-up question")

    def shortened(self) -> Iterator[Self]:
        """As of all runs; then only the short answer, then only its beginning."""
        now = self
        for now in super().shortened():
            yield now
        short = now.without("answer", answer=now.answer.partition("\n\n")[0], related=[])
        yield short
        yield short.without("answer", answer=short.answer[:1000], notes=short.notes[:3], runs=[])


class RunOnlyResult(RunsResult):
    """One run of an experiment."""

    lang: Lang


class CompareTable(Body):
    """Metrics side by side: the titles of the runs, and per metric its value in each."""

    title: str
    runs: list[str]
    rows: dict[str, list[str]]


class CompareResult(AskResult):
    """An answer whose runs differ in a parameter, and their metrics side by side."""

    tables: list[CompareTable] = Field(description="what differs, formatted for reading")

    def shortened(self) -> Iterator[Self]:
        """As of an answer; in the end without the tables."""
        now = self
        for now in super().shortened():
            yield now
        yield now.without("tables", tables=[])


class ExperimentParam(Body):
    """A parameter of an experiment."""

    title: str
    default: Number | str | bool
    allowed: str


class ExperimentFound(Body):
    """An experiment and what can be set and measured."""

    experiment: str
    title: str
    params: dict[str, ExperimentParam]
    metrics: dict[str, str] = Field(description="name → title")


class FindResult(Result):
    """The experiments found, best first."""

    lang: Lang
    experiments: list[ExperimentFound]
    of: int = Field(description="how many experiments there are altogether")

    def shortened(self) -> Iterator[Self]:
        """With fewer and fewer experiments."""
        yield self
        for count in range(len(self.experiments) - 1, 0, -1):
            yield self.model_copy(update={"experiments": self.experiments[:count], "left_out": ["experiments"]})


class ClaimChecked(Body):
    """A claim at the entry's parameters, where it must come out as stated, or at its control, where it must not."""

    claim: str
    says: str
    at: str = Field(description="params or control")
    params: ParamsJson
    metric: str
    op: Op
    bound: Number
    expected: Verdict
    as_expected: int = Field(description="with so many seeds it came out so")
    seeds: int
    lowest: Number | None
    median: Number | None
    highest: Number | None
    confirmed: bool = Field(description="false if too few seeds agree with the entry")


class CheckResult(Result):
    """Whether the claims of an entry hold here and now, and fail at their controls."""

    lang: Lang
    entry: EntryName
    confirmed: bool
    claims: list[ClaimChecked]

    def shortened(self) -> Iterator[Self]:
        """With fewer and fewer claims, those that were not confirmed first."""
        yield self
        ordered = sorted(self.claims, key=lambda claim: claim.confirmed)
        for count in range(len(ordered) - 1, 0, -1):
            yield self.model_copy(update={"claims": ordered[:count], "left_out": ["claims"]})


class FormatValue(Body):
    """What a number format makes of the formula, and its error in units in the last place."""

    value: Number | list[Number] | None
    ulp: Number | None
    status: str


class FormulaStep(Body):
    """The step of the calculation from which the error comes."""

    step: str
    exact: Number | list[Number] | None
    value: Number | list[Number] | None
    what: str


class FormulaRewritten(Body):
    """Another form of the formula that loses fewer bits."""

    expression: str
    torch: str
    bits_gained: Number


class FormulaToolResult(Result):
    """A formula in the float formats."""

    lang: Lang
    expression: str
    torch: str
    status: RunStatus
    note: str
    at: dict[str, Number]
    exact: Number | list[Number] | None
    values: dict[str, FormatValue]
    first_wrong: dict[str, FormulaStep]
    gradient: dict[str, dict[str, FormatValue]] = Field(description="variable → format → derivative by autograd")
    breaks_at: dict[str, Number | None] = Field(description="by format, an input that breaks it; null if none does")
    dtype: str = Field(description="the format in which forms are compared")
    stable: list[FormulaRewritten]
    rows: str = Field(description="the resource with every row and the chart's specification")

    def shortened(self) -> Iterator[Self]:
        """Without the derivative, then without the steps."""
        yield self
        yield (now := self.model_copy(update={"gradient": {}, "left_out": ["gradient"]}))
        yield now.model_copy(update={"first_wrong": {}, "left_out": [*now.left_out, "first_wrong"]})


class LoggedFact(Body):
    """A fact of the log, with the lines or the step where it stands."""

    text: str
    lines: list[int]
    step: int | None


class CauseFound(Body):
    """A cause of what goes wrong, with the facts that speak for it, and the cure."""

    cause: str
    certainty: Certainty
    probability: float
    facts: list[LoggedFact]
    entry: str = Field(description="the entry that explains it")
    cure: str
    patch: str = Field(description="the smallest change of code")


class CauseExcluded(Body):
    """A cause that one would think of, and why it is not this one."""

    cause: str
    reason: str


class DiagnoseResult(RunsResult):
    """What is wrong with a training run, by its log; `runs` are its cause at its numbers, as it is and cured."""

    lang: Lang
    status: DiagnosisStatus
    summary: str
    harms: list[LoggedFact]
    causes: list[CauseFound] = Field(description="the most probable first")
    excluded: list[CauseExcluded]
    margins: list[str] = Field(description="of a healthy run: what looks alarming and is not")
    question: str = Field(description="where two causes fit: what tells them apart")
    next_line: str = Field(description="the one line of code to add that would tell more")
    unseen: list[str] = Field(description="what the log does not show")
    cured: ParamsJson = Field(description="the parameters of the second run that the cure changes")
    from_log: list[str] = Field(description="the parameters of the runs that come from the log")

    def shortened(self) -> Iterator[Self]:
        """As of all runs; then with the three heaviest facts of each cause, then without what is not needed to act."""
        now = self
        for now in super().shortened():
            yield now
        fewer = [cause.model_copy(update={"facts": cause.facts[:3]}) for cause in now.causes]
        now = now.without("facts", causes=fewer, harms=now.harms[:3])
        yield now
        yield now.without("excluded", excluded=[], margins=now.margins[:3], unseen=[], runs=[])


class Renderer(Protocol):
    """Writes a result as text."""

    def __call__(self, result: Any) -> str: ...


def fit(result: Result, render: Renderer, limit: int = MAX_BYTES) -> tuple[Result, str]:
    """The fullest form of the result that stays within `limit` bytes both as text and as JSON, and its text."""
    fitting, text = result, ""
    for fitting in result.shortened():
        text = render(fitting)
        if len(text.encode()) <= limit and len(fitting.to_json()) <= limit:
            break
    return fitting, text


def ask_result(answer: Answer) -> AskResult:
    """An answer with its evidence."""
    return AskResult(**_answer_fields(answer, FIRST_PARTS))


def compare_result(answer: Answer) -> CompareResult:
    """An answer whose runs differ in a parameter."""
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
    lang, entry, context = answer.lang, answer.entry, answer.context
    offered = answer.matches[:MAX_CANDIDATES] if entry is None and answer.calculation is None else ()
    return {
        "left_out": [],
        "status": answer.status,
        "lang": lang,
        "answer": prose.answer_text(answer, parts),
        "entry": _entry_name(entry, lang) if entry else None,
        "params": _json_values(answer.params),
        "notes": [note[lang] for note in answer.notes],
        "runs": [run_result(one, lang) for one in answer.evidence],
        "candidates": [_entry_name(match.entry, lang) for match in offered],
        "related": [_entry_name(other, lang) for other in answer.related],
        "context": ContextJson(
            entry=context.entry,
            params=_json_values(context.params),
            lang=context.lang,
            candidates=None if context.entry else list(context.candidates),
        ),
    }


def run_result(evidence: Evidence, lang: Lang) -> RunResult:
    """A run with the verdicts on its claims."""
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
            name: RunMetric(
                title=experiment.metrics[name].title[lang], value=value, unit=experiment.metrics[name].unit
            )
            for name, value in run.measured.items()
        },
        claims=[
            RunClaim(
                says=claim.says, metric=claim.metric, op=claim.op, bound=claim.bound, value=claim.value,
                verdict=claim.verdict, holds_at=claim.visible_at, seeds=claim.spread,
            )
            for claim in claims_json(evidence, lang)
        ],
        chart=chart_alt_text(experiment, run.rows, lang),
        rows=f"numstab://runs/{Receipt.of(evidence, lang).encode()}",
        code_hash=experiment.hash[:_HASH_CHARACTERS],
        versions=dict(run.versions),
        machine=machine(),
    )  # fmt: skip


def find_result(experiments: Sequence[Experiment], service: Service, lang: Lang) -> FindResult:
    """Experiments with their parameters and metrics."""
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
                        title=param.title[lang], default=param.default, allowed=describe(param, lang).strip()
                    )
                    for name, param in each.params.items()
                },
                metrics={name: metric.title[lang] for name, metric in each.metrics.items()},
            )
            for each in experiments
        ],
    )


def check_result(entry: Entry, checked: Sequence[CheckedClaim], lang: Lang) -> CheckResult:
    """The claims of an entry over seeds."""
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
        left_out=[], lang=lang, entry=_entry_name(entry, lang), claims=claims,
        confirmed=all(one.confirmed for one in claims),
    )  # fmt: skip


def formula_result(result: FormulaResult, lang: Lang) -> FormulaToolResult:
    """A formula, measured."""
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
        rows=f"numstab://runs/{Receipt.of(evidence, lang).encode()}",
    )


def diagnose_result(diagnosis: Diagnosis, evidence: Sequence[Evidence], lang: Lang) -> DiagnoseResult:
    """A diagnosis, with the evidence of its experiment and of its cure if they were run."""
    planned, causes = diagnosis.experiment, diagnosis.causes
    return DiagnoseResult(
        left_out=[],
        lang=lang,
        status=diagnosis.status,
        summary=diagnosis.summary[lang],
        harms=[LoggedFact(text=each.text[lang], lines=list(each.lines), step=each.step) for each in diagnosis.harms],
        causes=[_cause_found(each, causes[each.cause], lang) for each in diagnosis.hypotheses],
        excluded=[
            CauseExcluded(cause=causes[each.cause].name[lang], reason=each.reason[lang]) for each in diagnosis.excluded
        ],
        margins=[each[lang] for each in diagnosis.margins],
        question=diagnosis.question[lang] if diagnosis.question else "",
        next_line=diagnosis.next_line,
        unseen=[each[lang] for each in diagnosis.unseen],
        runs=[run_result(one, lang) for one in evidence],
        cured=dict(planned.cured) if planned and evidence else {},
        from_log=list(planned.from_run) if planned and evidence else [],
    )


def _cause_found(hypothesis: Hypothesis, cause: Cause, lang: Lang) -> CauseFound:
    return CauseFound(
        cause=cause.name[lang],
        certainty=hypothesis.certainty,
        probability=round(hypothesis.probability, 2),
        facts=[
            LoggedFact(text=each.text[lang], lines=list(each.lines), step=each.step)
            for each in hypothesis.findings
            if each.weight > 0
        ],
        entry=cause.entry,
        cure=cause.cure[lang] if cause.cure else "",
        patch=cause.patch,
    )


def _essential(run: RunResult) -> RunResult:
    """The run with the metrics that its claims are about, or with its first four."""
    wanted = {claim.metric for claim in run.claims} or set(list(run.metrics)[:4])
    return run.model_copy(update={"metrics": {name: each for name, each in run.metrics.items() if name in wanted}})


def _entry_name(entry: Entry, lang: Lang) -> EntryName:
    return EntryName(entry=entry.id, question=entry.question[lang])


def _json_values(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}


def _elements(value: Elements) -> Any:
    """A number or a list; of a vector the first elements only."""
    return list(value[:8]) if isinstance(value, tuple) else value


def _format_value(value: FormulaValue, lang: Lang) -> FormatValue:
    return FormatValue(value=_elements(value.value), ulp=value.ulp, status=STATUS[value.status][lang])


def _step(node: FormulaNode, dtype: str, lang: Lang) -> FormulaStep:
    value = node.values[dtype]
    return FormulaStep(
        step=node.text, exact=_elements(node.exact), value=_elements(value.value), what=HOW[value.how][lang]
    )
