"""Renders the templates: whole pages, and the HTML fragments in the events of a stream."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qa_service.answering.planning import PlannedRun
from qa_service.fronts.web import cards, chips, entry_parts, labels, markup
from qa_service.fronts.web.entry_parts import Experiments
from qa_service.fronts.web.page_events import PageAnswer, PageDone, PageEvidence, PageMetric, PageRow, PageStarted
from qa_service.model import (
    LANGS,
    Answer,
    Calculation,
    Entry,
    Evidence,
    EvidenceBlock,
    Experiment,
    Lang,
    Observation,
    Params,
)
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, RowMeasured, Started
from qa_service.presentation import chart, prose
from qa_service.presentation.comparison import comparison_tables, format_params
from qa_service.presentation.formula_reply import values_by_format
from qa_service.presentation.numbers import format_number
from qa_service.schemas.events import event_json
from qa_service.schemas.values import Body

_TEMPLATE_FOLDER = Path(__file__).resolve().parent
MIN_SURE_CONFIDENCE = 0.9
"""The confidence from which on the page does not show its value."""
NO_QUESTIONS: Mapping[str, str] = {}


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
    related: Sequence[Entry],
    told: Sequence[Entry],
    experiments: Experiments,
    lang: Lang,
    plans: Sequence[PlannedRun] = (),
    seed: int = 0,
    compare: str = "",
    evidence: Sequence[Evidence] = (),
    state: str | None = None,
) -> dict[str, Any]:
    """The template values of an entry's page; `told` are the entries of its rows of `tell`, `evidence` is cached.

    With `plans`, the page runs them as soon as it is loaded, for each value of the parameter `compare` if it is given,
    unless the `state` of their cards is "idle".
    """
    state = state or ("running" if plans else "idle")
    params = {plan.block.id: plan.params for plan in plans}
    questions = {other.id: other.question[lang] for other in told}
    shown = _part_values(entry, lang, experiments, questions, state=state, evidence=evidence)
    return {
        **shown,
        "runs_at_once": bool(plans) and state == "running",
        "summary": markup.first_paragraph(prose.fill_text(entry.short[lang], entry, evidence, lang))[:200],
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
                    state=state,
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


def page_event(
    event: Event, lang: Lang, experiments: Experiments, entry: Entry | None, questions: Mapping[str, str] = NO_QUESTIONS
) -> tuple[str, Body]:
    """(name, data) of an event of the page's stream: the API's event with HTML and formatted numbers (`page_events`).

    `questions` maps the ids of entries to which the answer refers to their questions.
    """
    name, plain = event_json(event, lang)
    fields = dict(plain)
    match event:
        case AnswerReady(answer):
            values = _answer_values(answer, lang, experiments, questions)
            return name, PageAnswer(**fields, log=answer.log, html=render_template("answer.html", lang, **values))
        case Started(run_id, experiment, params, seed, compared):
            owner, block = _owner_of_block(entry, run_id.partition("~")[0], experiment)
            card = cards.evidence_card(
                owner,
                block,
                experiment,
                lang,
                params=params,
                seed=seed,
                state="running",
                compared=format_params(compared, lang),
            )
            return name, PageStarted(
                **fields,
                alone=owner is None,
                hero=owner is not None and run_id == owner.evidence[0].id,
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
                owner,
                block,
                evidence.experiment,
                lang,
                params=evidence.params,
                seed=evidence.seed,
                evidence=evidence,
                compared=format_params(evidence.compared, lang),
            )
            shown = prose.placeholder_values(owner, evidence, lang) if owner and evidence.variant == 0 else {}
            metrics = {
                metric: PageMetric(**dict(about), shown=format_number(about.value, lang))
                for metric, about in fields.pop("metrics").items()
            }
            html = render_template("card.html", lang, card=card)
            is_proof = owner is not None and evidence.id == owner.evidence[0].id
            outcome = render_template("outcome.html", lang, card=card) if is_proof else ""
            return name, PageEvidence(**fields, metrics=metrics, html=html, shown=shown, outcome_html=outcome)
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
                parts_html=_parts_html(answer, experiments, questions),
                comparison_html=render_template("comparison.html", lang, tables=tables, beside=beside)
                if tables
                else "",
            )
    return name, plain


def sentence_html(answer: Answer) -> Markup:
    """The HTML of an answer without an entry: the verdict on a run, or the sentence above the nearest questions."""
    if answer.is_verdict:
        return Markup(markup.markdown_to_html(prose.answer_text(answer)))  # noqa: S704  # sanitised
    return Markup(markup.markdown_to_html(prose.answer_text(answer).partition("\n\n")[0]))  # noqa: S704  # sanitised


def _parts_html(answer: Answer, experiments: Experiments, questions: Mapping[str, str]) -> dict[str, str]:
    """Name of a part → its HTML, with the numbers measured so far."""
    entry, lang = answer.entry, answer.lang
    if answer.calculation is not None:
        return _calculation_html(answer, answer.calculation)
    if entry is None:
        return {}
    texts = entry_parts.part_html(entry, answer.evidence, lang, experiments, _below_short(answer))
    rows = entry_parts.tell_rows(entry, answer.evidence, lang, experiments, questions, answer.observations)
    tell = {"tell": render_template("tell.html", lang, rows=rows)} if rows else {}
    return {**texts, **tell, **_alternatives_html(answer)}


def _alternatives_html(answer: Answer) -> dict[str, str]:
    """The short answers of the alternatives, as a part of the text; {} if none was measured."""
    lang = answer.lang
    shown = [
        (other.id, other.aspect, other.question[lang], Markup(markup.markdown_to_html(short)))  # noqa: S704  # sanitised
        for other, short in prose.alternative_texts(answer)
    ]
    return {"alternatives": render_template("alternatives.html", lang, alternatives=shown)} if shown else {}


def _below_short(answer: Answer) -> list[str]:
    """Paragraphs below the short answer: on the user's case, and on runs that did not finish."""
    return [*filter(None, [prose.case_sentence(answer, linked=True)]), *prose.unfinished_runs(answer)]


