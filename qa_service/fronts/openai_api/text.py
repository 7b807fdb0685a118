"""An answer as Markdown for a chat. Text that was sent cannot be changed, so each passage waits for its numbers."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from qa_service.model import (
    PLACEHOLDER,
    Answer,
    AnswerStatus,
    Calculation,
    Claim,
    Entry,
    Evidence,
    Part,
    RunStatus,
    Text,
    Value,
    Verdict,
    rank,
    single_out,
)
from qa_service.presentation import prose
from qa_service.presentation.comparison import comparison_tables, format_params
from qa_service.presentation.formula_reply import formula_reply
from qa_service.presentation.numbers import format_number, format_unit

_MAX_FOLLOW_UPS = 4
_VERDICTS = {
    Verdict.HOLDS: Text("✓ 成立", "✓ holds"),
    Verdict.FAILS: Text("✗ 不成立", "✗ fails"),
    Verdict.UNKNOWN: Text("? 无法判定", "? unknown"),
}
_NOT_HERE = Text("○ 在这组参数下不适用", "○ does not apply at these parameters")
_MEASURED = Text("实测", "Measured")
_STILL_MEASURING = Text("（还在测，见文末第 {} 项）", "(still being measured, see {} at the end)")
_SPACED_REMARK = re.compile(r" ?(（还在测，见文末第 \d+ 项）) ?")
"""The remark with the spaces that surround a number in Chinese text, but not a full-width bracket."""
_MEASURED_SINCE = Text("测完了。上文缺的数：", "The measurements are done. The numbers missing above:")
_MORE = Text("为什么、适用范围、全部证据", "Why, scope, all evidence")
_AGAIN = Text("重做这次实验", "Repeat this run")
_SEED, _CODE = Text("随机种子", "seed"), Text("代码", "code")
_COLON = Text("：", ": ")
_RELATED = Text("相关问题：", "Related: ")
_TEXT_ONLY = Text(
    "这个回答没有做实验；要当场测得的数，请选模型 `numstab`。",
    "Nothing was run for this answer; the model `numstab` measures its numbers.",
)
_FORMULA_PAGE = Text("这个公式在各种浮点格式里", "this formula in every float format")
_METRIC = Text("指标", "metric")


@dataclass(frozen=True, slots=True)
class Citation:
    """The source of a part of the reply: characters from `start` to before `end`."""

    start: int
    end: int
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Passage:
    """The next piece of the reply with its citations, whose positions count from the beginning of the reply."""

    text: str
    citations: tuple[Citation, ...] = ()


@dataclass(frozen=True, slots=True)
class _Section:
    """Paragraphs that are written once the runs of the blocks in `needs` have finished."""

    needs: frozenset[str]
    write: Callable[[], str]
    source: tuple[str, str] | None = None
    """(title, URL) of their source."""
    only_measured: bool = False
    """Whether they are meaningless without these runs."""


class AnswerWriter:
    """Writes one answer: the short answer, what proves it, what to do, how to tell, and links to the rest."""

    def __init__(self, answer: Answer, base: str, *, runs: bool, kept: Sequence[Evidence] = ()) -> None:
        """`base` is our own address, with a slash at its end.

        Without `runs` no evidence will be added; `kept` is what was measured earlier.
        """
        self._answer = answer
        self._lang = answer.lang
        self._base = base
        self._will_run = runs and answer.status is AnswerStatus.ANSWERED
        self._evidence = list(kept)
        self._announced: list[str] = []
        """Placeholders in place of which a remark was written, as their numbers were not measured yet."""
        self._length = 0
        self._sections = list(self._all_sections())

    @property
    def is_waiting(self) -> bool:
        """Whether a passage waits for numbers that could be written without them."""
        return any(not section.only_measured for section in self._sections)

    def add(self, evidence: Evidence) -> None:
        """Adds the evidence of a finished run."""
        self._evidence.append(evidence)

    def ready(self) -> Iterator[Passage]:
        """The next passages, up to the first whose numbers are not measured yet."""
        while self._sections and (not self._will_run or self._sections[0].needs <= self._measured()):
            yield from self._write(self._sections.pop(0))

    def without_numbers(self) -> Iterator[Passage]:
        """All passages that are meaningful without their numbers, with remarks in place of these."""
        for section in self._sections[:]:
            if not section.only_measured:
                self._sections.remove(section)
                yield from self._write(section)

    def rest(self, answer: Answer) -> Iterator[Passage]:
        """The rest, once all runs have finished: numbers that were missing, comparisons, links."""
        self._answer, self._will_run = answer, False
        self._evidence = list(answer.evidence) or self._evidence
        if self._announced:
            yield self._passage(self._announced_numbers())
        while self._sections:
            yield from self._write(self._sections.pop(0))
        measured = (*self._comparisons(), prose.alternatives_text(answer), *prose.unfinished_runs(answer))
        for text in (*measured, self._closing(), self._related()):
            if text:
                yield self._passage(text)

    def whole(self, answer: Answer) -> list[Passage]:
        """All passages, once all runs have finished."""
        self._evidence = list(answer.evidence) or self._evidence
        return [*self.ready(), *self.rest(answer)]

    def _measured(self) -> set[str]:
        return {one.block for one in self._evidence}

    def _write(self, section: _Section) -> Iterator[Passage]:
        if text := section.write():
            yield self._passage(text, section.source)

    def _passage(self, text: str, source: tuple[str, str] | None = None) -> Passage:
        """The text as the next passage; advances the position in the reply."""
        gap = "\n\n" if self._length else ""
        start, end = self._length + len(gap), self._length + len(gap) + len(text)
        self._length = end
        return Passage(gap + text, (Citation(start, end, *source),) if source else ())

    def _all_sections(self) -> Iterator[_Section]:
        answer = self._answer
        remarks = [answer.log, *(note[self._lang] for note in answer.notes)]
        preface = "\n>\n".join(f"> {remark}" for remark in remarks if remark)
        yield _Section(frozenset(), lambda: preface)
        if answer.calculation is not None:
            yield from self._calculation(answer.calculation)
        elif answer.entry is not None:
            yield from self._entry(answer.entry)
        else:
            yield _Section(frozenset(), self._without_entry)

    def _entry(self, entry: Entry) -> Iterator[_Section]:
        """The sections of an entry; without what to do and how to tell if the previous reply was by the same entry."""
        lang = self._lang
        short, do, tell = (entry.part(part, lang) for part in ("short", "do", "tell"))
        yield _Section(
            _quoted_blocks(short),
            lambda: f"**{self._filled(entry, short)}**",
            (entry.question[lang], self._page(entry)),
        )
        case = single_out(rank(entry.tell, self._answer.observations), entry.signs)
        if case is not None:
            yield _Section(_quoted_blocks(case.row.text(lang)), self._user_case, only_measured=True)
        elif self._answer.clue is not None:
            yield _Section(frozenset(), self._user_case)
        if entry.evidence and (self._will_run or self._evidence):
            proof = entry.evidence[0]
            url = f"{self._base}experiments/{proof.experiment}?lang={lang}"
            title = f"{_MEASURED[lang]}: {proof.experiment}"
            yield _Section(frozenset({proof.id}), lambda: self._proof(proof.id), (title, url), only_measured=True)
        if self._answer.earlier is not None and self._answer.earlier.entry == entry.id:
            return  # the previous reply had what to do and how to tell
        yield _Section(_quoted_blocks(do), lambda: _with_heading("do", self._filled(entry, do), lang))
        yield _Section(_quoted_blocks(tell), lambda: _with_heading("tell", self._tell_rows(entry), lang))

    def _calculation(self, calculation: Calculation) -> Iterator[_Section]:
        """A section for each formula; their runs finish in the same order."""
        for index, formula in enumerate(calculation.formulas):
            block = "formula" if index == 0 else f"formula-{index + 1}"
            alone = replace(calculation, formulas=(formula,))
            url = self._base + calculation.address_in(self._lang, index).removeprefix("/")

            def write(block: str = block, alone: Calculation = alone, url: str = url) -> str:
                found = [one for one in self._evidence if one.block == block]
                if found:
                    link = f"[{_FORMULA_PAGE[self._lang]}]({url})"
                    return f"{formula_reply(alone, found[:1], self._lang)} {link}"
                return f"`{alone.formulas[0]}`{prose.NOT_MEASURED[self._lang]}"

            yield _Section(frozenset({block}), write, (formula, url), only_measured=True)

    def _without_entry(self) -> str:
        """The text of an answer without an entry: the verdict on a run, an acknowledgement, or the nearest questions.

        The questions are numbered, so that a follow-up can pick one.
        """
        if self._answer.is_verdict:
            return prose.answer_text(self._answer)
        opening, _, nearest = prose.answer_text(self._answer).partition("\n\n")
        if not nearest:
            return opening
        questions = [f"{number}. {self._link(match.entry)}" for number, match in enumerate(self._answer.matches[:3], 1)]
        return "\n".join([opening, "", *questions])

    def _user_case(self) -> str:
        answer = replace(self._answer, evidence=tuple(self._evidence))
        case = prose.case_sentence(answer, linked=True, missing=prose.NOT_MEASURED[self._lang])
        return case.replace("](/entries/", f"]({self._base}entries/")

    def _tell_rows(self, entry: Entry) -> str:
        lines = []
        for each in rank(entry.tell, self._answer.observations):
            row = each.row
            means = row.means[self._lang]
            linked = (
                f"[{_escape_link_text(means)}]({self._base}entries/{row.entry}?lang={self._lang})"
                if row.entry
                else means
            )
            lines.append(self._filled(entry, f"- {row.see[self._lang]} → {linked}"))
        return "\n".join(lines)

    def _filled(self, entry: Entry, text: str) -> str:
        """The text with its numbers; those still being measured are replaced by a remark and added to `_announced`."""
        measured = self._measured()

        def announced(found: re.Match[str]) -> str:
            if not self._will_run or found[1] in measured:
                return found[0]
            name = found[0][2:-2]
            if name not in self._announced:
                self._announced.append(name)
            return _STILL_MEASURING[self._lang].format(self._announced.index(name) + 1)

        text = _SPACED_REMARK.sub(r"\1", PLACEHOLDER.sub(announced, text))
        return prose.fill_text(text, entry, self._evidence, self._lang, prose.NOT_MEASURED[self._lang])

    def _announced_numbers(self) -> str:
        """A numbered list of the numbers that were not measured when the text was written."""
        values: dict[str, str] = {}
        titles: dict[str, str] = {}
        for one in self._evidence:
            if one.variant == 0 and self._answer.entry is not None:
                found = prose.placeholder_values(self._answer.entry, one, self._lang)
                values |= found
                titles |= {name: self._title(one, name) for name in found}
        colon = _COLON[self._lang]
        lines = [
            f"{number}. {titles.get(name, name)}{colon}**{values.get(name, prose.NOT_MEASURED[self._lang])}**"
            for number, name in enumerate(self._announced, 1)
        ]
        return "\n".join([_MEASURED_SINCE[self._lang], "", *lines])

    def _title(self, evidence: Evidence, placeholder: str) -> str:
        name = placeholder.partition(".")[2].partition("|")[0]
        about = evidence.experiment.metrics.get(name) or evidence.experiment.params[name]
        return about.title[self._lang]

    def _proof(self, block: str) -> str:
        """The claims of the block that prove the short answer, with verdict and value, and the call of the run."""
        found = next((one for one in self._evidence if one.block == block and one.variant == 0), None)
        if found is None:
            return ""
        lang, run = self._lang, found.run
        proving = [claim for claim in found.claims if claim.proves == "short"] or found.claims
        lines = [
            self._claim(found, claim, verdict)
            for claim, verdict in zip(found.claims, found.verdicts, strict=True)
            if claim in proving
        ]
        if run.status is not RunStatus.RAN:
            lines.append(f"- {run.note[lang]}")
        call = f"`{found.experiment.slug}({format_params(found.params, lang)})`"
        return "\n".join([f"{_MEASURED[lang]}{_COLON[lang]}{call}", "", *lines])

    def _claim(self, evidence: Evidence, claim: Claim, verdict: Verdict) -> str:
        lang = self._lang
        word = _NOT_HERE if claim in evidence.not_testable_here else _VERDICTS[verdict]
        value = evidence.run.measured.get(claim.metric)
        unit = format_unit(evidence.experiment.metrics[claim.metric].unit, lang, value)
        number = f"{format_number(value, lang)} {unit}".strip()
        measured = f"`{claim.metric}` = {number}" if claim.metric in evidence.run.measured else ""
        text = f"- {word[lang]}{_COLON[lang]}{claim.says[lang]}"
        return text + ((f"（{measured}）" if lang == "zh" else f" ({measured})") if measured else "")

    def _comparisons(self) -> Iterator[str]:
        for table in comparison_tables(self._evidence, self._lang):
            head = (_METRIC[self._lang], *table.column_titles)
            rows = [head, ("---",) * len(head), *((title, *values) for title, values in table.rows)]
            cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
            yield "\n".join([f"{table.title}", "", *cells])

    def _closing(self) -> str:
        """Links to the entry's page and to the same run, its seed and the hash of its code."""
        entry, lang = self._answer.entry, self._lang
        if entry is None:
            return "" if self._evidence or self._answer.calculation is None else _TEXT_ONLY[lang]
        items = [f"[{_MORE[lang]}]({self._page(entry)})"]
        if self._answer.evidence:
            first = self._answer.evidence[0]
            items += [f"[{_AGAIN[lang]}]({self._permalink(entry, first)})", f"{_SEED[lang]} {first.seed}"]
            items.append(f"{_CODE[lang]} `{first.experiment.hash[:8]}`")
        text = " · ".join(items)
        return text if self._answer.evidence or not entry.evidence else f"{text}\n\n{_TEXT_ONLY[lang]}"

    def _related(self) -> str:
        links = [self._link(entry) for entry in _suggested_entries(self._answer)[:_MAX_FOLLOW_UPS]]
        return _RELATED[self._lang] + " · ".join(links) if links else ""

    def _link(self, entry: Entry) -> str:
        return f"[{_escape_link_text(entry.question[self._lang])}]({self._page(entry)})"

    def _page(self, entry: Entry) -> str:
        return self._base + entry.address_in(self._lang).removeprefix("/")

    def _permalink(self, entry: Entry, evidence: Evidence) -> str:
        """The address of the page that repeats this run, with all its parameters."""
        query = {name: _query_text(value) for name, value in evidence.params.items()}
        aspect = {"aspect": entry.aspect} if entry.aspect else {}
        fields = {**aspect, "block": evidence.block, **query, "seed": str(evidence.seed), "lang": self._lang}
        return f"{self._base}e/{entry.id}?{urlencode(fields)}"


