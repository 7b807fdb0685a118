"""The text of an answer: the entry's text with measured numbers filled in, or what is said if no entry answers."""

import re
from collections.abc import Sequence

from qa_service.model import (
    PARTS,
    PLACEHOLDER,
    Answer,
    AnswerStatus,
    CheckRecord,
    Entry,
    Evidence,
    Lang,
    Observation,
    Part,
    RankedDistinction,
    RunStatus,
    Subject,
    Text,
    rank,
    single_out,
)
from qa_service.model.diagnosis import Diagnosis
from qa_service.presentation.formula_reply import formula_reply
from qa_service.presentation.numbers import format_in_text

PART_TITLES: dict[Part, Text] = {
    "short": Text("简短回答", "In short"),
    "do": Text("怎么做", "What to do"),
    "tell": Text("怎么分辨", "How to tell"),
    "why": Text("为什么", "Why"),
    "scope": Text("适用范围", "Scope"),
    "lecture": Text("讲座原话，逐句看", "The lecture, sentence by sentence"),
}
"""The heading of each part."""
NOT_MEASURED_YET = "…"
"""Replaces a number that is being measured."""
NOT_MEASURED = Text("（没有测得）", "(not measured)")
"""Replaces a number of a run that did not finish, or was not requested."""
_DID_NOT_RUN = Text(
    "实验“{}”没有跑完，所以文中缺少它的数。", "The experiment “{}” did not finish, so its numbers are missing here."
)
_BECAUSE = Text("〔你说了：{}〕", " [you said: {}]")
_RULED_OUT = Text("〔可排除，因为你说了：{}〕", " [ruled out, as you said: {}]")
_YOUR_CASE = Text("**你的情况**（{}）：{}", "**In your case** ({}): {}")
_CLUE = Text("**从你说的看**（{}）：{}", "**From what you say** ({}): {}")
_ALTERNATIVE = Text("若是在问“{}”：{}", "If you mean “{}”: {}")
_NOT_COVERED = Text(
    "numstab 的知识库里没有这个问题的答案。它只讲深度学习里的数值稳定性；下面是最接近的几个问题：",
    "The knowledge base of numstab does not cover this. It is about numerical stability in deep learning; "
    "the nearest questions in it are:",
)
_CLARIFY = Text(
    "这句话可能是在问下面几个不同的问题，你指的是哪一个？", "This could mean different things. Which one do you mean?"
)


_CHECKED = Text(
    "最近一次核对：{on}，{seeds} 个随机种子（{versions}），断言全部与所述相符。",
    "Last checked on {on} over {seeds} seeds ({versions}): every claim came out as stated.",
)
_CHANGED_SINCE = Text(
    "此后它的证据改过，还没有重新核对。", " Its evidence has changed since and has not been checked again."
)
_NOT_CHECKED = Text("它的断言还没有用多个随机种子核对过。", "Its claims have not been checked over several seeds yet.")
_ACKNOWLEDGED = Text(
    "不客气。还有别的现象或数字，接着发就行。", "You are welcome. Should anything else turn up, send it along."
)


def answer_text(answer: Answer, parts: Sequence[Part] = PARTS) -> str:
    """The answer as Markdown in its language; `parts` of the entry's text, after the part that is asked for."""
    if answer.status is AnswerStatus.ACKNOWLEDGED:
        return _ACKNOWLEDGED[answer.lang]
    if answer.calculation is not None:
        return formula_reply(answer.calculation, answer.evidence, answer.lang)
    if answer.is_verdict and answer.diagnosis is not None:
        return verdict_text(answer.diagnosis, answer.lang)
    if answer.entry is not None:
        asked = (answer.part,) if answer.part else ()
        ordered = (*asked, *(part for part in parts if part not in asked))
        short, _, rest = fill_placeholders(answer.entry, answer.evidence, answer.lang, ordered).partition("\n\n")
        below = (rest, alternatives_text(answer), *unfinished_runs(answer))
        return "\n\n".join(filter(None, [short, case_sentence(answer), *below]))
    opening = _CLARIFY if answer.status is AnswerStatus.CLARIFY else not_covered_text(answer.subject)
    nearest = "\n".join(f"- {match.entry.question[answer.lang]}" for match in answer.matches[:3])
    return f"{opening[answer.lang]}\n\n{nearest}"


def verdict_text(diagnosis: Diagnosis, lang: Lang) -> str:
    """The verdict on a run as Markdown, with a list of what looks alarming and is not."""
    margins = "\n".join(f"- {each[lang]}" for each in diagnosis.harmless_anomalies)
    return "\n\n".join(filter(None, [f"**{diagnosis.summary[lang]}**", margins]))


