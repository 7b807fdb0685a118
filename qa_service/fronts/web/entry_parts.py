"""The parts of an entry as HTML, with numbers marked up so that scripts can update them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from qa_service.fronts.web import markup
from qa_service.model import PLACEHOLDER, Entry, Evidence, Experiment, Lang, Observation, Part
from qa_service.model.differential import RankedDistinction, rank
from qa_service.presentation import prose
from qa_service.schemas.answers import lecture_json

PROSE_PARTS: tuple[Part, ...] = ("short", "do", "why", "scope", "lecture")
FOLDED_PARTS: tuple[Part, ...] = ("why", "scope")
"""The parts that are folded before the evidence; the part `lecture` is folded after it."""
_FIGURE_SIGNS = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫"
Experiments = Mapping[str, Experiment]


@dataclass(frozen=True, slots=True)
class TellRow:
    """A row of `tell`: what is seen, what it means, and the entry for that."""

    see: Markup
    means: Markup
    entry: str | None
    question: str
    """The entry's question, "" without an entry."""
    because: str = ""
    """The observations in its favour, in words."""
    excluded: str = ""
    """The observations that rule it out, in words."""


def figure_sign(entry: Entry, block_id: str) -> str:
    """The number of a block's figure, ① for the first; "" if there is only one block, or more than twelve."""
    ids = [block.id for block in entry.evidence]
    return _FIGURE_SIGNS[ids.index(block_id)] if 1 < len(ids) <= len(_FIGURE_SIGNS) and block_id in ids else ""


def part_html(
    entry: Entry, evidence: Sequence[Evidence], lang: Lang, experiments: Experiments, notes: Sequence[str] = ()
) -> dict[str, Markup]:
    """Part → HTML, for those of `PROSE_PARTS` that the entry has.

    `notes` are Markdown paragraphs below the short answer.
    """
    texts = {}
    for part in PROSE_PARTS:
        if text := prose.part_text(entry, part, lang):
            paragraphs = [_filled(text, entry, evidence, lang, experiments), *(notes if part == "short" else ())]
            html = markup.markdown_to_html("\n\n".join(paragraphs))
            texts[str(part)] = Markup(_with_figures(html, entry))  # noqa: S704  # sanitised
    return texts


def _with_figures(html: str, entry: Entry) -> str:
    """Adds to each marked number the figure of its block (`data-figure`)."""
    for block in entry.evidence:
        sign = figure_sign(entry, block.id)
        if sign:
            html = html.replace(f' data-of="{block.id}.', f' data-figure="{sign}" data-of="{block.id}.')
    return html


def tell_rows(
    entry: Entry,
    evidence: Sequence[Evidence],
    lang: Lang,
    experiments: Experiments,
    questions: Mapping[str, str],
    observations: Sequence[Observation] = (),
) -> list[TellRow]:
    """The rows of `tell`, ordered by the observations (`rank`).

    `questions` maps ids of entries to their questions; a row whose entry is not among them has no link.
    """

    def inline(text: str) -> Markup:
        return Markup(markup.inline_html(_filled(text, entry, evidence, lang, experiments)))  # noqa: S704

    def row(each: RankedDistinction) -> TellRow:
        known = each.row.entry if each.row.entry in questions else None
        return TellRow(
            inline(each.row.see[lang]),
            inline(each.row.means[lang]),
            known,
            questions.get(known or "", ""),
            prose.observation_names(each.because, lang),
            prose.observation_names(each.excluded_by, lang),
        )

    return [row(each) for each in rank(entry.tell, observations)]


@dataclass(frozen=True, slots=True)
class OtherQuestion:
    """Another question that an entry answers: that of an aspect, or its own (aspect "")."""

    entry: str
    aspect: str
    question: str
    address: str


def other_questions(entry: Entry, lang: Lang) -> list[OtherQuestion]:
    """The questions that the entry answers, without the one on which it is focused."""
    return [
        OtherQuestion(view.id, view.aspect, view.question[lang], view.address_in(lang)) for view in entry.other_views()
    ]


def lecture_html(entry: Entry, lang: Lang) -> dict[str, Markup]:
    """Field of `LectureJson` that is not empty → its text as HTML; {} for an entry without a lecture."""
    said = lecture_json(entry, lang) or ()
    return {who: Markup(markup.markdown_to_html(text)) for who, text in said if text}  # noqa: S704


def folded_parts(entry: Entry, texts: Mapping[str, Markup], lang: Lang) -> list[dict[str, Any]]:
    """Template values of the folded parts: name, heading, length in words, HTML."""
    return [
        {
            "name": part,
            "title": prose.PART_TITLES[part][lang],
            "size": _size(prose.part_text(entry, part, lang), lang),
            "text": texts[part],
        }
        for part in FOLDED_PARTS
        if part in texts
    ]


def _size(text: str, lang: Lang) -> str:
    """The length of a text, rounded to tens: "90 words", "150 字"."""
    count = len(text.split()) if lang == "en" else sum(each > "\u2e80" for each in text)
    tens = max(10, round(count, -1))
    return f"{tens} words" if lang == "en" else f"{tens} 字"


def _filled(text: str, entry: Entry, evidence: Sequence[Evidence], lang: Lang, experiments: Experiments) -> str:
    """A text of the entry with its numbers filled in, if they are measured, and marked up for `markup`."""
    metrics = {block.id: experiments[block.experiment].metrics for block in entry.evidence}

    def mark(found: Any) -> str:
        kind = "measured" if found[2] in metrics.get(found[1], {}) else "given"
        return f"{markup.NUMBER_START}{kind}:{found[0][2:-2]}{markup.NUMBER_SEPARATOR}{found[0]}{markup.NUMBER_END}"

    return prose.fill_text(PLACEHOLDER.sub(mark, text), entry, evidence, lang)
