"""The structured content that the tools return; `text.py` writes all of it as text, too.

Some clients pass the text to the model, others the structured content, so both are complete, within `MAX_RESULT_BYTES`.
"""

from collections.abc import Iterator
from typing import Any, Protocol, Self

from pydantic import Field

from qa_service.model import (
    AnswerStatus,
    Lang,
    Op,
    RunStatus,
    Verdict,
)
from qa_service.schemas.answers import ContextJson
from qa_service.schemas.diagnosis import CauseJson, HarmJson, RuledOutJson, RunVerdict
from qa_service.schemas.evidence import ParamsJson, SpreadJson
from qa_service.schemas.values import Body, NamedValues, Number

MAX_RESULT_BYTES = 9_000
"""The maximal size in UTF-8 of the text and of the structured content, so that clients do not truncate them."""


class RunMetric(Body):
    """A measured number; null means that there is no value ("it never overflowed")."""

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
    holds_at: ParamsJson | None = Field(
        description="the entry's parameters, if the run had others and the verdict is not the expected one; else null"
    )
    seeds: SpreadJson | None = Field(description="over several seeds, if the run was repeated")


class RunResult(Body):
    """One run of an experiment: parameters, metrics, claims, and what is needed to repeat it."""

    experiment: str
    title: str
    params: ParamsJson
    compared: list[str] = Field(description="the parameters in which this run differs from the others")
    seed: int
    status: RunStatus
    note: str = Field(description="why it did not finish; empty if it did")
    metrics: dict[str, RunMetric]
    claims: list[RunClaim]
    chart: str = Field(description="the chart in words")
    rows: str = Field(description="the URI of the resource with every row and the chart's specification")
    code_hash: str
    versions: dict[str, str]
    machine: str

    def essential(self) -> "RunResult":
        """The run with only the metrics of its claims, or its first four metrics if it has no claims."""
        wanted = {claim.metric for claim in self.claims} or set(list(self.metrics)[:4])
        return self.model_copy(
            update={"metrics": {name: self.metrics[name] for name in self.metrics if name in wanted}}
        )


class EntryName(Body):
    """An entry and the question that it answers."""

    entry: str
    question: str


class ToolResult(Body):
    """Base of the results of all tools."""

    left_out: list[str] = Field(description="the fields that were shortened to limit the size")

    def shortened(self) -> Iterator[Self]:
        """The result in shorter and shorter forms; the least important fields are left out first."""
        yield self


class RunsResult(ToolResult):
    """Base of the results with runs."""

    runs: list[RunResult]

    def shortened(self) -> Iterator[Self]:
        """Yields the result without the charts in words, then with essential metrics only, then with fewer runs."""
        yield self
        now = self.without("charts", runs=[run.model_copy(update={"chart": ""}) for run in self.runs])
        yield now
        now = now.without("metrics", runs=[run.essential() for run in now.runs])
        yield now
        for count in range(len(now.runs) - 1, 0, -1):
            yield now.without("runs", runs=now.runs[:count])

    def without(self, what: str, **fields: Any) -> Self:
        """The result with other values of these fields, and `what` added to `left_out`."""
        return self.model_copy(update={**fields, "left_out": [*self.left_out, what]})


class AskResult(RunsResult):
    """The answer to a question."""

    status: AnswerStatus
    lang: Lang
    answer: str = Field(description="markdown, with the measured numbers in place")
    entry: EntryName | None = Field(description="the entry that answers")
    params: NamedValues = Field(description="parameters that were read from the question")
    notes: list[str] = Field(description="what was assumed, clamped or corrected")
    candidates: list[EntryName] = Field(description="entries that may be meant instead; the nearest if none answers")
    related: list[EntryName]
    context: ContextJson = Field(description="to be sent back with a follow-up question")

    def shortened(self) -> Iterator[Self]:
        """Yields the forms of `RunsResult`; then one with only the short answer, then one with only its beginning."""
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
    """Metrics side by side: the titles of the runs, and by title of a metric its value in each run."""

    title: str
    runs: list[str]
    rows: dict[str, list[str]]


class CompareResult(AskResult):
    """An answer whose runs differ in a parameter, and their metrics side by side."""

    tables: list[CompareTable] = Field(description="what differs, formatted for reading")

    def shortened(self) -> Iterator[Self]:
        """Yields the forms of `AskResult`; then one without the tables."""
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
    """An experiment with its parameters and metrics."""

    experiment: str
    title: str
    params: dict[str, ExperimentParam]
    metrics: dict[str, str] = Field(description="name → title")