def _suggested_entries(answer: Answer) -> tuple[Entry, ...]:
    """The entries that may be meant instead, then the related ones."""
    return (*answer.alternatives, *answer.related)


def follow_ups(answer: Answer) -> list[str]:
    """Suggested follow-up questions: those of alternatives and related entries, else of the nearest entries."""
    if answer.status is AnswerStatus.ACKNOWLEDGED:
        return []
    entries = _suggested_entries(answer) or tuple(
        match.entry for match in answer.matches if answer.entry is None or match.entry.id != answer.entry.id
    )
    return [entry.question[answer.lang] for entry in entries[:_MAX_FOLLOW_UPS]]


def _with_heading(part: Part, text: str, lang: str) -> str:
    title = prose.PART_TITLES[part]["zh" if lang == "zh" else "en"]
    return f"### {title}\n\n{text.strip()}" if text else ""


def _quoted_blocks(*texts: str) -> frozenset[str]:
    """The evidence blocks that the texts quote."""
    return frozenset(found[1] for text in texts for found in PLACEHOLDER.finditer(text))


def _escape_link_text(text: str) -> str:
    """A text escaped for the brackets of a Markdown link; one with placeholders is not changed."""
    return text if PLACEHOLDER.search(text) else text.replace("[", "\\[").replace("]", "\\]")


def _query_text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
