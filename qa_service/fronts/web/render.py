"""Renders the templates: whole pages, and the HTML fragments in the events of a stream."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qa_service.answering.planning import PlannedRun
from qa_service.fronts.web import cards, labels, markup, width_hints
from qa_service.fronts.web.page_events import PageAnswer, PageDone, PageEvidence, PageMetric, PageRow, PageStarted
from qa_service.model import LANGS, PLACEHOLDER, Answer, Entry, Evidence, EvidenceBlock, Experiment, Lang, Params
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, RowMeasured, Started
from qa_service.presentation import chart, prose
from qa_service.presentation.comparison import comparison_tables, format_params
from qa_service.presentation.numbers import format_number
from qa_service.schemas.answers import lecture_json
from qa_service.schemas.events import event_json
from qa_service.schemas.values import Body

_TEMPLATE_FOLDER = Path(__file__).resolve().parent
Experiments = Mapping[str, Experiment]


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATE_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_template(name: str, lang: Lang, **values: Any) -> str:
    """Renders a template, with the labels of the language as `t`."""
    return _templates().get_template(name).render(t=labels.labels_in(lang), lang=lang, **values)


def render_page(name: str, lang: Lang, *, here: str, **values: Any) -> str:
    """Renders a whole page; `here` is its path, for the link to the other language."""
    other: Lang = "en" if lang == "zh" else "zh"
    base_values = {
        "html_lang": labels.HTML_LANG[lang],
        "other": other,
        "other_html_lang": labels.HTML_LANG[other],
        "other_name": labels.LANGUAGE_NAME[other],
        "here": here,
        "for_scripts": labels.script_labels(lang),
        "words": {each: labels.labels_in(each) for each in LANGS},
    }
    return render_template(name, lang, **base_values, **values)


def unsupported_language_page(here: str) -> str:
    """The page for an unsupported `?lang=`: in both languages, with a link to each."""
    return render_page(
        "problem.html", "zh", here=here, similar=(), messages={lang: labels.LABELS["bad_lang"][lang] for lang in LANGS}
    )


def entry_values(
    entry: Entry,
    related: list[Entry],
    experiments: Experiments,
    lang: Lang,
    plans: Sequence[PlannedRun] = (),
    seed: int = 0,
    compare: str = "",
) -> dict[str, Any]:
    """The template values of an entry's page, without measurements.

    With `plans`, the page runs them as soon as it is loaded, for each value of the parameter `compare` if it is given.
    """
    params = {plan.block.id: plan.params for plan in plans}
    text = markup.markdown_to_html(_marked_text(entry, (), lang, experiments))
    return {
        "runs_at_once": bool(plans),
        "entry": entry,
        "summary": markup.first_paragraph(prose.fill_placeholders(entry, (), lang))[:200],
        "text": Markup(text),  # noqa: S704
        "mathematics": "<math" in text,
        "lecture": _lecture_html(entry, lang),
        "wordings": entry.wordings(lang),
        "related": [(other.id, other.question[lang]) for other in related],
        "blocks": [
            (
                cards.evidence_card(
                    entry,
                    block,
                    experiments[block.experiment],
                    lang,
                    params=params.get(block.id),
                    seed=seed,
                    state="running" if plans else "idle",
                    compare=compare,
                ),
                experiments[block.experiment],
                Markup(markup.highlight_code(experiments[block.experiment].source)),  # noqa: S704
            )
            for block in entry.evidence
            if not plans or block.id in params
        ],
    }


def experiment_values(
    experiment: Experiment, entries: Sequence[Entry], params: Params, seed: int, lang: Lang
) -> dict[str, Any]:
    """The template values of an experiment's page, without measurements."""
    return {
        "experiment": experiment,
        "about": markup.markdown_to_html(experiment.doc),
        "card": cards.evidence_card(
            None, cards.standalone_block(experiment), experiment, lang, params=params, seed=seed, state="running"
        ),
        "source": Markup(markup.highlight_code(experiment.source)),  # noqa: S704
        "entries": [(one.id, one.question[lang]) for one in entries],
    }


