"""Terminal output with rich: text, tables, progress bars, small plots; plain text if the output is not a terminal."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Self, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text as Styled

from qa_service.answering.chips import duplicate_chips
from qa_service.fronts.terminal import formulas
from qa_service.model import FIRST_PARTS, PARTS, Answer, Claim, Evidence, Lang, Part, Row, RunStatus, Verdict
from qa_service.model.events import Event, RowMeasured, Started
from qa_service.presentation import chart, prose
from qa_service.presentation.comparison import comparison_tables, format_params, format_spread
from qa_service.presentation.formula_reply import values_by_format
from qa_service.presentation.numbers import format_number, format_unit

T = TypeVar("T")
_WIDTH = 100  # columns, if the output is not a terminal
_LABELS = {
    "zh": {
        "lecture": "讲座", "netizens": "网友", "metric": "指标", "value": "测得", "unit": "单位", "claim": "断言",
        "verdict": "判定", "holds": "成立", "fails": "不成立", "unknown": "无法判定", "related": "相关问题",
        "or": "也可能是在问：",
        "also": "它还回答",
        "compared": "比较", "format": "格式", "error": "误差 (ulp)", "outcome": "结果",
        "not_here": "在这组参数下不适用", "and": "、", "read": "从问题里读到", "not_used": "（没有用到）",
        "more": "--full 还有：{parts}、全部证据（{count}）。", "seconds": "秒",
        "invisible": "在这组参数下看不到这一点；词条的参数是 {params}。",
    },
    "en": {
        "lecture": "the lecture", "netizens": "the audience", "metric": "metric", "value": "measured", "unit": "unit",
        "claim": "claim", "verdict": "verdict", "holds": "holds", "fails": "fails", "unknown": "unknown",
        "related": "related", "or": "or do you mean:", "also": "more questions", "compared": "compared",
        "format": "format",
        "error": "error (ulp)", "outcome": "outcome", "seconds": "s", "and": ", ", "read": "read",
        "not_used": " (not used)",
        "not_here": "does not apply at these parameters",
        "more": "--full adds: {parts}, all evidence ({count}).",
        "invisible": "With these parameters the claim is not visible; the entry's own are {params}.",
    },
}  # fmt: skip
_VERDICT_MARKS = {Verdict.HOLDS: "✓", Verdict.FAILS: "✗", Verdict.UNKNOWN: "?"}
_VERDICT_STYLES = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.UNKNOWN: "yellow"}


class TerminalView:
    """Prints to standard output, or as plain text to a file. Progress goes to standard error, if that is a terminal."""

    def __init__(self, lang: Lang, *, quiet: bool = False, file: IO[str] | None = None) -> None:
        self.lang = lang
        self.labels = _LABELS[lang]
        self._stdout = (
            Console(quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
            if file is None  # in a notebook, rich would display what it prints to a file
            else Console(file=file, highlight=False, width=_WIDTH, force_jupyter=False, force_terminal=False)
        )
        self._stderr = Console(stderr=True, quiet=not sys.stderr.isatty())

    def print_line(self, line: str) -> None:
        """Prints one plain line."""
        self._stdout.print(line, markup=False)

    def print_styled(self, line: str, style: str) -> None:
        """Prints one line in a style of rich, such as "bold red"."""
        self._stdout.print(Styled(line, style=style))

    def print_opening(self, answer: Answer) -> None:
        """Prints the entry's question and what was read; if no entry answers, the whole text."""
        if answer.calculation is not None:
            return  # the reply consists of numbers, which are not measured yet
        if answer.entry is None:
            if answer.log:
                self._stdout.print(Styled(answer.log, style="dim"))
            self._stdout.print(Markdown(prose.answer_text(answer)))
            return
        self._stdout.print(
            Styled(answer.entry.question[self.lang], style="bold cyan") + Styled(f"  ({answer.entry.id})", style="dim")
        )
        self._print_read(answer)

    def _print_read(self, answer: Answer) -> None:
        """Prints what was read from the question: a description of a pasted log, parameters and observations."""
        if answer.log:
            self._stdout.print(Styled(answer.log, style="dim"))
        hidden = duplicate_chips(answer.params, answer.observations, answer.used_by)
        read = [
            f"{name} = {format_number(value, self.lang)}{self._unused(answer, f'param:{name}')}"
            for name, value in answer.params.items()
            if f"param:{name}" not in hidden
        ]
        read += dict.fromkeys(
            f"{each.sign.name[self.lang]}{self._unused(answer, str(each.sign))}"
            for each in answer.observations
            if str(each.sign) not in hidden
        )
        if read:
            self._stdout.print(Styled(f"{self.labels['read']}: {' · '.join(read)}", style="dim"))

    def _unused(self, answer: Answer, name: str) -> str:
        """The remark "(not used)" for a parameter or observation that nothing uses; "" for others."""
        return "" if answer.used_by.get(name) else self.labels["not_used"]

    def print_short(self, answer: Answer) -> None:
        """Prints the short answer, or the part that is asked for, and what applies to the user's case."""
        self._print_part(answer, answer.part or "short")
        if case := prose.case_sentence(answer, missing=prose.NOT_MEASURED[self.lang]):
            self._stdout.print()
            self._stdout.print(_render_markdown(case))
        self._print_notes(answer)

    def _print_notes(self, answer: Answer) -> None:
        """Prints the notes on what was read."""
        if answer.notes:
            self._stdout.print()
        for note in answer.notes:
            self._stdout.print(f"! {note[self.lang]}", style="yellow", markup=False)

    def _print_alternatives(self, answer: Answer) -> None:
        """Prints the questions that may be meant instead, each with its short answer if that was measured."""
        shorts = {other.id: short for other, short in prose.alternative_texts(answer)}
        for other in answer.alternatives:
            line = Styled(f"{self.labels['or']} {other.question[self.lang]}")
            self._stdout.print()
            self._stdout.print(line + Styled(f"  ({other.id})", style="dim"))
            if other.id in shorts:
                self._stdout.print(_render_markdown(shorts[other.id]))

    def _print_part(self, answer: Answer, part: Part) -> None:
        """Prints a part of the text, under its heading unless it is the short answer; nothing if it is empty."""
        entry = answer.entry
        if entry is None or not entry.part(part, self.lang):
            return
        missing = prose.NOT_MEASURED[self.lang]
        text = (
            prose.distinctions_list(answer, missing)
            if part == "tell"
            else prose.fill_text(prose.part_text(entry, part, self.lang), entry, answer.evidence, self.lang, missing)
        )
        self._stdout.print()
        if part != "short":
            self._stdout.print(Styled(prose.PART_TITLES[part][self.lang], style="bold"))
        self._stdout.print(_render_markdown(f"**{text}**" if part == "short" else text))

    def print_markdown(self, text: str) -> None:
        """Prints a Markdown text."""
        self._stdout.print(_render_markdown(text))

    def print_calculation(self, answer: Answer) -> None:
        """Prints the reply to a question for values of formulas, each formula in every format, and related entries."""
        text = prose.answer_text(answer)
        self._stdout.print(
            _render_markdown(text if answer.evidence else text.replace("…", prose.NOT_MEASURED[self.lang]))
        )
        asks_values = answer.calculation and not answer.calculation.gradient and not answer.calculation.over
        for one in answer.evidence if asks_values else ():
            rows = values_by_format(one, self.lang)
            if rows:
                self.print_table(
                    tuple(self.labels[word] for word in ("format", "value", "error", "outcome")),
                    [(row.dtype, row.value, row.ulps, row.outcome) for row in rows],
                )
        self._print_summary(answer, full=True)

    def print_proof(self, evidence: Evidence) -> None:
        """Prints the proof of the short answer: the plot, the claims with their verdicts, and the call of the run."""
        run = evidence.run
        self._stdout.print()
        if run.status is not RunStatus.RAN:
            self._stdout.print(f"{run.status.value}: {run.note[self.lang]}", style="red", markup=False)
        if run.measured:
            self._plot(evidence)
        proving = [claim for claim in evidence.claims if claim.proves == "short"] or evidence.claims
        self._print_claims(evidence, proving)
        took = f"{run.seconds:.2g} {self.labels['seconds']}"
        call = f"{evidence.experiment.slug}({format_params(evidence.params, self.lang)})"
        self._stdout.print(Styled(f"  {call}  seed={evidence.seed}  {took}", style="dim"))

    def print_finished(self, answer: Answer) -> None:
        """Prints the first screen of an answer with all its evidence."""
        self.print_opening(answer)
        if answer.calculation is not None:
            self.print_calculation(answer)
        if answer.entry is None:
            return
        self.print_short(answer)
        for one in answer.evidence:
            if one.block == answer.entry.evidence[0].id:
                self.print_proof(one)
        for part in FIRST_PARTS[1:]:
            self._print_part(answer, part)
        self._print_alternatives(answer)
        self._print_tables(answer)

    def print_rest(self, answer: Answer, parts: Sequence[Part], *, full: bool) -> None:
        """Prints these parts and a summary; with `full` also the other parts, the lecture, all evidence and references.

        Without parts and without `full`, it prints only the tables of the summary.
        """
        for part in parts:
            self._print_part(answer, part)
        self._print_alternatives(answer)
        if full:
            for part in PARTS:
                if part not in FIRST_PARTS:
                    self._print_part(answer, part)
            self._print_lecture(answer)
            for one in answer.evidence:
                self.print_evidence(one)
            for reference in answer.entry.references if answer.entry else ():
                self.print_line(f"· {reference}")
            self._print_other_questions(answer)
        if parts or full:
            self._print_summary(answer, full=full)
        else:
            self._print_tables(answer)

    def _print_other_questions(self, answer: Answer) -> None:
        """Prints the other questions that the entry answers, each with the options that ask it."""
        views = answer.entry.other_views() if answer.entry else ()
        if views:
            self.print_line(f"\n{self.labels['also']}:")
        for view in views:
            aspect = f" --aspect {view.aspect}" if view.aspect else ""
            question = Styled(f"· {view.question[self.lang]}")
            self._stdout.print(question + Styled(f"  --entry {view.id}{aspect}", style="dim"))

    def _print_lecture(self, answer: Answer) -> None:
        lecture = answer.entry.lecture if answer.entry else None
        if lecture is None:
            return
        lines = [f"{self.labels['lecture']}: {lecture.answer[self.lang]}"]
        lines += [f"{self.labels['netizens']}: {lecture.netizens[self.lang]}"] if lecture.netizens else []
        self._stdout.print(Panel(Styled("\n".join(lines)), border_style="dim"))

    def print_evidence(self, evidence: Evidence) -> None:
        """Prints one finished run: its parameters, metrics, claims and plot."""
        run, experiment = evidence.run, evidence.experiment
        call = f"{experiment.slug}({format_params(evidence.params, self.lang)})"
        took = f"{run.seconds:.3f} {self.labels['seconds']}"
        heading = f"{experiment.title[self.lang]}  {call}  seed={evidence.seed}  {took}"
        self._stdout.print()
        self._stdout.print(Styled(heading, style="bold"))
        if run.status is not RunStatus.RAN:
            self._stdout.print(f"{run.status.value}: {run.note[self.lang]}", style="red", markup=False)
        if run.measured:
            self.print_table(
                tuple(self.labels[word] for word in ("metric", "value", "unit")),
                [
                    (
                        experiment.metrics[name].title[self.lang],
                        format_number(value, self.lang),
                        format_unit(experiment.metrics[name].unit, self.lang, value),
                    )
                    for name, value in run.measured.items()
                ],
            )
            self._plot(evidence)
        self._print_claims(evidence, evidence.claims)

    def _print_claims(self, evidence: Evidence, claims: Sequence[Claim]) -> None:
        """Prints these claims with their verdicts; one that cannot be tested at these parameters is not a failure."""
        for index, (claim, verdict) in enumerate(zip(evidence.claims, evidence.verdicts, strict=True)):
            if claim not in claims:
                continue
            value = format_number(evidence.run.measured.get(claim.metric), self.lang)
            mark, word, style = _VERDICT_MARKS[verdict], self.labels[verdict.value], _VERDICT_STYLES[verdict]
            if claim in evidence.not_testable_here:
                mark, word, style = "·", self.labels["not_here"], "dim"
            line = f"{mark} {word}: {claim.says[self.lang]}"
            comparison = f"  [{claim.metric} = {value}, {claim.op} {format_number(claim.bound, self.lang)}]"
            self._stdout.print(Styled(line, style=style) + Styled(comparison, style="dim"))
            if evidence.spreads:
                self._stdout.print(Styled(f"  {format_spread(evidence.spreads[index], self.lang)}", style="dim"))

    def _print_tables(self, answer: Answer) -> None:
        """Prints the comparisons, a remark on claims that cannot be tested at these parameters, related questions."""
        for table in comparison_tables(answer.evidence, self.lang):
            self.print_line(f"\n{self.labels['compared']}: {table.title}")
            self.print_table(
                (self.labels["metric"], *table.column_titles), [(title, *values) for title, values in table.rows]
            )
        for one in answer.evidence:
            if one.not_testable_here:
                self.print_line(self.labels["invisible"].format(params=format_params(one.entry_params, self.lang)))
        if answer.related:
            self.print_line(
                f"\n{self.labels['related']}: " + " · ".join(entry.question[self.lang] for entry in answer.related)
            )

    def _print_summary(self, answer: Answer, *, full: bool) -> None:
        """Prints the tables, and what `--full` would add."""
        self._print_tables(answer)
        if answer.entry and not full:
            entry = answer.entry
            folded = [
                prose.PART_TITLES[part][self.lang]
                for part in PARTS
                if part not in FIRST_PARTS and entry.part(part, self.lang)
            ]
            folded += [self.labels["lecture"]] if entry.lecture else []
            count = len(entry.evidence)
            more = self.labels["more"].format(parts=self.labels["and"].join(folded), count=count)
            self._stdout.print(Styled(more, style="dim"))

    def print_table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table without a frame."""
        table = Table(*head, box=SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(Styled(cell) for cell in row))
        self._stdout.print(table)

    def run_progress(self) -> "RunProgress":
        """The progress bar of one answer; a context manager."""
        return RunProgress(self._stderr)

    def track_progress(self, results: Iterable[T], total: int) -> Iterator[T]:
        """Yields the results while a progress bar shows how many of `total` are done."""
        with _new_progress(self._stderr) as progress:
            yield from progress.track(results, total=total)

    def plot_curves(self, x: str, y: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """Plots curves of (x, y) if standard output is a terminal; the x axis is asinh, logarithmic except near 0."""
        places = [abs(place) for points in curves.values() for place, _ in points if place]
        if not places or not self._stdout.is_terminal:
            return
        import plotext  # type: ignore[import-untyped]

        unit = max(min(places), max(places) * 1e-10)
        plotext.clear_figure()
        plotext.plot_size(min(self._stdout.width, 90), 16)
        plotext.theme("clear")
        for label, points in curves.items():
            plotext.plot(
                [math.asinh(place / unit) for place, _ in points], [height for _, height in points], label=label
            )
        ends = [place for points in curves.values() for place, _ in points]
        low, high = (math.asinh(end / unit) for end in (min(ends), max(ends)))
        ticks = [low + (high - low) * k / 6 for k in range(7)]
        plotext.xticks(ticks, [format_number(math.sinh(tick) * unit, self.lang, 2) for tick in ticks])
        plotext.xlabel(x)
        plotext.ylabel(y)
        self._stdout.print(Styled.from_ansi(plotext.build()))

    def plot_marked(
        self, x: Sequence[float], y: Sequence[float], x_title: str, y_title: str, marks: Sequence[tuple[float, str]]
    ) -> None:
        """Plots one curve with vertical lines at the marks if standard output is a terminal."""
        if not self._stdout.is_terminal:
            return
        import plotext

        plotext.clear_figure()
        plotext.plot_size(min(self._stdout.width, 90), 14)
        plotext.theme("clear")
        plotext.plot(list(x), list(y), label=y_title)
        for place, _ in marks:
            plotext.vline(place)
        plotext.xlabel(x_title)
        self._stdout.print(Styled.from_ansi(plotext.build()))
        for place, words in marks:
            self.print_line(f"  ┃ {place:g}: {words}")

    def _plot(self, evidence: Evidence) -> None:
        """Plots the rows if standard output is a terminal, and prints the labels of values that are off the axis."""
        axes = chart.chart_axes(evidence.experiment)
        if axes is None or len(evidence.run.rows) < 2 or not self._stdout.is_terminal:
            return
        import plotext

        x, fields, series, log = axes
        plotext.clear_figure()
        plotext.plot_size(min(self._stdout.width, 90), 16)
        plotext.theme("clear")
        names = {name: column.title[self.lang] for name, column in evidence.experiment.columns.items()}
        names |= {word: text[self.lang] for word, text in evidence.experiment.words.items()}
        curves = [
            (label, points) for label, points in _plot_series(evidence.run.rows, x, fields, series, log) if points
        ]
        for label, points in curves:
            heights = [math.log10(y) if log else y for _, y in points]  # plotext's own log axis has unreadable ticks
            plotext.plot([x_value for x_value, _ in points], heights, label=names.get(label, label))
        if curves:
            if log:
                plotext.yticks(*_log_ticks([y for _, points in curves for _, y in points]))
            plotext.xlabel(names.get(x, x))
            self._stdout.print(Styled.from_ansi(plotext.build()))
        labels = sorted(
            {
                word
                for row in evidence.run.rows
                for field in fields
                if (word := chart.nonfinite_label(row.get(field), log))
            }
        )
        if labels:
            self.print_line(f"  + {', '.join(labels)}")


class RunProgress:
    """A context manager with a progress bar that counts the rows of the running experiment."""

    def __init__(self, console: Console) -> None:
        self._progress = _new_progress(console)
        self._task: TaskID | None = None

    def on_event(self, event: Event) -> None:
        """Starts a new bar when an experiment starts, and advances it with each row."""
        if isinstance(event, Started):
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(event.experiment.slug, total=None)
        elif isinstance(event, RowMeasured) and self._task is not None:
            self._progress.advance(self._task)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._progress.stop()


def _new_progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _plot_series(
    rows: Sequence[Row], x: str, fields: Sequence[str], series: str | None, log: bool
) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """(label, points) of each series; finite values only, and positive ones on a log axis."""
    groups = sorted({str(row.get(series)) for row in rows}) if series else [""]
    for field in fields:
        for group in groups:
            points = [
                (float(row[x] or 0), float(value))
                for row in rows
                if (not series or str(row.get(series)) == group)
                and isinstance(value := row.get(field), int | float)
                and math.isfinite(value)
                and (value > 0 or not log)
            ]
            yield (group or field), points


def _log_ticks(values: Sequence[float]) -> tuple[list[int], list[str]]:
    """At most six exponents of ten that span the values, and the labels of their ticks."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = list(range(low, high + 1, max(1, math.ceil((high - low) / 5))))
    return ticks, [format_number(10.0**tick) for tick in ticks]


def _render_markdown(source: str) -> Markdown:
    """Markdown for rich, its formulas as Unicode."""
    return Markdown(formulas.markdown_to_unicode(source), code_theme="ansi_dark")