def alternative_texts(answer: Answer) -> list[tuple[Entry, str]]:
    """(alternative, its short answer in Markdown) for the alternatives whose numbers were measured."""
    found = []
    for other in answer.alternatives:
        evidence = [one for one in answer.alternative_evidence if one.entry == other.id]
        if other.evidence and not evidence:
            continue  # without runs, as most answers over HTTP: what it quotes need not be looked up
        quoted = {block.id for block in other.short_blocks()}
        if quoted <= {one.block for one in evidence if one.run.status is RunStatus.RAN}:
            found.append((other, fill_text(other.part("short", answer.lang), other, evidence, answer.lang)))
    return found


def alternatives_text(answer: Answer) -> str:
    """The alternatives and their short answers as a Markdown list; "" if none was measured."""
    return "\n".join(
        f"- {_ALTERNATIVE[answer.lang].format(other.question[answer.lang], short.strip())}"
        for other, short in alternative_texts(answer)
    )


def unfinished_runs(answer: Answer) -> list[str]:
    """A sentence for each experiment that did not finish, to say that its numbers are missing."""
    unfinished = (one.experiment.title[answer.lang] for one in answer.evidence if one.run.status is not RunStatus.RAN)
    return [_DID_NOT_RUN[answer.lang].format(title) for title in unfinished]


def not_covered_text(subject: Subject | None) -> Text:
    """The opening sentence for a question that is not covered; names its subject if that is known."""
    if subject is None:
        return _NOT_COVERED
    return Text(
        f"这像是在问{subject.name.zh}，numstab 的知识库不涵盖它：这里只讲深度学习里的数值稳定性。最接近的几个问题是：",
        f"This seems to be about {subject.name.en}, which numstab does not cover: its knowledge base is about "
        "numerical stability in deep learning. The nearest questions in it are:",
    )


def entry_text(entry: Entry, lang: Lang, parts: Sequence[Part] = PARTS) -> str:
    """Parts of an entry as one Markdown text: the short answer first, in bold, the others under their headings."""
    texts = [(part, part_text(entry, part, lang)) for part in parts]
    return "\n\n".join(
        f"**{text}**" if part == "short" else f"### {PART_TITLES[part][lang]}\n\n{text}" for part, text in texts if text
    )


def fill_placeholders(entry: Entry, evidence: Sequence[Evidence], lang: Lang, parts: Sequence[Part] = PARTS) -> str:
    """These parts of the entry as one text, each placeholder replaced by its value; "…" if not measured yet."""
    if evidence:
        return fill_text(entry_text(entry, lang, parts), entry, evidence, lang)
    key = (entry.id, lang, *parts)
    cached = _UNMEASURED.get(key)
    if cached is None or cached[0] is not entry:
        cached = _UNMEASURED[key] = (entry, fill_text(entry_text(entry, lang, parts), entry, (), lang))
    return cached[1]


_UNMEASURED: dict[tuple[str, ...], tuple[Entry, str]] = {}
"""(id of an entry, language, *parts) → (the entry, its text without evidence)."""


def checked_text(checked: CheckRecord | None, lang: Lang) -> str:
    """The date, versions and seeds of the last check of the claims, and whether the evidence has changed since."""
    if checked is None:
        return _NOT_CHECKED[lang]
    versions = ("、" if lang == "zh" else ", ").join(f"{name} {version}" for name, version in checked.versions.items())
    text = _CHECKED[lang].format(on=checked.on, seeds=checked.seeds, versions=versions)
    return text if checked.current else text + _CHANGED_SINCE[lang]


def filled_parts(
    entry: Entry, evidence: Sequence[Evidence], lang: Lang, parts: Sequence[Part] = PARTS
) -> dict[Part, str]:
    """Part → text, for those of `parts` that the entry has; placeholders replaced as in `fill_placeholders`."""
    return {part: fill_text(text, entry, evidence, lang) for part in parts if (text := part_text(entry, part, lang))}


def part_text(entry: Entry, part: Part, lang: Lang) -> str:
    """A part of the entry; the scope is followed by the last check of the claims (`checked_text`)."""
    text = entry.part(part, lang)
    return f"{text.strip()}\n\n{checked_text(entry.checked, lang)}" if part == "scope" and text else text