def page_event(event: Event, lang: Lang, experiments: Experiments, entry: Entry | None) -> tuple[str, Body]:
    """The API's event, with `html` to insert, `answer_html` for the text, and `shown` for the numbers in it."""
    name, plain = event_json(event, lang)
    fields = dict(plain)
    match event:
        case AnswerReady(answer):
            text = _answer_html(answer, experiments)
            html = render_template("answer.html", lang, text=text, **_answer_values(answer, lang))
            return name, PageAnswer(**fields, answer_html=text, html=html)
        case Started(run_id, experiment, params, seed, compared):
            owner, block = _owner_of_block(entry, run_id.partition("~")[0], experiment)
            card = cards.evidence_card(
                owner, block, experiment, lang,
                params=params, seed=seed, state="running", compared=format_params(compared, lang),
            )  # fmt: skip
            return name, PageStarted(
                **fields,
                alone=owner is None,
                html=render_template("card.html", lang, card=card),
                chart=chart.build_spec(experiment, (), lang),
                columns={name: column.title[lang] for name, column in experiment.columns.items()},
                words={word: text[lang] for word, text in experiment.words.items()},
            )
        case RowMeasured(_, row):
            return name, PageRow(**fields, shown={name: format_number(value, lang) for name, value in row.items()})
        case EvidenceReady(evidence):
            owner, block = _owner_of_block(entry, evidence.block, evidence.experiment)
            card = cards.evidence_card(
                owner, block, evidence.experiment, lang,
                params=evidence.params, seed=evidence.seed, evidence=evidence,
                compared=format_params(evidence.compared, lang),
            )  # fmt: skip
            shown = prose.placeholder_values(evidence, lang) if evidence.variant == 0 else {}
            if entry:
                width_hints.remember_widths(entry.id, shown)
            metrics = {
                metric: PageMetric(**dict(about), shown=format_number(about.value, lang))
                for metric, about in fields.pop("metrics").items()
            }
            html = render_template("card.html", lang, card=card)
            return name, PageEvidence(**fields, metrics=metrics, html=html, shown=shown)
        case Done(answer):
            tables = comparison_tables(answer.evidence, lang)
            beside = [
                (
                    f"{companion.experiment.title[lang]} ({format_params(companion.params, lang)})",
                    cards.experiment_url(companion.experiment, companion.params, lang),
                )
                for companion in _companion_evidence(answer)
            ]
            return name, PageDone(
                **fields,
                answer_html=_answer_html(answer, experiments),
                comparison_html=render_template("comparison.html", lang, tables=tables, beside=beside)
                if tables
                else "",
            )
    return name, plain


def _answer_html(answer: Answer, experiments: Experiments) -> Markup:
    """The answer as HTML, its numbers marked; without an entry, the sentence above the nearest questions."""
    if answer.entry is None:
        return Markup(markup.markdown_to_html(prose.answer_text(answer).partition("\n\n")[0]))  # noqa: S704  # sanitised
    text = _marked_text(answer.entry, answer.evidence, answer.lang, experiments)
    notes = prose.unfinished_runs(answer)
    return Markup(markup.markdown_to_html("\n\n".join([text, *notes])))  # noqa: S704


def _answer_values(answer: Answer, lang: Lang) -> dict[str, Any]:
    return {
        "answer": answer,
        "html_lang": labels.HTML_LANG[lang],
        "lecture": _lecture_html(answer.entry, lang) if answer.entry else {},
        "params": {name: format_number(value, lang) for name, value in answer.params.items()},
        "notes": [note[lang] for note in answer.notes],
        "candidates": [(match.entry.id, match.entry.question[lang]) for match in answer.matches[:3]],
        "related": [(other.id, other.question[lang]) for other in answer.related],
    }


def _lecture_html(entry: Entry, lang: Lang) -> dict[str, Markup]:
    """Speaker → their words in the lecture, as HTML."""
    said = lecture_json(entry, lang) or ()
    return {who: Markup(markup.markdown_to_html(text)) for who, text in said if text}  # noqa: S704


def _marked_text(entry: Entry, evidence: Sequence[Evidence], lang: Lang, experiments: Experiments) -> str:
    """The entry's text, its numbers filled in where they are measured, and marked for `markup`."""
    metrics = {block.id: experiments[block.experiment].metrics for block in entry.evidence}

    def mark(found: re.Match[str]) -> str:
        metric = metrics.get(found[1], {}).get(found[2])
        name = found[0][2:-2]
        hint = width_hints.width_hint(entry.id, name, metric.unit) if metric else ""
        kind = f"measured{hint}" if metric else "given"
        return f"{markup.OPEN}{kind}:{name}{markup.MIDDLE}{found[0]}{markup.CLOSE}"

    marked = PLACEHOLDER.sub(mark, prose.entry_text(entry, lang))
    return prose.fill_text(marked, entry, evidence, lang)


def _companion_evidence(answer: Answer) -> list[Evidence]:
    """The evidence of companion experiments, which belong to no block of the entry."""
    own_blocks = {block.id for block in answer.entry.evidence} if answer.entry else set()
    return [one for one in answer.evidence if one.block not in own_blocks]


def _owner_of_block(entry: Entry | None, block_id: str, experiment: Experiment) -> tuple[Entry | None, EvidenceBlock]:
    """(entry, its block with this id), or (None, a block of the experiment alone) if the entry has no such block."""
    for block in entry.evidence if entry else ():
        if block.id == block_id:
            return entry, block
    return None, cards.standalone_block(experiment)
