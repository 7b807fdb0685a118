"""Prints a diagnosis in the terminal, for `numstab diagnose`, `numstab try`, and `numstab ask` about a log."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qa_service.answering import diagnosing, diagnosis_runs
from qa_service.answering.service import Service, never_cancelled
from qa_service.fronts.terminal import options
from qa_service.model import Evidence, Lang, RunStatus, Text
from qa_service.model.diagnosis import Diagnosis, Finding, Hypothesis
from qa_service.presentation.comparison import format_params
from qa_service.presentation.numbers import format_number

if TYPE_CHECKING:
    from qa_service.fronts.terminal.screen import TerminalView

EXIT_STATUSES = (
    "Exit status: 0 diagnosed (healthy included), 1 undecided, 2 unreadable file or wrong usage, "
    "3 an experiment failed."
)
_SHOWN_FINDINGS = 5
_MAX_LINE_CHARS = 110
_WORDS = {
    "evidence": Text("证据", "Evidence"),
    "line": Text("第 {} 行", "line {}"), "step": Text("第 {} 步", "step {}"),
    "also": Text("也可能是：{}（{}）", "It may also be: {} ({})"),
    "margins": Text("看着吓人但没事的", "Alarming, but harmless"),
    "excluded": Text("排除了", "Ruled out"), "entry": Text("详见词条", "The entry"),
    "ask": Text("一个问题就能分清", "One question tells them apart"), "metric": Text("指标", "metric"),
    "experiment": Text("用你的数字做的实验", "The experiment at your numbers"), "as_is": Text("现在这样", "as it is"),
    "cured": Text("改了以后", "with the cure"), "yours": Text("取自你的日志：{}", "from your log: {}"),
    "changes": Text("改动：{}", "the cure: {}"), "cure": Text("怎么办", "What to do"),
    "unseen": Text("没有看到", "Not seen"),
    "next": Text("加上这一行能知道更多", "This line would tell more"), "records": Text("第几条记录", "record"),
    "steps": Text("步", "step"), "loss": Text("损失", "loss"),
    "log": Text("（对数）", " (log10)"), "and": Text("、", ", "),
}  # fmt: skip
_CERTAINTY = {
    "certain": Text("确定", "certain"),
    "likely": Text("很可能", "likely"),
    "possible": Text("可能", "possible"),
}
_STYLES = {"sick": "bold red", "undecided": "bold yellow", "healthy": "bold green", "not_numerics": "bold cyan"}


def print_report(
    diagnosis: Diagnosis,
    lang: Lang,
    *,
    as_json: bool,
    service: Service | None = None,
    run: bool = False,
    more: Iterable[str] = (),
) -> int:
    """Prints a diagnosis; returns the exit status. Raises `UnreadableRun` if the run could not be read.

    With a `service` it prints the entry's question, and with `run` also runs the experiment, without and with the cure.
    `more` are lines to print after the evidence.
    """
    diagnosing.require_readable(diagnosis)
    evidence: list[Evidence] = []
    runs = service if run and diagnosis.experiment is not None else None
    if as_json:
        from qa_service.schemas.diagnosis import diagnosis_json

        if runs is not None:
            for _ in diagnosis_runs.run_experiments(diagnosis, runs, evidence.append, never_cancelled):
                pass
        options.print_json(diagnosis_json(diagnosis, lang, evidence).to_dict())
    else:
        _print(diagnosis, lang, service, runs, evidence, more)
    if any(each.run.status is not RunStatus.RAN for each in evidence):
        return options.EXIT_EXPERIMENT_FAILED
    return options.EXIT_NOT_ANSWERED if diagnosis.status == "undecided" else options.EXIT_OK


def _print(
    diagnosis: Diagnosis,
    lang: Lang,
    service: Service | None,
    runs: Service | None,
    evidence: list[Evidence],
    more: Iterable[str],
) -> None:
    from qa_service.fronts.terminal.screen import TerminalView

    shown = _Report(diagnosis, TerminalView(lang), lang)
    shown.verdict()
    shown.evidence()
    for line in more:
        shown.view.print_line(line)
    shown.curve()
    shown.excluded()
    shown.entry(service)
    if runs is not None:
        with shown.view.run_progress() as progress:
            for event in diagnosis_runs.run_experiments(diagnosis, runs, evidence.append, never_cancelled):
                progress.on_event(event)
        shown.experiment(evidence)
    shown.cure()
    shown.rest()


def print_brief(diagnosis: Diagnosis, view: "TerminalView", lang: Lang) -> None:
    """Prints the verdict, its evidence, and the command that prints the whole report.

    Prints nothing for a healthy or unreadable run.
    """
    if diagnosis.status in ("healthy", "unreadable"):
        return
    shown = _Report(diagnosis, view, lang)
    shown.verdict()
    shown.evidence()
    hint = Text("完整的报告：numstab diagnose 日志文件", "the whole report: numstab diagnose LOGFILE")
    view.print_styled(hint[lang], "dim")


class _Report:
    """Prints a diagnosis part by part."""

    def __init__(self, diagnosis: Diagnosis, view: "TerminalView", lang: Lang) -> None:
        self.view = view
        self._diagnosis = diagnosis
        self._lang = lang

    def verdict(self) -> None:
        self.view.print_styled(self._diagnosis.summary[self._lang], _STYLES.get(self._diagnosis.status, "bold"))

    def evidence(self) -> None:
        """Prints the facts that speak for the first cause, each with its place, and the second cause in a line."""
        found, lang = self._diagnosis, self._lang
        if found.harmless_anomalies:
            self._list("margins", [each[lang] for each in found.harmless_anomalies])
        if not found.hypotheses:
            return
        first, *others = found.hypotheses
        self._list("evidence", [self._fact(each) for each in _supporting(first)])
        for other in others if found.status != "undecided" else ():
            name, word = found.causes[other.cause].name[lang], _CERTAINTY[other.certainty][lang]
            self.view.print_line(self._word("also").format(name, word))
        if found.question:
            self._heading("ask")
            self.view.print_line(f"  {found.question[lang]}")

    def _fact(self, finding: Finding) -> str:
        places = [self._word("line").format(line) for line in finding.lines[:3]]
        if not places and finding.step is not None:
            places = [self._word("step").format(finding.step)]
        places += [finding.layer] if finding.layer else []
        told = finding.text[self._lang]
        shown = [place for place in places if place not in told]
        return f"{told}  [{', '.join(shown)}]" if shown else told

    def curve(self) -> None:
        """Plots the loss with the marks, if standard output is a terminal."""
        points = [each for each in self._diagnosis.run.series.get("loss", ()) if math.isfinite(each.value)]
        if len(points) < 3:
            return
        known = all(each.step is not None for each in points)
        x = [float(each.step or 0) if known else float(index) for index, each in enumerate(points)]
        log = min(each.value for each in points) > 0 and max(each.value for each in points) > 20 * points[0].value
        y = [math.log10(each.value) if log else each.value for each in points]
        label = self._word("loss") + (self._word("log") if log else "")
        marks = [(each.step, each.text[self._lang]) for each in self._diagnosis.marks if each.series == "loss"]
        self.view.plot_marked(x, y, self._word("steps" if known else "records"), label, marks)

    def excluded(self) -> None:
        found = self._diagnosis
        if found.excluded:
            lang, colon = self._lang, "：" if self._lang == "zh" else ": "
            self._list(
                "excluded",
                [f"{found.causes[each.cause].name[lang]}{colon}{each.reason[lang]}" for each in found.excluded],
            )

    def entry(self, service: Service | None) -> None:
        """Prints the entry that explains the first cause: its id and, with a service, its question."""
        if not self._diagnosis.hypotheses:
            return
        name = self._diagnosis.causes[self._diagnosis.hypotheses[0].cause].entry
        entry = service.knowledge.library.get(name) if service else None
        if entry is not None or service is None:
            self._heading("entry")
            self.view.print_line(f"  {entry.question[self._lang]}  ({name})" if entry else f"  {name}")

    def experiment(self, evidence: Sequence[Evidence]) -> None:
        """Prints the metrics of both runs side by side, the parameters, and which of them come from the log."""
        planned, lang = self._diagnosis.experiment, self._lang
        if planned is None or len(evidence) != 2:
            return
        one, two = evidence
        self._heading("experiment")
        self.view.print_line(
            f"  {one.experiment.title[lang]}  {one.experiment.slug}({format_params(planned.params, lang)})"
        )
        if planned.from_run:
            self.view.print_line(f"  {self._word('yours').format(self._word('and').join(planned.from_run))}")
        self.view.print_line(f"  {self._word('changes').format(format_params(planned.cured, lang))}")
        names = [name for name in one.run.measured if name in one.experiment.metrics]
        differing = [name for name in names if _metric_text(one, name, lang) != _metric_text(two, name, lang)] or names
        rows = [
            (one.experiment.metrics[name].title[lang], _metric_text(one, name, lang), _metric_text(two, name, lang))
            for name in differing
        ]
        for each in evidence:
            if each.run.note[lang]:
                self.view.print_line(f"  {each.run.status.value}: {each.run.note[lang]}")
        if rows:
            self.view.print_table(tuple(self._word(name) for name in ("metric", "as_is", "cured")), rows[:8])

    def cure(self) -> None:
        found = self._diagnosis
        cause = found.causes[found.hypotheses[0].cause] if found.hypotheses else None
        if cause is None or cause.cure is None:
            return
        self._heading("cure")
        self.view.print_line(f"  {cause.cure[self._lang]}")
        for line in cause.patch.splitlines():
            self.view.print_line(f"    {line}")

    def rest(self) -> None:
        found, lang = self._diagnosis, self._lang
        if found.unseen and found.status != "healthy":
            colon = "：" if lang == "zh" else ": "
            self.view.print_line(
                f"\n{self._word('unseen')}{colon}{self._word('and').join(each[lang] for each in found.unseen)}"
            )
        if found.line_to_add:
            self._heading("next")
            self.view.print_line(f"    {found.line_to_add}")

    def _list(self, heading: str, lines: Sequence[str]) -> None:
        self._heading(heading)
        for line in lines:
            self.view.print_line(f"  · {line}")
        for number in self._cited() if heading == "evidence" else ():
            self.view.print_styled(f"    {number:>6} | {self._diagnosis.run.excerpt[number][:_MAX_LINE_CHARS]}", "dim")

    def _cited(self) -> list[int]:
        """At most four of the lines that the evidence cites, of those whose text is known."""
        first = self._diagnosis.hypotheses[0]
        lines = dict.fromkeys(line for each in _supporting(first) for line in each.lines)
        return sorted(line for line in lines if line in self._diagnosis.run.excerpt)[:4]

    def _heading(self, name: str) -> None:
        self.view.print_styled(f"\n{self._word(name)}", "bold")

    def _word(self, name: str) -> str:
        return _WORDS[name][self._lang]


def _supporting(hypothesis: Hypothesis) -> list[Finding]:
    """The findings that speak for a cause, one for each text, at most `_SHOWN_FINDINGS`."""
    unique = {each.text.en: each for each in reversed(hypothesis.findings) if each.weight > 0}
    return list(reversed(unique.values()))[:_SHOWN_FINDINGS]


def _metric_text(evidence: Evidence, name: str, lang: Lang) -> str:
    return format_number(evidence.run.measured.get(name), lang, 4)