def distinctions_list(answer: Answer, missing: str = NOT_MEASURED_YET) -> str:
    """The rows of `tell` as a Markdown list, ordered by the observations (`rank`); "" without an entry or rows.

    A row names the observations that speak for it, or rule it out. `missing` replaces numbers that are not measured.
    """
    entry, lang = answer.entry, answer.lang
    if entry is None:
        return ""
    return "\n".join(
        f"- {fill_text(each.row.text(lang), entry, answer.evidence, lang, missing)}{_reasons(each, lang)}"
        for each in rank(entry.tell, answer.observations)
    )


def singled_out_row(answer: Answer, *, linked: bool = False, missing: str = NOT_MEASURED_YET) -> str:
    """The row of `tell` that the observations single out, as a Markdown sentence; "" if there is none.

    It names the row's entry by its id or, with `linked`, links to it. `missing` replaces numbers that are not measured.
    """
    entry, lang = answer.entry, answer.lang
    found = single_out(rank(entry.tell, answer.observations), entry.signs) if entry and answer.observations else None
    if entry is None or found is None:
        return ""
    row = found.row
    text = f"{row.see[lang]} → [{row.means[lang]}](/entries/{row.entry}?lang={lang})" if linked and row.entry else ""
    filled = fill_text(text or row.text(lang), entry, answer.evidence, lang, missing)
    return _YOUR_CASE[lang].format(observation_names(found.because, lang), filled)


def clue_text(answer: Answer, *, linked: bool = False) -> str:
    """The clue as a Markdown sentence with the entry that shows it; "" if there is none.

    It names the entry by its id or, with `linked`, links to it, unless there is none or it is the answer's own.
    """
    found, lang = answer.clue, answer.lang
    if found is None:
        return ""
    says, entry = found.clue.says[lang], found.clue.entry
    if not entry or (answer.entry and entry == answer.entry.id):
        return _CLUE[lang].format(observation_names(found.because, lang), says)
    named = f"{says}（{entry}）" if lang == "zh" else f"{says} ({entry})"
    text = f"[{says}](/entries/{entry}?lang={lang})" if linked else named
    return _CLUE[lang].format(observation_names(found.because, lang), text)


def case_sentence(answer: Answer, *, linked: bool = False, missing: str = NOT_MEASURED_YET) -> str:
    """The sentence below the short answer on the user's case: `singled_out_row`, else `clue_text`, else ""."""
    return singled_out_row(answer, linked=linked, missing=missing) or clue_text(answer, linked=linked)


def _reasons(ranked: RankedDistinction, lang: Lang) -> str:
    """The observations for and against a row, in brackets; "" if there are none."""
    observations = ranked.excluded_by or ranked.because
    if not observations:
        return ""
    template = (_RULED_OUT if ranked.excluded_by else _BECAUSE)[lang]
    return template.format(observation_names(observations, lang))


def observation_names(observations: Sequence[Observation], lang: Lang) -> str:
    """The signs of the observations in words, each once."""
    return ("、" if lang == "zh" else ", ").join(dict.fromkeys(one.sign.name[lang] for one in observations))


def fill_text(
    text: str, entry: Entry, evidence: Sequence[Evidence], lang: Lang, missing: str = NOT_MEASURED_YET
) -> str:
    """A text of the entry with each [[block.name]] replaced by that metric or parameter, or by `missing`."""
    if "[[" not in text:  # as in most rows and many parts
        return text
    given = {block.id: block.params for block in entry.evidence}
    measured = {one.block: one for one in evidence if one.variant == 0}  # the text quotes the first run of a comparison

    def value(found: re.Match[str]) -> str:
        block, name, form = found.group(1, 2, 3)
        if block in measured:
            return _number(measured[block], name, form, lang)
        return format_in_text(given[block][name], lang, form or "") if name in given[block] else missing

    return PLACEHOLDER.sub(value, text)


def placeholder_values(entry: Entry, evidence: Evidence, lang: Lang) -> dict[str, str]:
    """Placeholder of the entry's text, "block.name" or "block.name|form" → its value, for those of this run."""
    return {
        found[0][2:-2]: _number(evidence, found[2], found[3], lang)
        for found in PLACEHOLDER.finditer(entry.text(lang))
        if found[1] == evidence.block
    }


def _number(evidence: Evidence, name: str, form: str | None, lang: Lang) -> str:
    """A metric or parameter of a run as the text quotes it; "not measured" for a metric of an unfinished run."""
    if name not in evidence.experiment.metrics:
        return format_in_text(evidence.params[name], lang, form or "")
    if evidence.run.status is not RunStatus.RAN:
        return NOT_MEASURED[lang]
    return format_in_text(evidence.run.measured.get(name), lang, form or "")