def _calculation_html(answer: Answer, calculation: Calculation) -> dict[str, str]:
    """The reply to a question for values of formulas, and each formula in every format."""
    lang = answer.lang
    tables = [
        (formula, values_by_format(evidence, lang))
        for formula, evidence in zip(calculation.formulas, answer.evidence, strict=False)
        if not calculation.gradient and not calculation.over
    ]
    return {
        "short": markup.markdown_to_html(prose.answer_text(answer)),
        "values": render_template("formula_values.html", lang, tables=tables),
    }


def _answer_values(
    answer: Answer, lang: Lang, experiments: Experiments, questions: Mapping[str, str]
) -> dict[str, Any]:
    """The template values of `answer.html`."""
    values = {
        "answer": answer,
        "html_lang": labels.HTML_LANG[lang],
        "unsure": answer.entry is not None
        and bool(answer.question)
        and answer.confidence < MIN_SURE_CONFIDENCE
        and not answer.is_follow_up,
        "chips": chips.chips(answer, lang),
        "notes": [note[lang] for note in answer.notes],
        "candidates": [(match.entry.id, match.entry.question[lang]) for match in answer.matches[:3]],
        "related": [(other.id, other.question[lang]) for other in answer.related],
        "alternatives": [(other.id, other.aspect, other.question[lang]) for other in answer.alternatives],
        "diagnosis": _verdict_line(answer, lang),
    }
    if answer.calculation is not None:
        links = [
            (formula, answer.calculation.address_in(lang, index))
            for index, formula in enumerate(answer.calculation.formulas)
        ]
        return {**values, "formulas": links}
    if answer.entry is None:
        return {**values, "sentence": sentence_html(answer)}
    shown = _part_values(
        answer.entry,
        lang,
        experiments,
        questions,
        state="running",
        observations=answer.observations,
        below=_below_short(answer),
    )
    return {
        **values,
        **shown,
        "folds": [fold for fold in shown["folds"] if fold["name"] != answer.part],
        "asked": next((fold for fold in shown["folds"] if fold["name"] == answer.part), None),
    }


def _verdict_line(answer: Answer, lang: Lang) -> dict[str, str] | None:
    """Status and summary of the run whose log the question holds; None without a log.

    The summary is empty if the verdict is the whole answer.
    """
    found = answer.diagnosis
    summary = "" if answer.is_verdict else found.summary[lang] if found else ""
    return {"status": found.status, "summary": summary} if found else None


def _part_values(
    entry: Entry,
    lang: Lang,
    experiments: Experiments,
    questions: Mapping[str, str],
    *,
    state: str,
    observations: Sequence[Observation] = (),
    evidence: Sequence[Evidence] = (),
    below: Sequence[str] = (),
) -> dict[str, Any]:
    """The template values of `parts.html`; `state` of the proof is "idle" or "running".

    `below` are Markdown paragraphs below the short answer.
    """
    texts = entry_parts.part_html(entry, evidence, lang, experiments, below)
    return {
        "entry": entry,
        "texts": texts,
        "titles": {part: title[lang] for part, title in prose.PART_TITLES.items()},
        "rows": entry_parts.tell_rows(entry, evidence, lang, experiments, questions, observations),
        "folds": entry_parts.folded_parts(entry, texts, lang),
        "aspects": entry_parts.other_questions(entry, lang),
        "lecture": entry_parts.lecture_html(entry, lang),
        "mathematics": any("<math" in text for text in texts.values()),
        "proof": _proof(entry, evidence, lang, experiments, state),
        "claim_count": sum(len(block.claims) for block in entry.evidence[1:]),
    }


def _proof(
    entry: Entry, evidence: Sequence[Evidence], lang: Lang, experiments: Experiments, state: str
) -> dict[str, Any] | None:
    """The template values of `outcome.html` before the page has run the proof; None for an entry without blocks."""
    if not entry.evidence:
        return None
    block = entry.evidence[0]
    before = next((one for one in evidence if one.block == block.id), None)
    return cards.evidence_card(entry, block, experiments[block.experiment], lang, state=state, evidence=before)


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