class FindResult(ToolResult):
    """The experiments found, best first."""

    lang: Lang
    experiments: list[ExperimentFound]
    of: int = Field(description="how many experiments there are altogether")

    def shortened(self) -> Iterator[Self]:
        """The result with fewer and fewer experiments."""
        yield self
        for count in range(len(self.experiments) - 1, 0, -1):
            yield self.model_copy(update={"experiments": self.experiments[:count], "left_out": ["experiments"]})


class ClaimChecked(Body):
    """A claim over seeds at the entry's parameters, or at its control, where the opposite verdict is expected."""

    claim: str
    says: str
    at: str = Field(description="params or control")
    params: ParamsJson
    metric: str
    op: Op
    bound: Number
    expected: Verdict
    as_expected: int = Field(description="the number of seeds with the expected verdict")
    seeds: int
    lowest: Number | None
    median: Number | None
    highest: Number | None
    confirmed: bool = Field(description="false if too few seeds agree with the entry")


class CheckResult(ToolResult):
    """The claims of an entry, checked at its parameters and at their controls."""

    lang: Lang
    entry: EntryName
    confirmed: bool
    claims: list[ClaimChecked]

    def shortened(self) -> Iterator[Self]:
        """The result with fewer and fewer claims; those that were not confirmed are kept longest."""
        yield self
        ordered = sorted(self.claims, key=lambda claim: claim.confirmed)
        for count in range(len(ordered) - 1, 0, -1):
            yield self.model_copy(update={"claims": ordered[:count], "left_out": ["claims"]})


class FormatValue(Body):
    """The value of the formula in one format, and its error in units in the last place."""

    value: Number | list[Number] | None
    ulp: Number | None
    status: str


class FormulaStep(Body):
    """The step of the calculation in which the error arises."""

    step: str
    exact: Number | list[Number] | None
    value: Number | list[Number] | None
    what: str


class FormulaRewritten(Body):
    """Another form of the formula that loses fewer bits."""

    expression: str
    torch: str
    bits_gained: Number


class FormulaToolResult(ToolResult):
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
    rows: str = Field(description="the URI of the resource with every row and the chart's specification")

    def shortened(self) -> Iterator[Self]:
        """Yields the result without the derivative, then without the steps."""
        yield self
        yield (now := self.model_copy(update={"gradient": {}, "left_out": ["gradient"]}))
        yield now.model_copy(update={"first_wrong": {}, "left_out": [*now.left_out, "first_wrong"]})


class FactFound(Body):
    """A fact about the run, with the lines, the step or the layer that shows it."""

    line: int | None
    step: int | None
    layer: str
    text: str
    lines: list[int]


class DiagnoseResult(RunsResult):
    """The diagnosis of a training run; `runs` are an experiment with its settings, without and with the cure."""

    lang: Lang
    verdict: RunVerdict
    summary: str
    harms: list[HarmJson]
    causes: list[CauseJson] = Field(description="the most probable first")
    facts: list[FactFound] = Field(description="what was found about the causes, with the lines that show it")
    ruled_out: list[RuledOutJson]
    margins: list[str] = Field(description="of a healthy run: what looks alarming and is not")
    ask: str | None = Field(description="if two causes fit, the question that tells them apart")
    next: str = Field(description="the one line of code to add that would tell more")
    unseen: list[str] = Field(description="what the log does not show")
    cured: ParamsJson = Field(description="the parameters of the second run that the cure changes")
    from_run: list[str] = Field(description="the parameters of the runs that come from the log")

    def shortened(self) -> Iterator[Self]:
        """Yields the forms of `RunsResult`; then one with three facts of each cause, then one without runs and
        ruled-out causes.
        """
        now = self
        for now in super().shortened():
            yield now
        fewer = [cause.model_copy(update={"because": cause.because[:3]}) for cause in now.causes]
        kept = {text for cause in fewer for text in cause.because}
        facts = [fact for fact in now.facts if fact.text in kept]
        now = now.without("facts", causes=fewer, facts=facts, harms=now.harms[:3])
        yield now
        yield now.without("ruled_out", ruled_out=[], margins=now.margins[:3], unseen=[], runs=[])


class Renderer(Protocol):
    """Writes a result as text."""

    def __call__(self, result: Any) -> str: ...


def fit_to_limit(result: ToolResult, render: Renderer, limit: int = MAX_RESULT_BYTES) -> tuple[ToolResult, str]:
    """The longest form of the result that has at most `limit` bytes both as text and as JSON, and its text.

    If none fits, it is the shortest form.
    """
    fitting, text = result, ""
    for fitting in result.shortened():
        text = render(fitting)
        if len(text.encode()) <= limit and len(fitting.to_json()) <= limit:
            break
    return fitting, text
